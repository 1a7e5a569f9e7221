//! A queue as its dispatchers see it: what is handed to them, what is known to be ready, and waiting for either.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duroxide::providers::ProviderError;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::candidates::{Candidate, Candidates, PAGE};
use super::discovery::{Discovery, Search};
use super::handoff::{HandOff, Present, Promise};
use crate::cosmos::ranges::Answers;

/// How long something handed over waits for its dispatcher before it is given back. Dispatchers that were
/// promised are blocked or about to return, so only those that went away meanwhile take so long.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// A long poll ends after a day at the latest.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// One of the two queues, for dispatchers of places `P` that take items `T`.
#[derive(Debug)]
pub(crate) struct Queue<P, T> {
    pub(crate) hand_off: Arc<HandOff<P, T>>,
    pub(crate) candidates: Candidates,
    changed: Notify,
    /// What blocked dispatchers would take, by their numbers.
    hungry: Mutex<Hungry>,
}

#[derive(Debug, Default)]
struct Hungry {
    next: u64,
    searches: Vec<(u64, Search)>,
    /// The latest search that failed, and how many have.
    failure: Option<ProviderError>,
    failures: u64,
}

impl<P: Clone + PartialEq, T> Queue<P, T> {
    pub(crate) fn new(hand_off: bool, expected: Option<Duration>) -> Self {
        Self {
            hand_off: Arc::new(HandOff::new(hand_off, expected)),
            candidates: Candidates::default(),
            changed: Notify::new(),
            hungry: Mutex::default(),
        }
    }

    /// Blocked dispatchers look again what there is for them.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// What blocked dispatchers would take, each search once.
    pub(crate) fn wanted(&self) -> Vec<Search> {
        let mut wanted: Vec<Search> = Vec::new();
        for (_, search) in &self.hungry().searches {
            if !wanted.contains(search) {
                wanted.push(search.clone());
            }
        }
        wanted
    }

    /// A search for the blocked dispatchers failed: they report it.
    pub(crate) fn fail(&self, error: ProviderError) {
        let mut hungry = self.hungry();
        hungry.failures += 1;
        hungry.failure = Some(error);
        drop(hungry);
        self.wake();
    }

    fn failed_since(&self, seen: &mut u64) -> Option<ProviderError> {
        let hungry = self.hungry();
        let failed = hungry.failures > *seen;
        *seen = hungry.failures;
        hungry.failure.clone().filter(|_| failed)
    }

    fn block(&self, place: &P, search: Search) -> Blocked<'_, P, T> {
        let mut hungry = self.hungry();
        hungry.next += 1;
        let number = hungry.next;
        hungry.searches.push((number, search));
        drop(hungry);
        Blocked { queue: self, number, _present: self.hand_off.wait(place) }
    }

    fn hungry(&self) -> std::sync::MutexGuard<'_, Hungry> {
        self.hungry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for something that is about to become ready; candidates that wait for longer go first.
    pub(crate) fn reserve(
        &self,
        suits: impl Fn(&P) -> bool,
        admits: impl Fn(&P, &Candidate) -> bool,
    ) -> Option<Promise<P, T>> {
        self.hand_off.reserve(suits, |place| self.candidates.count(|candidate| admits(place, candidate)))
    }
}

/// A dispatcher in a long poll, until dropped.
struct Blocked<'a, P, T> {
    queue: &'a Queue<P, T>,
    number: u64,
    _present: Option<Present<P, T>>,
}

impl<P, T> Drop for Blocked<'_, P, T> {
    fn drop(&mut self) {
        let mut hungry = self.queue.hungry.lock().unwrap_or_else(PoisonError::into_inner);
        hungry.searches.retain(|(number, _)| *number != self.number);
    }
}

/// A dispatcher that asks for work.
pub(crate) trait Seeker: Sync {
    type Place: Clone + PartialEq + Send + Sync;
    type Item: Send;

    fn queue(&self) -> &Queue<Self::Place, Self::Item>;
    fn discovery(&self) -> &Discovery;
    fn place(&self) -> &Self::Place;
    /// What to look for in the container.
    fn search(&self) -> Search;
    /// Until when that is what to look for.
    fn search_ends(&self) -> Option<Instant>;
    fn may_take(&self, candidate: &Candidate) -> bool;
    /// Asks the service now.
    fn look(&self, search: &Search)
    -> impl Future<Output = Result<Answers<Candidate>, ProviderError>> + Send;
    /// Locks a candidate. `None`: it is not to be had (any more).
    fn lock(
        &self,
        candidate: Candidate,
    ) -> impl Future<Output = Result<Option<Self::Item>, ProviderError>> + Send;
}

/// Something for the dispatcher, waiting for it up to `poll_timeout`.
pub(crate) async fn fetch<S: Seeker>(
    seeker: &S,
    poll_timeout: Duration,
) -> Result<Option<S::Item>, ProviderError> {
    if !poll_timeout.is_zero() {
        return wait(seeker, poll_timeout).await;
    }
    match seeker.queue().hand_off.take(seeker.place(), None) {
        Some(item) => Ok(Some(item)),
        None => ask(seeker).await,
    }
}

/// Takes what is handed over or known to be ready; else blocks until discovery finds something.
async fn wait<S: Seeker>(seeker: &S, poll_timeout: Duration) -> Result<Option<S::Item>, ProviderError> {
    let (queue, deadline) = (seeker.queue(), Instant::now() + poll_timeout.min(LONGEST_POLL));
    let mut failures = queue.hungry().failures;
    let mut failure = None;
    loop {
        // Registered before looking, so that a wake-up during the look is not lost.
        let mut changed = std::pin::pin!(queue.changed.notified());
        changed.as_mut().enable();
        let older = queue.candidates.first(|candidate| seeker.may_take(candidate));
        if let Some(item) = queue.hand_off.take(seeker.place(), older) {
            return Ok(Some(item));
        }
        if Instant::now() >= deadline {
            return failure.map_or(Ok(None), Err);
        }
        if let Some(candidate) = queue.candidates.pop(|candidate| seeker.may_take(candidate)) {
            let Some(_claim) = queue.candidates.claim(&candidate) else {
                continue;
            };
            match seeker.lock(candidate.clone()).await {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => {
                    if queue.candidates.outdated(&candidate) {
                        seeker.discovery().look_now(seeker.search().kind());
                    }
                }
                // There may be work in partitions that are well.
                Err(error) if error.is_retryable() => failure = Some(error),
                Err(error) => return Err(error),
            }
            continue;
        }
        // Nothing else to try: how long to wait after a failure is the runtime's business.
        if let Some(error) = failure.take().or_else(|| queue.failed_since(&mut failures)) {
            return Err(error);
        }
        let end = seeker.search_ends().map_or(deadline, |end| end.min(deadline));
        let _blocked = queue.block(seeker.place(), seeker.search());
        seeker.discovery().rouse();
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(end) => {}
        }
    }
}

/// One true answer, now. A lost race is no empty queue: the search goes on while there are candidates. Where
/// others of this process are just locking what is there, the answer waits for them: they may yet fail.
async fn ask<S: Seeker>(seeker: &S) -> Result<Option<S::Item>, ProviderError> {
    let candidates = &seeker.queue().candidates;
    loop {
        let mut released = std::pin::pin!(candidates.released());
        released.as_mut().enable();
        let Answers { rows: found, failure, .. } = seeker.look(&seeker.search()).await?;
        let full = found.len() >= PAGE;
        let (mut lost, mut busy) = (false, false);
        for candidate in found {
            let Some(_claim) = candidates.claim(&candidate) else {
                busy = true;
                continue;
            };
            match seeker.lock(candidate).await? {
                Some(item) => return Ok(Some(item)),
                None => lost = true,
            }
        }
        if full && lost {
            continue;
        }
        if !busy {
            return failure.map_or(Ok(None), |failure| Err(failure.into()));
        }
        released.await;
    }
}
