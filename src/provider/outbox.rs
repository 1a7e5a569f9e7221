//! Messages to other partitions: written with the turn that sends them, delivered right after it, and by the
//! reconciler if that did not happen. The receiver applies each once, however often it comes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use duroxide::providers::ProviderError;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::json;

use super::{Inner, millis};
use crate::cosmos::client::Query;
use crate::model::documents::{NewMessage, Outbox, OutboxMessage, Payload};

/// How long a receiver remembers what it has applied. The sender's copy is gone long before: it lives until
/// the first delivery that is heard of.
const MARK_SECONDS: u32 = 7 * 24 * 3600;

/// A commit waits so long for its messages to arrive, so that normally a child is there when its parent's
/// turn returns. Slow receivers are served after that, in the background.
const DELIVERY_WAIT: Duration = Duration::from_secs(1);

/// Messages of a sender that are loaded, or settled, at once.
const PAGE: usize = 100;

/// Rows of what was left, senders and deletions, that are loaded at once, without the messages.
const ROWS: usize = 1000;

/// Senders and deletions that are reconciled at once: one that waits for somebody unreachable holds up few others.
const AT_ONCE: usize = 16;

impl Inner {
    /// Delivers what a commit has just written, in a task of its own: a dropped acknowledgement must not
    /// delay it. Failures are left to the reconciler.
    pub(super) async fn deliver_fresh(
        self: &Arc<Self>,
        partition: &str,
        lock: &str,
        messages: Vec<OutboxMessage>,
    ) {
        if messages.is_empty() {
            return;
        }
        let messages = messages.into_iter().enumerate().map(|(i, message)| Outbox {
            id: format!("o:{lock}:{i}"),
            at: 0.0,
            message,
        });
        let messages: Vec<Outbox> = messages.collect();
        let (arrived, delivered) = tokio::sync::oneshot::channel();
        let (this, partition) = (Arc::clone(self), partition.to_owned());
        tokio::spawn(async move {
            let ids = this.deliver(&partition, &messages).await;
            let _ = arrived.send(());
            if let Err(error) = this.settle(&partition, &ids).await {
                tracing::warn!(from = partition, %error, "delivered messages stay in the outbox for now");
            }
        });
        let _ = tokio::time::timeout(DELIVERY_WAIT, delivered).await;
    }

    /// Delivers messages of one sender, all receivers at once, each in the order of its messages; answers
    /// the ids of those that arrived.
    async fn deliver<'a>(self: &Arc<Self>, partition: &str, messages: &'a [Outbox]) -> Vec<&'a str> {
        let mut by_receiver: BTreeMap<&str, Vec<&Outbox>> = BTreeMap::new();
        for message in messages {
            by_receiver.entry(&message.message.to).or_default().push(message);
        }
        let deliveries = by_receiver.into_values().map(|messages| async move {
            let mut delivered = Vec::new();
            for message in messages {
                match self.deliver_one(partition, message).await {
                    Ok(()) => delivered.push(message.id.as_str()),
                    Err(error) => {
                        let to = &message.message.to;
                        tracing::warn!(from = partition, to, %error, "delivery left to the reconciler");
                        break;
                    }
                }
            }
            delivered
        });
        join_all(deliveries).await.into_iter().flatten().collect()
    }

    /// Deletes delivered messages from the outbox. What stays is delivered again, and recognised.
    async fn settle(&self, partition: &str, ids: &[&str]) -> Result<(), ProviderError> {
        for some in ids.chunks(PAGE) {
            let _: serde_json::Value =
                self.procedure("settleOutbox", partition, &json!({ "ids": some })).await?;
        }
        Ok(())
    }

    async fn deliver_one(self: &Arc<Self>, partition: &str, outbox: &Outbox) -> Result<(), ProviderError> {
        let OutboxMessage { to, message } = &outbox.message;
        // The receiver cannot see documents of the sender's partition.
        let Some(item) = self.text(partition, message.item.clone()).await? else {
            // Somebody else has delivered and settled it.
            return Ok(());
        };
        let message = NewMessage { item: Payload::Inline(item), ..message.clone() };
        let mark = (outbox.id.trim_start_matches("o:"), MARK_SECONDS);
        self.send(to.clone(), Some(mark), message).await
    }

    /// Delivers what lies in the outbox of one sender for longer than `age`, the oldest first. Answers whether all of
    /// it has arrived; what is for receivers that cannot be reached stays, and holds up nothing else.
    pub(super) async fn empty_outbox(
        self: &Arc<Self>,
        partition: &str,
        age: Option<Duration>,
    ) -> Result<bool, ProviderError> {
        let mut unreachable: Vec<String> = Vec::new();
        loop {
            let mut text = format!(
                "SELECT TOP {PAGE} c.id, c[\"to\"], c.message, c.outboxAt FROM c \
                 WHERE c.type = 'outbox' AND NOT ARRAY_CONTAINS(@unreachable, c[\"to\"])"
            );
            if age.is_some() {
                text.push_str(" AND c.outboxAt <= GetCurrentTimestampStatic() - @age");
            }
            let query = Query::new("listOutbox", text)
                .bind("@unreachable", unreachable.clone())
                .bind("@age", millis(age.unwrap_or_default()))
                .order_by("c.outboxAt");
            let mut messages: Vec<Outbox> = self.client.query_partition(partition, &query).await?;
            if messages.is_empty() {
                return Ok(unreachable.is_empty());
            }
            tracing::info!(from = partition, count = messages.len(), "delivering what was left in an outbox");
            // Messages of one commit have the same time.
            messages.sort_by(|a, b| a.at.total_cmp(&b.at).then_with(|| place(&a.id).cmp(&place(&b.id))));
            let ids = self.deliver(partition, &messages).await;
            self.settle(partition, &ids).await?;
            let arrived: HashSet<&str> = ids.into_iter().collect();
            let failed = messages.iter().filter(|message| !arrived.contains(message.id.as_str()));
            let receivers: BTreeSet<&String> = failed.map(|message| &message.message.to).collect();
            unreachable.extend(receivers.into_iter().cloned());
        }
    }

    /// Delivers what has been lying in outboxes for longer than the configured age, and finishes deletions
    /// that somebody left. What fails stays for the next round, and the others have their turn in this one.
    async fn reconcile(self: &Arc<Self>) -> Result<(), ProviderError> {
        let age = self.config.reconciler_age_threshold;
        let (mut from, mut seen) = (0.0, HashSet::new());
        loop {
            let query = Query::new(
                "reconcile",
                format!(
                    "SELECT TOP {ROWS} c.type, c.id, c.instanceId, c.outboxAt FROM c \
                     WHERE c.outboxAt >= @from AND c.outboxAt <= GetCurrentTimestampStatic() - @age"
                ),
            );
            let query = query.bind("@from", from).bind("@age", millis(age)).order_by("c.outboxAt");
            let mut rows: Vec<Left> = self.client.query_all(&query).await?;
            rows.sort_by(|a, b| a.outbox_at.total_cmp(&b.outbox_at));
            // Whichever partition has more: up to here, all rows are among these.
            rows.truncate(ROWS);
            let last = (rows.len() == ROWS).then(|| rows[ROWS - 1].outbox_at);
            let unseen = rows.into_iter().map(Left::entry).filter(|entry| seen.insert(entry.clone()));
            let unseen: Vec<Entry> = unseen.collect();
            stream::iter(unseen).for_each_concurrent(AT_ONCE, |entry| self.reconcile_one(entry, age)).await;
            match last {
                // Times are whole milliseconds.
                Some(last) => from = if last > from { last } else { from + 1.0 },
                None => return Ok(()),
            }
        }
    }

    async fn reconcile_one(self: &Arc<Self>, entry: Entry, age: Duration) {
        let result = match &entry {
            Entry::Sender(partition) => self.empty_outbox(partition, Some(age)).await.map(drop),
            Entry::Deletion(id) => self.finish_deletion(id).await,
        };
        if let Err(error) = result {
            tracing::warn!(?entry, %error, "reconciling failed; next try in the next round");
        }
    }
}

/// A row of what was left.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    instance_id: String,
    outbox_at: f64,
}

/// What a reconciler takes on as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    Sender(String),
    Deletion(String),
}

impl Left {
    fn entry(self) -> Entry {
        if self.kind == "deletion" { Entry::Deletion(self.id) } else { Entry::Sender(self.instance_id) }
    }
}

/// The place of a message among those of its commit, from its id `o:<lock>:<n>`.
fn place(id: &str) -> (&str, u64) {
    let (commit, n) = id.rsplit_once(':').unwrap_or((id, "0"));
    (commit, n.parse().unwrap_or(0))
}

/// The background task that delivers what was left.
#[derive(Debug)]
pub(crate) struct Reconciler(tokio::task::JoinHandle<()>);

impl Reconciler {
    pub(crate) fn start(inner: &Arc<Inner>) -> Self {
        let interval = inner.config.reconciler_interval.max(Duration::from_millis(10));
        let inner: Weak<Inner> = Arc::downgrade(inner);
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                if let Err(error) = inner.reconcile().await {
                    tracing::warn!(%error, "reconciling outboxes failed; next try in {interval:?}");
                }
            }
        }))
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.0.abort();
    }
}
