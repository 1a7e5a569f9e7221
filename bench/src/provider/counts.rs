//! What requests cost.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

/// Requests and what they cost together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// Request units.
    pub(super) units: f64,
    /// Heads and bodies, in both directions.
    pub(super) bytes: u64,
}

/// Costs by kind of request, such as `read` or the name of a stored procedure.
pub(super) type ByOperation = BTreeMap<String, Counts>;

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.units += other.units;
        self.bytes += other.bytes;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            units: self.units - earlier.units,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// All of them together.
pub(super) fn total(counts: &ByOperation) -> Counts {
    let mut sum = Counts::default();
    counts.values().for_each(|each| sum += *each);
    sum
}

/// What was added to `earlier`.
pub(super) fn since(earlier: &ByOperation, mut now: ByOperation) -> ByOperation {
    for (operation, counts) in &mut now {
        *counts = *counts - earlier.get(operation).copied().unwrap_or_default();
    }
    now.retain(|_, counts| counts.requests > 0);
    now
}
