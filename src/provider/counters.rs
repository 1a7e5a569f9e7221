//! What the provider saved itself, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the provider was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Turns handed to a dispatcher by the request that made them ready.
    pub turns_handed_over: u64,
    /// Activities handed to a worker by the request that made them ready, or that completed another one.
    pub work_handed_over: u64,
    /// Locks given back because their dispatcher had gone.
    pub given_back: u64,
    /// Reads of an instance answered without a request.
    pub reads_from_cache: u64,
    /// Reads answered by "not changed" (304, 1 request unit).
    pub reads_not_changed: u64,
    /// Histories of which at least the beginning was known here.
    pub history_hits: u64,
    /// Histories read from their first event.
    pub history_misses: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counting {
    turns_handed_over: AtomicU64,
    work_handed_over: AtomicU64,
    given_back: AtomicU64,
    reads_from_cache: AtomicU64,
    reads_not_changed: AtomicU64,
    history_hits: AtomicU64,
    history_misses: AtomicU64,
}

impl Counting {
    pub(crate) fn turn_handed(&self) {
        self.turns_handed_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn work_handed(&self) {
        self.work_handed_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gave_back(&self) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_from_cache(&self) {
        self.reads_from_cache.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_not_changed(&self) {
        self.reads_not_changed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn history(&self, hit: bool) {
        let counter = if hit { &self.history_hits } else { &self.history_misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn looked(&self, _took: Duration) {}

    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            turns_handed_over: read(&self.turns_handed_over),
            work_handed_over: read(&self.work_handed_over),
            given_back: read(&self.given_back),
            reads_from_cache: read(&self.reads_from_cache),
            reads_not_changed: read(&self.reads_not_changed),
            history_hits: read(&self.history_hits),
            history_misses: read(&self.history_misses),
        }
    }
}
