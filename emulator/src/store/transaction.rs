//! Transactions over one logical partition: single writes, batches and runs of stored procedures.
//!
//! A transaction reads from a snapshot of the partition plus its own writes, point reads and queries alike (for
//! queries the service's documentation leaves that open). Nothing of it is visible to others before
//! [`Transaction::commit`],
//! which applies everything or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::charge;
use crate::error::ServiceError;
use crate::value::Value;

use super::Isolation;
use super::container::{Change, ChangeSet, Committed, Condition, Container, LogPosition, Meta, is_live};
use super::document::{Document, document_id};
use super::partition::Partition;
use super::partition_key::PartitionKey;

/// A running transaction. Dropping it rolls back.
pub(crate) struct Transaction {
    pub(super) container: Arc<Container>,
    pub(super) meta: Arc<Meta>,
    pub(super) key: PartitionKey,
    pub(super) snapshot: Arc<Partition>,
    changes: BTreeMap<Arc<str>, Change>,
    /// The snapshot with the changes, since the last write made it obsolete.
    view: Option<Arc<Partition>>,
    conditions: BTreeMap<Arc<str>, Condition>,
    /// Its time: what has expired by then is invisible.
    pub(super) now: i64,
    stamp: bool,
    charge: f64,
    partition_key_text: String,
    /// Held so that transactions of a partition run one after another.
    _gate: Option<OwnedMutexGuard<()>>,
}

/// The request units of a failed write: the service does not publish them.
const FAILED_WRITE: f64 = 1.24;

impl Transaction {
    /// Starts a transaction, after waiting for its turn when the isolation is serial.
    pub(crate) async fn begin(container: &Arc<Container>, key: PartitionKey) -> Self {
        let gate = match container.shared().isolation.get() {
            Isolation::Serial => Some(container.enter(&key).await),
            Isolation::Weak => None,
        };
        let meta = container.meta();
        Self {
            container: Arc::clone(container),
            partition_key_text: meta.definition.partition_key.script_text(),
            meta,
            snapshot: container.snapshot(&key),
            key,
            changes: BTreeMap::new(),
            view: None,
            conditions: BTreeMap::new(),
            now: container.shared().clock.now_s(),
            stamp: true,
            charge: 0.0,
            _gate: gate,
        }
    }

    /// Leaves `_ts` to the commit: inside a run of a procedure documents have none.
    #[must_use]
    pub(crate) fn stamped_at_commit(mut self) -> Self {
        self.stamp = false;
        self
    }

    /// The request units used so far.
    pub(crate) fn charge(&self) -> f64 {
        self.charge
    }

    /// Adds request units that the transaction does not know of.
    pub(crate) fn add_charge(&mut self, units: f64) {
        self.charge += units;
    }

    /// Where the log of its physical partition stands.
    pub(crate) fn position(&self) -> LogPosition {
        self.container.position(&self.key)
    }

    /// The container it runs in.
    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// What `getPartitionKeyDefinition()` gives.
    pub(super) fn partition_key_text(&self) -> &str {
        &self.partition_key_text
    }

    /// Makes the changes visible, all or none.
    ///
    /// # Errors
    /// 449 when weakly isolated work got in between; see [`Container::commit`] for the others.
    pub(crate) fn commit(self) -> Result<Committed, ServiceError> {
        let Self { container, key, snapshot, changes, view, conditions, _gate, .. } = self;
        // Given back first, or the commit would copy the partition.
        drop((snapshot, view));
        container.commit(ChangeSet { key, changes, conditions })
    }

    /// The visible version of `id`: its own write, else the snapshot's.
    pub(crate) fn visible(&self, id: &str) -> Option<Arc<Document>> {
        match self.changes.get(id) {
            Some(Change::Put(document)) => Some(Arc::clone(document)),
            Some(Change::Delete) => None,
            None => self
                .snapshot
                .get(id)
                .filter(|document| is_live(document, self.meta.definition.default_ttl, self.now))
                .cloned(),
        }
    }

    /// The id of the document with this `_rid` counter, own writes included.
    pub(crate) fn id_of(&self, ordinal: u64) -> Option<Arc<str>> {
        let own = self.changes.values().find_map(|change| match change {
            Change::Put(document) if document.ordinal == ordinal => Some(Arc::clone(&document.id)),
            _ => None,
        });
        own.or_else(|| self.snapshot.id_of(ordinal).cloned())
    }

    /// The documents that queries and feeds see, own writes included: Microsoft's sample that deletes in bulk
    /// queries again after each page and goes on until nothing is left.
    pub(super) fn view(&mut self) -> Arc<Partition> {
        if self.changes.is_empty() {
            return Arc::clone(&self.snapshot);
        }
        let (snapshot, changes) = (&self.snapshot, &self.changes);
        let view = self.view.get_or_insert_with(|| {
            let mut partition = Partition::clone(snapshot);
            // Deletions first: a document that changed its id is in both.
            for (id, change) in changes {
                if matches!(change, Change::Delete) {
                    partition.remove(id);
                }
            }
            for change in changes.values() {
                if let Change::Put(document) = change {
                    partition.insert(Arc::clone(document));
                }
            }
            Arc::new(partition)
        });
        Arc::clone(view)
    }

    /// Reads a document and charges for it.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn read(&mut self, id: &str) -> Result<Arc<Document>, ServiceError> {
        let found = self.visible(id);
        self.charge += charge::read(found.as_ref().map_or(0, |document| document.size));
        found.ok_or_else(ServiceError::not_found)
    }

    /// Creates a document.
    ///
    /// # Errors
    /// 400 for a bad body, 400/1001 for one of another partition, 409 when the id is taken, 413 when too large.
    pub(crate) fn create(&mut self, body: &Value) -> Result<Arc<Document>, ServiceError> {
        self.write(|txn| {
            let id = document_id(body)?;
            txn.check_partition(body)?;
            if txn.visible(&id).is_some() {
                return Err(ServiceError::conflict());
            }
            let document = txn.put(body, txn.container.next_ordinal())?;
            txn.expect(&id, Condition::Absent);
            Ok(document)
        })
    }

    /// Creates or replaces a document; `true` when it was created. An etag counts only for a document that exists.
    ///
    /// # Errors
    /// As for [`Self::create`], but 412 when `if_match` names another version instead of 409.
    pub(crate) fn upsert(
        &mut self,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<(Arc<Document>, bool), ServiceError> {
        self.write(|txn| {
            let id = document_id(body)?;
            txn.check_partition(body)?;
            match txn.visible(&id) {
                Some(old) => {
                    txn.check_etag(&old, if_match)?;
                    Ok((txn.put(body, old.ordinal)?, false))
                }
                None => Ok((txn.put(body, txn.container.next_ordinal())?, true)),
            }
        })
    }

    /// Replaces a document.
    ///
    /// # Errors
    /// 404 when there is none, 412 when `if_match` names another version, 400 for a bad body, 409 for another id
    /// that is taken.
    pub(crate) fn replace(
        &mut self,
        id: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Arc<Document>, ServiceError> {
        self.write(|txn| {
            let new_id = document_id(body)?;
            txn.check_partition(body)?;
            let old = txn.visible(id).ok_or_else(ServiceError::not_found)?;
            txn.check_etag(&old, if_match)?;
            if *new_id == *id {
                return txn.put(body, old.ordinal);
            }
            txn.rename(&old, &new_id, body)
        })
    }

    /// A replacement under another id, which the service allows: the `_rid` stays.
    fn rename(&mut self, old: &Document, id: &str, body: &Value) -> Result<Arc<Document>, ServiceError> {
        if self.visible(id).is_some() {
            return Err(ServiceError::conflict());
        }
        let before = self.changes.insert(Arc::clone(&old.id), Change::Delete);
        match self.put(body, old.ordinal) {
            Ok(document) => {
                self.expect(&document.id, Condition::Absent);
                Ok(document)
            }
            Err(error) => {
                match before {
                    Some(change) => self.changes.insert(Arc::clone(&old.id), change),
                    None => self.changes.remove(&old.id),
                };
                Err(error)
            }
        }
    }

    /// Deletes a document.
    ///
    /// # Errors
    /// 404 when there is none, 412 when `if_match` names another version.
    pub(crate) fn delete(&mut self, id: &str, if_match: Option<&str>) -> Result<(), ServiceError> {
        self.write(|txn| {
            let old = txn.visible(id).ok_or_else(ServiceError::not_found)?;
            txn.check_etag(&old, if_match)?;
            txn.charge += charge::delete(&old.value, old.size, &txn.meta.definition.indexing);
            txn.changes.insert(Arc::clone(&old.id), Change::Delete);
            Ok(())
        })
    }

    /// Charges for a write that failed, too.
    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        self.view = None;
        let result = write(self);
        if result.is_err() {
            self.charge += FAILED_WRITE;
        }
        result
    }

    fn put(&mut self, body: &Value, ordinal: u64) -> Result<Arc<Document>, ServiceError> {
        let ts = self.stamp.then_some(self.now);
        let document =
            Arc::new(Document::new(body, self.container.rid, self.container.self_link(), ordinal, ts)?);
        self.check_unique_keys(&document)?;
        let replaces = self.visible(&document.id).is_some();
        self.charge +=
            charge::write(&document.value, document.size, &self.meta.definition.indexing, replaces);
        self.changes.insert(Arc::clone(&document.id), Change::Put(Arc::clone(&document)));
        Ok(document)
    }

    fn check_partition(&self, body: &Value) -> Result<(), ServiceError> {
        if self.meta.definition.partition_key.key_of(body)? == self.key {
            return Ok(());
        }
        Err(ServiceError::new(
            400,
            1001,
            "PartitionKey extracted from document doesn't match the one specified in the header. Learn more: \
             https://aka.ms/CosmosDB/sql/errors/wrong-pk-value",
        ))
    }

    fn check_etag(&mut self, old: &Document, if_match: Option<&str>) -> Result<(), ServiceError> {
        let Some(etag) = if_match else { return Ok(()) };
        if !old.matches(etag) {
            return Err(ServiceError::precondition_failed());
        }
        self.expect(&old.id, Condition::Etag(Arc::clone(&old.etag)));
        Ok(())
    }

    /// Remembers what a commit beside others has to find, unless this transaction wrote the document before.
    fn expect(&mut self, id: &Arc<str>, condition: Condition) {
        let written_before = match &condition {
            // The version to be replaced is this transaction's own.
            Condition::Etag(etag) => {
                matches!(self.changes.get(id), Some(Change::Put(own)) if own.etag == *etag)
            }
            // It was there and this transaction deleted it.
            Condition::Absent => self.snapshot.get(id).is_some(),
        };
        if !written_before {
            self.conditions.entry(Arc::clone(id)).or_insert(condition);
        }
    }

    fn check_unique_keys(&self, document: &Document) -> Result<(), ServiceError> {
        let keys = &self.meta.definition.unique_keys;
        if keys.is_empty() {
            return Ok(());
        }
        let at = |value: &Value, path: &[String]| {
            path.iter().fold(value.clone(), |value, name| value.get(name).clone())
        };
        let same = |other: &Document| {
            other.id != document.id
                && keys
                    .iter()
                    .any(|paths| paths.iter().all(|path| at(&other.value, path) == at(&document.value, path)))
        };
        let stored = self.snapshot.documents_after(None).map(|document| &document.id);
        let own = self.changes.keys();
        if stored.chain(own).filter_map(|id| self.visible(id)).any(|other| same(&other)) {
            return Err(ServiceError::new(
                409,
                3301,
                "Message: {\"Errors\":[\"Unique index constraint violation.\"]}",
            ));
        }
        Ok(())
    }
}
