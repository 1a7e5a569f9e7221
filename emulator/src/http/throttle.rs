//! Enforcement of provisioned throughput: each physical partition may use its share of it, second by second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::ServiceError;
use crate::store::{Container, Continuation, lock};

use super::batch::is_bulk;
use super::headers;
use super::reply::Failure;
use super::request::Request;
use super::route::Operation;

/// What is counted together: a physical partition of a container, or a database whose containers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Budget {
    Range { database: u32, container: u32, range: u32 },
    Database(u32),
}

/// The account of one budget, filled at its rate up to one second's worth.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Below zero when a request cost more than was left: what follows waits for it.
    units: f64,
    filled: Instant,
}

/// All budgets that were used.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<Budget, Bucket>>);

/// A request's permission to run; its charge is settled when it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permit {
    budget: Budget,
}

/// RU/s of a container without an offer, in a database without one.
const UNSPECIFIED: u64 = crate::limits::MIN_THROUGHPUT;

impl Throttle {
    /// Lets a request at a physical partition of `container` run, unless its budget is used up.
    ///
    /// # Errors
    /// 429/3200 with the time to wait.
    pub(crate) fn admit(
        &self,
        container: &Container,
        shared: Option<u64>,
        range: u32,
        now: Instant,
    ) -> Result<Permit, Failure> {
        let (budget, rate) = match (&container.meta().offer, shared) {
            (None, Some(rate)) => (Budget::Database(container.rid.database), float(rate)),
            (offer, _) => {
                let rate = offer.as_ref().map_or(UNSPECIFIED, |offer| offer.throughput.limit());
                let ranges = container.ranges().len().max(1);
                let (database, container) = (container.rid.database, container.rid.container);
                // At most some thousands: exact.
                #[allow(clippy::cast_precision_loss)]
                let share = float(rate) / ranges as f64;
                (Budget::Range { database, container, range }, share)
            }
        };
        let mut buckets = lock(&self.0);
        let bucket = buckets.entry(budget).or_insert(Bucket { units: rate, filled: now });
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        *bucket = Bucket { units: (bucket.units + elapsed * rate).min(rate), filled: now };
        if bucket.units > 0.0 {
            return Ok(Permit { budget });
        }
        let wait = Duration::try_from_secs_f64(-bucket.units / rate).unwrap_or(Duration::from_secs(1));
        // Rounded up, so that the budget is not empty still when the client comes back.
        Err(refusal(wait.as_millis() + 1))
    }

    /// Takes the charge of a request off its budget.
    pub(crate) fn settle(&self, permit: Permit, charge: f64) {
        if let Some(bucket) = lock(&self.0).get_mut(&permit.budget) {
            bucket.units -= charge;
        }
    }
}

fn refusal(milliseconds: u128) -> Failure {
    let error = ServiceError::new(
        429,
        3200,
        "Message: {\"Errors\":[\"Request rate is large. More Request Units may be needed, so no changes were made. \
         Please retry this request later. Learn more: http://aka.ms/cosmosdb-error-429\"]}",
    );
    Failure::from(error).charge(0.38).header(headers::RETRY_AFTER_MS, &milliseconds.to_string())
}

/// The physical partition that a request goes to. Of those that a query over all walks, page by page, it is the one
/// that the continuation names, at the beginning the first.
fn range(container: &Container, request: &Request) -> u32 {
    let definition = &container.meta().definition.partition_key;
    let components = request.partition_key_components().ok().flatten();
    if let Some(key) = components.and_then(|components| definition.key(&components).ok()) {
        return container.position(&key).range;
    }
    let ranges = container.ranges();
    let named = request.header(headers::PARTITION_KEY_RANGE_ID).and_then(|id| id.trim().parse().ok());
    let named = named.or_else(|| request.continuation().and_then(Continuation::range_of));
    let known = ranges.iter().find(|range| Some(range.id) == named).or(ranges.first());
    known.map_or(0, |range| range.id)
}

// RU/s stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(units: u64) -> f64 {
    units as f64
}

impl super::Service {
    /// Permission for a request on documents; a bulk request asks for each of its operations.
    ///
    /// # Errors
    /// 429/3200 when the budget is used up.
    pub(super) fn permit_request(
        &self,
        operation: &Operation<'_>,
        request: &Request,
    ) -> Result<Option<Permit>, Failure> {
        let Some(path) = operation.data_path().filter(|_| self.account.shared().enforce_throughput) else {
            return Ok(None);
        };
        if matches!(operation, Operation::Batch(_)) && is_bulk(request) {
            return Ok(None);
        }
        // What is not there is refused by the operation itself.
        let Ok(container) = self.container(path) else { return Ok(None) };
        let range = range(&container, request);
        self.permit(&container, range)
    }

    /// Permission for a request at one physical partition of `container`; `None` when throughput is not enforced.
    ///
    /// # Errors
    /// 429/3200 when the budget is used up.
    pub(super) fn permit(&self, container: &Arc<Container>, range: u32) -> Result<Option<Permit>, Failure> {
        if !self.account.shared().enforce_throughput {
            return Ok(None);
        }
        let shared = self.account.shared_throughput(container.rid.database);
        self.throttle.admit(container, shared, range, Instant::now()).map(Some)
    }

    /// Settles a request that ran.
    pub(super) fn settle(&self, permit: Option<Permit>, charge: f64) {
        if let Some(permit) = permit {
            self.throttle.settle(permit, charge);
        }
    }
}
