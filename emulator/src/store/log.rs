//! The order of commits: which document was last written by which commit, for the change feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::epk::Epk;

use super::index::DocumentKey;
use super::partition_key::PartitionKey;

/// The live documents of each physical partition in the order of their last commits.
#[derive(Debug, Default)]
pub(crate) struct Log {
    ranges: BTreeMap<u32, BTreeSet<(u64, DocumentKey)>>,
}

impl Log {
    /// Adds a document written by commit `lsn` of `range`.
    pub(super) fn insert(&mut self, range: u32, lsn: u64, document: DocumentKey) {
        self.ranges.entry(range).or_default().insert((lsn, document));
    }

    /// Takes out a document that is deleted or about to be written again.
    pub(super) fn remove(&mut self, range: u32, lsn: u64, document: &DocumentKey) {
        if let Some(entries) = self.ranges.get_mut(&range) {
            entries.remove(&(lsn, document.clone()));
        }
    }

    /// The documents of `range` written by commit `first` or later ones, with their commits.
    pub(super) fn since(&self, range: u32, first: u64) -> impl Iterator<Item = &(u64, DocumentKey)> {
        let first = (first, (PartitionKey::floor(Epk::min()), Arc::from("")));
        self.ranges.get(&range).into_iter().flat_map(move |entries| entries.range(first.clone()..))
    }

    /// Moves the documents of `range` to the two that it was split into.
    pub(super) fn split(&mut self, range: u32, low: u32, high: u32, is_low: impl Fn(&DocumentKey) -> bool) {
        let entries = self.ranges.remove(&range).unwrap_or_default();
        let (lower, upper) = entries.into_iter().partition(|(_, document)| is_low(document));
        self.ranges.insert(low, lower);
        self.ranges.insert(high, upper);
    }
}
