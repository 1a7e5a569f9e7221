//! What clients read of an instance beside its history: custom status, key-value state, statistics.

use std::collections::HashMap;

use duroxide::providers::ProviderError;
use duroxide::{Event, EventKind, SystemStats};

use super::Inner;
use crate::model::documents::{HEAD, KV, Kv, KvSlot, Page, Text, TextDocument};
use crate::model::keys;

/// A long text can be replaced between reading its reference and reading it: then the reference is read
/// again, at most this often.
const ATTEMPTS: usize = 5;

impl Inner {
    /// A text, wherever it is. `None`: there is none, or the document it was in has just been let go.
    pub(super) async fn text(&self, partition: &str, text: Text) -> Result<Option<String>, ProviderError> {
        let Some(reference) = text.reference else {
            return Ok(text.text);
        };
        let document: Option<TextDocument> = self.client.read(partition, &reference).await?;
        Ok(document.map(|document| document.text))
    }

    pub(crate) async fn custom_status(
        &self,
        instance: &str,
        last_seen_version: u64,
    ) -> Result<Option<(Option<String>, u64)>, ProviderError> {
        let partition = keys::instance_partition("get_custom_status", instance)?;
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
            let Some(slot) = slots.remove(key) else {
                return Ok(None);
            };
            if let Some(value) = self.text(&partition, slot.text).await? {
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
                match self.text(&partition, slot.text).await? {
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
        slots.retain(|_, slot| slot.text.text.is_some() || slot.text.reference.is_some());
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
        Ok(Some(SystemStats {
            history_event_count: head.events,
            history_size_bytes: head.bytes,
            queue_pending_count: first.map_or(Ok(0), |page| carried_forward(operation, &page))?,
            kv_user_key_count: values.len() as u64,
            kv_total_value_bytes: values.values().map(|value| value.len() as u64).sum(),
        }))
    }
}

/// Messages that the previous execution carried into this one, as its first event says.
fn carried_forward(operation: &str, page: &Page) -> Result<u64, ProviderError> {
    let Some(text) = page.events.first() else {
        return Ok(0);
    };
    let event: Event = serde_json::from_str(text).map_err(|error| {
        ProviderError::permanent(operation, format!("the first event cannot be read: {error}"))
    })?;
    Ok(match event.kind {
        EventKind::OrchestrationStarted { carry_forward_events: Some(events), .. } => events.len() as u64,
        _ => 0,
    })
}
