//! The last requests, as a test looks at them.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::store::lock;
use crate::value::{Object, Value};

/// A request that was answered, or dropped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// Counts from 1.
    pub number: u64,
    /// HTTP method.
    pub method: String,
    /// Path, encoded as it came.
    pub path: String,
    /// The kind of operation as in [`Stats::operations`](crate::Stats).
    pub operation: &'static str,
    /// The stored procedure that was executed.
    pub procedure: Option<String>,
    /// HTTP status of the answer; 599 for a dropped connection.
    pub status: u16,
    /// `x-ms-substatus` of the answer; 0 for none.
    pub sub_status: u32,
    /// Request units.
    pub request_units: f64,
    /// Time until the answer in milliseconds.
    pub milliseconds: f64,
    /// `x-ms-activity-id` of the answer.
    pub activity_id: String,
    /// Whether a fault befell it.
    pub faulted: bool,
}

impl RequestRecord {
    /// The record as the control endpoint shows it.
    pub(crate) fn to_value(&self) -> Value {
        let mut json = Object::new();
        json.insert("number", super::rule::count(self.number));
        json.insert("method", Value::from(&*self.method));
        json.insert("path", Value::from(&*self.path));
        json.insert("operation", self.operation.into());
        json.insert("procedure", self.procedure.as_deref().map_or(Value::Undefined, Value::from));
        json.insert("status", f64::from(self.status).into());
        json.insert("sub_status", f64::from(self.sub_status).into());
        json.insert("request_units", self.request_units.into());
        json.insert("milliseconds", self.milliseconds.into());
        json.insert("activity_id", Value::from(&*self.activity_id));
        json.insert("faulted", Value::Bool(self.faulted));
        json.into()
    }
}

/// A ring of the last requests.
#[derive(Debug)]
pub(crate) struct RequestLog {
    capacity: usize,
    ring: Mutex<(u64, VecDeque<RequestRecord>)>,
}

impl RequestLog {
    /// A log of `capacity` requests; none is kept with 0.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ring: Mutex::default() }
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Keeps a record, and sets its number.
    pub(crate) fn push(&self, record: RequestRecord) {
        let (last, ring) = &mut *lock(&self.ring);
        *last += 1;
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(RequestRecord { number: *last, ..record });
    }

    /// The records, the oldest first.
    pub(crate) fn list(&self) -> Vec<RequestRecord> {
        lock(&self.ring).1.iter().cloned().collect()
    }
}
