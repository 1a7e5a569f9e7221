//! A container: its documents, their index, and the commit of transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::error::ServiceError;
use crate::rid::ContainerRid;
use crate::value::{Object, Value};

use super::codec::{self, ContainerRecord, Key};
use super::definition::Definition;
use super::document::Document;
use super::index::{DocumentKey, Index};
use super::journal::{Durable, Write};
use super::log::Log;
use super::offer::Offer;
use super::partition::{Partition, PhysicalRange, range_of};
use super::partition_key::PartitionKey;
use super::scripts::Scripts;
use super::{Shared, split, sync, ttl};

/// Expired documents that one commit removes on the side.
const PURGE_BATCH: usize = 100;

/// A container.
pub(crate) struct Container {
    pub(crate) rid: ContainerRid,
    self_link: String,
    alt_link: String,
    pub(super) shared: Arc<Shared>,
    pub(super) meta: RwLock<Arc<Meta>>,
    pub(super) state: RwLock<State>,
    gates: Mutex<BTreeMap<PartitionKey, Weak<AsyncMutex<()>>>>,
    pub(super) scripts: RwLock<Scripts>,
    /// Counter of the last document or script created.
    pub(super) ordinals: AtomicU64,
    removed: AtomicBool,
}

/// What a client defines and may replace.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) definition: Definition,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// Throughput of its own; `None` where it shares the database's.
    pub(crate) offer: Option<Offer>,
}

/// Everything a commit changes.
pub(super) struct State {
    pub(super) partitions: BTreeMap<PartitionKey, Arc<Partition>>,
    pub(super) index: Index,
    /// When documents expire.
    expiry: BTreeSet<(i64, DocumentKey)>,
    /// What was written last when.
    pub(super) log: Log,
    /// How many there are, expired ones included.
    pub(super) documents: usize,
    pub(super) ranges: Vec<PhysicalRange>,
}

/// What a transaction does to one document.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Arc<Document>),
    Delete,
}

/// What must still hold when a transaction that ran beside others commits.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Absent,
    Etag(Arc<str>),
}

/// The changes of a transaction.
pub(super) struct ChangeSet {
    pub(super) key: PartitionKey,
    pub(super) changes: BTreeMap<Arc<str>, Change>,
    pub(super) conditions: BTreeMap<Arc<str>, Condition>,
}

/// A commit that happened.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Must be waited for before the client is answered.
    pub(crate) durable: Durable,
    pub(crate) position: LogPosition,
}

/// Where a physical partition's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    pub(crate) range: u32,
    pub(crate) lsn: u64,
}

impl LogPosition {
    /// The `x-ms-session-token`.
    pub(crate) fn session_token(self) -> String {
        format!("{}:-1#{}", self.range, self.lsn)
    }
}

impl Container {
    pub(super) fn new(
        rid: ContainerRid,
        database: &str,
        meta: Meta,
        ranges: Vec<PhysicalRange>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            self_link: format!("dbs/{}/colls/{}/", crate::rid::database(rid.database), rid.text()),
            alt_link: format!("dbs/{database}/colls/{}", meta.definition.id),
            rid,
            shared,
            meta: RwLock::new(Arc::new(meta)),
            state: RwLock::new(State {
                partitions: BTreeMap::new(),
                index: Index::default(),
                expiry: BTreeSet::new(),
                log: Log::default(),
                documents: 0,
                ranges,
            }),
            gates: Mutex::default(),
            scripts: RwLock::default(),
            ordinals: AtomicU64::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// `dbs/<rid>/colls/<rid>/`.
    pub(crate) fn self_link(&self) -> &str {
        &self.self_link
    }

    /// `dbs/<name>/colls/<name>`.
    pub(crate) fn alt_link(&self) -> &str {
        &self.alt_link
    }

    /// What the client defined.
    pub(crate) fn meta(&self) -> Arc<Meta> {
        Arc::clone(&sync::read(&self.meta))
    }

    /// What all containers of the account share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The next counter for a `_rid`.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.ordinals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The container's JSON.
    pub(crate) fn to_value(&self) -> Value {
        let meta = self.meta();
        let mut json: Object = meta.definition.members().clone();
        json.insert("_rid", self.rid.text().into());
        json.insert("_self", Value::from(&*self.self_link));
        json.insert("_etag", Value::from(&*meta.etag));
        for feed in ["docs", "sprocs", "triggers", "udfs", "conflicts"] {
            json.insert(format!("_{feed}"), format!("{feed}/").into());
        }
        // Seconds stay far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        json.insert("_ts", Value::Number(meta.ts as f64));
        json.into()
    }

    /// Replaces the definition and rebuilds the index by it.
    ///
    /// # Errors
    /// 404/1003 when the container is gone.
    pub(super) fn replace_meta(&self, meta: Meta) -> Result<Durable, ServiceError> {
        let mut state = sync::write(&self.state);
        self.check_there()?;
        let meta = Arc::new(Meta { offer: self.meta().offer.clone(), ..meta });
        *sync::write(&self.meta) = Arc::clone(&meta);
        let partitions = std::mem::take(&mut state.partitions);
        state.index = Index::default();
        state.expiry.clear();
        for (key, partition) in partitions {
            for document in partition.documents_after(None) {
                state.index_change(&key, None, Some(document), &meta.definition);
            }
            state.partitions.insert(key, partition);
        }
        Ok(self.shared.journal.append(vec![self.definition_write(&meta, &state.ranges)]))
    }

    /// The record of the definition.
    pub(super) fn definition_write(&self, meta: &Meta, ranges: &[PhysicalRange]) -> Write {
        let record = ContainerRecord {
            definition: meta.definition.members().clone().into(),
            etag: meta.etag.clone(),
            ts: meta.ts,
            offer: meta.offer.clone(),
            partitions: u32::try_from(ranges.len()).unwrap_or(u32::MAX),
            ranges: split::records(ranges),
        };
        (Key::Container(self.rid).encode(), Some(codec::encode(&record)))
    }

    /// The record of the counters.
    pub(super) fn progress_write(&self, ranges: &[PhysicalRange]) -> Write {
        let lsns = ranges.iter().map(|range| range.lsn);
        let progress = codec::encode_progress(self.ordinals.load(Ordering::Relaxed), lsns);
        (Key::Progress(self.rid).encode(), Some(progress))
    }

    /// Marks the container deleted and gives the writes that take it off the disk.
    pub(super) fn remove(&self) -> Vec<Write> {
        let state = sync::write(&self.state);
        self.removed.store(true, Ordering::Relaxed);
        let documents = state
            .partitions
            .values()
            .flat_map(|partition| partition.documents_after(None))
            .map(|d| d.ordinal);
        let scripts = sync::read(&self.scripts);
        [Key::Container(self.rid), Key::Progress(self.rid)]
            .into_iter()
            .chain(documents.map(|ordinal| Key::Document(self.rid, ordinal)))
            .chain(scripts.values().map(|script| Key::Script(self.rid, script.kind, script.ordinal)))
            .map(|key| (key.encode(), None))
            .collect()
    }

    /// Whether the container still exists. Under the lock of what is written next, so that nothing of a container
    /// comes to disk after its deletion.
    pub(super) fn check_there(&self) -> Result<(), ServiceError> {
        if self.removed.load(Ordering::Relaxed) { Err(ServiceError::owner_not_found()) } else { Ok(()) }
    }

    /// The physical partitions.
    pub(crate) fn ranges(&self) -> Vec<PhysicalRange> {
        sync::read(&self.state).ranges.clone()
    }

    /// Where the log of the physical partition of `key` stands.
    pub(crate) fn position(&self, key: &PartitionKey) -> LogPosition {
        position(&sync::read(&self.state).ranges, key)
    }

    /// The document `id`, unless it has expired.
    pub(crate) fn read(&self, key: &PartitionKey, id: &str) -> Option<Arc<Document>> {
        let default_ttl = self.meta().definition.default_ttl;
        let now = self.shared.clock.now_s();
        let state = sync::read(&self.state);
        state.partitions.get(key)?.get(id).filter(|document| is_live(document, default_ttl, now)).cloned()
    }

    /// The documents of `key` as they are now.
    pub(crate) fn snapshot(&self, key: &PartitionKey) -> Arc<Partition> {
        sync::read(&self.state).partitions.get(key).cloned().unwrap_or_default()
    }

    /// Looks at the state; commits wait meanwhile.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&sync::read(&self.state))
    }

    /// The number of documents, expired ones that are not removed yet included.
    pub(crate) fn document_count(&self) -> usize {
        sync::read(&self.state).documents
    }

    /// Waits until no other transaction of the partition runs.
    pub(super) async fn enter(&self, key: &PartitionKey) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = sync::lock(&self.gates);
            match gates.get(key).and_then(Weak::upgrade) {
                Some(gate) => gate,
                None => {
                    // Amortised: half of them are gone at least, or the map is small.
                    if gates.len() >= 64 && gates.len().is_power_of_two() {
                        gates.retain(|_, gate| gate.strong_count() > 0);
                    }
                    let gate = Arc::new(AsyncMutex::new(()));
                    gates.insert(key.clone(), Arc::downgrade(&gate));
                    gate
                }
            }
        };
        gate.lock_owned().await
    }

    /// Applies all changes of a transaction, or none.
    ///
    /// # Errors
    /// 449 when a condition no longer holds, 404/1003 when the container is gone, 503 when the disk has failed.
    pub(super) fn commit(&self, set: ChangeSet) -> Result<Committed, ServiceError> {
        let now = self.shared.clock.now_s();
        let mut state = sync::write(&self.state);
        // After the lock: the index must change by the definition that it was built by.
        let meta = self.meta();
        self.check_there()?;
        if set.changes.is_empty() {
            return Ok(Committed { durable: Durable::now(), position: position(&state.ranges, &set.key) });
        }
        self.shared.journal.check()?;
        state.check(&set, &meta.definition, now)?;
        let mut writes = Vec::new();
        let keeps = self.shared.journal.keeps();
        let mut note = |ordinal: u64, document: Option<&Document>| {
            if keeps {
                let bytes = document.map(|document| codec::encode_document(&document.value, document.lsn()));
                writes.push((Key::Document(self.rid, ordinal).encode(), bytes));
            }
        };
        let lsn = position(&state.ranges, &set.key).lsn + 1;
        // Deletions first: a document that changes its id keeps its counter.
        let (deletions, puts): (Vec<_>, Vec<_>) =
            set.changes.into_iter().partition(|(_, change)| matches!(change, Change::Delete));
        for (id, change) in deletions.into_iter().chain(puts) {
            let put = match change {
                Change::Put(document) if document.ts.is_none() => {
                    Some(Arc::new(Arc::unwrap_or_clone(document).stamped(now)))
                }
                Change::Put(document) => Some(document),
                Change::Delete => None,
            };
            let new_ordinal = put.as_ref().map(|document| document.ordinal);
            if let Some(document) = &put {
                let _ = document.lsn.set(lsn);
                note(document.ordinal, Some(document));
            }
            if let Some(old) = state.exchange(&set.key, &id, put, &meta.definition)
                && Some(old.ordinal) != new_ordinal
            {
                note(old.ordinal, None);
            }
        }
        for ordinal in state.purge(now, &meta.definition) {
            note(ordinal, None);
        }
        let position = state.advance(&set.key);
        if keeps {
            writes.push(self.progress_write(&state.ranges));
        }
        Ok(Committed { durable: self.shared.journal.append(writes), position })
    }
}

impl State {
    /// Whether the conditions of a transaction hold now.
    fn check(&self, set: &ChangeSet, definition: &Definition, now: i64) -> Result<(), ServiceError> {
        let partition = self.partitions.get(&set.key);
        for (id, condition) in &set.conditions {
            let current = partition
                .and_then(|partition| partition.get(id))
                .filter(|document| is_live(document, definition.default_ttl, now));
            let holds = match condition {
                Condition::Absent => current.is_none(),
                Condition::Etag(etag) => current.is_some_and(|document| document.etag == *etag),
            };
            if !holds {
                return Err(ServiceError::new(
                    449,
                    0,
                    "Message: {\"Errors\":[\"Conflicting request to resource has been attempted. Retry to avoid \
                     conflicts.\"]}",
                ));
            }
        }
        Ok(())
    }

    #[cfg(feature = "persist")]
    pub(super) fn put(&mut self, key: &PartitionKey, document: Arc<Document>, definition: &Definition) {
        let id = Arc::clone(&document.id);
        self.exchange(key, &id, Some(document), definition);
    }

    /// Puts the new version of a document in place of the old one, or takes it out; gives the old one.
    fn exchange(
        &mut self,
        key: &PartitionKey,
        id: &str,
        new: Option<Arc<Document>>,
        definition: &Definition,
    ) -> Option<Arc<Document>> {
        // One copy of the key for all documents of a partition.
        let key = self.partitions.get_key_value(key).map_or(key, |(known, _)| known).clone();
        let old = match &new {
            Some(document) => {
                let partition = self.partitions.entry(key.clone()).or_default();
                Arc::make_mut(partition).insert(Arc::clone(document))
            }
            None => {
                let partition = self.partitions.get_mut(&key)?;
                // Asked first: `make_mut` would copy a partition that a snapshot shares.
                partition.get(id)?;
                let old = Arc::make_mut(partition).remove(id);
                if partition.is_empty() {
                    self.partitions.remove(&key);
                }
                old
            }
        };
        self.documents = self.documents + usize::from(new.is_some()) - usize::from(old.is_some());
        self.index_change(&key, old.as_deref(), new.as_deref(), definition);
        old
    }

    fn index_change(
        &mut self,
        key: &PartitionKey,
        old: Option<&Document>,
        new: Option<&Document>,
        definition: &Definition,
    ) {
        let Some(document) = new.or(old) else { return };
        let name = (key.clone(), Arc::clone(&document.id));
        let (before, after) = (old.map(|document| &document.value), new.map(|document| &document.value));
        self.index.update(&name, before, after, &definition.indexing);
        if let Some(range) = range_of(&self.ranges, key).map(|range| range.id) {
            if let Some(old) = old {
                self.log.remove(range, old.lsn(), &name);
            }
            if let Some(new) = new {
                self.log.insert(range, new.lsn(), name.clone());
            }
        }
        if let Some(at) = old.and_then(|document| expiry(document, definition.default_ttl)) {
            self.expiry.remove(&(at, name.clone()));
        }
        if let Some(at) = new.and_then(|document| expiry(document, definition.default_ttl)) {
            self.expiry.insert((at, name));
        }
    }

    /// Removes some expired documents; returns their counters.
    fn purge(&mut self, now: i64, definition: &Definition) -> Vec<u64> {
        let expired: Vec<DocumentKey> = self
            .expiry
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(PURGE_BATCH)
            .map(|(_, name)| name.clone())
            .collect();
        expired
            .iter()
            .filter_map(|(key, id)| Some(self.exchange(key, id, None, definition)?.ordinal))
            .collect()
    }

    fn advance(&mut self, key: &PartitionKey) -> LogPosition {
        let at = position(&self.ranges, key);
        let mut lsn = at.lsn;
        if let Some(range) = self.ranges.iter_mut().find(|range| range.id == at.range) {
            range.lsn += 1;
            lsn = range.lsn;
        }
        LogPosition { lsn, ..at }
    }
}

fn position(ranges: &[PhysicalRange], key: &PartitionKey) -> LogPosition {
    range_of(ranges, key)
        .map_or(LogPosition { range: 0, lsn: 0 }, |range| LogPosition { range: range.id, lsn: range.lsn })
}

fn expiry(document: &Document, default_ttl: Option<i64>) -> Option<i64> {
    ttl::expires_at(document.ts?, document.ttl, default_ttl)
}

/// Whether a document is visible at `now`.
pub(super) fn is_live(document: &Document, default_ttl: Option<i64>, now: i64) -> bool {
    expiry(document, default_ttl).is_none_or(|at| at > now)
}
