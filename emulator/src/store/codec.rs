//! Keys and values on disk.
//!
//! | key | value |
//! |---|---|
//! | `a` | JSON: account counters |
//! | `d` + database number | JSON: database |
//! | `c` + container rid | JSON: container |
//! | `p` + container rid | binary: document counter, then the log number of each physical partition |
//! | `s`, `t` or `u` + container rid + counter | JSON: stored procedure, trigger or user-defined function |
//! | `i` + container rid + counter | JSON: document with system properties; then its log number in 8 bytes and a 0 |
//!
//! Numbers are big-endian; a container rid is its 8 bytes.

use serde::{Deserialize, Serialize};

use crate::rid::ContainerRid;
use crate::value::Value;

use super::offer::Offer;
use super::scripts::ScriptKind;

/// Counters of the account.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    pub(crate) databases: u32,
}

/// A database.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DatabaseRecord {
    pub(crate) id: String,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// Number of the last container created.
    pub(crate) containers: u32,
    /// Throughput shared by its containers.
    #[serde(default)]
    pub(crate) offer: Option<Offer>,
}

/// A container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) definition: Value,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// Throughput of its own.
    #[serde(default)]
    pub(crate) offer: Option<Offer>,
    /// The number of physical partitions.
    pub(crate) partitions: u32,
    /// The physical partitions; none where they divide the key space evenly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ranges: Vec<RangeRecord>,
}

/// A physical partition of a container that was split.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RangeRecord {
    pub(crate) id: u32,
    /// Hexadecimal.
    pub(crate) min: String,
    /// Hexadecimal.
    pub(crate) max: String,
    pub(crate) parents: Vec<u32>,
}

/// The parsed kind of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Account,
    Database(u32),
    Container(ContainerRid),
    Progress(ContainerRid),
    Script(ContainerRid, ScriptKind, u64),
    Document(ContainerRid, u64),
}

impl Key {
    /// The bytes on disk.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Key::Account => b"a".to_vec(),
            Key::Database(number) => [b"d".as_slice(), &number.to_be_bytes()].concat(),
            Key::Container(rid) => [b"c".as_slice(), &rid.bytes()].concat(),
            Key::Progress(rid) => [b"p".as_slice(), &rid.bytes()].concat(),
            Key::Script(rid, kind, ordinal) => {
                let kind: &[u8] = match kind {
                    ScriptKind::Procedure => b"s",
                    ScriptKind::Trigger => b"t",
                    ScriptKind::Function => b"u",
                };
                [kind, &rid.bytes(), &ordinal.to_be_bytes()].concat()
            }
            Key::Document(rid, ordinal) => [b"i".as_slice(), &rid.bytes(), &ordinal.to_be_bytes()].concat(),
        }
    }
}

/// The value of a JSON record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// Ends the record of a document with its log number. JSON never ends so; records without are older.
const WITH_LSN: u8 = 0;

/// A document with the number of its commit.
pub(crate) fn encode_document(json: &Value, lsn: u64) -> Vec<u8> {
    let mut bytes = json.to_json().into_bytes();
    bytes.extend(lsn.to_be_bytes());
    bytes.push(WITH_LSN);
    bytes
}

/// The JSON of a document's record, and the number of its commit.
#[cfg(feature = "persist")]
pub(crate) fn decode_document(bytes: &[u8]) -> (&[u8], u64) {
    bytes
        .split_last()
        .filter(|(last, _)| **last == WITH_LSN)
        .and_then(|(_, rest)| rest.split_last_chunk())
        .map_or((bytes, 0), |(json, lsn)| (json, u64::from_be_bytes(*lsn)))
}

/// The document counter and log numbers of a container.
pub(crate) fn encode_progress(ordinal: u64, lsns: impl Iterator<Item = u64>) -> Vec<u8> {
    std::iter::once(ordinal).chain(lsns).flat_map(u64::to_be_bytes).collect()
}
