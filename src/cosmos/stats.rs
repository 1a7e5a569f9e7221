//! Requests and request units by kind of operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, histogram};

/// What one kind of operation has cost since the provider was made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct OperationStats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Request units charged, as the service reported them (`x-ms-request-charge`).
    pub request_units: f64,
    /// Requests that were answered with an error or not at all.
    pub failed: u64,
}

/// Counters by operation: the name of a stored procedure, or `read`, `query` and the like.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<BTreeMap<&'static str, OperationStats>>);

impl Stats {
    /// A request has been answered with this HTTP status, or not at all: 0.
    pub(crate) fn record(&self, operation: &'static str, status: u16, request_units: f64, took: Duration) {
        let failed = !(1..400).contains(&status);
        counter!("duroxide_cosmos_requests_total", "operation" => operation, "status" => status.to_string())
            .increment(1);
        histogram!("duroxide_cosmos_request_units", "operation" => operation).record(request_units);
        histogram!("duroxide_cosmos_request_seconds", "operation" => operation).record(took);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(operation).or_default();
        entry.requests += 1;
        entry.request_units += request_units;
        entry.failed += u64::from(failed);
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, OperationStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
