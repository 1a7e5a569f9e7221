//! Time to live: when a document stops being visible.

use crate::error::ServiceError;
use crate::limits::MAX_TTL_SECONDS;
use crate::value::Value;

/// `ttl` or `defaultTtl` of -1: never expires.
pub(crate) const NEVER: i64 = -1;

/// Reads a `ttl` or `defaultTtl` member; `None` when it is not there.
///
/// # Errors
/// 400 when it is neither -1 nor a positive whole number within the limit.
pub(crate) fn parse(value: &Value, name: &str) -> Result<Option<i64>, ServiceError> {
    match value {
        Value::Undefined | Value::Null => Ok(None),
        // In range by the guard.
        #[allow(clippy::cast_possible_truncation)]
        Value::Number(n) if n.fract() == 0.0 && (*n == -1.0 || (1.0..=MAX_TTL_SECONDS).contains(n)) => {
            Ok(Some(*n as i64))
        }
        _ => Err(ServiceError::bad_request(format!(
            "The input {name} '{value}' is invalid. Ensure to provide a nonzero positive integer value, at most \
             {MAX_TTL_SECONDS}, or -1 for never."
        ))),
    }
}

/// The second at which a document expires, if it does. A document's own `ttl` counts only in a container with
/// a default.
pub(crate) fn expires_at(written_s: i64, own: Option<i64>, default: Option<i64>) -> Option<i64> {
    match own.unwrap_or(default?) {
        NEVER => None,
        seconds => Some(written_s.saturating_add(seconds)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn own_ttl_needs_a_default() {
        assert_eq!(expires_at(100, Some(5), None), None);
        assert_eq!(expires_at(100, Some(5), Some(NEVER)), Some(105));
        assert_eq!(expires_at(100, None, Some(7)), Some(107));
        assert_eq!(expires_at(100, Some(NEVER), Some(7)), None);
        assert_eq!(expires_at(100, None, None), None);
    }

    #[test]
    fn zero_and_fractions_are_refused() {
        assert!(parse(&Value::Number(0.0), "ttl").is_err());
        assert!(parse(&Value::Number(1.5), "ttl").is_err());
        assert!(parse(&Value::from("5"), "ttl").is_err());
        assert_eq!(parse(&Value::Number(5.0), "ttl").unwrap(), Some(5));
        assert_eq!(parse(&Value::Undefined, "ttl").unwrap(), None);
    }
}
