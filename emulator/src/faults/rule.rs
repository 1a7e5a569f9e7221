//! Which requests a fault befalls.

use std::time::Duration;

use crate::error::ServiceError;
use crate::value::{Object, Value};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The request waits before it begins.
    Latency(Duration),
    /// The connection is closed, and nothing was done.
    DropBefore,
    /// The request is carried out, and the connection is closed instead of an answer.
    DropAfter,
    /// This answer, and nothing was done.
    Status {
        /// HTTP status, 400 to 598.
        status: u16,
        /// `x-ms-substatus`; 0 for none.
        sub_status: u32,
        /// `x-ms-retry-after-ms`.
        retry_after: Option<Duration>,
    },
    /// `isAccepted` is false for all operations of a stored procedure after this many.
    RefuseOperations {
        /// Operations that are still accepted.
        after: u64,
    },
    /// From this request on the server's clock is ahead of the machine's by this much.
    ClockOffset {
        /// Milliseconds; negative for behind.
        milliseconds: i64,
    },
}

/// A fault, and the requests it befalls: those that meet every condition that is set.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// The kind of operation as in [`Stats::operations`](crate::Stats), such as `document.create`; `*` stands for
    /// anything, as in `document.*`.
    pub operation: Option<String>,
    /// The id of the stored procedure that is executed; `*` as above.
    pub procedure: Option<String>,
    /// The path of the request, such as `/dbs/d/colls/c/docs/*`; `*` as above, also for several segments.
    pub path: Option<String>,
    /// The first matching requests that are spared.
    pub skip: u64,
    /// The most requests to befall; no end without it.
    pub count: Option<u64>,
}

impl FaultRule {
    /// A rule for every request, without end.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, operation: None, procedure: None, path: None, skip: 0, count: None }
    }

    /// Only for this kind of operation.
    #[must_use]
    pub fn operation(mut self, pattern: &str) -> Self {
        self.operation = Some(pattern.to_owned());
        self
    }

    /// Only for executions of this stored procedure.
    #[must_use]
    pub fn procedure(mut self, pattern: &str) -> Self {
        self.procedure = Some(pattern.to_owned());
        self
    }

    /// Only for this path.
    #[must_use]
    pub fn path(mut self, pattern: &str) -> Self {
        self.path = Some(pattern.to_owned());
        self
    }

    /// Spares the first `count` matching requests.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Befalls `count` requests and no more.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    pub(super) fn matches(&self, operation: &str, procedure: Option<&str>, path: &str) -> bool {
        let meets = |pattern: &Option<String>, text: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| like(pattern, text)))
        };
        meets(&self.operation, Some(operation))
            && meets(&self.procedure, procedure)
            && meets(&self.path, Some(path))
    }

    /// Reads a rule as the control endpoint takes it.
    ///
    /// # Errors
    /// 400 that names what is wrong with it.
    pub(crate) fn parse(body: &Value) -> Result<Self, ServiceError> {
        const KNOWN: [&str; 11] = [
            "fault",
            "operation",
            "procedure",
            "path",
            "skip",
            "count",
            "status",
            "sub_status",
            "retry_after_ms",
            "milliseconds",
            "after",
        ];
        let object = body.as_object().ok_or_else(|| invalid("it is no object"))?;
        // A misspelt condition would befall every request.
        if let Some((name, _)) = object.iter().find(|(name, _)| !KNOWN.contains(&&***name)) {
            return Err(invalid(&format!("'{name}' is not known")));
        }
        let mut rule = Self::new(parse_fault(body)?);
        rule.operation = text(body, "operation")?;
        rule.procedure = text(body, "procedure")?;
        rule.path = text(body, "path")?;
        rule.skip = number(body, "skip")?.unwrap_or(0);
        rule.count = number(body, "count")?;
        Ok(rule)
    }

    /// The rule as the control endpoint shows it.
    pub(crate) fn to_object(&self) -> Object {
        let mut json = Object::new();
        let millis = |time: &Duration| Value::Number(time.as_secs_f64() * 1000.0);
        let name = match &self.fault {
            Fault::Latency(time) => {
                json.insert("milliseconds", millis(time));
                "latency"
            }
            Fault::DropBefore => "drop_before",
            Fault::DropAfter => "drop_after",
            Fault::Status { status, sub_status, retry_after } => {
                json.insert("status", f64::from(*status).into());
                json.insert("sub_status", f64::from(*sub_status).into());
                json.insert("retry_after_ms", retry_after.as_ref().map_or(Value::Undefined, millis));
                "status"
            }
            Fault::RefuseOperations { after } => {
                json.insert("after", count(*after));
                "refuse_operations"
            }
            Fault::ClockOffset { milliseconds } => {
                // A clock's milliseconds are far below 2^53.
                #[allow(clippy::cast_precision_loss)]
                json.insert("milliseconds", Value::Number(*milliseconds as f64));
                "clock_offset"
            }
        };
        json.insert("fault", name.into());
        for (name, pattern) in
            [("operation", &self.operation), ("procedure", &self.procedure), ("path", &self.path)]
        {
            json.insert(name, pattern.as_deref().map_or(Value::Undefined, Value::from));
        }
        json.insert("skip", count(self.skip));
        json.insert("count", self.count.map_or(Value::Undefined, count));
        json
    }
}

/// A count as JSON.
// Counts of tests are far below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn count(count: u64) -> Value {
    Value::Number(count as f64)
}

fn parse_fault(body: &Value) -> Result<Fault, ServiceError> {
    let needed = |name: &str| number(body, name)?.ok_or_else(|| invalid(&format!("'{name}' is missing")));
    Ok(match body.get("fault").as_str() {
        Some("latency") => Fault::Latency(Duration::from_millis(needed("milliseconds")?)),
        Some("drop_before") => Fault::DropBefore,
        Some("drop_after") => Fault::DropAfter,
        Some("status") => {
            let status = u16::try_from(needed("status")?).ok().filter(|status| (400..=598).contains(status));
            let sub_status = u32::try_from(number(body, "sub_status")?.unwrap_or(0)).ok();
            Fault::Status {
                status: status.ok_or_else(|| invalid("'status' must be 400 to 598"))?,
                sub_status: sub_status.ok_or_else(|| invalid("'sub_status' is too large"))?,
                retry_after: number(body, "retry_after_ms")?.map(Duration::from_millis),
            }
        }
        Some("refuse_operations") => Fault::RefuseOperations { after: needed("after")? },
        Some("clock_offset") => match body.get("milliseconds").as_f64() {
            // In range of a clock.
            #[allow(clippy::cast_possible_truncation)]
            Some(offset) if offset.abs() < 1e15 => Fault::ClockOffset { milliseconds: offset as i64 },
            _ => return Err(invalid("'milliseconds' must be a number")),
        },
        _ => {
            return Err(invalid(
                "'fault' must be latency, drop_before, drop_after, status, refuse_operations or clock_offset",
            ));
        }
    })
}

fn text(body: &Value, name: &str) -> Result<Option<String>, ServiceError> {
    match body.get(name) {
        Value::Undefined | Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.to_string())),
        _ => Err(invalid(&format!("'{name}' must be text"))),
    }
}

fn number(body: &Value, name: &str) -> Result<Option<u64>, ServiceError> {
    match body.get(name) {
        Value::Undefined | Value::Null => Ok(None),
        // Checked: whole, not negative, and exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Value::Number(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => {
            Ok(Some(*number as u64))
        }
        _ => Err(invalid(&format!("'{name}' must be a whole number"))),
    }
}

fn invalid(what: &str) -> ServiceError {
    ServiceError::bad_request(format!("The fault rule is not valid: {what}."))
}

/// Whether `text` fits `pattern`, in which `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + str::len(middle)..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("a", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "ac"),
            ("*", ""),
            ("a*b*c", "a-b-b-c"),
            ("**", "x"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ab"), ("a*", "ba"), ("*c", "cb"), ("a*a", "a"), ("a*b*c", "acb"), ("", "x")]
        {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn rules_round_trip() {
        let rules = [
            FaultRule::new(Fault::Latency(Duration::from_millis(5))).operation("document.*").skip(1).count(2),
            FaultRule::new(Fault::DropBefore).procedure("p"),
            FaultRule::new(Fault::DropAfter).path("/dbs/*"),
            FaultRule::new(Fault::Status {
                status: 429,
                sub_status: 3200,
                retry_after: Some(Duration::ZERO),
            }),
            FaultRule::new(Fault::RefuseOperations { after: 3 }),
            FaultRule::new(Fault::ClockOffset { milliseconds: -5 }),
        ];
        for rule in rules {
            let parsed = FaultRule::parse(&Value::from(rule.to_object()));
            assert_eq!(parsed, Ok(rule));
        }
    }
}
