//! From duroxide's work items and events to what the procedures store.

use std::time::{SystemTime, UNIX_EPOCH};

use duroxide::providers::{ExecutionMetadata, OrchestrationItem, ProviderError, WorkItem};
use duroxide::{ErrorDetails, Event, EventKind};

use super::documents::{KvChange, NewCustomStatus, NewMessage, NewPage, NewWork, Payload};
use super::keys;
use super::tokens::{Parent, WorkToken};

/// The instance whose orchestrator queue a work item belongs to; `None` for an activity.
pub(crate) fn receiver(item: &WorkItem) -> Option<&str> {
    match item {
        WorkItem::StartOrchestration { instance, .. }
        | WorkItem::ActivityCompleted { instance, .. }
        | WorkItem::ActivityFailed { instance, .. }
        | WorkItem::TimerFired { instance, .. }
        | WorkItem::ExternalRaised { instance, .. }
        | WorkItem::QueueMessage { instance, .. }
        | WorkItem::CancelInstance { instance, .. }
        | WorkItem::ContinueAsNew { instance, .. } => Some(instance),
        WorkItem::SubOrchCompleted { parent_instance, .. }
        | WorkItem::SubOrchFailed { parent_instance, .. } => Some(parent_instance),
        WorkItem::ActivityExecute { .. } => None,
    }
}

/// A message for the orchestrator queue, visible after `delay_ms`; a timer when it fires.
///
/// A timer's time is by the clock of the process that set it, which is this one, a moment ago. It goes to the
/// server as a duration, so that it fires in time whatever the server's clock says.
pub(crate) fn message(
    operation: &str,
    item: &WorkItem,
    delay_ms: Option<u64>,
) -> Result<NewMessage, ProviderError> {
    let kind = match item {
        WorkItem::StartOrchestration { .. } | WorkItem::ContinueAsNew { .. } => "start",
        WorkItem::QueueMessage { .. } => "queue",
        _ => "other",
    };
    let delay_ms = match (item, delay_ms) {
        (WorkItem::TimerFired { fire_at_ms, .. }, None) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(fire_at_ms.saturating_sub(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)))
        }
        _ => delay_ms,
    };
    Ok(NewMessage { item: Payload::Inline(json(operation, item)?), kind: kind.to_owned(), delay_ms })
}

/// The parent that waits for an instance whose turn this is.
pub(crate) fn parent(turn: &OrchestrationItem) -> Option<Parent> {
    let link = |parent: &Option<String>, execution: &Option<u64>, event: &Option<u64>| {
        Some(Parent { instance: parent.clone()?, execution: (*execution)?, event: (*event)? })
    };
    if let Some(first) = turn.history.first() {
        let EventKind::OrchestrationStarted { parent_instance, parent_execution_id, parent_id, .. } =
            &first.kind
        else {
            return None;
        };
        return link(parent_instance, parent_execution_id, parent_id);
    }
    turn.messages.iter().find_map(|item| match item {
        WorkItem::StartOrchestration { parent_instance, parent_execution_id, parent_id, .. }
        | WorkItem::ContinueAsNew { parent_instance, parent_execution_id, parent_id, .. } => {
            link(parent_instance, parent_execution_id, parent_id)
        }
        _ => None,
    })
}

/// Tells the parent of an instance that a runtime fails because its commit was refused: it would wait for ever.
pub(crate) fn notice_of_failure(
    parent: &Parent,
    events: &[Event],
    messages: &[WorkItem],
) -> Option<WorkItem> {
    let EventKind::OrchestrationFailed { details: details @ ErrorDetails::Infrastructure { .. } } =
        &events.last()?.kind
    else {
        return None;
    };
    let told = |message: &WorkItem| matches!(message, WorkItem::SubOrchFailed { parent_instance, parent_id, .. } if *parent_instance == parent.instance && *parent_id == parent.event);
    (!messages.iter().any(told)).then(|| WorkItem::SubOrchFailed {
        parent_instance: parent.instance.clone(),
        parent_execution_id: parent.execution,
        parent_id: parent.event,
        details: details.clone(),
    })
}

/// Id of the document of an activity.
pub(crate) fn work_id(execution: u64, activity: u64) -> String {
    format!("w:{execution}:{activity}")
}

/// The instance and work document of an activity.
pub(crate) fn work<'a>(operation: &str, item: &'a WorkItem) -> Result<(&'a str, NewWork), ProviderError> {
    let WorkItem::ActivityExecute { instance, execution_id, id, session_id, tag, .. } = item else {
        return Err(ProviderError::permanent(operation, "only an activity can go to the worker queue"));
    };
    let work = NewWork {
        id: work_id(*execution_id, *id),
        nonce: None,
        item: Payload::Inline(json(operation, item)?),
        tag: tag.clone(),
        session: session_id.clone(),
        lock: None,
    };
    Ok((instance, work))
}

/// What stands for a work item that cannot be read, such as one of a later duroxide: an activity nobody has
/// registered. A runtime gives it back, ever more slowly, to others that may be able to read it, and in the end fails
/// it as poisoned.
pub(crate) fn unreadable(token: &WorkToken, error: &str) -> Result<WorkItem, ProviderError> {
    let numbers = token.work.split(':').skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>();
    let Ok([execution_id, id, ..]) = numbers.as_deref() else {
        let what = format!("work item {} of {:?} is unreadable: {error}", token.work, token.partition);
        return Err(ProviderError::permanent("fetch_work_item", what));
    };
    Ok(WorkItem::ActivityExecute {
        instance: keys::partition_instance(&token.partition).to_owned(),
        execution_id: *execution_id,
        id: *id,
        name: format!("(unreadable work item: {error})"),
        input: String::new(),
        session_id: token.session.clone(),
        tag: None,
    })
}

/// The page for events that one commit appends; `None` if there are none.
///
/// # Errors
/// Permanent, if event ids are missing or do not increase.
pub(crate) fn page(operation: &str, events: &[Event]) -> Result<Option<NewPage>, ProviderError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(None);
    };
    let increasing = events.windows(2).all(|pair| pair[0].event_id() < pair[1].event_id());
    if first.event_id() == 0 || !increasing {
        let ids: Vec<u64> = events.iter().map(Event::event_id).take(20).collect();
        return Err(ProviderError::permanent(
            operation,
            format!("event ids must be set by the runtime and increase, got {ids:?}: duplicate event?"),
        ));
    }
    let texts = events.iter().map(|event| json(operation, event)).collect::<Result<Vec<_>, _>>()?;
    let bytes = texts.iter().map(|text| text.len() as u64).sum();
    let count = texts.len() as u64;
    let events = texts.into_iter().map(Payload::Inline).collect();
    Ok(Some(NewPage { first: first.event_id(), last: last.event_id(), count, events, bytes }))
}

/// The custom status as of the last update among `events`.
pub(crate) fn custom_status(events: &[Event]) -> Option<NewCustomStatus> {
    events.iter().rev().find_map(|event| match &event.kind {
        EventKind::CustomStatusUpdated { status } => {
            Some(NewCustomStatus { text: status.clone().map(Payload::Inline) })
        }
        _ => None,
    })
}

/// The changes of the key-value state among `events`, in order.
pub(crate) fn kv_changes(events: &[Event]) -> Vec<KvChange> {
    let change = |event: &Event| match &event.kind {
        EventKind::KeyValueSet { key, value, last_updated_at_ms } => Some(KvChange {
            key: Some(key.clone()),
            value: Some(Payload::Inline(value.clone())),
            at: Some(*last_updated_at_ms),
        }),
        EventKind::KeyValueCleared { key } => {
            Some(KvChange { key: Some(key.clone()), value: None, at: None })
        }
        EventKind::KeyValuesCleared => Some(KvChange { key: None, value: None, at: None }),
        _ => None,
    };
    events.iter().filter_map(change).collect()
}

/// Whether a turn with this metadata ends its execution.
pub(crate) fn ends(metadata: &ExecutionMetadata) -> bool {
    matches!(metadata.status.as_deref(), Some("Completed" | "ContinuedAsNew" | "Failed"))
}

/// A version as one number that orders like it. Holds for parts below 100 000; pre-release tags do not count,
/// as in duroxide's own providers.
pub(crate) fn packed(version: &semver::Version) -> u64 {
    /// What JavaScript counts exactly.
    const LARGEST: u64 = (1 << 53) - 1;
    let append = |number: u64, part| number.saturating_mul(100_000).saturating_add(part);
    append(append(version.major, version.minor), version.patch).min(LARGEST)
}

fn json(operation: &str, value: &impl serde::Serialize) -> Result<String, ProviderError> {
    serde_json::to_string(value)
        .map_err(|error| ProviderError::permanent(operation, format!("cannot be written as JSON: {error}")))
}
