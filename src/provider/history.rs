//! Reading and appending history outside turns.

use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::ProviderError;
use duroxide::{Event, INITIAL_EXECUTION_ID};
use futures_util::stream::{StreamExt as _, iter};
use serde_json::json;
use tokio::time::Instant;

use super::known::History;
use super::state::AT_ONCE;
use super::{Inner, unique};
use crate::cosmos::client::{Fresh, Query};
use crate::model::documents::{Changed, HEAD, Head, HeadFacts, Page, Payload};
use crate::model::{items, keys};

/// Events are numbered from here.
const FIRST_EVENT: u64 = 1;

/// Pauses before a history that came short is read again: whoever answered may not have heard of all of it yet.
const REREADS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(320)];

impl Inner {
    pub(super) async fn head(&self, partition: &str) -> Result<Option<Head>, ProviderError> {
        Ok(self.client.read(partition, HEAD).await?)
    }

    /// Pages of an execution after the event `known`, in order.
    pub(super) async fn pages(
        &self,
        partition: &str,
        execution: u64,
        known: u64,
    ) -> Result<Vec<Page>, ProviderError> {
        let query = Query::new(
            "readHistory",
            "SELECT c.first, c.last, c.events FROM c \
             WHERE c.type = 'history' AND c.execution = @execution AND c.first > @known ORDER BY c.first",
        )
        .bind("@execution", execution)
        .bind("@known", known);
        Ok(self.client.query_partition(partition, &query).await?)
    }

    pub(crate) async fn read_current(&self, instance: &str) -> Result<Vec<Event>, ProviderError> {
        let partition = keys::instance_partition("read", instance)?;
        let mut asked_again = false;
        loop {
            let Some(facts) = self.facts(&partition).await? else {
                return Ok(Vec::new());
            };
            match self.history(&partition, &facts, Vec::new()).await? {
                Ok(history) => return Ok(Arc::unwrap_or_clone(history)),
                Err(error) if asked_again => {
                    return Err(unreadable("read", &partition, facts.execution, &error));
                }
                // It may have been deleted since this process heard of it.
                Err(_) => self.known.forget(&partition),
            }
            asked_again = true;
        }
    }

    /// What is known of a head: as this process saw it a moment ago, or as it is now.
    pub(super) async fn facts(&self, partition: &str) -> Result<Option<HeadFacts>, ProviderError> {
        let known = self.known.facts(partition);
        let known = match known {
            Some((facts, true)) => {
                self.counters.read_from_cache();
                return Ok(Some(facts));
            }
            Some((facts, false)) => Some(facts),
            None => None,
        };
        let asked = Instant::now();
        let etag = known.as_ref().map(|facts| facts.etag.as_str());
        let facts = match (self.client.read_if_changed(partition, HEAD, etag).await?, known) {
            (Fresh::Changed(facts), _) => facts,
            (Fresh::NotChanged, Some(facts)) => {
                self.counters.read_not_changed();
                facts
            }
            (Fresh::Absent, Some(_)) => {
                self.known.forget(partition);
                return Ok(None);
            }
            // A client that asks for what is not there must cost nobody else's cache anything.
            (Fresh::Absent | Fresh::NotChanged, None) => return Ok(None),
        };
        self.known.learn(partition, &facts, asked);
        Ok(Some(facts))
    }

    /// The history of the execution that `facts` speak of: what is known here, then the `pages` that the service
    /// sent along, then what is still missing. Unreadable and missing events are an error (the inner one), never left
    /// out.
    pub(super) async fn history(
        &self,
        partition: &str,
        facts: &HeadFacts,
        mut pages: Vec<Page>,
    ) -> Result<Result<Arc<Vec<Event>>, String>, ProviderError> {
        if facts.last_event == 0 {
            return Ok(Ok(Arc::default()));
        }
        let mut known = self.known.history(partition, facts);
        self.counters.history(known.is_some());
        let mut found = 0;
        for pause in REREADS {
            tokio::time::sleep(pause).await;
            let history =
                match self.assemble(partition, facts, known.take(), std::mem::take(&mut pages)).await? {
                    Ok(history) => history,
                    Err(error) => return Ok(Err(error)),
                };
            found = history.events.len();
            if found as u64 == facts.events {
                let events = Arc::clone(&history.events);
                self.known.keep(partition, history);
                return Ok(Ok(events));
            }
            tracing::debug!(partition, found, expected = facts.events, "a history came short");
        }
        Ok(Err(format!("it should have {} events and has {found}", facts.events)))
    }

    /// Puts a history together without looking whether it is complete.
    async fn assemble(
        &self,
        partition: &str,
        facts: &HeadFacts,
        known: Option<History>,
        mut pages: Vec<Page>,
    ) -> Result<Result<History, String>, ProviderError> {
        let last_known = known.as_ref().map_or(0, |known| known.last);
        if known.is_none() && pages.first().is_some_and(|page| page.first > FIRST_EVENT) {
            // The beginning was known when the request was sent, and has been evicted since.
            pages.clear();
        }
        pages.retain(|page| page.first > last_known);
        let have = pages.last().map_or(last_known, |page| page.last);
        if have < facts.last_event {
            pages.extend(self.pages(partition, facts.execution, have).await?);
        }
        // Others may have committed more since.
        pages.retain(|page| page.last <= facts.last_event);
        let (new, bytes) = match self.parse(partition, pages).await? {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(error)),
        };
        let mut history = known.unwrap_or_else(|| History {
            incarnation: facts.incarnation.clone(),
            execution: facts.execution,
            last: 0,
            events: Arc::default(),
            bytes: 0,
        });
        if !new.is_empty() {
            Arc::make_mut(&mut history.events).extend(new);
            history.last = facts.last_event;
            history.bytes += bytes;
        }
        Ok(Ok(history))
    }

    pub(crate) async fn read_execution(
        &self,
        instance: &str,
        execution: u64,
    ) -> Result<Vec<Event>, ProviderError> {
        let partition = keys::instance_partition("read_with_execution", instance)?;
        self.events("read_with_execution", &partition, execution).await
    }

    async fn events(
        &self,
        operation: &str,
        partition: &str,
        execution: u64,
    ) -> Result<Vec<Event>, ProviderError> {
        let pages = self.pages(partition, execution, 0).await?;
        let parsed = self.parse(partition, pages).await?;
        parsed.map(|(events, _)| events).map_err(|error| unreadable(operation, partition, execution, &error))
    }

    /// The events of pages and their size. Unreadable events are an error (the inner one), never left out.
    async fn parse(
        &self,
        partition: &str,
        pages: Vec<Page>,
    ) -> Result<Result<(Vec<Event>, usize), String>, ProviderError> {
        let mut entries = Vec::new();
        let mut stored = Vec::new();
        for (at, payload) in pages.into_iter().flat_map(|page| page.events).enumerate() {
            match payload {
                Payload::Inline(text) => entries.push(Some(vec![text])),
                elsewhere => {
                    entries.push(None);
                    stored.push(async move { (at, self.event_texts(partition, elsewhere).await) });
                }
            }
        }
        let read: Vec<_> = iter(stored).buffer_unordered(AT_ONCE).collect().await;
        for (at, texts) in read {
            entries[at] = texts?;
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        for texts in entries {
            let Some(texts) = texts else {
                return Ok(Err("the text of an event is missing".to_owned()));
            };
            for text in texts {
                bytes += text.len();
                match serde_json::from_str(&text) {
                    Ok(event) => events.push(event),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
        }
        Ok(Ok((events, bytes)))
    }

    pub(crate) async fn append_history(
        &self,
        instance: &str,
        execution: u64,
        events: &[Event],
    ) -> Result<(), ProviderError> {
        let operation = "append_with_execution";
        let partition = keys::instance_partition(operation, instance)?;
        let Some(page) = items::page(operation, events)? else {
            return Ok(());
        };
        let argument = json!({
            "instanceId": partition,
            "slot": keys::slot(&partition),
            "incarnation": unique(),
            "execution": execution.max(INITIAL_EXECUTION_ID),
            "page": page,
        });
        let changed: Changed = self.procedure("appendHistory", &partition, &argument).await?;
        self.known.forget(&partition);
        if changed.status == "appended" {
            return Ok(());
        }
        let last = changed.last_event.unwrap_or(0);
        Err(ProviderError::permanent(
            operation,
            format!("duplicate event: event {} does not follow event {last}", page.first),
        ))
    }
}

fn unreadable(operation: &str, partition: &str, execution: u64, error: &str) -> ProviderError {
    let instance = keys::partition_instance(partition);
    ProviderError::permanent(
        operation,
        format!("history of {instance:?}, execution {execution}, cannot be read: {error}"),
    )
}
