//! What clients read of an instance beside its history: custom status, key-value state, statistics.

use std::collections::HashMap;

use duroxide::providers::ProviderError;
use duroxide::{Event, EventKind, SystemStats};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use super::Inner;
use crate::model::documents::{HEAD, KV, Kv, KvSlot, Page, Payload, TextDocument};
use crate::model::keys;

/// A long text can be replaced between reading its reference and reading it: then the reference is read
/// again, at most this often.
const ATTEMPTS: usize = 5;

/// Texts read at the same time: who reads them may be under a lock that nobody renews yet.
pub(super) const AT_ONCE: usize = 16;

impl Inner {
    /// A text, wherever it is. `None`: the document it was in has just been let go.
    pub(super) async fn text(
        &self,
        partition: &str,
        mut payload: Payload,
    ) -> Result<Option<String>, ProviderError> {
        loop {
            let id = match payload {
                Payload::Inline(text) => return Ok(Some(text)),
                Payload::Stored { id, .. } => id,
            };
            payload = match self.client.read(partition, &id).await? {
                Some(TextDocument::One { text }) => return Ok(Some(text)),
                Some(TextDocument::Item { item }) => item,
                Some(TextDocument::Many { .. }) | None => return Ok(None),
            };
        }
    }

    /// The same of several, in their order.
    pub(super) async fn texts(
        &self,
        partition: &str,
        payloads: impl IntoIterator<Item = Payload>,
    ) -> Result<Vec<Option<String>>, ProviderError> {
        let reads: Vec<_> = payloads.into_iter().map(|payload| self.text(partition, payload)).collect();
        iter(reads).buffered(AT_ONCE).try_collect().await
    }

    /// The texts of events: where many were staged together, one entry of a page stands for all of them.
    pub(super) async fn event_texts(
        &self,
        partition: &str,
        payload: Payload,
    ) -> Result<Option<Vec<String>>, ProviderError> {
        match payload {
            Payload::Inline(text) => Ok(Some(vec![text])),
            Payload::Stored { id, .. } => {
                let document: Option<TextDocument> = self.client.read(partition, &id).await?;
                Ok(match document {
                    Some(TextDocument::One { text }) => Some(vec![text]),
                    Some(TextDocument::Many { texts }) => Some(texts),
                    Some(TextDocument::Item { .. }) | None => None,
                })
            }
        }
    }

    pub(crate) async fn custom_status(
        &self,
        instance: &str,
        last_seen_version: u64,
    ) -> Result<Option<(Option<String>, u64)>, ProviderError> {
        let partition = keys::instance_partition("get_custom_status", instance)?;
        match self.facts(&partition).await? {
            Some(facts) if facts.custom_status_version > last_seen_version => {}
            _ => return Ok(None),
        }
        for _ in 0..ATTEMPTS {
            let Some(head) = self.head(&partition).await? else {
                return Ok(None);
            };
            if head.custom_status_version <= last_seen_version {
                return Ok(None);
            }
            let version = head.custom_status_version;
            let Some(text) = head.custom_status else {
                return Ok(Some((None, version)));
            };
            if let Some(status) = self.text(&partition, text).await? {
                return Ok(Some((Some(status), version)));
            }
        }
        Err(ProviderError::retryable("get_custom_status", "the custom status keeps changing"))
    }

    pub(crate) async fn kv_value(&self, instance: &str, key: &str) -> Result<Option<String>, ProviderError> {
        let partition = keys::instance_partition("get_kv_value", instance)?;
        for _ in 0..ATTEMPTS {
            let mut slots = self.kv_slots(&partition).await?;
            let Some(payload) = slots.remove(key).and_then(|slot| slot.value) else {
                return Ok(None);
            };
            if let Some(value) = self.text(&partition, payload).await? {
                return Ok(Some(value));
            }
        }
        Err(ProviderError::retryable("get_kv_value", "the value keeps changing"))
    }

    pub(crate) async fn kv_values(&self, instance: &str) -> Result<HashMap<String, String>, ProviderError> {
        let partition = keys::instance_partition("get_kv_all_values", instance)?;
        'attempt: for _ in 0..ATTEMPTS {
            let mut values = HashMap::new();
            for (key, slot) in self.kv_slots(&partition).await? {
                let Some(payload) = slot.value else { continue };
                match self.text(&partition, payload).await? {
                    Some(value) => values.insert(key, value),
                    None => continue 'attempt,
                };
            }
            return Ok(values);
        }
        Err(ProviderError::retryable("get_kv_all_values", "the values keep changing"))
    }

    /// Keys with a value: the store, overlaid with what the running execution changed.
    async fn kv_slots(&self, partition: &str) -> Result<HashMap<String, KvSlot>, ProviderError> {
        let kv: Kv = self.client.read(partition, KV).await?.unwrap_or_default();
        let mut slots = kv.store;
        slots.extend(kv.delta);
        slots.retain(|_, slot| slot.value.is_some());
        Ok(slots)
    }

    pub(crate) async fn instance_stats(&self, instance: &str) -> Result<Option<SystemStats>, ProviderError> {
        let operation = "get_instance_stats";
        let partition = keys::instance_partition(operation, instance)?;
        let Some(head) = self.client.read::<crate::model::documents::Head>(&partition, HEAD).await? else {
            return Ok(None);
        };
        if head.name.is_none() {
            return Ok(None);
        }
        let values = if head.has_kv { self.kv_values(instance).await? } else { HashMap::new() };
        let first: Option<Page> = self.client.read(&partition, &format!("h:{}:1", head.execution)).await?;
        let first = match first.and_then(|page| page.events.into_iter().next()) {
            Some(payload) => self.event_texts(&partition, payload).await?,
            None => None,
        };
        let first = first.and_then(|texts| texts.into_iter().next());
        Ok(Some(SystemStats {
            history_event_count: head.events,
            history_size_bytes: head.bytes,
            queue_pending_count: first.map_or(Ok(0), |event| carried_forward(operation, &event))?,
            kv_user_key_count: values.len() as u64,
            kv_total_value_bytes: values.values().map(|value| value.len() as u64).sum(),
        }))
    }
}

/// Messages that the previous execution carried into this one, as its first event says.
fn carried_forward(operation: &str, text: &str) -> Result<u64, ProviderError> {
    let event: Event = serde_json::from_str(text).map_err(|error| {
        ProviderError::permanent(operation, format!("the first event cannot be read: {error}"))
    })?;
    Ok(match event.kind {
        EventKind::OrchestrationStarted { carry_forward_events: Some(events), .. } => events.len() as u64,
        _ => 0,
    })
}
