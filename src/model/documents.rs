//! Shapes of documents and of procedure arguments and answers; the other side is `sprocs/types.d.ts`.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Id of the head document of each instance.
pub(crate) const HEAD: &str = "head";
/// Id of the key-value document of each instance that has one.
pub(crate) const KV: &str = "kv";
/// Id of a session's document.
pub(crate) const SESSION: &str = "session";

/// A text where it is, or the document it is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Payload {
    Inline(String),
    Stored {
        #[serde(rename = "ref")]
        id: String,
        /// Which text of that document; only on the way to a commit, which puts it where it belongs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<usize>,
    },
}

impl Payload {
    /// A text with a document of its own.
    pub(crate) fn stored(id: String) -> Self {
        Self::Stored { id, at: None }
    }
}

/// A message for an instance's queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewMessage {
    /// The work item as JSON text.
    pub(crate) item: Payload,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
}

/// A message for another partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OutboxMessage {
    /// The receiving partition.
    pub(crate) to: String,
    pub(crate) message: NewMessage,
}

/// An activity for the worker queue.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewWork {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    /// The work item as JSON text.
    pub(crate) item: Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// A worker that waits takes it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<WorkLock>,
}

/// The events of one commit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewPage {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many events these are: a staged document may hold many.
    pub(crate) count: u64,
    pub(crate) events: Vec<Payload>,
    pub(crate) bytes: u64,
}

/// Stored events.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Page {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) events: Vec<Payload>,
}

/// A change of the key-value state.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KvChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
}

/// A key's value; none if it is cleared.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct KvSlot {
    pub(crate) value: Option<Payload>,
    #[serde(default)]
    pub(crate) at: u64,
}

/// The key-value document.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Kv {
    pub(crate) store: HashMap<String, KvSlot>,
    pub(crate) delta: HashMap<String, KvSlot>,
}

/// The document a long text is in, or many short ones, or a work item.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum TextDocument {
    One { text: String },
    Many { texts: Vec<String> },
    Item { item: Payload },
}

/// What reads need of a head.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) execution: u64,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) name: Option<String>,
    pub(crate) custom_status: Option<Payload>,
    pub(crate) custom_status_version: u64,
    #[serde(default)]
    pub(crate) has_kv: bool,
    #[serde(default)]
    pub(crate) pruning: Pruning,
}

/// Earlier executions that are being removed: ranges, first and last one of each.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Pruning {
    pub(crate) ranges: Vec<(u64, u64)>,
}

impl Pruning {
    /// Whether an execution is no longer there for readers.
    pub(crate) fn hides(&self, execution: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&execution))
    }
}

/// What this process remembers of a head, to know without asking, or with a cheap question, what is new.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadFacts {
    #[serde(alias = "_etag")]
    pub(crate) etag: String,
    /// Grows with every change.
    pub(crate) revision: u64,
    /// Changes when an instance is deleted and made anew.
    pub(crate) incarnation: String,
    pub(crate) execution: u64,
    pub(crate) last_event: u64,
    /// How many events the execution has up to that one.
    pub(crate) events: u64,
    pub(crate) custom_status_version: u64,
    pub(crate) pinned: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
}

/// The history a dispatcher has already.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KnownHistory {
    pub(crate) incarnation: String,
    pub(crate) execution: u64,
    pub(crate) last_event: u64,
}

/// Versions a dispatcher can replay, packed; see `items::packed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct VersionRange {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// What a dispatcher asks for that would take a turn; the argument of `lockTurn`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnRequest {
    pub(crate) lock_id: String,
    pub(crate) lock_ms: u64,
    pub(crate) filter: Option<VersionRange>,
    pub(crate) answer_chars: usize,
    pub(crate) known: Option<KnownHistory>,
}

/// What a worker asks for that would take a work item; the argument of `lockWork`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkRequest {
    pub(crate) work_id: String,
    pub(crate) lock_id: String,
    pub(crate) lock_ms: u64,
}

/// The lock of a work item that is created locked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkLock {
    pub(crate) id: String,
    pub(crate) ms: u64,
}

/// A session's document.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    #[serde(rename = "instanceId")]
    pub(crate) partition: String,
    pub(crate) session: String,
    #[serde(rename = "_etag")]
    pub(crate) etag: String,
}

/// An outbox document.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Outbox {
    pub(crate) id: String,
    /// When it was written, in ms by the server's clock; 0 for one that this process has just written.
    #[serde(rename = "outboxAt")]
    pub(crate) at: f64,
    #[serde(flatten)]
    pub(crate) message: OutboxMessage,
}

/// Argument of `ackTurn`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AckTurn {
    pub(crate) lock_id: String,
    pub(crate) nonce: String,
    pub(crate) after: u64,
    pub(crate) execution: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<NewPage>,
    pub(crate) work: Vec<NewWork>,
    pub(crate) cancelled: Vec<String>,
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) outbox: Vec<OutboxMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pinned: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom_status: Option<NewCustomStatus>,
    pub(crate) kv: Vec<KvChange>,
    /// A dispatcher that waits takes what else there is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<TurnRequest>,
    pub(crate) ended: bool,
    /// Whether parts of it have been staged.
    pub(crate) staged: bool,
}

/// A custom status set, or cleared if it has no text.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewCustomStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Payload>,
}

/// Answer of the procedures that change a queue or a lock.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    pub(crate) status: String,
    /// The server's time, ms.
    pub(crate) now: Option<f64>,
    /// Latest order stamp given in the partition.
    pub(crate) stamp: Option<u64>,
    /// When the changed document next deserves a dispatcher, server ms; absent while somebody holds it.
    pub(crate) ready_at: Option<f64>,
    pub(crate) last_event: Option<u64>,
    /// Holder of a session that could not be claimed, and until when it holds.
    pub(crate) owner: Option<String>,
    pub(crate) until: Option<f64>,
    /// Etag of a session that its owner did not hold before.
    pub(crate) etag: Option<String>,
    /// The head as it is now.
    pub(crate) head: Option<HeadFacts>,
    /// The last event before those of this commit; 0 for a new execution.
    pub(crate) previous: Option<u64>,
    /// Ids of the work items that were created locked.
    #[serde(default)]
    pub(crate) handed: Vec<String>,
    /// The turn that was asked for.
    pub(crate) turn: Option<LockedTurn>,
    /// The work item that was asked for.
    pub(crate) next: Option<LockedWork>,
}

/// A locked turn, or (`status`) why there is none. In the answer of `lockTurn` with the head.
#[derive(Debug, Deserialize)]
pub(crate) struct LockedTurn {
    pub(crate) status: String,
    pub(crate) head: Option<HeadFacts>,
    #[serde(default)]
    pub(crate) messages: Vec<Payload>,
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Pages of the history that the caller does not know.
    #[serde(default)]
    pub(crate) history: Vec<Page>,
    #[serde(default)]
    pub(crate) kv: HashMap<String, KvSlot>,
    #[serde(default)]
    pub(crate) now: f64,
    #[serde(default)]
    pub(crate) until: f64,
}

impl LockedTurn {
    pub(crate) fn term(&self) -> Term {
        Term { now: self.now, until: self.until }
    }
}

/// How long a lock lives, by the server's clock in ms.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Term {
    pub(crate) now: f64,
    pub(crate) until: f64,
}

impl Term {
    /// When the lock ends at the earliest, by the local clock, if it was asked for at `sent`.
    pub(crate) fn end(self, sent: Instant) -> Instant {
        sent + Duration::try_from_secs_f64((self.until - self.now) / 1000.0).unwrap_or_default()
    }
}

/// A locked work item.
#[derive(Debug, Deserialize)]
pub(crate) struct LockedWork {
    pub(crate) item: Payload,
    pub(crate) attempts: u32,
    #[serde(flatten)]
    pub(crate) term: Term,
}

/// Answer of `lockWork`; not ready if there is none.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkAnswer {
    pub(crate) head: Option<HeadFacts>,
    #[serde(flatten)]
    pub(crate) locked: Option<LockedWork>,
}
