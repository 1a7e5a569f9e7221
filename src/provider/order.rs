//! Keeping the order of what one process enqueues.

use std::sync::atomic::{AtomicU64, Ordering};

/// The latest order stamp this process has seen in any partition. Sent with each enqueue, it keeps what is
/// enqueued one after the other in that order, whichever partitions it goes to.
#[derive(Debug, Default)]
pub(crate) struct OrderClock(AtomicU64);

impl OrderClock {
    pub(crate) fn latest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn saw(&self, stamp: Option<u64>) {
        self.0.fetch_max(stamp.unwrap_or(0), Ordering::AcqRel);
    }
}
