//! Counters of what was asked of the emulator.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::store::lock;

/// Requests and request units since the start.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// By operation, such as `document.read`.
    pub operations: BTreeMap<&'static str, Counter>,
    /// Executions by the id of the stored procedure. These are counted in `operations` as well.
    pub procedures: BTreeMap<String, Counter>,
}

/// A number of requests and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Counter {
    /// Answered requests, failed ones included.
    pub requests: u64,
    /// The sum of their `x-ms-request-charge`.
    pub request_units: f64,
}

impl Stats {
    /// All requests together.
    #[must_use]
    pub fn total(&self) -> Counter {
        self.operations.values().fold(Counter::default(), |mut sum, counter| {
            sum.requests += counter.requests;
            sum.request_units += counter.request_units;
            sum
        })
    }
}

impl Counter {
    fn add(&mut self, charge: f64) {
        self.requests += 1;
        self.request_units += charge;
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Stats>);

impl Recorder {
    /// Counts a request.
    pub(crate) fn record(&self, operation: &'static str, procedure: Option<&str>, charge: f64) {
        let mut stats = lock(&self.0);
        stats.operations.entry(operation).or_default().add(charge);
        if let Some(id) = procedure {
            match stats.procedures.get_mut(id) {
                Some(counter) => counter.add(charge),
                None => stats.procedures.entry(id.to_owned()).or_default().add(charge),
            }
        }
    }

    /// The counters now.
    pub(crate) fn snapshot(&self) -> Stats {
        lock(&self.0).clone()
    }
}
