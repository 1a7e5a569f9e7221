//! Reading and appending history outside turns.

use duroxide::providers::ProviderError;
use duroxide::{Event, INITIAL_EXECUTION_ID};
use serde_json::json;

use super::{Inner, unique};
use crate::cosmos::client::Query;
use crate::model::documents::{Changed, HEAD, Head, Page};
use crate::model::{items, keys};

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
        match self.head(&partition).await? {
            Some(head) if head.events > 0 => self.events("read", &partition, head.execution).await,
            _ => Ok(Vec::new()),
        }
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
        self.parse(partition, pages).await?.map_err(|error| {
            let instance = keys::partition_instance(partition);
            let what = format!("history of {instance:?}, execution {execution}, cannot be read: {error}");
            ProviderError::permanent(operation, what)
        })
    }

    /// The events of pages. Unreadable events are an error (the inner one), never left out.
    pub(super) async fn parse(
        &self,
        partition: &str,
        pages: Vec<Page>,
    ) -> Result<Result<Vec<Event>, String>, ProviderError> {
        let mut events = Vec::new();
        for payload in pages.into_iter().flat_map(|page| page.events) {
            let Some(texts) = self.event_texts(partition, payload).await? else {
                return Ok(Err("the text of an event is missing".to_owned()));
            };
            for text in texts {
                match serde_json::from_str(&text) {
                    Ok(event) => events.push(event),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
        }
        Ok(Ok(events))
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
