//! Errors in the service's own form: severity, location in the query text, code and message.

use crate::error::ServiceError;

/// Result of every step that can refuse a query.
pub(super) type Result<T> = std::result::Result<T, ServiceError>;

/// A range of bytes in the query text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of `self` to the end of `last`.
    pub(super) fn to(self, last: Span) -> Self {
        Self { start: self.start, end: last.end.max(self.start) }
    }
}

/// 400 with one located error, `Message: {"errors":[{"severity":"Error","location":…}]}`.
pub(super) fn located(code: &str, span: Span, message: &str) -> ServiceError {
    with_hint(code, span, message, None)
}

/// As [`located`], plus a `hint` member the service does not have: `message` stays comparable with the
/// service's, and the reader still learns what would have been right.
pub(super) fn with_hint(code: &str, span: Span, message: &str, hint: Option<&str>) -> ServiceError {
    let hint = hint.map(|text| format!(",\"hint\":{}", quoted(text))).unwrap_or_default();
    ServiceError::bad_request(format!(
        "Message: {{\"errors\":[{{\"severity\":\"Error\",\"location\":{{\"start\":{},\"end\":{}}},\"code\":{},\"message\":{}{hint}}}]}}",
        span.start,
        span.end,
        quoted(code),
        quoted(message),
    ))
}

/// 400 for what has no place in the text; `code` is raw JSON, as the service gives some as numbers.
pub(super) fn unlocated(code: Option<&str>, message: &str) -> ServiceError {
    let code = code.map(|code| format!("\"code\":{code},")).unwrap_or_default();
    ServiceError::bad_request(format!(
        "Message: {{\"errors\":[{{\"severity\":\"Error\",{code}\"message\":{}}}]}}",
        quoted(message)
    ))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
