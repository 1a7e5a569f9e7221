//! What went wrong with a request, and whether repeating it can help.

use std::fmt;
use std::time::Duration;

use duroxide::providers::ProviderError;

use super::transport::{Response, TransportError};

/// Sub-status of an HTTP 400 with which our procedures say that the service refused one of their operations
/// (`Refused` in `sprocs/lib/store.js`).
const PROCEDURE_REFUSED: u32 = 4001;

/// A request that did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Which operation, such as `ackTurn` or `read`.
    pub(crate) operation: &'static str,
    cause: Cause,
    /// `x-ms-substatus`, 0 if absent.
    pub(crate) sub_status: u32,
    /// `x-ms-retry-after-ms` of a 429.
    pub(crate) retry_after: Option<Duration>,
    activity_id: Option<String>,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// An answer with this HTTP status.
    Status(u16),
    /// No answer.
    NoAnswer,
    /// An answer (or a request of ours) that makes no sense.
    Unexpected,
}

/// What a failure means for the caller. Every request of this crate may be repeated safely (reads are
/// harmless, writes carry a nonce or an etag), so an unknown outcome counts as passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Goes away by itself: repeat.
    Transient,
    /// Repeating cannot help.
    Permanent,
}

impl Failure {
    pub(crate) fn of_answer(operation: &'static str, response: &Response) -> Self {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            operation,
            cause: Cause::Status(response.status().as_u16()),
            sub_status: header("x-ms-substatus").and_then(|text| text.parse().ok()).unwrap_or(0),
            retry_after: header("x-ms-retry-after-ms")
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|ms| ms.is_finite() && *ms >= 0.0)
                .map(|ms| Duration::from_secs_f64(ms / 1000.0)),
            activity_id: header("x-ms-activity-id").map(str::to_owned),
            message: message_of(response.body()),
        }
    }

    pub(crate) fn of_transport(operation: &'static str, error: &TransportError) -> Self {
        Self::without_answer(operation, Cause::NoAnswer, error.to_string())
    }

    /// An answer that should not be possible, such as a procedure's result of another shape.
    pub(crate) fn unexpected(operation: &'static str, message: impl Into<String>) -> Self {
        Self::without_answer(operation, Cause::Unexpected, message.into())
    }

    fn without_answer(operation: &'static str, cause: Cause, message: String) -> Self {
        Self { operation, cause, sub_status: 0, retry_after: None, activity_id: None, message }
    }

    pub(crate) fn is(&self, status: u16) -> bool {
        self.cause == Cause::Status(status)
    }

    /// The resource itself is not there; its container is, and the replica that answers is not behind.
    pub(crate) fn is_not_found(&self) -> bool {
        self.is(404) && self.sub_status == 0
    }

    /// The physical partition a request named is gone, split in two. Requests that name a partition key instead
    /// need only be repeated.
    pub(crate) fn is_stale_range(&self) -> bool {
        self.is(410) && self.sub_status == 1002
    }

    /// Whether the request may have taken effect all the same. One that was throttled has not.
    pub(crate) fn may_have_applied(&self) -> bool {
        self.class() == Class::Transient && !self.is(429)
    }

    pub(crate) fn class(&self) -> Class {
        let status = match self.cause {
            Cause::Status(status) => status,
            Cause::NoAnswer => return Class::Transient,
            Cause::Unexpected => return Class::Permanent,
        };
        match (status, self.sub_status) {
            (408 | 410 | 429 | 449 | 500 | 502 | 503 | 504, _) => Class::Transient,
            // A procedure ran into a concurrent change, a throttle, or a refused operation.
            (400, 409 | 412 | 429 | 449 | PROCEDURE_REFUSED) => Class::Transient,
            // A replica behind the session token, a container still being created, a write region that moves.
            (404, 1002 | 1013) | (403, 3 | 1008) => Class::Transient,
            _ => Class::Permanent,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Status(status) => write!(f, "HTTP {status}/{} {}", self.sub_status, self.message)?,
            Cause::NoAnswer | Cause::Unexpected => f.write_str(&self.message)?,
        }
        match &self.activity_id {
            Some(id) => write!(f, " (activity id {id})"),
            None => Ok(()),
        }
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure.class() {
            Class::Transient => ProviderError::retryable(failure.operation, failure.to_string()),
            Class::Permanent => ProviderError::permanent(failure.operation, failure.to_string()),
        }
    }
}

/// Longest piece of the service's message that goes into ours, in characters.
const MESSAGE_CHARS: usize = 500;

fn message_of(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        message: String,
    }
    let text = serde_json::from_slice::<Envelope>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |envelope| envelope.message);
    text.chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn class(status: u16, sub_status: u32) -> Class {
        #[allow(clippy::unwrap_used)]
        let response = http::Response::builder()
            .status(status)
            .header("x-ms-substatus", sub_status.to_string())
            .body(Bytes::new())
            .unwrap();
        Failure::of_answer("test", &response).class()
    }

    #[test]
    fn what_passes_and_what_stays() {
        for (status, sub_status) in [
            (429, 3200),
            (429, 3084),
            (449, 0),
            (408, 0),
            (410, 1002),
            (410, 1007),
            (503, 0),
            (400, 412),
            (400, 449),
            (400, 4001),
            (404, 1002),
            (403, 3),
        ] {
            assert_eq!(class(status, sub_status), Class::Transient, "{status}/{sub_status}");
        }
        for (status, sub_status) in [
            (400, 0),
            (400, 1001),
            (400, 65535),
            (401, 0),
            (403, 0),
            (404, 0),
            (404, 1003),
            (409, 0),
            (412, 0),
            (413, 0),
        ] {
            assert_eq!(class(status, sub_status), Class::Permanent, "{status}/{sub_status}");
        }
    }
}
