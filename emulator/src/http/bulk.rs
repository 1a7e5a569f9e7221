//! Bulk requests: up to 100 operations on partitions of one physical partition, each for itself.

use std::sync::Arc;

use crate::epk;
use crate::error::ServiceError;
use crate::limits::MAX_PAGE_BYTES;
use crate::store::{Container, LogPosition, PartitionKey, Transaction};
use crate::value::Value;

use super::batch::{Done, FAILED_DEPENDENCY};
use super::headers;
use super::reply::{Failure, Reply};
use super::request::Request;
use super::{Answer, Service};

impl Service {
    /// Runs the operations one after another. A failed one does not undo the others; whether those behind it run
    /// is for `x-ms-cosmos-batch-continue-on-error` to say.
    pub(super) async fn bulk(
        &self,
        container: &Arc<Container>,
        operations: &[Value],
        request: &Request,
    ) -> Answer {
        let range = addressed_range(container, request)?;
        let minimal = request.wants_minimal();
        let goes_on = request.flag(headers::BATCH_CONTINUE_ON_ERROR);
        let (mut results, mut pending) = (Vec::with_capacity(operations.len()), Vec::new());
        let (mut units, mut bytes, mut failures) = (0.0, 0, 0);
        let mut position = None;
        for operation in operations {
            if failures > 0 && !goes_on {
                results.push(Done::without_document(FAILED_DEPENDENCY, 0, 0.0).to_value(minimal));
                continue;
            }
            let result = if bytes > MAX_PAGE_BYTES {
                // Not tried: its answer would not be read.
                let error = ServiceError::new(413, 3402, "The response of the batch would be too large.");
                Err((error.into(), 0.0))
            } else {
                match key(container, range, operation, request) {
                    Ok(key) => self.one(container, key, operation).await,
                    Err(error) => Err((error.into(), 0.0)),
                }
            };
            match result {
                Ok((done, at, durable)) => {
                    units += done.charge;
                    failures += usize::from(done.status >= 300);
                    position = Some(at);
                    pending.push(durable);
                    bytes += done.document.as_ref().map_or(0, |document| document.size);
                    results.push(done.to_value(minimal));
                }
                Err((failure, charge)) => {
                    units += charge;
                    failures += 1;
                    results.push(refused(&failure, charge));
                }
            }
        }
        for durable in pending {
            durable.wait().await?;
        }
        let status = if failures == 0 { 200 } else { 207 };
        let reply = Reply::json(status, Value::from(results).to_json()).charge(units);
        Ok(match position {
            Some(position) => reply.at(position),
            None => reply,
        })
    }

    /// Runs an operation as a transaction of its own.
    async fn one(
        &self,
        container: &Arc<Container>,
        key: PartitionKey,
        operation: &Value,
    ) -> Result<(Done, LogPosition, crate::store::Durable), (Failure, f64)> {
        let mut txn = Transaction::begin(container, key).await;
        let permit = self.permit(container, txn.position().range).map_err(|failure| {
            let units = failure.units();
            (failure, units)
        })?;
        let applied = self.apply(&mut txn, operation);
        let charge = txn.charge();
        self.settle(permit, charge);
        let done = applied.map_err(|error| (error.into(), charge))?;
        let committed = txn.commit().map_err(|error| (error.into(), charge))?;
        Ok((Done { charge, ..done }, committed.position, committed.durable))
    }
}

/// The physical partition that the request names; `None` when it names none.
fn addressed_range(container: &Container, request: &Request) -> Result<Option<u32>, ServiceError> {
    let Some(text) = request.header(headers::PARTITION_KEY_RANGE_ID) else { return Ok(None) };
    let id = text.rsplit(',').next().unwrap_or(text).trim();
    let ranges = container.ranges();
    let range = ranges.iter().find(|range| range.id.to_string() == id);
    range.map(|range| Some(range.id)).ok_or_else(gone)
}

fn gone() -> ServiceError {
    ServiceError::new(410, 1002, "The requested partition key range is gone.")
}

/// The partition of an operation, which has to lie in the physical partition that the request went to.
fn key(
    container: &Container,
    range: Option<u32>,
    operation: &Value,
    request: &Request,
) -> Result<PartitionKey, ServiceError> {
    let meta = container.meta();
    let definition = &meta.definition.partition_key;
    let key = match operation.get("partitionKey") {
        // The text of the header; some clients send the array itself.
        Value::String(text) => definition.key(&epk::parse_header(text)?)?,
        array @ Value::Array(_) => definition.key(&epk::parse_header(&array.to_json())?)?,
        _ => request.partition_key(definition)?,
    };
    match range {
        Some(range) if container.position(&key).range != range => Err(gone()),
        _ => Ok(key),
    }
}

fn refused(failure: &Failure, charge: f64) -> Value {
    let error = failure.error();
    let mut result = Done::without_document(error.status, error.sub_status, charge).to_value(true);
    if let Value::Object(members) = &mut result {
        let members = Arc::make_mut(members);
        members.insert("message", Value::from(&*error.message));
        if let Some(wait) = failure.retry_after_ms() {
            members.insert("retryAfterMilliseconds", Value::Number(wait));
        }
    }
    result
}
