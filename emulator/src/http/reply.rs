//! Answers before they become HTTP responses.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::charge;
use crate::error::ServiceError;
use crate::faults::{DROPPED_STATUS, Dropped};
use crate::store::LogPosition;
use crate::value::{Object, Value};

use super::headers;

/// What an operation answers.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    body: Bytes,
    charge: f64,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// An error with what the answer carries besides it.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ServiceError,
    charge: f64,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// `additionalErrorInfo` of the body.
    details: Option<Value>,
}

impl Reply {
    /// An answer with a JSON body.
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), charge: charge::MINIMUM, headers: Vec::new() }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self::json(status, Bytes::new())
    }

    /// A resource, with its etag.
    pub(crate) fn resource(status: u16, resource: &Value) -> Self {
        let reply = Self::json(status, resource.to_json());
        match resource.get("_etag").as_str() {
            Some(etag) => reply.header(ETAG.as_str(), etag),
            None => reply,
        }
    }

    /// Leaves out the body, where a client asked for that.
    #[must_use]
    pub(crate) fn minimal(mut self, minimal: bool) -> Self {
        if minimal {
            self.body = Bytes::new();
        }
        self
    }

    /// Sets the request units.
    #[must_use]
    pub(crate) fn charge(mut self, units: f64) -> Self {
        self.charge = units;
        self
    }

    /// Adds a header; a value that cannot be one is left out.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        push(&mut self.headers, name, value);
        self
    }

    /// Adds where the log of the physical partition stands.
    #[must_use]
    pub(crate) fn at(self, position: LogPosition) -> Self {
        self.header(headers::SESSION_TOKEN, &position.session_token())
            .header(headers::LSN, &position.lsn.to_string())
            .header(headers::PARTITION_KEY_RANGE_ID, &position.range.to_string())
    }
}

impl Failure {
    /// Sets the request units.
    #[must_use]
    pub(crate) fn charge(mut self, units: f64) -> Self {
        self.charge = units;
        self
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        push(&mut self.headers, name, value);
        self
    }

    /// Adds where the log of the physical partition stands.
    #[must_use]
    pub(crate) fn at(self, position: LogPosition) -> Self {
        self.header(headers::SESSION_TOKEN, &position.session_token())
            .header(headers::LSN, &position.lsn.to_string())
    }

    /// The request units.
    pub(crate) fn units(&self) -> f64 {
        self.charge
    }

    /// What went wrong.
    pub(crate) fn error(&self) -> &ServiceError {
        &self.error
    }

    /// How long to wait before trying again, where that is known.
    pub(crate) fn retry_after_ms(&self) -> Option<f64> {
        let (_, value) = self.headers.iter().find(|(name, _)| name == headers::RETRY_AFTER_MS)?;
        value.to_str().ok()?.parse().ok()
    }

    /// Sets `additionalErrorInfo`.
    #[must_use]
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The answer on the wire.
    pub(crate) fn into_reply(self, activity_id: &str, uri: &str) -> Reply {
        let mut body = Object::new();
        body.insert("code", self.error.code.into());
        let message = format!("{}\r\nActivityId: {activity_id}, Request URI: {uri}", self.error.message);
        body.insert("message", message.into());
        if let Some(details) = self.details {
            body.insert("additionalErrorInfo", details);
        }
        let mut reply = Reply::json(self.error.status, Value::from(body).to_json()).charge(self.charge);
        reply.headers = self.headers;
        if self.error.sub_status == 0 {
            return reply;
        }
        reply.header(headers::SUB_STATUS, &self.error.sub_status.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        // Refused before any work was done.
        let charge = if matches!(error.status, 401 | 403 | 501) { 0.0 } else { charge::MINIMUM };
        Self { error, charge, headers: Vec::new(), details: None }
    }
}

impl Reply {
    /// The request units.
    pub(crate) fn units(&self) -> f64 {
        self.charge
    }

    /// The HTTP response.
    pub(crate) fn into_response(self, activity_id: &str) -> Response<Bytes> {
        if self.status == DROPPED_STATUS {
            return dropped();
        }
        let has_body = !self.body.is_empty();
        let mut response = Response::new(self.body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let map = response.headers_mut();
        for (name, value) in COMMON {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if has_body {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut own = self.headers;
        push(&mut own, headers::REQUEST_CHARGE, &units_text(self.charge));
        push(&mut own, headers::ACTIVITY_ID, activity_id);
        for (name, value) in own {
            map.insert(name, value);
        }
        response
    }
}

/// Stands for a connection that is closed without an answer.
fn dropped() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(DROPPED_STATUS).unwrap_or(StatusCode::BAD_GATEWAY);
    response.extensions_mut().insert(Dropped);
    response
}

/// Headers of every answer.
const COMMON: [(&str, &str); 3] = [
    (headers::SERVICE_VERSION, concat!("version=cosmos-emulator/", env!("CARGO_PKG_VERSION"))),
    (headers::GATEWAY_VERSION, concat!("version=cosmos-emulator/", env!("CARGO_PKG_VERSION"))),
    (headers::VERSION, "2018-12-31"),
];

/// Two decimals, as the service writes most charges.
fn units_text(units: f64) -> String {
    format!("{}", (units * 100.0).round() / 100.0)
}

fn push(list: &mut Vec<(HeaderName, HeaderValue)>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        list.push((HeaderName::from_static(name), value));
    }
}
