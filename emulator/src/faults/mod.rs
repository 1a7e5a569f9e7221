//! Faults on request, for tests of what clients do about them.

mod log;
mod rule;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::store::lock;

pub(crate) use log::RequestLog;
pub use log::RequestRecord;
pub use rule::{Fault, FaultRule};

/// The connection was dropped on purpose.
///
/// Over a socket the client finds its connection closed. [`Emulator::call`](crate::Emulator::call) has no connection
/// to drop: its answer carries this as an extension, with the status 599, which no service sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// The status of a dropped connection in process.
pub(crate) const DROPPED_STATUS: u16 = 599;

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Whether there are rules at all: nearly always there are none.
    active: AtomicBool,
    rules: Mutex<Vec<(u64, FaultRule, Progress)>>,
    last: std::sync::atomic::AtomicU64,
}

/// How often a rule has matched.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    skipped: u64,
    applied: u64,
}

/// What happens to one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    /// Status, sub-status and when to retry.
    pub(crate) status: Option<(u16, u32, Option<Duration>)>,
    pub(crate) refuse_after: Option<u64>,
    pub(crate) clock_offset_ms: Option<i64>,
}

impl Plan {
    /// Whether anything happens.
    pub(crate) fn is_some(&self) -> bool {
        !self.latency.is_zero()
            || self.drop_before
            || self.drop_after
            || self.status.is_some()
            || self.refuse_after.is_some()
            || self.clock_offset_ms.is_some()
    }

    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Latency(time) => self.latency += *time,
            Fault::DropBefore => self.drop_before = true,
            Fault::DropAfter => self.drop_after = true,
            Fault::Status { status, sub_status, retry_after } => {
                self.status = self.status.or(Some((*status, *sub_status, *retry_after)));
            }
            Fault::RefuseOperations { after } => {
                self.refuse_after = Some(self.refuse_after.map_or(*after, |before| before.min(*after)));
            }
            Fault::ClockOffset { milliseconds } => self.clock_offset_ms = Some(*milliseconds),
        }
    }
}

impl Rules {
    /// Adds a rule; gives its number.
    pub(crate) fn add(&self, rule: FaultRule) -> u64 {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut rules = lock(&self.rules);
        rules.push((id, rule, Progress::default()));
        self.active.store(true, Ordering::Release);
        id
    }

    /// Removes one rule; false when it is gone already.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut rules = lock(&self.rules);
        let before = rules.len();
        rules.retain(|(own, ..)| *own != id);
        self.active.store(!rules.is_empty(), Ordering::Release);
        rules.len() < before
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        let mut rules = lock(&self.rules);
        rules.clear();
        self.active.store(false, Ordering::Release);
    }

    /// The rules with their numbers, and how often each was applied.
    pub(crate) fn list(&self) -> Vec<(u64, FaultRule, u64)> {
        lock(&self.rules).iter().map(|(id, rule, progress)| (*id, rule.clone(), progress.applied)).collect()
    }

    /// What happens to a request, and counts it. All rules that match act together; the first status counts.
    pub(crate) fn plan(&self, operation: &str, procedure: Option<&str>, path: &str) -> Plan {
        let mut plan = Plan::default();
        if !self.active.load(Ordering::Acquire) {
            return plan;
        }
        for (_, rule, progress) in lock(&self.rules).iter_mut() {
            if !rule.matches(operation, procedure, path) {
                continue;
            }
            if progress.skipped < rule.skip {
                progress.skipped += 1;
            } else if rule.count.is_none_or(|most| progress.applied < most) {
                progress.applied += 1;
                plan.add(&rule.fault);
            }
        }
        plan
    }
}
