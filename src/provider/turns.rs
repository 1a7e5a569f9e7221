//! The orchestrator queue: messages in, turns out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{DispatcherCapabilityFilter, KvEntry, OrchestrationItem, ProviderError, WorkItem};
use duroxide::{Event, EventKind, INITIAL_EXECUTION_ID};
use serde_json::json;
use tokio::time::Instant;

use super::candidates::Candidate;
use super::discovery::{Discovery, Due, Search};
use super::handoff::Promise;
use super::queue::{self, PATIENCE, Queue, Seeker};
use super::{Inner, millis, unique};
use crate::cosmos::client::{DISPATCH_BUDGET, RETRY_BUDGET};
use crate::cosmos::ranges::Answers;
use crate::model::documents::{
    Changed, HEAD, HeadFacts, KvSlot, LockedTurn, NewMessage, TurnRequest, VersionRange,
};
use crate::model::tokens::{self, Orchestration, TurnToken};
use crate::model::{items, keys};

/// How long the answer that brings a turn may be, in characters of JSON. The service's answers end at 4 MB, those of
/// procedures perhaps at half of that. What is left is read separately.
const ANSWER_CHARS: usize = 1_700_000;

/// How long a turn takes with its commit, before any has been seen: orchestrations only decide, and do it at once.
pub(crate) const USUAL_TURN: Duration = Duration::from_millis(10);

/// A turn with its token and attempt count.
pub(crate) type FetchedTurn = (OrchestrationItem, String, u32);

/// What an orchestration dispatcher may take, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TurnPlace {
    range: Option<VersionRange>,
    lock: Duration,
}

impl TurnPlace {
    fn admits(&self, candidate: &Candidate) -> bool {
        match (self.range, candidate.pinned) {
            (Some(range), Some(pinned)) => range.min <= pinned && pinned <= range.max,
            _ => true,
        }
    }
}

pub(crate) type TurnQueue = Queue<TurnPlace, FetchedTurn>;

/// A turn asked for in a request that may make it ready, for a dispatcher that waits.
pub(crate) struct TurnOffer {
    promise: Promise<TurnPlace, FetchedTurn>,
    pub(crate) request: TurnRequest,
}

struct TurnSeeker<'a> {
    inner: &'a Arc<Inner>,
    place: TurnPlace,
}

impl Seeker for TurnSeeker<'_> {
    type Place = TurnPlace;
    type Item = FetchedTurn;

    fn queue(&self) -> &TurnQueue {
        &self.inner.turns
    }

    fn discovery(&self) -> &Discovery {
        &self.inner.discovery
    }

    fn place(&self) -> &TurnPlace {
        &self.place
    }

    fn search(&self) -> Search {
        Search::turns(self.place.range)
    }

    fn search_ends(&self) -> Option<Instant> {
        None
    }

    fn may_take(&self, candidate: &Candidate) -> bool {
        self.place.admits(candidate)
    }

    async fn look(&self, search: &Search) -> Result<Answers<Candidate>, ProviderError> {
        Ok(self.inner.search(search, None).await?)
    }

    /// Locks and loads in a task of its own: if the caller goes away meanwhile (a runtime that shuts down),
    /// the lock is given back instead of being stranded until it expires.
    async fn lock(&self, candidate: Candidate) -> Result<Option<FetchedTurn>, ProviderError> {
        let (answer, fetched) = tokio::sync::oneshot::channel();
        let (this, place) = (Arc::clone(self.inner), self.place.clone());
        tokio::spawn(async move {
            let request = this.turn_request(&candidate.partition, &place);
            this.turns.hand_off.hold(&place, &request.lock_id);
            let result = this.lock_turn(&candidate.partition, request).await;
            if let Err(Ok(Some((_, token, _)))) = answer.send(result) {
                this.give_turn_back(&token).await;
            }
        });
        fetched
            .await
            .unwrap_or_else(|_| Err(ProviderError::retryable("fetch_orchestration_item", "interrupted")))
    }
}

impl Inner {
    pub(crate) async fn enqueue_message(
        self: &Arc<Self>,
        item: &WorkItem,
        delay: Option<Duration>,
    ) -> Result<(), ProviderError> {
        let operation = "enqueue_for_orchestrator";
        let receiver = items::receiver(item).ok_or_else(|| {
            ProviderError::permanent(operation, "an activity cannot go to the orchestrator queue")
        })?;
        let partition = keys::instance_partition(operation, receiver)?;
        // Visible at once without a delay, a timer too: only a commit hides timers until they fire.
        let message = items::message(operation, item, Some(delay.map_or(0, millis)))?;
        let this = Arc::clone(self);
        super::detached(operation, async move { this.send(partition, None, message).await }).await
    }

    /// Puts a message into an instance's queue. `mark` is what a delivery from another partition is recognised
    /// by, and for how many seconds.
    pub(super) async fn send(
        self: &Arc<Self>,
        partition: String,
        mark: Option<(&str, u32)>,
        message: NewMessage,
    ) -> Result<(), ProviderError> {
        let offer = self.offer_turn(&partition);
        let mut argument = json!({
            "instanceId": partition,
            "slot": keys::slot(&partition),
            "incarnation": unique(),
            "nonce": unique(),
            "after": self.order.latest(),
            "messages": [message],
        });
        if let Some((key, seconds)) = mark {
            argument["key"] = key.into();
            argument["markSeconds"] = seconds.into();
        }
        if let Some(offer) = &offer {
            argument["turn"] = json!(offer.request);
        }
        let deadline = Instant::now() + RETRY_BUDGET;
        let result = self.procedure_before(|| deadline, "enqueueMessages", &partition, &argument).await;
        if result.is_err() {
            self.give_turn_offer_back(&partition, offer.as_ref());
        }
        let (changed, sent) = result?;
        self.turn_changed(&partition, changed, sent, offer);
        Ok(())
    }

    /// Wakes our dispatchers for what a procedure has made ready, or gives it to the one it is locked for.
    pub(super) fn turn_changed(
        self: &Arc<Self>,
        partition: &str,
        changed: Changed,
        sent: Instant,
        offer: Option<TurnOffer>,
    ) {
        self.order.saw(changed.stamp);
        if let Some(facts) = &changed.head {
            self.known.learn(partition, facts, sent);
        } else if changed.status == "repeated" {
            // The first answer was lost: what is known is from before the change.
            self.known.forget(partition);
        }
        match (offer, changed.turn, changed.head) {
            (Some(offer), Some(turn), Some(facts)) => {
                self.leases.hold(&offer.request.lock_id, turn.term().end(sent));
                self.hand_turn(partition.to_owned(), offer, Some((turn, facts)));
            }
            // The first answer was lost, and with it what it said about the turn.
            (Some(offer), ..) if changed.status == "repeated" => {
                self.hand_turn(partition.to_owned(), offer, None)
            }
            (_, _, facts) => {
                let pinned = facts.and_then(|facts| facts.pinned);
                self.turn_ready(partition, changed.ready_at, changed.now, pinned);
            }
        }
    }

    /// A turn becomes ready at the server time `ready_at`, which was `now` a moment ago.
    pub(super) fn turn_ready(
        &self,
        partition: &str,
        ready_at: Option<f64>,
        now: Option<f64>,
        pinned: Option<u64>,
    ) {
        let (Some(ready_at), Some(now)) = (ready_at, now) else {
            return;
        };
        let candidate = Candidate {
            partition: partition.to_owned(),
            id: HEAD.to_owned(),
            ready_at,
            slot: keys::slot(partition),
            tag: None,
            session: None,
            pinned,
            learnt: Instant::now(),
        };
        if ready_at <= now {
            self.turns.candidates.push(candidate);
            self.turns.wake();
        } else if let Ok(delay) = Duration::try_from_secs_f64((ready_at - now) / 1000.0) {
            self.discovery.remember(delay, Due::Turn(candidate));
        }
    }

    pub(crate) async fn fetch_turn(
        self: &Arc<Self>,
        lock_timeout: Duration,
        poll_timeout: Duration,
        filter: Option<&DispatcherCapabilityFilter>,
    ) -> Result<Option<FetchedTurn>, ProviderError> {
        // As in duroxide's own providers the first range counts; none at all means "supports nothing".
        let range = match filter.map(|filter| filter.supported_duroxide_versions.first()) {
            None => None,
            Some(None) => return Ok(None),
            Some(Some(range)) => {
                Some(VersionRange { min: items::packed(&range.min), max: items::packed(&range.max) })
            }
        };
        let seeker = TurnSeeker { inner: self, place: TurnPlace { range, lock: lock_timeout } };
        queue::fetch(&seeker, poll_timeout).await
    }

    fn turn_request(&self, partition: &str, place: &TurnPlace) -> TurnRequest {
        TurnRequest {
            lock_id: unique(),
            lock_ms: millis(place.lock),
            filter: place.range,
            answer_chars: ANSWER_CHARS,
            known: self.known.known_history(partition),
        }
    }

    async fn lock_turn(
        self: &Arc<Self>,
        partition: &str,
        request: TurnRequest,
    ) -> Result<Option<FetchedTurn>, ProviderError> {
        let deadline = Instant::now() + DISPATCH_BUDGET;
        let locked = self.procedure_before(|| deadline, "lockTurn", partition, &request).await;
        let (answer, sent): (LockedTurn, _) = locked.inspect_err(|failure| {
            if failure.may_have_applied() {
                self.release_turn(partition, request.lock_id.clone());
            }
        })?;
        let LockedTurn { head: Some(facts), .. } = &answer else {
            tracing::debug!(partition, status = answer.status, "turn not locked");
            return Ok(None);
        };
        let facts = facts.clone();
        self.leases.hold(&request.lock_id, answer.term().end(sent));
        self.known.learn(partition, &facts, sent);
        self.load_locked(partition, request.lock_id, facts, answer).await.map(Some)
    }

    /// Makes a turn of what a procedure has locked.
    async fn load_locked(
        &self,
        partition: &str,
        lock: String,
        facts: HeadFacts,
        turn: LockedTurn,
    ) -> Result<FetchedTurn, ProviderError> {
        let attempts = turn.attempts;
        let mut token = TurnToken::new(partition, lock);
        match self.load_turn(partition, facts, turn).await {
            Ok(item) => {
                token.parent = items::parent(&item);
                token.starts = item.history.is_empty().then(|| Orchestration {
                    name: item.orchestration_name.clone(),
                    version: item.version.clone(),
                });
                Ok((item, tokens::encode(&token), attempts))
            }
            Err(error) => {
                // An error means that no lock is held.
                self.give_turn_back(&tokens::encode(&token)).await;
                Err(error)
            }
        }
    }

    async fn load_turn(
        &self,
        partition: &str,
        facts: HeadFacts,
        turn: LockedTurn,
    ) -> Result<OrchestrationItem, ProviderError> {
        let mut history_error = None;
        let history = match self.history(partition, &facts, turn.history).await? {
            Ok(history) => history,
            Err(error) => {
                history_error = Some(format!("Failed to deserialize history: {error}"));
                Arc::default()
            }
        };
        let mut messages = Vec::with_capacity(turn.messages.len());
        for text in self.texts(partition, turn.messages).await? {
            match serde_json::from_str::<WorkItem>(&text.unwrap_or_default()) {
                Ok(item) => messages.push(item),
                // Like unreadable history: the runtime retries, then declares the instance poisoned.
                Err(error) => history_error = Some(format!("Failed to deserialize a message: {error}")),
            }
        }
        let (name, version) = match (facts.name, facts.version) {
            (Some(name), version) => (name, version),
            (None, _) => started_as(&history, &messages),
        };
        Ok(OrchestrationItem {
            instance: keys::partition_instance(partition).to_owned(),
            orchestration_name: name,
            execution_id: if facts.execution == 0 { INITIAL_EXECUTION_ID } else { facts.execution },
            version: version.unwrap_or_else(|| "unknown".to_owned()),
            history: Arc::unwrap_or_clone(history),
            messages,
            history_error,
            kv_snapshot: self.snapshot(partition, turn.kv).await?,
        })
    }

    async fn snapshot(
        &self,
        partition: &str,
        slots: HashMap<String, KvSlot>,
    ) -> Result<HashMap<String, KvEntry>, ProviderError> {
        let (keys, values): (Vec<_>, Vec<_>) =
            slots.into_iter().filter_map(|(key, slot)| Some(((key, slot.at), slot.value?))).unzip();
        let values = self.texts(partition, values).await?;
        let entry = |((key, last_updated_at_ms), value): (_, Option<String>)| {
            Some((key, KvEntry { value: value?, last_updated_at_ms }))
        };
        Ok(keys.into_iter().zip(values).filter_map(entry).collect())
    }

    /// What to ask for along with a change of this instance, if a dispatcher could take the turn over.
    pub(super) fn offer_turn(&self, partition: &str) -> Option<TurnOffer> {
        let promise = self.turns.reserve(|_| true, TurnPlace::admits)?;
        let request = self.turn_request(partition, &promise.place);
        Some(TurnOffer { promise, request })
    }

    pub(super) fn give_turn_offer_back(self: &Arc<Self>, partition: &str, offer: Option<&TurnOffer>) {
        if let Some(offer) = offer {
            self.release_turn(partition, offer.request.lock_id.clone());
        }
    }

    /// After a request that failed nobody knows whether it has locked the turn.
    fn release_turn(self: &Arc<Self>, partition: &str, lock: String) {
        let (this, token) = (Arc::clone(self), tokens::encode(&TurnToken::new(partition, lock)));
        tokio::spawn(async move { this.give_turn_back(&token).await });
    }

    /// Lays a locked turn ready for the dispatcher it was locked for. Without `locked` it is asked for again.
    fn hand_turn(
        self: &Arc<Self>,
        partition: String,
        offer: TurnOffer,
        locked: Option<(LockedTurn, HeadFacts)>,
    ) {
        let this = Arc::clone(self);
        let TurnOffer { promise, request } = offer;
        tokio::spawn(async move {
            let lock = request.lock_id.clone();
            let loaded = match locked {
                Some((turn, facts)) => {
                    this.load_locked(&partition, request.lock_id, facts, turn).await.map(Some)
                }
                None => this.lock_turn(&partition, request).await,
            };
            match loaded {
                Ok(Some(turn)) => this.lay_turn_ready(promise, lock, turn).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(partition, %error, "a turn handed over could not be loaded"),
            }
        });
    }

    async fn lay_turn_ready(
        self: &Arc<Self>,
        promise: Promise<TurnPlace, FetchedTurn>,
        lock: String,
        turn: FetchedTurn,
    ) {
        let patience = PATIENCE.min(promise.place.lock / 4);
        tracing::debug!(instance = turn.0.instance, lock, "turn handed over");
        let ticket = promise.fulfil(lock, turn);
        self.counters.turn_handed();
        self.turns.wake();
        tokio::time::sleep(patience).await;
        if let Some((_, token, _)) = self.turns.hand_off.withdraw(ticket) {
            self.give_turn_back(&token).await;
        }
    }

    /// Gives back a turn that its dispatcher has not seen.
    pub(super) async fn give_turn_back(&self, token: &str) {
        self.counters.gave_back();
        if let Err(error) = self.abandon_turn(token, None, true).await {
            tracing::debug!(%error, "could not give back a turn nobody waits for");
        }
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
        let mut ready_at = changed.ready_at;
        if let Some(delay) = delay
            && !ignore_attempt
        {
            self.leave_turn(&token, delay);
            ready_at = ready_at.map(|at| at + self.courtesy().as_secs_f64() * 1000.0);
        }
        self.turn_ready(&token.partition, ready_at, changed.now, None);
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
