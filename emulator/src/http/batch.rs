//! Transactional batches: up to 100 operations on one partition, all or none.

use std::sync::Arc;

use crate::error::ServiceError;
use crate::limits::{MAX_BATCH_OPERATIONS, MAX_PAGE_BYTES};
use crate::store::{Document, Transaction};
use crate::value::{Object, Value};

use super::documents::{begin, commit};
use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::triggers::Triggers;
use super::{Answer, Service};

/// The status of operations that were not the one that failed.
pub(super) const FAILED_DEPENDENCY: u16 = 424;

/// What one operation of a batch came to.
pub(super) struct Done {
    pub(super) status: u16,
    pub(super) sub_status: u32,
    pub(super) charge: f64,
    pub(super) document: Option<Arc<Document>>,
    /// The document is what a read asked for, not an echo of what the client wrote.
    pub(super) read: bool,
    pub(super) etag: Option<Arc<str>>,
}

impl Service {
    /// Runs a batch.
    ///
    /// A batch is atomic also without `x-ms-cosmos-batch-atomic`: the header tells it from the bulk mode of newer
    /// SDKs, which says that it is `False` and addresses a physical partition.
    pub(super) async fn batch(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        Triggers::refuse(request, "batches")?;
        let operations = operations(request)?;
        if is_bulk(request) {
            return self.bulk(&container, &operations, request).await;
        }
        let mut txn = begin(&container, request).await?;
        let before = txn.position();
        let mut done = Vec::with_capacity(operations.len());
        for operation in operations.iter() {
            let spent = txn.charge();
            let result = self.apply(&mut txn, operation);
            let charge = txn.charge() - spent;
            match result {
                Ok(result) => done.push(Done { charge, ..result }),
                Err(error) => {
                    let units = txn.charge();
                    drop(txn);
                    let body = failed_results(operations.len(), done.len(), &error, charge);
                    return Ok(Reply::json(207, body).charge(units).at(before));
                }
            }
        }
        let units = txn.charge();
        let minimal = request.wants_minimal();
        let results: Vec<Value> = done.iter().map(|done| done.to_value(minimal)).collect();
        let body = Value::from(results).to_json();
        if body.len() > MAX_PAGE_BYTES {
            return Err(ServiceError::new(413, 3402, "The response of the batch would be too large.").into());
        }
        let position = commit(txn).await?;
        // As the service: 207 as soon as one status is no success, such as a read that is not modified.
        let status = if done.iter().all(|done| done.status < 300) { 200 } else { 207 };
        Ok(Reply::json(status, body).charge(units).at(position))
    }

    pub(super) fn apply(&self, txn: &mut Transaction, operation: &Value) -> Result<Done, ServiceError> {
        let kind = operation.get("operationType").as_str().unwrap_or_default();
        let body = operation.get("resourceBody");
        let if_match = operation.get("ifMatch").as_str();
        let id = match (operation.get("id").as_str(), body.get("id").as_str()) {
            (Some(id), Some(own)) if id != own && kind != "Patch" => {
                return Err(ServiceError::bad_request(
                    "The id of the operation differs from the id in its body.",
                ));
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => "",
        };
        match kind {
            "Create" => Ok(Done::written(201, txn.create(body)?)),
            "Upsert" => {
                let (document, created) = txn.upsert(body, if_match)?;
                Ok(Done::written(if created { 201 } else { 200 }, document))
            }
            "Replace" => Ok(Done::written(200, txn.replace(id, body, if_match)?)),
            "Patch" => Ok(Done::written(200, self.patch(txn, id, body, if_match)?)),
            "Delete" => {
                txn.delete(id, if_match)?;
                Ok(Done::without_document(204, 0, 0.0))
            }
            "Read" => {
                let document = txn.read(id)?;
                if if_match.is_some_and(|etag| !document.matches(etag)) {
                    return Err(ServiceError::precondition_failed());
                }
                if operation.get("ifNoneMatch").as_str().is_some_and(|etag| document.matches(etag)) {
                    return Ok(Done { document: None, ..Done::written(304, document) });
                }
                Ok(Done { read: true, ..Done::written(200, document) })
            }
            _ => Err(ServiceError::bad_request(format!("The batch operation '{kind}' is not supported."))),
        }
    }
}

impl Done {
    fn written(status: u16, document: Arc<Document>) -> Self {
        let etag = Some(Arc::clone(&document.etag));
        Self { status, sub_status: 0, charge: 0.0, document: Some(document), read: false, etag }
    }

    /// A delete, or an operation that failed or was not tried.
    pub(super) fn without_document(status: u16, sub_status: u32, charge: f64) -> Self {
        Self { status, sub_status, charge, document: None, read: false, etag: None }
    }

    pub(super) fn to_value(&self, minimal: bool) -> Value {
        let mut result = Object::new();
        result.insert("statusCode", f64::from(self.status).into());
        if self.sub_status != 0 {
            result.insert("subStatusCode", f64::from(self.sub_status).into());
        }
        result.insert("requestCharge", ((self.charge * 100.0).round() / 100.0).into());
        if let Some(etag) = &self.etag {
            result.insert("eTag", Value::String(Arc::clone(etag)));
        }
        if let Some(document) = &self.document
            && (self.read || !minimal)
        {
            result.insert("resourceBody", document.value.clone());
        }
        result.into()
    }
}

/// Whether the operations of a batch stand for themselves.
pub(super) fn is_bulk(request: &Request) -> bool {
    let not_atomic =
        request.header(headers::BATCH_ATOMIC).is_some_and(|value| value.trim().eq_ignore_ascii_case("false"));
    not_atomic || request.flag(headers::BATCH_CONTINUE_ON_ERROR)
}

/// The operations in the body of a batch.
fn operations(request: &Request) -> Result<Arc<Vec<Value>>, ServiceError> {
    // The first byte of a HybridRow, in which the .NET SDK writes batches.
    const HYBRID_ROW: u8 = 0x81;
    if request.body.first() == Some(&HYBRID_ROW) {
        return Err(super::unsupported("batches in the binary HybridRow format"));
    }
    let Value::Array(operations) = request.json()? else {
        return Err(ServiceError::bad_request("The body of a batch must be an array of operations."));
    };
    if operations.is_empty() || operations.len() > MAX_BATCH_OPERATIONS {
        return Err(ServiceError::bad_request(format!(
            "Batch request has {} operations; it needs 1 to {MAX_BATCH_OPERATIONS}.",
            operations.len()
        )));
    }
    Ok(operations)
}

fn failed_results(count: usize, failed: usize, error: &ServiceError, charge: f64) -> String {
    let results: Vec<Value> = (0..count)
        .map(|at| {
            let done = if at == failed {
                Done::without_document(error.status, error.sub_status, charge)
            } else {
                Done::without_document(FAILED_DEPENDENCY, 0, 0.0)
            };
            done.to_value(true)
        })
        .collect();
    Value::from(results).to_json()
}
