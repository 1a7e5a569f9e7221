//! Messages to other partitions: written with the turn that sends them, delivered right after it, and by the
//! reconciler if that did not happen. The receiver applies each once, however often it comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use duroxide::providers::ProviderError;
use futures_util::future::join_all;
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
            partition: partition.to_owned(),
            message,
        });
        let messages: Vec<Outbox> = messages.collect();
        let (arrived, delivered) = tokio::sync::oneshot::channel();
        let (this, partition) = (Arc::clone(self), partition.to_owned());
        tokio::spawn(async move {
            let ids = this.deliver(&partition, &messages).await;
            let _ = arrived.send(());
            this.settle(&partition, &ids).await;
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
    async fn settle(&self, partition: &str, ids: &[&str]) {
        if ids.is_empty() {
            return;
        }
        let settled: Result<serde_json::Value, _> =
            self.procedure("settleOutbox", partition, &json!({ "ids": ids })).await;
        if let Err(error) = settled {
            tracing::warn!(from = partition, %error, "delivered messages stay in the outbox for now");
        }
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

    /// Delivers stored messages of one sender, in the order of their commits; answers how many arrived.
    pub(super) async fn deliver_owned(self: &Arc<Self>, partition: &str, mut messages: Vec<Outbox>) -> usize {
        messages.sort_by_key(|message| place(&message.id));
        let ids = self.deliver(partition, &messages).await;
        self.settle(partition, &ids).await;
        ids.len()
    }

    /// Delivers what has been lying in outboxes for longer than the configured age, and finishes deletions
    /// that somebody left.
    async fn reconcile(self: &Arc<Self>) -> Result<(), ProviderError> {
        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "camelCase")]
        enum Left {
            Outbox(Outbox),
            Deletion { id: String },
        }
        let age = millis(self.config.reconciler_age_threshold);
        let query = Query::new(
            "reconcile",
            "SELECT c.type, c.id, c.instanceId, c[\"to\"], c.message FROM c \
             WHERE c.outboxAt <= GetCurrentTimestampStatic() - @age",
        )
        .bind("@age", age);
        let mut by_sender: BTreeMap<String, Vec<Outbox>> = BTreeMap::new();
        for left in self.client.query_all(&query).await? {
            match left {
                Left::Outbox(message) => {
                    by_sender.entry(message.partition.clone()).or_default().push(message)
                }
                Left::Deletion { id } => self.finish_deletion(&id).await?,
            }
        }
        for (partition, messages) in by_sender {
            tracing::info!(from = partition, count = messages.len(), "delivering what was left in an outbox");
            self.deliver_owned(&partition, messages).await;
        }
        Ok(())
    }
}

/// The place of a message among those of its commit, from its id `o:<lock>:<n>`.
fn place(id: &str) -> (String, u64) {
    let (commit, n) = id.rsplit_once(':').unwrap_or((id, "0"));
    (commit.to_owned(), n.parse().unwrap_or(0))
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
