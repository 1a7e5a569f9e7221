//! Completing an activity, and handing on what that makes ready.

use std::sync::Arc;

use duroxide::providers::{ProviderError, WorkItem};
use duroxide::{AppErrorKind, ErrorDetails};
use serde_json::json;
use tokio::time::Instant;

use super::candidates::Candidate;
use super::discovery::Kind;
use super::handoff::Promise;
use super::work::{FetchedWork, WorkPlace, work_request};
use super::{Inner, unique};
use crate::model::documents::{Changed, LockedWork, NewMessage, OutboxMessage, WorkRequest};
use crate::model::sizes::{self, bytes_of};
use crate::model::tokens::{self, WorkToken};
use crate::model::{items, keys};

const OPERATION: &str = "ack_work_item";

/// The next activity of the same instance, locked for the worker that completes one.
struct NextOffer {
    promise: Promise<WorkPlace, FetchedWork>,
    candidate: Candidate,
    request: WorkRequest,
}

/// The message that tells of a completion, and the partition it goes to. A result that no document holds is refused,
/// and the message tells of a failure for that reason: given back, the activity would run again and come to the
/// same result, until it is poisoned.
fn storable(mut item: WorkItem) -> Result<(String, NewMessage, Option<ProviderError>), ProviderError> {
    let instance = match &mut item {
        WorkItem::ActivityCompleted { instance, .. } => instance,
        WorkItem::ActivityFailed { instance, details, .. } => {
            sizes::cut_failure(details);
            instance
        }
        _ => return Err(ProviderError::permanent(OPERATION, "the completion of an activity must be one")),
    };
    let to = keys::instance_partition(OPERATION, instance)?;
    let message = items::message(OPERATION, &item, None)?;
    let WorkItem::ActivityCompleted { instance, execution_id, id, .. } = item else {
        return Ok((to, message, None));
    };
    let name = format!("the result of activity {id}");
    let Err(refused) = sizes::check(OPERATION, &name, bytes_of(&message.item)) else {
        return Ok((to, message, None));
    };
    let details = ErrorDetails::Application {
        kind: AppErrorKind::ActivityFailed,
        message: refused.message.clone(),
        retryable: false,
    };
    let failure = WorkItem::ActivityFailed { instance, execution_id, id, details };
    Ok((to, items::message(OPERATION, &failure, None)?, Some(refused)))
}

impl Inner {
    /// Completes in a task of its own: a caller that goes away must not strand what is locked for others.
    ///
    /// # Errors
    /// Permanent, if the lock is lost, or if the result does not fit into a document: then the activity has failed
    /// with the text of the error.
    pub(crate) async fn ack_work(
        self: &Arc<Self>,
        token: &str,
        completion: Option<WorkItem>,
    ) -> Result<(), ProviderError> {
        let token: WorkToken = tokens::decode(OPERATION, token)?;
        let this = Arc::clone(self);
        super::detached(OPERATION, async move { this.complete_work(&token, completion).await }).await
    }

    async fn complete_work(
        self: &Arc<Self>,
        token: &WorkToken,
        completion: Option<WorkItem>,
    ) -> Result<(), ProviderError> {
        let returning = self.work.hand_off.returning(&token.lock);
        let (mut messages, mut outbox) = (Vec::new(), Vec::new());
        let mut refused = None;
        if let Some(item) = completion {
            let (to, mut message);
            (to, message, refused) = storable(item)?;
            self.stage_completion(token, &mut message).await?;
            if to == token.partition {
                messages.push(message);
            } else {
                outbox.push(OutboxMessage { to, message });
            }
        }
        let next = returning.as_ref().and_then(|present| self.offer_next(&token.partition, &present.place));
        let turn = if messages.is_empty() { None } else { self.offer_turn(&token.partition) };
        let mut argument = json!({
            "instanceId": token.partition,
            "slot": keys::slot(&token.partition),
            "incarnation": unique(),
            "workId": token.work,
            "lockId": token.lock,
            "nonce": unique(),
            "after": self.order.latest(),
            "messages": messages,
            "outbox": outbox,
        });
        if let Some(offer) = &turn {
            argument["turn"] = json!(offer.request);
        }
        if let Some(offer) = &next {
            argument["next"] = json!(offer.request);
        }
        let answer: Result<(Changed, Instant), _> =
            self.under_lock(OPERATION, &token.lock, "ackWork", &token.partition, &argument).await;
        let mut result = answer.and_then(|(changed, sent)| match changed.status.as_str() {
            "lostLock" => Err(tokens::lost(OPERATION)),
            _ => Ok((changed, sent)),
        });
        if result.is_err() {
            // Also when the lock is lost: an earlier attempt may have completed.
            self.give_turn_offer_back(&token.partition, turn.as_ref());
        }
        self.hand_next(next, result.as_mut().ok());
        let (changed, sent) = result?;
        self.leases.forget(&token.lock);
        self.turn_changed(&token.partition, changed, sent, turn);
        if let Some(session) = &token.session {
            self.touch_session(session).await;
        }
        self.deliver_fresh(&token.partition, &token.lock, outbox).await;
        refused.map_or(Ok(()), Err)
    }

    /// The activity the worker would take next, if it belongs to the same instance.
    fn offer_next(&self, partition: &str, place: &WorkPlace) -> Option<NextOffer> {
        let promise = self.work.hand_off.reserve(|other| other == place, |_| 0)?;
        let candidate = self.work.candidates.pop_first_if(
            |candidate| candidate.session.is_some() || place.admits(candidate),
            |candidate| candidate.partition == partition && candidate.session.is_none(),
        )?;
        let request = work_request(&candidate, place);
        Some(NextOffer { promise: promise.since(candidate.learnt), candidate, request })
    }

    /// Lays the next activity ready. Without an answer that speaks of it, it is asked for, as its lock may be held.
    fn hand_next(self: &Arc<Self>, next: Option<NextOffer>, answer: Option<&mut (Changed, Instant)>) {
        let Some(NextOffer { promise, candidate, request }) = next else {
            return;
        };
        let Candidate { partition, id, session, .. } = candidate.clone();
        let token = WorkToken { partition, work: id, lock: request.lock_id, session, claim: None };
        match answer {
            Some((changed, sent)) if changed.status == "acked" => match changed.next.take() {
                Some(locked) => self.load_next(promise, token, locked, *sent),
                None => {
                    if self.work.candidates.outdated(&candidate) {
                        self.discovery.look_now(Kind::Work);
                    }
                }
            },
            _ => self.ask_for_work(promise, token),
        }
    }

    fn load_next(
        self: &Arc<Self>,
        promise: Promise<WorkPlace, FetchedWork>,
        token: WorkToken,
        locked: LockedWork,
        sent: Instant,
    ) {
        let this = Arc::clone(self);
        let lock = token.lock.clone();
        tokio::spawn(async move {
            match this.load_work(token, locked, sent).await {
                Ok(work) => this.lay_work_ready(promise, lock, work),
                Err(error) => tracing::warn!(%error, "an activity handed over could not be loaded"),
            }
        });
    }
}
