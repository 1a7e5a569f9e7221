//! Committing a turn, and handing on what it makes ready.

use std::collections::HashSet;
use std::sync::Arc;

use duroxide::providers::{ExecutionMetadata, ProviderError, ScheduledActivityIdentifier, WorkItem};
use duroxide::{Event, EventKind};
use tokio::time::Instant;

use super::turns::TurnOffer;
use super::work::WorkOffer;
use super::{Inner, unique};
use crate::model::documents::{AckTurn, Changed, OutboxMessage, Payload};
use crate::model::tokens::{self, TurnToken};
use crate::model::{items, keys, sizes};

const OPERATION: &str = "ack_orchestration_item";

/// What a turn commits.
pub(crate) struct Turn {
    pub(crate) execution: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) work: Vec<WorkItem>,
    pub(crate) messages: Vec<WorkItem>,
    pub(crate) metadata: ExecutionMetadata,
    pub(crate) cancelled: Vec<ScheduledActivityIdentifier>,
}

impl Turn {
    /// A failure must be storable, known to the parent, and found by name. duroxide (0.1.32) leaves these out where
    /// it fails an instance because a commit was refused.
    fn see_to_failure(&mut self, token: &TurnToken) {
        if self.metadata.status.as_deref() != Some("Failed") {
            return;
        }
        if let (None, Some(starts)) = (&self.metadata.orchestration_name, &token.starts) {
            self.metadata.orchestration_name = Some(starts.name.clone());
            self.metadata.orchestration_version = Some(starts.version.clone());
            self.metadata.parent_instance_id = token.parent.as_ref().map(|parent| parent.instance.clone());
        }
        let notice = |parent| items::notice_of_failure(parent, &self.events, &self.messages);
        let notice = token.parent.as_ref().and_then(notice);
        self.messages.extend(notice);
        for event in &mut self.events {
            if let EventKind::OrchestrationFailed { details } = &mut event.kind {
                sizes::cut_failure(details);
            }
        }
        for message in &mut self.messages {
            if let WorkItem::SubOrchFailed { details, .. } = message {
                sizes::cut_failure(details);
            }
        }
        if let Some(output) = &mut self.metadata.output {
            sizes::cut(output);
        }
    }
}

/// What waits for things a commit makes ready.
struct Offers {
    work: Vec<WorkOffer>,
    turn: Option<TurnOffer>,
}

impl Inner {
    /// Commits in a task of its own: a caller that goes away must not strand what is locked for others.
    pub(crate) async fn ack_turn(self: &Arc<Self>, token: &str, turn: Turn) -> Result<(), ProviderError> {
        let token: TurnToken = tokens::decode(OPERATION, token)?;
        let this = Arc::clone(self);
        super::detached(OPERATION, async move { this.commit_turn(&token, turn).await }).await
    }

    async fn commit_turn(self: &Arc<Self>, token: &TurnToken, mut turn: Turn) -> Result<(), ProviderError> {
        turn.see_to_failure(token);
        let _returning = self.turns.hand_off.returning(&token.lock);
        let cancelled = cancelled(token, &turn)?;
        // Scheduled and cancelled in the same turn: never to run.
        let mut work_items = turn.work.clone();
        work_items
            .retain(|item| items::work(OPERATION, item).is_ok_and(|(_, work)| !cancelled.contains(&work.id)));
        let mut argument = ack_argument(token, &turn, cancelled, self.order.latest())?;
        self.stage_turn(token, &mut argument).await?;
        let offers = Offers {
            work: self.offer_work(&token.partition, &work_items, &mut argument.work),
            turn: self.offer_turn(&token.partition),
        };
        argument.turn = offers.turn.as_ref().map(|offer| offer.request.clone());
        let result = self.under_lock(OPERATION, &token.lock, "ackTurn", &token.partition, &argument).await;
        let checked = result.and_then(|(changed, sent): (Changed, _)| {
            check(&changed, &argument)?;
            Ok((changed, sent))
        });
        if checked.is_err() {
            // Also when the lock is lost: an earlier attempt may have committed.
            self.give_turn_offer_back(&token.partition, offers.turn.as_ref());
            self.give_work_offers_back(&offers.work);
        }
        let (changed, sent) = checked?;
        self.leases.forget(&token.lock);
        let outbox = std::mem::take(&mut argument.outbox);
        self.committed(token, turn, argument, changed, sent, offers);
        self.deliver_fresh(&token.partition, &token.lock, outbox).await;
        Ok(())
    }

    /// Remembers what has been committed, and hands on what is ready now.
    fn committed(
        self: &Arc<Self>,
        token: &TurnToken,
        turn: Turn,
        argument: AckTurn,
        changed: Changed,
        sent: Instant,
        offers: Offers,
    ) {
        let partition = &token.partition;
        if let Some(facts) = &changed.head {
            self.known.learn(partition, facts, sent);
            if let (Some(previous), Some(page)) = (changed.previous, &argument.page)
                && facts.execution == argument.execution
            {
                let bytes = usize::try_from(page.bytes).unwrap_or(usize::MAX);
                self.known.append(partition, facts, previous, turn.events, bytes);
            }
        }
        self.hand_work(offers.work, &changed, sent);
        self.work_ready(partition, argument.work, &changed);
        self.turn_changed(partition, changed, sent, offers.turn);
    }
}

fn check(changed: &Changed, argument: &AckTurn) -> Result<(), ProviderError> {
    match changed.status.as_str() {
        "acked" | "repeated" => Ok(()),
        "duplicateEvent" => Err(ProviderError::permanent(
            OPERATION,
            format!(
                "duplicate event: event {} does not follow event {} of execution {}",
                argument.page.as_ref().map_or(0, |page| page.first),
                changed.last_event.unwrap_or(0),
                argument.execution
            ),
        )),
        _ => Err(tokens::lost(OPERATION)),
    }
}

/// Ids of the work documents that a turn deletes.
fn cancelled(token: &TurnToken, turn: &Turn) -> Result<HashSet<String>, ProviderError> {
    let instance = keys::partition_instance(&token.partition);
    if let Some(foreign) = turn.cancelled.iter().find(|activity| activity.instance != instance) {
        return Err(ProviderError::permanent(
            OPERATION,
            format!("a turn of {instance:?} cannot cancel an activity of {:?}", foreign.instance),
        ));
    }
    let ids =
        turn.cancelled.iter().map(|activity| items::work_id(activity.execution_id, activity.activity_id));
    Ok(ids.collect())
}

fn ack_argument(
    token: &TurnToken,
    turn: &Turn,
    cancelled: HashSet<String>,
    after: u64,
) -> Result<AckTurn, ProviderError> {
    let instance = keys::partition_instance(&token.partition);
    let mut work = Vec::with_capacity(turn.work.len());
    for item in &turn.work {
        let (_, new) = items::work(OPERATION, item)?;
        if !cancelled.contains(&new.id) {
            work.push(new);
        }
    }
    let (mut messages, mut outbox) = (Vec::new(), Vec::new());
    for item in &turn.messages {
        let receiver = items::receiver(item).ok_or_else(|| {
            ProviderError::permanent(OPERATION, "an activity cannot go to the orchestrator queue")
        })?;
        let message = items::message(OPERATION, item, None)?;
        if receiver == instance {
            messages.push(message);
        } else {
            outbox.push(OutboxMessage { to: keys::instance_partition(OPERATION, receiver)?, message });
        }
    }
    let metadata = &turn.metadata;
    Ok(AckTurn {
        lock_id: token.lock.clone(),
        nonce: unique(),
        after,
        execution: turn.execution,
        page: items::page(OPERATION, &turn.events)?,
        work,
        cancelled: cancelled.into_iter().collect(),
        messages,
        outbox,
        pinned: metadata.pinned_duroxide_version.as_ref().map(items::packed),
        custom_status: items::custom_status(&turn.events),
        kv: items::kv_changes(&turn.events),
        turn: None,
        staged: false,
        ended: items::ends(metadata),
        name: metadata.orchestration_name.clone(),
        version: metadata.orchestration_version.clone(),
        parent: metadata.parent_instance_id.clone(),
        status: metadata.status.clone(),
        output: metadata.output.clone().map(Payload::Inline),
    })
}
