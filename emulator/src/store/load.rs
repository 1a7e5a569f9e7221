//! Reading back what a former run left on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;

use crate::error::ServiceError;
use crate::rid::ContainerRid;
use crate::value::Value;

use super::account::{Account, Database};
use super::codec::{self, AccountRecord, ContainerRecord, DatabaseRecord, Key};
use super::container::{Container, Meta};
use super::definition::Definition;
use super::document::Document;
use super::partition::split_evenly;
use super::scripts::{Script, ScriptKind, ScriptRecord};
use super::{split, sync, ttl};

/// What a container is loaded with.
#[derive(Debug, Default)]
struct Loaded {
    documents: Vec<Document>,
    scripts: Vec<(ScriptKind, u64, ScriptRecord)>,
    progress: Option<(u64, Vec<u64>)>,
}

impl Account {
    /// Fills the account from disk.
    ///
    /// # Errors
    /// A description of the first entry that cannot be read.
    pub(crate) fn load(&self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), String> {
        let mut databases: BTreeMap<u32, DatabaseRecord> = BTreeMap::new();
        let mut containers: BTreeMap<ContainerRid, (Option<ContainerRecord>, Loaded)> = BTreeMap::new();
        for (key, value) in entries {
            let broken = |error: &dyn std::fmt::Display| format!("entry {key:02X?}: {error}");
            match Key::decode(&key).ok_or_else(|| broken(&"unknown kind"))? {
                Key::Account => {
                    let record: AccountRecord = decode(&value).map_err(|error| broken(&error))?;
                    self.last_database.store(record.databases, Ordering::Relaxed);
                }
                Key::Database(number) => {
                    databases.insert(number, decode(&value).map_err(|error| broken(&error))?);
                }
                Key::Container(rid) => {
                    let record = decode(&value).map_err(|error| broken(&error))?;
                    containers.entry(rid).or_default().0 = Some(record);
                }
                Key::Progress(rid) => {
                    let progress = decode_progress(&value).ok_or_else(|| broken(&"too short"))?;
                    containers.entry(rid).or_default().1.progress = Some(progress);
                }
                Key::Script(rid, kind, ordinal) => {
                    let record = decode(&value).map_err(|error| broken(&error))?;
                    containers.entry(rid).or_default().1.scripts.push((kind, ordinal, record));
                }
                Key::Document(rid, ordinal) => {
                    let (text, lsn) = codec::decode_document(&value);
                    let json = Value::parse(text).map_err(|error| broken(&error))?;
                    let document = Document::load(json, ordinal, text.len(), lsn)
                        .ok_or_else(|| broken(&"no document"))?;
                    containers.entry(rid).or_default().1.documents.push(document);
                }
            }
        }
        for (number, record) in databases {
            let database = Arc::new(Database::new(number, record));
            sync::write(&self.databases).insert(database.id(), database);
        }
        for (rid, (record, loaded)) in containers {
            let record = record.ok_or_else(|| format!("container {} has no definition", rid.text()))?;
            self.load_container(rid, record, loaded).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn load_container(
        &self,
        rid: ContainerRid,
        record: ContainerRecord,
        loaded: Loaded,
    ) -> Result<(), ServiceError> {
        let database = sync::read(&self.databases)
            .values()
            .find(|database| database.number == rid.database)
            .cloned()
            .ok_or_else(ServiceError::owner_not_found)?;
        let definition = Definition::parse(&record.definition)?;
        let ranges = if record.ranges.is_empty() {
            split_evenly(record.partitions, definition.partition_key.version())?
        } else {
            split::from_records(&record.ranges)?
        };
        let name = definition.id.clone();
        let meta = Meta { definition, etag: record.etag, ts: record.ts, offer: record.offer };
        let container = Container::new(rid, &database.id(), meta, ranges, Arc::clone(&self.shared));
        container.load(loaded)?;
        sync::write(&database.containers).insert(name, Arc::new(container));
        Ok(())
    }
}

impl Container {
    /// Fills the container from disk. Documents that no longer fit the definition cannot occur and are refused.
    fn load(&self, loaded: Loaded) -> Result<(), ServiceError> {
        let meta = self.meta();
        let mut state = sync::write(&self.state);
        let mut last = 0;
        for document in loaded.documents {
            last = last.max(document.ordinal);
            let key = meta.definition.partition_key.key_of(&document.value)?;
            state.put(&key, Arc::new(document), &meta.definition);
        }
        let mut scripts = sync::write(&self.scripts);
        for (kind, ordinal, record) in loaded.scripts {
            last = last.max(ordinal);
            scripts.insert((kind, record.id.clone()), Arc::new(Script::new(kind, ordinal, record)));
        }
        if let Some((ordinal, lsns)) = loaded.progress {
            last = last.max(ordinal);
            for (range, lsn) in state.ranges.iter_mut().zip(lsns) {
                range.lsn = lsn;
            }
        }
        self.ordinals.store(last, Ordering::Relaxed);
        Ok(())
    }
}

impl Document {
    /// Rebuilds a document from its stored JSON; `None` when that is not one.
    fn load(value: Value, ordinal: u64, size: usize, lsn: u64) -> Option<Self> {
        let id = value.get("id").as_str()?.into();
        let etag = value.get("_etag").as_str()?.into();
        // Whole seconds of this era.
        #[allow(clippy::cast_possible_truncation)]
        let ts = Some(value.get("_ts").as_f64()? as i64);
        let ttl = ttl::parse(value.get("ttl"), "ttl").ok()?;
        Some(Self { id, ordinal, etag, ts, ttl, value, size, lsn: lsn.into() })
    }
}

impl Key {
    /// Reads a key; `None` for one that this version did not write.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let container = || {
            let database = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
            let container = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?) & !0x8000_0000;
            Some(ContainerRid { database, container })
        };
        let ordinal = || Some(u64::from_be_bytes(rest.get(8..16)?.try_into().ok()?));
        Some(match kind {
            b'a' => Key::Account,
            b'd' => Key::Database(u32::from_be_bytes(rest.try_into().ok()?)),
            b'c' => Key::Container(container()?),
            b'p' => Key::Progress(container()?),
            b's' => Key::Script(container()?, ScriptKind::Procedure, ordinal()?),
            b't' => Key::Script(container()?, ScriptKind::Trigger, ordinal()?),
            b'u' => Key::Script(container()?, ScriptKind::Function, ordinal()?),
            b'i' => Key::Document(container()?, ordinal()?),
            _ => return None,
        })
    }
}

/// Reads a JSON record.
///
/// # Errors
/// When `bytes` are not one.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// Reads what [`encode_progress`] wrote.
fn decode_progress(bytes: &[u8]) -> Option<(u64, Vec<u64>)> {
    let mut numbers =
        bytes.chunks_exact(8).map(|chunk| chunk.try_into().map(u64::from_be_bytes).unwrap_or_default());
    Some((numbers.next()?, numbers.collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::codec::encode_progress;
    use super::*;

    #[test]
    fn keys_round_trip() {
        let rid = ContainerRid { database: 3, container: 77 };
        for key in [
            Key::Account,
            Key::Database(9),
            Key::Container(rid),
            Key::Progress(rid),
            Key::Script(rid, ScriptKind::Procedure, 5),
            Key::Script(rid, ScriptKind::Trigger, 6),
            Key::Script(rid, ScriptKind::Function, 7),
            Key::Document(rid, u64::MAX >> 4),
        ] {
            assert_eq!(Key::decode(&key.encode()), Some(key));
        }
        assert_eq!(Key::decode(b"x"), None);
        assert_eq!(Key::decode(b""), None);
    }

    #[test]
    fn progress_round_trips() {
        let bytes = encode_progress(7, [1, 2].into_iter());
        assert_eq!(decode_progress(&bytes), Some((7, vec![1, 2])));
    }
}
