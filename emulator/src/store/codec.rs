//! Keys and values on disk.
//!
//! | key | value |
//! |---|---|
//! | `a` | JSON: account counters |
//! | `d` + database number | JSON: database |
//! | `c` + container rid | JSON: container |
//! | `p` + container rid | binary: document counter, then the log number of each physical partition |
//! | `s` + container rid + counter | JSON: stored procedure |
//! | `i` + container rid + counter | JSON: document with system properties |
//!
//! Numbers are big-endian; a container rid is its 8 bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::rid::ContainerRid;
use crate::value::Value;

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
    pub(crate) throughput: Option<u64>,
}

/// A container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) definition: Value,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    pub(crate) throughput: u64,
    /// The number of physical partitions.
    pub(crate) partitions: u32,
}

/// A stored procedure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProcedureRecord {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) etag: String,
    pub(crate) ts: i64,
}

/// The parsed kind of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Account,
    Database(u32),
    Container(ContainerRid),
    Progress(ContainerRid),
    Procedure(ContainerRid, u64),
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
            Key::Procedure(rid, ordinal) => [b"s".as_slice(), &rid.bytes(), &ordinal.to_be_bytes()].concat(),
            Key::Document(rid, ordinal) => [b"i".as_slice(), &rid.bytes(), &ordinal.to_be_bytes()].concat(),
        }
    }

    /// Reads a key; `None` for one that this version did not write.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
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
            b's' => Key::Procedure(container()?, ordinal()?),
            b'i' => Key::Document(container()?, ordinal()?),
            _ => return None,
        })
    }
}

/// The value of a JSON record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// Reads a JSON record.
///
/// # Errors
/// When `bytes` are not one.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The document counter and log numbers of a container.
pub(crate) fn encode_progress(ordinal: u64, lsns: impl Iterator<Item = u64>) -> Vec<u8> {
    std::iter::once(ordinal).chain(lsns).flat_map(u64::to_be_bytes).collect()
}

/// Reads what [`encode_progress`] wrote.
pub(crate) fn decode_progress(bytes: &[u8]) -> Option<(u64, Vec<u64>)> {
    let mut numbers =
        bytes.chunks_exact(8).map(|chunk| chunk.try_into().map(u64::from_be_bytes).unwrap_or_default());
    Some((numbers.next()?, numbers.collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        let rid = ContainerRid { database: 3, container: 77 };
        for key in [
            Key::Account,
            Key::Database(9),
            Key::Container(rid),
            Key::Progress(rid),
            Key::Procedure(rid, 5),
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
