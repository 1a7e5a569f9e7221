//! The part of a container that a request looks at.

use std::sync::Arc;

use crate::epk::Epk;

use super::index::DocumentKey;
use super::partition_key::PartitionKey;

/// One logical partition, or a range of effective partition keys.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    Partition(PartitionKey),
    Range {
        /// Inclusive.
        min: Epk,
        /// Exclusive.
        max: Epk,
    },
}

impl Scope {
    /// Whether the partition `key` lies in it.
    pub(crate) fn contains(&self, key: &PartitionKey) -> bool {
        match self {
            Scope::Partition(only) => only == key,
            Scope::Range { min, max } => min <= key.epk() && key.epk() < max,
        }
    }

    /// Where a scan starts.
    pub(crate) fn first(&self) -> DocumentKey {
        let key = match self {
            Scope::Partition(only) => only.clone(),
            Scope::Range { min, .. } => PartitionKey::floor(min.clone()),
        };
        (key, Arc::from(""))
    }
}
