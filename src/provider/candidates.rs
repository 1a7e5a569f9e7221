//! Documents that deserve a dispatcher, as far as this process knows: found by discovery, or made ready by its
//! own writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Candidates asked of each physical partition at a time.
pub(crate) const PAGE: usize = 32;

/// Candidates kept. What is beyond is found again when these are gone.
const KEPT: usize = 2048;

/// A document that is ready, as far as its index entry says; the lock procedure decides.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Candidate {
    #[serde(rename = "instanceId")]
    pub(crate) partition: String,
    pub(crate) id: String,
    #[serde(rename = "at")]
    pub(crate) ready_at: f64,
    pub(crate) slot: u8,
    pub(crate) tag: Option<String>,
    pub(crate) session: Option<String>,
    /// The version an instance is pinned to, packed; see `items::packed`.
    pub(crate) pinned: Option<u64>,
    /// When this process learnt of it.
    #[serde(skip, default = "Instant::now")]
    pub(crate) learnt: Instant,
}

/// The candidates of one queue, the one that waits longest first.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    waiting: Mutex<VecDeque<Candidate>>,
    /// Those that some dispatcher is locking right now.
    in_flight: Mutex<HashSet<(String, String)>>,
    released: Notify,
    /// Those that this process could not do, and until when it leaves them to others.
    left: Mutex<HashMap<(String, String), Instant>>,
}

impl Candidates {
    /// Adds what this process has made ready itself.
    pub(crate) fn push(&self, candidate: Candidate) {
        let mut waiting = self.waiting();
        let known =
            waiting.iter().any(|other| other.id == candidate.id && other.partition == candidate.partition);
        if !known && waiting.len() < KEPT {
            let place = waiting.partition_point(|other| other.ready_at <= candidate.ready_at);
            waiting.insert(place, candidate);
        }
    }

    /// Adds new work of a commit, which is the youngest there is.
    pub(crate) fn append(&self, new: impl IntoIterator<Item = Candidate>) {
        let mut waiting = self.waiting();
        let room = KEPT.saturating_sub(waiting.len());
        waiting.extend(new.into_iter().take(room));
    }

    /// Adds what a search has found, in its order, before what is only known from own writes.
    pub(crate) fn merge(&self, mut found: Vec<Candidate>) {
        found.retain(|candidate| !self.is_claimed(candidate) && !self.is_left(candidate));
        let mut waiting = self.waiting();
        let ids: HashSet<(&str, &str)> = found.iter().map(|found| (&*found.partition, &*found.id)).collect();
        waiting.retain(|other| !ids.contains(&(&*other.partition, &*other.id)));
        for candidate in found.into_iter().rev() {
            waiting.push_front(candidate);
        }
        waiting.truncate(KEPT);
    }

    /// The first candidate that the caller may take.
    pub(crate) fn pop(&self, may_take: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let mut waiting = self.waiting();
        let place = waiting.iter().position(may_take)?;
        waiting.remove(place)
    }

    /// The same, provided it also fulfils `wanted`.
    pub(crate) fn pop_first_if(
        &self,
        may_take: impl Fn(&Candidate) -> bool,
        wanted: impl Fn(&Candidate) -> bool,
    ) -> Option<Candidate> {
        let mut waiting = self.waiting();
        let place = waiting.iter().position(may_take)?;
        if wanted(&waiting[place]) { waiting.remove(place) } else { None }
    }

    /// How many the caller may take.
    pub(crate) fn count(&self, may_take: impl Fn(&Candidate) -> bool) -> usize {
        self.waiting().iter().filter(|candidate| may_take(candidate)).count()
    }

    /// When this process learnt of the first that the caller may take.
    pub(crate) fn first(&self, may_take: impl Fn(&Candidate) -> bool) -> Option<Instant> {
        self.waiting().iter().find(|candidate| may_take(candidate)).map(|candidate| candidate.learnt)
    }

    /// A race for `candidate` was lost: what was learnt when it was is out of date, too. Answers whether there was
    /// more of that, which then has to be looked for.
    pub(crate) fn outdated(&self, candidate: &Candidate) -> bool {
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.retain(|other| other.learnt > candidate.learnt);
        waiting.len() < before
    }

    /// Marks a candidate as being locked. `None`: somebody else of this process is doing that.
    pub(crate) fn claim(&self, candidate: &Candidate) -> Option<Claim<'_>> {
        let key = (candidate.partition.clone(), candidate.id.clone());
        let fresh = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then_some(Claim { all: self, candidate: key })
    }

    fn is_claimed(&self, candidate: &Candidate) -> bool {
        let key = (candidate.partition.clone(), candidate.id.clone());
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    /// Leaves a document to others until then: what searches find of it is not added.
    pub(crate) fn leave(&self, partition: &str, id: &str, until: Instant) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        left.retain(|_, until| *until > now);
        left.insert((partition.to_owned(), id.to_owned()), until);
    }

    fn is_left(&self, candidate: &Candidate) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (candidate.partition.clone(), candidate.id.clone());
        left.get(&key).is_some_and(|until| *until > Instant::now())
    }

    /// Waits for the next claim to be given free, from the time of this call on.
    pub(crate) fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.released.notified()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Candidate>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the candidate free again when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    all: &'a Candidates,
    candidate: (String, String),
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.all.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.candidate);
        self.all.released.notify_waiters();
    }
}

/// A full page means more work than the process can take at once: each process then starts at its own place,
/// so that they rarely try for the same documents. A page that is not full is taken in order.
pub(crate) fn spread(candidates: &mut [Candidate], start: u8) {
    if candidates.len() >= PAGE {
        candidates.sort_by_key(|candidate| candidate.slot.wrapping_sub(start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(slot: u8) -> Candidate {
        Candidate {
            partition: format!("p{slot}"),
            id: "head".into(),
            ready_at: f64::from(slot),
            slot,
            tag: None,
            session: None,
            pinned: None,
            learnt: Instant::now(),
        }
    }

    fn slots(candidates: &Candidates) -> Vec<u8> {
        std::iter::from_fn(|| candidates.pop(|_| true)).map(|candidate| candidate.slot).collect()
    }

    #[test]
    fn a_claim_excludes_others_until_it_is_dropped() {
        let all = Candidates::default();
        let first = all.claim(&candidate(1));
        assert!(first.is_some() && all.claim(&candidate(1)).is_none() && all.claim(&candidate(2)).is_some());
        drop(first);
        assert!(all.claim(&candidate(1)).is_some());
    }

    #[test]
    fn few_candidates_keep_their_order_and_many_start_at_the_own_slot() {
        let mut few: Vec<Candidate> = (0..3).map(candidate).collect();
        spread(&mut few, 2);
        assert_eq!(few.iter().map(|c| c.slot).collect::<Vec<_>>(), [0, 1, 2]);
        let mut many: Vec<Candidate> = (0..40).map(candidate).collect();
        spread(&mut many, 38);
        assert_eq!(many.iter().map(|c| c.slot).take(4).collect::<Vec<_>>(), [38, 39, 0, 1]);
    }

    #[test]
    fn own_candidates_take_their_place_in_the_queue_and_are_there_once() {
        let all = Candidates::default();
        for slot in [3, 1, 2, 1] {
            all.push(candidate(slot));
        }
        assert_eq!(slots(&all), [1, 2, 3]);
    }

    #[test]
    fn what_is_found_goes_first_and_is_there_once() {
        let all = Candidates::default();
        all.append([candidate(7), candidate(3), candidate(8)]);
        let being_locked = candidate(4);
        let _claim = all.claim(&being_locked);
        all.merge(vec![candidate(3), being_locked.clone(), candidate(5)]);
        assert_eq!(slots(&all), [3, 5, 7, 8]);
    }

    #[test]
    fn a_lost_race_discredits_what_was_learnt_with_it() {
        let all = Candidates::default();
        let lost = candidate(1);
        all.push(Candidate { learnt: lost.learnt, ..candidate(2) });
        all.push(Candidate { learnt: lost.learnt + std::time::Duration::from_millis(1), ..candidate(3) });
        assert!(all.outdated(&lost) && !all.outdated(&lost));
        assert_eq!(slots(&all), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_to_others_is_found_later() {
        let all = Candidates::default();
        let left = candidate(1);
        all.leave(&left.partition, &left.id, Instant::now() + std::time::Duration::from_secs(1));
        all.merge(vec![candidate(1), candidate(2)]);
        assert_eq!(slots(&all), [2]);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        all.merge(vec![candidate(1)]);
        assert_eq!(slots(&all), [1]);
    }
}
