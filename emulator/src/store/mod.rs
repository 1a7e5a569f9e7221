//! The databases, containers and documents of the account.

mod account;
mod change_feed;
mod clock;
mod codec;
mod collection;
mod container;
mod definition;
mod document;
mod functions;
mod index;
mod indexing;
mod journal;
#[cfg(feature = "persist")]
mod load;
mod log;
mod offer;
mod partition;
mod partition_key;
mod scope;
mod scripts;
mod search;
mod split;
mod sync;
mod transaction;
mod ttl;

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use account::{Account, Database};
pub(crate) use change_feed::{ChangeFeed, Changes};
pub(crate) use clock::Clock;
pub(crate) use container::{Container, LogPosition};
pub(crate) use definition::{missing, resource_id};
pub(crate) use document::{Document, new_etag};
pub(crate) use functions::ContainerFunctions;
pub(crate) use indexing::IndexingPolicy;
pub(crate) use journal::{Durable, Journal};
pub(crate) use offer::{Offer, Throughput};
pub(crate) use partition::PhysicalRange;
pub(crate) use partition_key::{PartitionKey, PartitionKeyDefinition};
pub(crate) use scope::Scope;
pub(crate) use scripts::{Script, ScriptKind, ScriptRecord, ScriptSettings, TriggerOptions};
pub(crate) use search::{Continuation, Found, Position, Search, Source};
pub use split::SplitError;
pub(crate) use split::next_range_id;
pub(crate) use sync::lock;
pub(crate) use transaction::Transaction;

/// How concurrent transactions of one logical partition see each other.
///
/// The service's documentation is not consistent on this, so both readings are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// One after another: stored procedures, batches and single writes of a partition wait for each other.
    #[default]
    Serial,
    /// Side by side, each from its own snapshot. At the commit only etags that were passed explicitly, and ids
    /// that were created, are checked; a conflict answers 449. Otherwise the last write wins.
    Weak,
}

/// The isolation in force; tests change it while the emulator runs. Transactions keep what they began with.
#[derive(Debug, Default)]
pub(crate) struct IsolationSwitch {
    weak: AtomicBool,
}

impl IsolationSwitch {
    pub(crate) fn get(&self) -> Isolation {
        if self.weak.load(Ordering::Relaxed) { Isolation::Weak } else { Isolation::Serial }
    }

    pub(crate) fn set(&self, isolation: Isolation) {
        self.weak.store(isolation == Isolation::Weak, Ordering::Relaxed);
    }
}

impl From<Isolation> for IsolationSwitch {
    fn from(isolation: Isolation) -> Self {
        let switch = Self::default();
        switch.set(isolation);
        switch
    }
}

/// What all containers of the account share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) isolation: IsolationSwitch,
    pub(crate) scripts: ScriptSettings,
    pub(crate) journal: Journal,
    /// Physical partitions of a new container.
    pub(crate) partitions: u32,
    /// Whether requests beyond the provisioned throughput are refused.
    pub(crate) enforce_throughput: bool,
}
