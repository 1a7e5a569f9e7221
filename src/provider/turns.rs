//! The orchestrator queue: messages in, turns out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{
    DispatcherCapabilityFilter, ExecutionMetadata, KvEntry, OrchestrationItem, ProviderError,
    ScheduledActivityIdentifier, WorkItem,
};
use duroxide::{Event, EventKind, INITIAL_EXECUTION_ID};
use serde_json::json;
use tokio::time::Instant;

use super::discovery::{Candidate, Found, PAGE, VersionRange, spread};
use super::{Inner, millis, unique};
use crate::cosmos::client::RETRY_BUDGET;
use crate::model::documents::{AckTurn, Changed, KvSlot, LockedTurn, OutboxMessage, Page, Payload};
use crate::model::tokens::{self, TurnToken};
use crate::model::{items, keys};

/// History that `lockTurn` may send along, in characters; the service's answers end at 4 MB. What is left is
/// read page by page.
const HISTORY_CHARS: usize = 1_500_000;

/// A turn with its token and attempt count.
type Fetched = (OrchestrationItem, String, u32);

/// What a turn commits.
pub(crate) struct Turn {
    pub(crate) execution: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) work: Vec<WorkItem>,
    pub(crate) messages: Vec<WorkItem>,
    pub(crate) metadata: ExecutionMetadata,
    pub(crate) cancelled: Vec<ScheduledActivityIdentifier>,
}

impl Inner {
    pub(crate) async fn enqueue_message(
        &self,
        item: &WorkItem,
        delay: Option<Duration>,
    ) -> Result<(), ProviderError> {
        let operation = "enqueue_for_orchestrator";
        let receiver = items::receiver(item).ok_or_else(|| {
            ProviderError::permanent(operation, "an activity cannot go to the orchestrator queue")
        })?;
        let partition = keys::instance_partition(operation, receiver)?;
        let message = items::message(operation, item, delay.map(millis))?;
        let argument = json!({
            "instanceId": partition,
            "slot": keys::slot(&partition),
            "incarnation": unique(),
            "nonce": unique(),
            "after": self.order.latest(),
            "messages": [message],
        });
        let changed: Changed = self.procedure("enqueueMessages", &partition, &argument).await?;
        self.turn_changed(&changed);
        Ok(())
    }

    /// Wakes our dispatchers for what a procedure has made ready.
    pub(super) fn turn_changed(&self, changed: &Changed) {
        self.order.saw(changed.stamp);
        self.turns.at(changed.ready_at, changed.now);
    }

    pub(crate) async fn fetch_turn(
        self: &Arc<Self>,
        lock_timeout: Duration,
        poll_timeout: Duration,
        filter: Option<&DispatcherCapabilityFilter>,
    ) -> Result<Option<Fetched>, ProviderError> {
        // As in duroxide's own providers the first range counts; none at all means "supports nothing".
        let range = match filter.map(|filter| filter.supported_duroxide_versions.first()) {
            None => None,
            Some(None) => return Ok(None),
            Some(Some(range)) => {
                Some(VersionRange { min: items::packed(&range.min), max: items::packed(&range.max) })
            }
        };
        let look = || self.take_turn(lock_timeout, range);
        self.turns.poll(poll_timeout, self.config.idle_poll_interval, &self.in_flight, look).await
    }

    /// Locks the first candidate that lets itself be locked. A lost race is no empty queue: the search goes
    /// on while there are candidates.
    async fn take_turn(
        self: &Arc<Self>,
        lock_timeout: Duration,
        range: Option<VersionRange>,
    ) -> Result<Found<Fetched>, ProviderError> {
        loop {
            let mut candidates = self.ready_turns(range).await?;
            let full = candidates.len() >= PAGE;
            spread(&mut candidates, self.start_slot);
            let (mut lost, mut busy) = (false, false);
            for candidate in candidates {
                let Some(_claim) = self.in_flight.claim(&candidate) else {
                    busy = true;
                    continue;
                };
                match self.try_turn(candidate, lock_timeout, range).await? {
                    Some(fetched) => return Ok(Found::Locked(fetched)),
                    None => lost = true,
                }
            }
            if !(full && lost) {
                return Ok(if busy { Found::Busy } else { Found::Nothing });
            }
        }
    }

    /// Locks and loads in a task of its own: if the caller goes away meanwhile (a runtime that shuts down),
    /// the lock is given back instead of being stranded until it expires.
    async fn try_turn(
        self: &Arc<Self>,
        candidate: Candidate,
        lock_timeout: Duration,
        range: Option<VersionRange>,
    ) -> Result<Option<Fetched>, ProviderError> {
        let (answer, fetched) = tokio::sync::oneshot::channel();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let result = this.lock_turn(&candidate.partition, lock_timeout, range).await;
            if let Err(Ok(Some((_, token, _)))) = answer.send(result)
                && let Err(error) = this.abandon_turn(&token, None, true).await
            {
                tracing::warn!(%error, "could not give back a turn nobody waits for; its lock will expire");
            }
        });
        fetched
            .await
            .unwrap_or_else(|_| Err(ProviderError::retryable("fetch_orchestration_item", "interrupted")))
    }

    async fn lock_turn(
        &self,
        partition: &str,
        lock_timeout: Duration,
        range: Option<VersionRange>,
    ) -> Result<Option<Fetched>, ProviderError> {
        let token = TurnToken { partition: partition.to_owned(), lock: unique() };
        let argument = json!({
            "lockId": token.lock,
            "lockMs": millis(lock_timeout),
            "filter": range,
            "historyChars": HISTORY_CHARS,
        });
        let deadline = Instant::now() + RETRY_BUDGET;
        let (answer, sent) = self.procedure_before(|| deadline, "lockTurn", partition, &argument).await?;
        let LockedTurn::Locked { instance, messages, attempts, history, kv, term } = answer else {
            tracing::debug!(partition, ?answer, "turn not locked");
            return Ok(None);
        };
        self.leases.hold(&token.lock, term.end(sent));
        let text = tokens::encode(&token);
        match self.load_turn(partition, instance, messages, history, kv).await {
            Ok(item) => Ok(Some((item, text, attempts))),
            Err(error) => {
                // An error means that no lock is held.
                let _ = self.abandon_turn(&text, None, true).await;
                Err(error)
            }
        }
    }

    async fn load_turn(
        &self,
        partition: &str,
        instance: crate::model::documents::LockedInstance,
        payloads: Vec<Payload>,
        mut pages: Vec<Page>,
        kv: HashMap<String, KvSlot>,
    ) -> Result<OrchestrationItem, ProviderError> {
        let known = pages.last().map_or(0, |page| page.last);
        if known < instance.last_event {
            pages.extend(self.pages(partition, instance.execution, known).await?);
        }
        let mut history_error = None;
        let history = self.parse(partition, pages).await?.unwrap_or_else(|error| {
            history_error = Some(format!("Failed to deserialize history: {error}"));
            Vec::new()
        });
        let mut messages = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let text = self.text(partition, payload).await?.unwrap_or_default();
            match serde_json::from_str::<WorkItem>(&text) {
                Ok(item) => messages.push(item),
                // Like unreadable history: the runtime retries, then declares the instance poisoned.
                Err(error) => history_error = Some(format!("Failed to deserialize a message: {error}")),
            }
        }
        let (name, version) = match (instance.name, instance.version) {
            (Some(name), version) => (name, version),
            (None, _) => started_as(&history, &messages),
        };
        Ok(OrchestrationItem {
            instance: keys::partition_instance(partition).to_owned(),
            orchestration_name: name,
            execution_id: if instance.execution == 0 { INITIAL_EXECUTION_ID } else { instance.execution },
            version: version.unwrap_or_else(|| "unknown".to_owned()),
            history,
            messages,
            history_error,
            kv_snapshot: self.snapshot(partition, kv).await?,
        })
    }

    async fn snapshot(
        &self,
        partition: &str,
        slots: HashMap<String, KvSlot>,
    ) -> Result<HashMap<String, KvEntry>, ProviderError> {
        let mut snapshot = HashMap::with_capacity(slots.len());
        for (key, slot) in slots {
            let Some(payload) = slot.value else { continue };
            if let Some(value) = self.text(partition, payload).await? {
                snapshot.insert(key, KvEntry { value, last_updated_at_ms: slot.at });
            }
        }
        Ok(snapshot)
    }

    pub(crate) async fn ack_turn(self: &Arc<Self>, token: &str, turn: Turn) -> Result<(), ProviderError> {
        let operation = "ack_orchestration_item";
        let token: TurnToken = tokens::decode(operation, token)?;
        let mut argument = ack_argument(operation, &token, turn, self.order.latest())?;
        self.stage_turn(&token, &mut argument).await?;
        let (changed, _): (Changed, _) =
            self.under_lock(operation, &token.lock, "ackTurn", &token.partition, &argument).await?;
        match changed.status.as_str() {
            "acked" | "repeated" => {}
            "duplicateEvent" => {
                return Err(ProviderError::permanent(
                    operation,
                    format!(
                        "duplicate event: event {} does not follow event {} of execution {}",
                        argument.page.map_or(0, |page| page.first),
                        changed.last_event.unwrap_or(0),
                        argument.execution
                    ),
                ));
            }
            _ => return Err(tokens::lost(operation)),
        }
        self.leases.forget(&token.lock);
        self.turn_changed(&changed);
        if !argument.work.is_empty() {
            self.work.now();
        }
        self.deliver_fresh(&token.partition, &token.lock, argument.outbox).await;
        Ok(())
    }

    pub(crate) async fn abandon_turn(
        &self,
        token: &str,
        delay: Option<Duration>,
        ignore_attempt: bool,
    ) -> Result<(), ProviderError> {
        let operation = "abandon_orchestration_item";
        let token: TurnToken = tokens::decode(operation, token)?;
        let mut argument =
            json!({ "lockId": token.lock, "nonce": unique(), "ignoreAttempt": ignore_attempt });
        if let Some(delay) = delay {
            argument["delayMs"] = millis(delay).into();
        }
        let changed = self.give_back(&token.lock, "abandonTurn", &token.partition, &argument).await?;
        if changed.status != "abandoned" {
            return Err(tokens::lost(operation));
        }
        self.turn_changed(&changed);
        Ok(())
    }

    pub(crate) async fn renew_turn(&self, token: &str, extend_for: Duration) -> Result<(), ProviderError> {
        let operation = "renew_orchestration_item_lock";
        let token: TurnToken = tokens::decode(operation, token)?;
        let argument = json!({ "lockId": token.lock, "extendMs": millis(extend_for) });
        self.renew(operation, &token.lock, "renewTurn", &token.partition, &argument, extend_for).await
    }
}

/// Name and version of an instance whose head does not know them yet.
fn started_as(history: &[Event], messages: &[WorkItem]) -> (String, Option<String>) {
    let from_history = history.iter().find_map(|event| match &event.kind {
        EventKind::OrchestrationStarted { name, version, .. } => Some((name.clone(), Some(version.clone()))),
        _ => None,
    });
    let from_messages = || {
        messages.iter().find_map(|item| match item {
            WorkItem::StartOrchestration { orchestration, version, .. }
            | WorkItem::ContinueAsNew { orchestration, version, .. } => {
                Some((orchestration.clone(), version.clone()))
            }
            _ => None,
        })
    };
    from_history.or_else(from_messages).unwrap_or_default()
}

fn ack_argument(
    operation: &str,
    token: &TurnToken,
    turn: Turn,
    after: u64,
) -> Result<AckTurn, ProviderError> {
    let instance = keys::partition_instance(&token.partition);
    if let Some(foreign) = turn.cancelled.iter().find(|activity| activity.instance != instance) {
        return Err(ProviderError::permanent(
            operation,
            format!("a turn of {instance:?} cannot cancel an activity of {:?}", foreign.instance),
        ));
    }
    let cancelled: HashSet<String> = turn
        .cancelled
        .iter()
        .map(|activity| items::work_id(activity.execution_id, activity.activity_id))
        .collect();
    let mut work = Vec::with_capacity(turn.work.len());
    for item in &turn.work {
        let (_, new) = items::work(operation, item)?;
        // Scheduled and cancelled in the same turn: never to run.
        if !cancelled.contains(&new.id) {
            work.push(new);
        }
    }
    let (mut messages, mut outbox) = (Vec::new(), Vec::new());
    for item in &turn.messages {
        let receiver = items::receiver(item).ok_or_else(|| {
            ProviderError::permanent(operation, "an activity cannot go to the orchestrator queue")
        })?;
        let message = items::message(operation, item, None)?;
        if receiver == instance {
            messages.push(message);
        } else {
            outbox.push(OutboxMessage { to: keys::instance_partition(operation, receiver)?, message });
        }
    }
    Ok(AckTurn {
        lock_id: token.lock.clone(),
        nonce: unique(),
        after,
        execution: turn.execution,
        page: items::page(operation, &turn.events)?,
        work,
        cancelled: cancelled.into_iter().collect(),
        messages,
        outbox,
        pinned: turn.metadata.pinned_duroxide_version.as_ref().map(items::packed),
        custom_status: items::custom_status(&turn.events),
        kv: items::kv_changes(&turn.events),
        ended: items::ends(&turn.metadata),
        staged: false,
        name: turn.metadata.orchestration_name,
        version: turn.metadata.orchestration_version,
        parent: turn.metadata.parent_instance_id,
        status: turn.metadata.status,
        output: turn.metadata.output.map(Payload::Inline),
    })
}
