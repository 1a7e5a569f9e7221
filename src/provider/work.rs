//! The worker queue: activities.

use std::sync::Arc;
use std::time::Duration;

use duroxide::TagFilter;
use duroxide::providers::{ProviderError, SessionFetchConfig, WorkItem};
use serde_json::json;
use tokio::time::Instant;

use super::discovery::{Candidate, Found, PAGE, spread};
use super::{Inner, millis, unique};
use crate::cosmos::client::RETRY_BUDGET;
use crate::model::documents::{Changed, LockedWork, OutboxMessage};
use crate::model::tokens::{self, WorkToken};
use crate::model::{items, keys};

/// An activity with its token and attempt count.
type Fetched = (WorkItem, String, u32);

impl Inner {
    pub(crate) async fn enqueue_work(&self, item: &WorkItem) -> Result<(), ProviderError> {
        let operation = "enqueue_for_worker";
        let (instance, mut work) = items::work(operation, item)?;
        work.nonce = Some(unique());
        let partition = keys::instance_partition(operation, instance)?;
        let argument = json!({
            "instanceId": partition,
            "slot": keys::slot(&partition),
            "after": self.order.latest(),
            "work": work,
        });
        let changed: Changed = self.procedure("enqueueWork", &partition, &argument).await?;
        self.work_changed(&changed);
        Ok(())
    }

    fn work_changed(&self, changed: &Changed) {
        self.order.saw(changed.stamp);
        self.work.at(changed.ready_at, changed.now);
    }

    pub(crate) async fn fetch_work(
        self: &Arc<Self>,
        lock_timeout: Duration,
        poll_timeout: Duration,
        session: Option<&SessionFetchConfig>,
        tags: &TagFilter,
    ) -> Result<Option<Fetched>, ProviderError> {
        if *tags == TagFilter::None {
            // Nothing will ever match; waiting is all that is left to do.
            tokio::time::sleep(poll_timeout).await;
            return Ok(None);
        }
        let look = || self.take_work(lock_timeout, session, tags);
        self.work.poll(poll_timeout, self.config.idle_poll_interval, &self.in_flight, look).await
    }

    async fn take_work(
        self: &Arc<Self>,
        lock_timeout: Duration,
        session: Option<&SessionFetchConfig>,
        tags: &TagFilter,
    ) -> Result<Found<Fetched>, ProviderError> {
        loop {
            let foreign = session.map(|session| self.foreign_sessions.of_others(&session.owner_id));
            let mut candidates =
                self.ready_work(tags, session.is_some(), &foreign.unwrap_or_default()).await?;
            let full = candidates.len() >= PAGE;
            spread(&mut candidates, self.start_slot);
            let (mut lost, mut busy) = (false, false);
            for candidate in candidates {
                let Some(_claim) = self.in_flight.claim(&candidate) else {
                    busy = true;
                    continue;
                };
                if let (Some(id), Some(owner)) = (&candidate.session, session)
                    && !self.claim_session(id, owner).await?
                {
                    // The next search leaves this session out.
                    lost = true;
                    continue;
                }
                match self.try_work(candidate, lock_timeout).await? {
                    Some(fetched) => return Ok(Found::Locked(fetched)),
                    None => lost = true,
                }
            }
            if !(full && lost) {
                return Ok(if busy { Found::Busy } else { Found::Nothing });
            }
        }
    }

    /// Locks in a task of its own; see `try_turn`.
    async fn try_work(
        self: &Arc<Self>,
        candidate: Candidate,
        lock_timeout: Duration,
    ) -> Result<Option<Fetched>, ProviderError> {
        let (answer, fetched) = tokio::sync::oneshot::channel();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let result = this.lock_work(candidate, lock_timeout).await;
            if let Err(Ok(Some((_, token, _)))) = answer.send(result)
                && let Err(error) = this.abandon_work(&token, None, true).await
            {
                tracing::warn!(%error, "could not give back an activity nobody waits for; its lock will expire");
            }
        });
        fetched.await.unwrap_or_else(|_| Err(ProviderError::retryable("fetch_work_item", "interrupted")))
    }

    async fn lock_work(
        &self,
        candidate: Candidate,
        lock_timeout: Duration,
    ) -> Result<Option<Fetched>, ProviderError> {
        let operation = "fetch_work_item";
        let Candidate { partition, id, session, .. } = candidate;
        let token = WorkToken { partition, work: id, lock: unique(), session };
        let argument = json!({ "workId": token.work, "lockId": token.lock, "lockMs": millis(lock_timeout) });
        let deadline = Instant::now() + RETRY_BUDGET;
        let (answer, sent) =
            self.procedure_before(|| deadline, "lockWork", &token.partition, &argument).await?;
        match answer {
            LockedWork::NotReady => Ok(None),
            LockedWork::Locked { item, attempts, term } => {
                self.leases.hold(&token.lock, term.end(sent));
                let item = self.text(&token.partition, item).await?.unwrap_or_default();
                let item = serde_json::from_str(&item).map_err(|error| {
                    // The lock stays until it expires, so that an unreadable item does not spin.
                    let what =
                        format!("work item {} of {:?} is unreadable: {error}", token.work, token.partition);
                    ProviderError::permanent(operation, what)
                })?;
                Ok(Some((item, tokens::encode(&token), attempts)))
            }
        }
    }

    pub(crate) async fn ack_work(
        self: &Arc<Self>,
        token: &str,
        completion: Option<WorkItem>,
    ) -> Result<(), ProviderError> {
        let operation = "ack_work_item";
        let token: WorkToken = tokens::decode(operation, token)?;
        let (mut messages, mut outbox) = (Vec::new(), Vec::new());
        if let Some(item) = &completion {
            let (WorkItem::ActivityCompleted { instance, .. } | WorkItem::ActivityFailed { instance, .. }) =
                item
            else {
                return Err(ProviderError::permanent(operation, "the completion of an activity must be one"));
            };
            let mut message = items::message(operation, item, None)?;
            self.stage_completion(&token, &mut message).await?;
            let to = keys::instance_partition(operation, instance)?;
            if to == token.partition {
                messages.push(message);
            } else {
                outbox.push(OutboxMessage { to, message });
            }
        }
        let argument = json!({
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
        let (changed, _): (Changed, _) =
            self.under_lock(operation, &token.lock, "ackWork", &token.partition, &argument).await?;
        if changed.status == "lostLock" {
            return Err(tokens::lost(operation));
        }
        self.leases.forget(&token.lock);
        self.turn_changed(&changed);
        if let Some(session) = &token.session {
            self.touch_session(session).await;
        }
        self.deliver_fresh(&token.partition, &token.lock, outbox).await;
        Ok(())
    }

    pub(crate) async fn renew_work(&self, token: &str, extend_for: Duration) -> Result<(), ProviderError> {
        let operation = "renew_work_item_lock";
        let token: WorkToken = tokens::decode(operation, token)?;
        let argument = json!({ "workId": token.work, "lockId": token.lock, "extendMs": millis(extend_for) });
        self.renew(operation, &token.lock, "renewWork", &token.partition, &argument, extend_for).await?;
        if let Some(session) = &token.session {
            self.touch_session(session).await;
        }
        Ok(())
    }

    pub(crate) async fn abandon_work(
        &self,
        token: &str,
        delay: Option<Duration>,
        ignore_attempt: bool,
    ) -> Result<(), ProviderError> {
        let operation = "abandon_work_item";
        let token: WorkToken = tokens::decode(operation, token)?;
        let mut argument = json!({
            "workId": token.work,
            "lockId": token.lock,
            "nonce": unique(),
            "ignoreAttempt": ignore_attempt,
        });
        if let Some(delay) = delay {
            argument["delayMs"] = millis(delay).into();
        }
        let changed = self.give_back(&token.lock, "abandonWork", &token.partition, &argument).await?;
        if changed.status != "abandoned" {
            return Err(tokens::lost(operation));
        }
        self.work_changed(&changed);
        Ok(())
    }
}
