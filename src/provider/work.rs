//! The worker queue: activities.

use std::sync::Arc;
use std::time::Duration;

use duroxide::TagFilter;
use duroxide::providers::{ProviderError, SessionFetchConfig, WorkItem};
use serde_json::json;
use tokio::time::Instant;

use super::candidates::Candidate;
use super::discovery::{Discovery, Due, Kind, Search};
use super::handoff::Promise;
use super::queue::{self, PATIENCE, Queue, Seeker};
use super::{Inner, millis, unique};
use crate::cosmos::client::DISPATCH_BUDGET;
use crate::cosmos::ranges::Answers;
use crate::model::documents::{Changed, LockedWork, NewWork, WorkAnswer, WorkLock, WorkRequest};
use crate::model::tokens::{self, WorkToken};
use crate::model::{items, keys};

/// A runtime gives back what is beyond the sessions it may hold for 100 ms (duroxide 0.1.32), what it hides for other
/// reasons for longer.
const OVER_CAPACITY: Duration = Duration::from_millis(500);

/// An activity with its token and attempt count.
pub(crate) type FetchedWork = (WorkItem, String, u32);

/// What a worker may take, sessions aside, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkPlace {
    tags: TagFilter,
    lock: Duration,
}

impl WorkPlace {
    pub(super) fn admits(&self, candidate: &Candidate) -> bool {
        candidate.session.is_none() && self.tags.matches(candidate.tag.as_deref())
    }
}

pub(crate) type WorkQueue = Queue<WorkPlace, FetchedWork>;

/// An activity locked for a waiting worker by the request that creates it.
pub(crate) struct WorkOffer {
    promise: Promise<WorkPlace, FetchedWork>,
    item: WorkItem,
    token: WorkToken,
}

struct WorkSeeker<'a> {
    inner: &'a Arc<Inner>,
    place: WorkPlace,
    session: Option<&'a SessionFetchConfig>,
}

impl WorkSeeker<'_> {
    /// Sessions whose items this worker may not take, as far as is known.
    fn foreign(&self) -> Vec<String> {
        self.session
            .map(|session| self.inner.foreign_sessions.of_others(&session.owner_id))
            .unwrap_or_default()
    }
}

impl Seeker for WorkSeeker<'_> {
    type Place = WorkPlace;
    type Item = FetchedWork;

    fn queue(&self) -> &WorkQueue {
        &self.inner.work
    }

    fn discovery(&self) -> &Discovery {
        &self.inner.discovery
    }

    fn place(&self) -> &WorkPlace {
        &self.place
    }

    fn search(&self) -> Search {
        Search::work(&self.place.tags, self.session.is_some(), &self.foreign())
    }

    fn search_ends(&self) -> Option<Instant> {
        self.session.and_then(|session| self.inner.foreign_sessions.first_end(&session.owner_id))
    }

    fn may_take(&self, candidate: &Candidate) -> bool {
        let tag = self.place.tags.matches(candidate.tag.as_deref());
        let session = match (&candidate.session, self.session) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(id), Some(owner)) => !self.inner.foreign_sessions.is_foreign(id, &owner.owner_id),
        };
        tag && session
    }

    async fn look(&self, search: &Search) -> Result<Answers<Candidate>, ProviderError> {
        Ok(self.inner.search(search, None).await?)
    }

    /// Locks in a task of its own; see the same of turns.
    async fn lock(&self, candidate: Candidate) -> Result<Option<FetchedWork>, ProviderError> {
        let mut claimed = None;
        if let (Some(id), Some(owner)) = (&candidate.session, self.session) {
            let Some(claim) = self.inner.claim_session(id, owner).await? else {
                // The next search leaves this session out.
                return Ok(None);
            };
            claimed = claim.etag;
        }
        let (answer, fetched) = tokio::sync::oneshot::channel();
        let (this, place) = (Arc::clone(self.inner), self.place.clone());
        tokio::spawn(async move {
            let request = work_request(&candidate, &place);
            this.work.hand_off.hold(&place, &request.lock_id);
            let result = this.lock_work(candidate, request, claimed).await;
            if let Err(Ok(Some((_, token, _)))) = answer.send(result) {
                this.give_work_back(&token).await;
            }
        });
        fetched.await.unwrap_or_else(|_| Err(ProviderError::retryable("fetch_work_item", "interrupted")))
    }
}

pub(super) fn work_request(candidate: &Candidate, place: &WorkPlace) -> WorkRequest {
    WorkRequest { work_id: candidate.id.clone(), lock_id: unique(), lock_ms: millis(place.lock) }
}

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
        self.order.saw(changed.stamp);
        self.work_ready(&partition, vec![work], &changed);
        Ok(())
    }

    /// New activities are ready, except those that were created locked.
    pub(super) fn work_ready(&self, partition: &str, work: Vec<NewWork>, changed: &Changed) {
        let slot = keys::slot(partition);
        let learnt = Instant::now();
        let ready: Vec<Candidate> = work
            .into_iter()
            .filter(|work| work.lock.is_none())
            .map(|work| Candidate {
                partition: partition.to_owned(),
                id: work.id,
                ready_at: changed.now.unwrap_or_default(),
                slot,
                tag: work.tag,
                session: work.session,
                pinned: None,
                learnt,
            })
            .collect();
        if !ready.is_empty() {
            self.work.candidates.append(ready);
            self.work.wake();
        }
    }

    pub(crate) async fn fetch_work(
        self: &Arc<Self>,
        lock_timeout: Duration,
        poll_timeout: Duration,
        session: Option<&SessionFetchConfig>,
        tags: &TagFilter,
    ) -> Result<Option<FetchedWork>, ProviderError> {
        if *tags == TagFilter::None {
            // Nothing will ever match; waiting is all that is left to do.
            tokio::time::sleep(poll_timeout).await;
            return Ok(None);
        }
        let place = WorkPlace { tags: tags.clone(), lock: lock_timeout };
        queue::fetch(&WorkSeeker { inner: self, place, session }, poll_timeout).await
    }

    async fn lock_work(
        self: &Arc<Self>,
        candidate: Candidate,
        request: WorkRequest,
        claim: Option<String>,
    ) -> Result<Option<FetchedWork>, ProviderError> {
        let Candidate { partition, id, session, .. } = candidate;
        let token = WorkToken { partition, work: id, lock: request.lock_id.clone(), session, claim };
        let locked = self.request_work(token.clone(), &request).await;
        if let Ok(None) = locked {
            self.release_session(&token).await;
        }
        locked
    }

    async fn request_work(
        self: &Arc<Self>,
        token: WorkToken,
        request: &WorkRequest,
    ) -> Result<Option<FetchedWork>, ProviderError> {
        let deadline = Instant::now() + DISPATCH_BUDGET;
        let locked = self.procedure_before(|| deadline, "lockWork", &token.partition, request).await;
        let (answer, sent): (WorkAnswer, _) = locked.inspect_err(|failure| {
            if failure.may_have_applied() {
                self.release_work(&token);
            }
        })?;
        if let Some(facts) = &answer.head {
            self.known.learn(&token.partition, facts, sent);
        }
        match answer.locked {
            Some(locked) => self.load_work(token, locked, sent).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn load_work(
        self: &Arc<Self>,
        token: WorkToken,
        locked: LockedWork,
        sent: Instant,
    ) -> Result<FetchedWork, ProviderError> {
        self.leases.hold(&token.lock, locked.term.end(sent));
        // An error means that no lock is held.
        let text =
            self.text(&token.partition, locked.item).await.inspect_err(|_| self.release_work(&token))?;
        let item = serde_json::from_str(&text.unwrap_or_default()).or_else(|error| {
            tracing::warn!(partition = token.partition, work = token.work, %error, "an unreadable work item");
            items::unreadable(&token, &error.to_string())
        })?;
        Ok((item, tokens::encode(&token), locked.attempts))
    }

    /// Has the first of the new activities locked for the workers that wait, as many as there are.
    pub(super) fn offer_work(
        &self,
        partition: &str,
        items: &[WorkItem],
        work: &mut [NewWork],
    ) -> Vec<WorkOffer> {
        let mut offers = Vec::new();
        let mut refused: Vec<Option<&str>> = Vec::new();
        for (item, work) in items.iter().zip(work) {
            let WorkItem::ActivityExecute { tag, session_id: None, .. } = item else {
                // Who holds a session is written in another partition: discovery finds these.
                continue;
            };
            if refused.contains(&tag.as_deref()) {
                continue;
            }
            let suits = |place: &WorkPlace| place.tags.matches(tag.as_deref());
            let Some(promise) = self.work.reserve(suits, WorkPlace::admits) else {
                refused.push(tag.as_deref());
                continue;
            };
            let token = WorkToken {
                partition: partition.to_owned(),
                work: work.id.clone(),
                lock: unique(),
                session: None,
                claim: None,
            };
            work.lock = Some(WorkLock { id: token.lock.clone(), ms: millis(promise.place.lock) });
            offers.push(WorkOffer { promise, item: item.clone(), token });
        }
        offers
    }

    /// Lays the activities ready that a commit has created locked.
    pub(super) fn hand_work(self: &Arc<Self>, offers: Vec<WorkOffer>, changed: &Changed, sent: Instant) {
        if changed.status == "repeated" {
            // The first answer was lost; asking with the same lock again tells.
            for WorkOffer { promise, token, .. } in offers {
                self.ask_for_work(promise, token);
            }
            return;
        }
        for (WorkOffer { promise, item, mut token }, id) in offers.into_iter().zip(&changed.handed) {
            token.work.clone_from(id);
            self.leases.hold(&token.lock, sent + Duration::from_millis(millis(promise.place.lock)));
            let work = (item, tokens::encode(&token), 1);
            self.lay_work_ready(promise, token.lock, work);
        }
    }

    pub(super) fn ask_for_work(self: &Arc<Self>, promise: Promise<WorkPlace, FetchedWork>, token: WorkToken) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let place = promise.place.clone();
            let request = WorkRequest {
                work_id: token.work.clone(),
                lock_id: token.lock.clone(),
                lock_ms: millis(place.lock),
            };
            match this.request_work(token, &request).await {
                Ok(Some(work)) => this.lay_work_ready(promise, request.lock_id, work),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an activity handed over could not be loaded"),
            }
        });
    }

    pub(super) fn lay_work_ready(
        self: &Arc<Self>,
        promise: Promise<WorkPlace, FetchedWork>,
        lock: String,
        work: FetchedWork,
    ) {
        let patience = PATIENCE.min(promise.place.lock / 4);
        if let WorkItem::ActivityExecute { instance, id, .. } = &work.0 {
            tracing::debug!(instance, activity = id, lock, "activity handed over");
        }
        let ticket = promise.fulfil(lock, work);
        self.counters.work_handed();
        self.work.wake();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some((_, token, _)) = this.work.hand_off.withdraw(ticket) {
                this.give_work_back(&token).await;
            }
        });
    }

    pub(super) fn give_work_offers_back(self: &Arc<Self>, offers: &[WorkOffer]) {
        for offer in offers {
            self.release_work(&offer.token);
        }
    }

    /// After a request that failed nobody knows whether it has locked the activity.
    fn release_work(self: &Arc<Self>, token: &WorkToken) {
        let (this, token) = (Arc::clone(self), tokens::encode(token));
        tokio::spawn(async move { this.give_work_back(&token).await });
    }

    /// Gives back an activity that its worker has not seen.
    pub(super) async fn give_work_back(&self, token: &str) {
        self.counters.gave_back();
        if let Ok(token) = tokens::decode("abandon_work_item", token) {
            self.release_session(&token).await;
        }
        if let Err(error) = self.abandon_work(token, None, true).await {
            tracing::debug!(%error, "could not give back an activity nobody waits for");
        }
    }

    pub(crate) async fn renew_work(
        self: &Arc<Self>,
        token: &str,
        extend_for: Duration,
    ) -> Result<(), ProviderError> {
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
        let mut argument = json!({ "workId": token.work, "lockId": token.lock, "nonce": unique(), "ignoreAttempt": ignore_attempt });
        if let Some(delay) = delay {
            argument["delayMs"] = millis(delay).into();
        }
        // A runtime with all the sessions it may hold does this; in all other cases the worker keeps the session.
        if ignore_attempt && delay.is_some_and(|delay| delay <= OVER_CAPACITY) {
            self.release_session(&token).await;
        }
        let changed = self.give_back(&token.lock, "abandonWork", &token.partition, &argument).await?;
        if changed.status != "abandoned" {
            return Err(tokens::lost(operation));
        }
        if let (Some(ready_at), Some(now)) = (changed.ready_at, changed.now)
            && let Ok(delay) = Duration::try_from_secs_f64((ready_at - now) / 1000.0)
            && !delay.is_zero()
        {
            self.discovery.remember(delay, Due::Work);
        } else {
            self.discovery.look_now(Kind::Work);
        }
        Ok(())
    }
}
