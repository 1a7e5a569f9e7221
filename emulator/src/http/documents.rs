//! `/dbs/{db}/colls/{coll}/docs`: single documents and the plain feed.

use std::sync::Arc;

use crate::charge;
use crate::error::ServiceError;
use crate::rid::Leaf;
use crate::store::{Container, Document, LogPosition, Transaction};
use crate::value::Value;

use super::containers::describe;
use super::reply::{Failure, Reply};
use super::request::Request;
use super::route::ContainerPath;
use super::triggers::Triggers;
use super::{Answer, Service};

impl Service {
    pub(super) async fn create_document(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let body = request.json()?;
        let triggers = Triggers::of(&container, request, "Create")?;
        let txn = begin(&container, request).await?;
        let (mut txn, body) = self.before(&triggers, txn, body).await?;
        let document = txn.create(&body).map_err(|error| failed(error, &txn))?;
        let (txn, answer) = self.after(&triggers, txn, &body, Some(&document)).await?;
        finish(txn, Written { status: 201, document: Some(&document), answer }, request).await
    }

    pub(super) async fn upsert_document(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let body = request.json()?;
        let triggers = Triggers::of(&container, request, "Upsert")?;
        let txn = begin(&container, request).await?;
        let (mut txn, body) = self.before(&triggers, txn, body).await?;
        let (document, created) =
            txn.upsert(&body, request.if_match()).map_err(|error| failed(error, &txn))?;
        let status = if created { 201 } else { 200 };
        let (txn, answer) = self.after(&triggers, txn, &body, Some(&document)).await?;
        finish(txn, Written { status, document: Some(&document), answer }, request).await
    }

    pub(super) fn read_document(&self, path: ContainerPath<'_>, id: &str, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let meta = container.meta();
        let key = request.partition_key(&meta.definition.partition_key)?;
        let position = container.position(&key);
        request.check_session(position)?;
        let found = container.read(&key, id).or_else(|| {
            let ordinal = container.rid.ordinal(Leaf::Document, id)?;
            let id = container.snapshot(&key).id_of(ordinal).map(Arc::clone)?;
            container.read(&key, &id)
        });
        let Some(document) = found else {
            return Err(Failure::from(ServiceError::not_found()).charge(charge::read(0)).at(position));
        };
        if request.if_none_match().is_some_and(|etag| document.matches(etag)) {
            return Ok(Reply::empty(304).header("etag", &document.etag).charge(charge::MINIMUM).at(position));
        }
        let reply = Reply::resource(200, &document.value).charge(charge::read(document.size)).at(position);
        Ok(describe(reply, &container))
    }

    pub(super) async fn replace_document(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let body = request.json()?;
        let triggers = Triggers::of(&container, request, "Replace")?;
        let txn = begin(&container, request).await?;
        let id = resolve(&txn, id);
        let (mut txn, body) = self.before(&triggers, txn, body).await?;
        let document = txn.replace(&id, &body, request.if_match()).map_err(|error| failed(error, &txn))?;
        let (txn, answer) = self.after(&triggers, txn, &body, Some(&document)).await?;
        finish(txn, Written { status: 200, document: Some(&document), answer }, request).await
    }

    pub(super) async fn patch_document(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let body = request.json()?;
        Triggers::refuse(request, "patches")?;
        let mut txn = begin(&container, request).await?;
        let id = resolve(&txn, id);
        let patched = self.patch(&mut txn, &id, &body, request.if_match());
        let document = patched.map_err(|error| failed(error, &txn))?;
        finish(txn, Written { status: 200, document: Some(&document), answer: None }, request).await
    }

    pub(super) async fn delete_document(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let triggers = Triggers::of(&container, request, "Delete")?;
        let mut txn = begin(&container, request).await?;
        let id = resolve(&txn, id);
        let mut deleted = Value::Undefined;
        if triggers.any() {
            // The triggers of a deletion see the document as the request's body.
            deleted = txn.visible(&id).map(|document| document.value.clone()).unwrap_or_default();
            (txn, _) = self.before(&triggers, txn, deleted.clone()).await?;
        }
        txn.delete(&id, request.if_match()).map_err(|error| failed(error, &txn))?;
        let (txn, _) = self.after(&triggers, txn, &deleted, None).await?;
        finish(txn, Written { status: 204, document: None, answer: None }, request).await
    }
}

/// Starts the transaction of a request on one partition.
pub(super) async fn begin(
    container: &Arc<Container>,
    request: &Request,
) -> Result<Transaction, ServiceError> {
    let key = request.partition_key(&container.meta().definition.partition_key)?;
    Ok(Transaction::begin(container, key).await)
}

/// An error with what the transaction has cost until then.
pub(super) fn failed(error: ServiceError, txn: &Transaction) -> Failure {
    Failure::from(error).charge(txn.charge().max(charge::MINIMUM)).at(txn.position())
}

/// Commits, and waits until the change is durable.
pub(super) async fn commit(txn: Transaction) -> Result<LogPosition, Failure> {
    let (units, position) = (txn.charge(), txn.position());
    let failed = |error: ServiceError| Failure::from(error).charge(units).at(position);
    let committed = txn.commit().map_err(failed)?;
    committed.durable.wait().await.map_err(failed)?;
    Ok(committed.position)
}

/// What a write is answered with.
struct Written<'a> {
    status: u16,
    document: Option<&'a Document>,
    /// What a post-trigger left of the response body.
    answer: Option<String>,
}

/// Commits a write and answers with the document.
async fn finish(txn: Transaction, written: Written<'_>, request: &Request) -> Answer {
    let Written { status, document, answer } = written;
    let units = txn.charge();
    let container = Arc::clone(txn.container());
    let position = commit(txn).await?;
    let reply = match document {
        Some(document) => match answer {
            Some(text) => Reply::json(status, text).header("etag", &document.etag),
            None => Reply::resource(status, &document.value),
        }
        .minimal(request.wants_minimal()),
        None => Reply::empty(status),
    };
    Ok(describe(reply.charge(units).at(position), &container))
}

/// The id that the last segment of a path means: a name, or the `_rid` of a self link.
fn resolve(txn: &Transaction, segment: &str) -> Arc<str> {
    if txn.visible(segment).is_some() {
        return segment.into();
    }
    txn.container()
        .rid
        .ordinal(Leaf::Document, segment)
        .and_then(|ordinal| txn.id_of(ordinal))
        .unwrap_or_else(|| segment.into())
}
