//! Splits of physical partitions at run time.

use crate::epk::{Epk, Version};
#[cfg(feature = "persist")]
use crate::error::ServiceError;

use super::account::Account;
use super::codec::RangeRecord;
use super::container::Container;
use super::journal::Durable;
use super::partition::{PhysicalRange, V1_HASHES, encode_number};
use super::sync;

/// Why a physical partition was not split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// There is no such database or container.
    #[error("there is no such container")]
    NoSuchContainer,
    /// The container has no physical partition of this id, or not any more.
    #[error("the container has no physical partition {0}")]
    NoSuchRange(u32),
    /// The partition covers a single hash.
    #[error("physical partition {0} is too narrow to be split")]
    TooNarrow(u32),
    /// The data directory failed.
    #[error("the split could not be stored: {0}")]
    Storage(String),
}

impl Account {
    /// Splits a physical partition of a container, and waits until that is durable.
    pub(crate) async fn split(
        &self,
        database: &str,
        container: &str,
        range: u32,
    ) -> Result<(u32, u32), SplitError> {
        let container = self.container(database, container).map_err(|_| SplitError::NoSuchContainer)?;
        let (low, high, durable) = container.split(range)?;
        durable.wait().await.map_err(|error| SplitError::Storage(error.message))?;
        Ok((low, high))
    }
}

impl Container {
    /// Splits a physical partition in the middle of its hashes; returns the ids of the two new ones.
    ///
    /// They go on with the log of the old one, so that what clients know of it (session tokens, positions in the
    /// change feed) holds for both.
    fn split(&self, range: u32) -> Result<(u32, u32, Durable), SplitError> {
        let mut guard = sync::write(&self.state);
        let state = &mut *guard;
        self.check_there().map_err(|_| SplitError::NoSuchContainer)?;
        self.shared.journal.check().map_err(|error| SplitError::Storage(error.message))?;
        let at =
            state.ranges.iter().position(|known| known.id == range).ok_or(SplitError::NoSuchRange(range))?;
        let meta = self.meta();
        let old = &state.ranges[at];
        let middle =
            middle(old, meta.definition.partition_key.version()).ok_or(SplitError::TooNarrow(range))?;
        let low = next_range_id(&state.ranges);
        let high = low + 1;
        let parents: Vec<u32> = old.parents.iter().copied().chain([old.id]).collect();
        let (lsn, min, max) = (old.lsn, old.min.clone(), old.max.clone());
        state.log.split(range, low, high, |(key, _)| *key.epk() < middle);
        let children = [
            PhysicalRange { id: low, min, max: middle.clone(), lsn, parents: parents.clone() },
            PhysicalRange { id: high, min: middle, max, lsn, parents },
        ];
        state.ranges.splice(at..=at, children);
        let writes = vec![self.definition_write(&meta, &state.ranges), self.progress_write(&state.ranges)];
        Ok((low, high, self.shared.journal.append(writes)))
    }
}

/// The number of the next physical partition: ids of former ones are not used again.
pub(crate) fn next_range_id(ranges: &[PhysicalRange]) -> u32 {
    ranges.iter().map(|range| range.id + 1).max().unwrap_or(0)
}

/// The boundary in the middle of the hashes of `range`.
fn middle(range: &PhysicalRange, version: Version) -> Option<Epk> {
    let middle = match version {
        Version::V2 => {
            // 16 bytes decide; hierarchical keys have more behind.
            let top = |epk: &Epk| {
                let mut bytes = [0; 16];
                let count = epk.as_bytes().len().min(16);
                bytes[..count].copy_from_slice(&epk.as_bytes()[..count]);
                u128::from_be_bytes(bytes)
            };
            // Hashes of version 2 have their two top bits clear.
            let (low, high) = (top(&range.min), top(&range.max).min(1 << 126));
            Epk::parse(&format!("{:032X}", low + (high.checked_sub(low)?) / 2))?
        }
        Version::V1 => {
            let (low, high) = (hash_at(&range.min), hash_at(&range.max));
            v1_boundary(low + (high.checked_sub(low)?) / 2)?
        }
    };
    (range.min < middle && middle < range.max).then_some(middle)
}

/// The least hash of version 1 whose key is not below `epk`.
fn hash_at(epk: &Epk) -> u64 {
    let (mut low, mut high) = (0, V1_HASHES);
    while low < high {
        let at = low + (high - low) / 2;
        if v1_boundary(at).is_some_and(|boundary| boundary < *epk) {
            low = at + 1;
        } else {
            high = at;
        }
    }
    low
}

fn v1_boundary(hash: u64) -> Option<Epk> {
    // At most 2^32: exact.
    #[allow(clippy::cast_precision_loss)]
    Epk::parse(&encode_number(hash as f64))
}

/// What is kept of the ranges of a container: nothing while they are as they were made.
pub(super) fn records(ranges: &[PhysicalRange]) -> Vec<RangeRecord> {
    if ranges.iter().all(|range| range.parents.is_empty()) {
        return Vec::new();
    }
    ranges
        .iter()
        .map(|range| RangeRecord {
            id: range.id,
            min: range.min.to_string(),
            max: range.max.to_string(),
            parents: range.parents.clone(),
        })
        .collect()
}

/// The ranges that were kept.
///
/// # Errors
/// 500 when a boundary is not hexadecimal.
#[cfg(feature = "persist")]
pub(super) fn from_records(records: &[RangeRecord]) -> Result<Vec<PhysicalRange>, ServiceError> {
    let parse = |text: &str| {
        Epk::parse(text).ok_or_else(|| ServiceError::new(500, 0, "a partition boundary is not hexadecimal"))
    };
    records
        .iter()
        .map(|record| {
            Ok(PhysicalRange {
                id: record.id,
                min: parse(&record.min)?,
                max: parse(&record.max)?,
                lsn: 0,
                parents: record.parents.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::partition::split_evenly;
    use super::*;

    #[test]
    fn the_middle_halves_the_hashes() {
        let whole = split_evenly(1, Version::V2).unwrap().remove(0);
        assert_eq!(middle(&whole, Version::V2).unwrap(), Epk::parse("20").unwrap());
        let halves = split_evenly(2, Version::V1).unwrap();
        let whole = split_evenly(1, Version::V1).unwrap().remove(0);
        assert_eq!(middle(&whole, Version::V1).unwrap(), halves[0].max);
    }

    #[test]
    fn a_range_can_be_split_until_it_is_one_hash() {
        for (version, most) in [(Version::V2, 126), (Version::V1, 32)] {
            let mut range = split_evenly(1, version).unwrap().remove(0);
            let mut splits = 0;
            while let Some(at) = middle(&range, version) {
                range.max = at;
                splits += 1;
            }
            assert!((most - 1..=most + 1).contains(&splits), "{version:?}: {splits}");
        }
    }
}
