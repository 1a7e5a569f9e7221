//! Logical partitions and the physical ranges they are laid out in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::epk::{Epk, Version};
use crate::error::ServiceError;

use super::document::Document;
use super::partition_key::PartitionKey;

/// The documents of one partition key value. Snapshots share it; a commit copies it only while one is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partition {
    documents: BTreeMap<Arc<str>, Arc<Document>>,
    /// By the counter in `_rid`.
    ids: HashMap<u64, Arc<str>>,
}

impl Partition {
    /// The document `id`, expired or not.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Document>> {
        self.documents.get(id)
    }

    /// The id of the document with this counter.
    pub(crate) fn id_of(&self, ordinal: u64) -> Option<&Arc<str>> {
        self.ids.get(&ordinal)
    }

    /// The documents in the order of their ids, from `after` on.
    pub(crate) fn documents_after(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Document>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.documents.range::<str, _>((start, Unbounded)).map(|(_, document)| document)
    }

    /// The number of documents, expired ones included.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Puts a version in; the version it replaces comes out.
    pub(crate) fn insert(&mut self, document: Arc<Document>) -> Option<Arc<Document>> {
        let old = self.remove(&document.id);
        self.ids.insert(document.ordinal, Arc::clone(&document.id));
        self.documents.insert(Arc::clone(&document.id), document);
        old
    }

    /// Takes a document out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Document>> {
        let old = self.documents.remove(id)?;
        self.ids.remove(&old.ordinal);
        Some(old)
    }
}

/// A physical partition: a range of effective partition keys with a log of its own.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalRange {
    pub(crate) id: u32,
    /// Inclusive.
    pub(crate) min: Epk,
    /// Exclusive.
    pub(crate) max: Epk,
    /// Number of the last commit.
    pub(crate) lsn: u64,
    /// The ranges it came from by splits, the oldest first.
    pub(crate) parents: Vec<u32>,
}

/// The whole space of effective partition keys.
pub(crate) const MIN_EPK: &str = "";
pub(crate) const MAX_EPK: &str = "FF";

/// Hash version 2 clears the two top bits.
const V2_HASHES: u64 = 1 << 62;
/// Hash version 1 has 32 bits.
pub(super) const V1_HASHES: u64 = 1 << 32;

/// Splits the hash space into `count` physical partitions of equal size.
///
/// # Errors
/// Never for the boundaries made here.
pub(crate) fn split_evenly(count: u32, version: Version) -> Result<Vec<PhysicalRange>, ServiceError> {
    let boundary = |index: u32| match index {
        0 => MIN_EPK.to_owned(),
        _ if index == count => MAX_EPK.to_owned(),
        _ => match version {
            Version::V2 => format!("{:016X}{:016X}", V2_HASHES / u64::from(count) * u64::from(index), 0),
            // At most 2^32: exact.
            #[allow(clippy::cast_precision_loss)]
            Version::V1 => encode_number((V1_HASHES / u64::from(count) * u64::from(index)) as f64),
        },
    };
    let parse = |index| {
        Epk::parse(&boundary(index))
            .ok_or_else(|| ServiceError::new(500, 0, "a partition boundary is not hexadecimal"))
    };
    (0..count)
        .map(|id| Ok(PhysicalRange { id, min: parse(id)?, max: parse(id + 1)?, lsn: 0, parents: Vec::new() }))
        .collect()
}

/// The order-preserving number encoding that version 1 keys begin with, in hex.
pub(super) fn encode_number(number: f64) -> String {
    use std::fmt::Write;
    // Non-negative here: setting the sign bit keeps the order above the negative numbers.
    let mut payload = number.to_bits() | (1 << 63);
    let mut text = format!("05{:02X}", payload >> 56);
    payload <<= 8;
    loop {
        let byte = payload >> 56;
        payload <<= 7;
        // The lowest bit of each byte says that more follow.
        let _ = write!(text, "{:02X}", if payload == 0 { byte & 0xFE } else { byte | 1 });
        if payload == 0 {
            return text;
        }
    }
}

/// The range that `key` lies in.
pub(crate) fn range_of<'a>(ranges: &'a [PhysicalRange], key: &PartitionKey) -> Option<&'a PhysicalRange> {
    ranges.iter().rev().find(|range| range.min <= *key.epk())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_encode_as_published() {
        assert_eq!(encode_number(127.0), "05C05FE0");
    }

    #[test]
    fn ranges_cover_the_space() {
        for version in [Version::V1, Version::V2] {
            let ranges = split_evenly(5, version).unwrap();
            assert_eq!(ranges[0].min, Epk::parse(MIN_EPK).unwrap());
            assert_eq!(ranges[4].max, Epk::parse(MAX_EPK).unwrap());
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].max, pair[1].min);
                assert!(pair[0].min < pair[0].max);
            }
        }
    }
}
