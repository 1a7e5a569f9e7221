//! `/_emulator/…`: what tests ask of the emulator rather than of the service. Without authorization, and only there
//! when asked for at the start.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::ServiceError;
use crate::faults::FaultRule;
use crate::stats::{Counter, Stats};
use crate::store::{Isolation, SplitError};
use crate::value::{Object, Value};

use super::reply::Reply;
use super::{Answer, Service};

/// What all paths of the control endpoint begin with.
const PREFIX: &str = "/_emulator/";

/// The part of a path that the control endpoint is asked for, if it is asked.
pub(super) fn asked(path: &str) -> Option<String> {
    percent_decode_str(path).decode_utf8_lossy().strip_prefix(PREFIX).map(str::to_owned)
}

impl Service {
    pub(super) async fn control(&self, method: &Method, path: &str, body: &Bytes) -> Answer {
        let segments: Vec<&str> = path.split('/').collect();
        let shared = self.account.shared();
        match (method.as_str(), &segments[..]) {
            ("GET", ["stats"]) => Ok(answer(stats(&self.stats.snapshot()))),
            ("GET", ["requests"]) => {
                let records: Vec<Value> =
                    self.requests.list().iter().map(|record| record.to_value()).collect();
                Ok(answer(object("requests", records.into())))
            }
            ("GET", ["faults"]) => Ok(answer(object("faults", self.rules().into()))),
            ("POST", ["faults"]) => {
                let id = self.faults.add(FaultRule::parse(&parse(body)?)?);
                let mut json = Object::new();
                json.insert("id", number(id));
                Ok(Reply::json(201, Value::from(json).to_json()).charge(0.0))
            }
            ("DELETE", ["faults"]) => {
                self.faults.clear();
                Ok(Reply::empty(204).charge(0.0))
            }
            ("DELETE", ["faults", id]) => {
                if id.parse().is_ok_and(|id| self.faults.remove(id)) {
                    return Ok(Reply::empty(204).charge(0.0));
                }
                Err(ServiceError::not_found().into())
            }
            ("GET", ["clock"]) => Ok(answer(object("offset_ms", offset(shared.clock.offset_ms())))),
            ("PUT", ["clock"]) => {
                let wanted = parse(body)?.get("offset_ms").as_f64().filter(|offset| offset.abs() < 1e15);
                let wanted = wanted.ok_or_else(|| invalid("'offset_ms' must be a number"))?;
                // In range of a clock.
                #[allow(clippy::cast_possible_truncation)]
                shared.clock.set_offset_ms(wanted as i64);
                Ok(answer(object("offset_ms", offset(shared.clock.offset_ms()))))
            }
            ("PUT", ["isolation"]) => {
                let isolation = match parse(body)?.get("isolation").as_str() {
                    Some("serial") => Isolation::Serial,
                    Some("weak") => Isolation::Weak,
                    _ => return Err(invalid("'isolation' must be serial or weak").into()),
                };
                shared.isolation.set(isolation);
                Ok(Reply::empty(204).charge(0.0))
            }
            ("POST", ["split"]) => self.split_range(&parse(body)?).await,
            _ => Err(ServiceError::new(404, 0, format!("The emulator has no '{method} {path}'.")).into()),
        }
    }

    /// `{"database": …, "container": …, "range": "0"}`: answers the ids of the new ranges as `ranges`.
    async fn split_range(&self, wanted: &Value) -> Answer {
        let text = |name| {
            let text = wanted.get(name).as_str();
            text.ok_or_else(|| invalid(&format!("'{name}' must be a text")))
        };
        let range = text("range")?.parse().map_err(|_| invalid("'range' must be the id of a range"))?;
        let split = self.account.split(text("database")?, text("container")?, range).await;
        let (low, high) = split.map_err(|error| {
            let status = match error {
                SplitError::NoSuchContainer | SplitError::NoSuchRange(_) => 404,
                SplitError::TooNarrow(_) => 409,
                SplitError::Storage(_) => 500,
            };
            ServiceError::new(status, 0, format!("The emulator did not split the range: {error}."))
        })?;
        let ids: Vec<Value> = [low, high].iter().map(|id| id.to_string().into()).collect();
        Ok(answer(object("ranges", ids.into())))
    }

    fn rules(&self) -> Vec<Value> {
        let rules = self.faults.list().into_iter().map(|(id, rule, applied)| {
            let mut json = rule.to_object();
            json.insert("id", number(id));
            json.insert("applied", number(applied));
            json.into()
        });
        rules.collect()
    }
}

fn answer(json: Object) -> Reply {
    Reply::json(200, Value::from(json).to_json()).charge(0.0)
}

fn object(name: &str, value: Value) -> Object {
    let mut json = Object::new();
    json.insert(name, value);
    json
}

fn parse(body: &Bytes) -> Result<Value, ServiceError> {
    Value::parse(body).map_err(|error| invalid(&error.to_string()))
}

fn invalid(what: &str) -> ServiceError {
    ServiceError::bad_request(format!("The request to the emulator is not valid: {what}."))
}

fn stats(stats: &Stats) -> Object {
    let counter = |counter: &Counter| {
        let mut json = object("requests", number(counter.requests));
        json.insert("request_units", counter.request_units.into());
        Value::from(json)
    };
    let mut operations = Object::new();
    for (name, count) in &stats.operations {
        operations.insert(*name, counter(count));
    }
    let mut procedures = Object::new();
    for (name, count) in &stats.procedures {
        procedures.insert(name.as_str(), counter(count));
    }
    let mut json = object("operations", operations.into());
    json.insert("procedures", procedures.into());
    json.insert("total", counter(&stats.total()));
    json
}

// Counts are far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> Value {
    Value::Number(count as f64)
}

// Milliseconds of a clock are far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn offset(milliseconds: i64) -> Value {
    Value::Number(milliseconds as f64)
}
