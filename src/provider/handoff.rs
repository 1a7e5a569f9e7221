//! Handing work over: what a request has made ready is locked by that very request, for a dispatcher of this
//! process that waits for it or is about to. Where dispatchers are quick, a little is locked ahead for each: as
//! much as they will have done within [`AHEAD`], going by how long they took lately.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What is locked ahead waits about this long for its dispatcher, well below any lock's life.
const AHEAD: Duration = Duration::from_millis(200);

/// Things locked ahead for one kind of dispatcher at most.
const MOST_AHEAD: u32 = 32;

/// Different kinds of places kept. More than any program has; beyond it dispatchers find their work themselves.
const MAX_GROUPS: usize = 64;

/// Locks remembered to know what kind of dispatcher returns with them.
const MAX_HELD: usize = 10_000;

/// The dispatchers of one queue, grouped by what they may take (`P`), and what is ready for them (`T`).
#[derive(Debug)]
pub(crate) struct HandOff<P, T> {
    state: Mutex<State<P, T>>,
    /// How long something takes that has not been seen yet; `None` if nothing can be said.
    expected: Option<Duration>,
    /// A promise has been kept or dropped.
    settled: Notify,
}

#[derive(Debug)]
struct State<P, T> {
    groups: Vec<Group<P, T>>,
    /// Group of the dispatcher that holds a lock, and since when, by the lock's id.
    held: HashMap<String, (usize, Instant)>,
    tickets: u64,
    enabled: bool,
}

#[derive(Debug)]
struct Group<P, T> {
    place: P,
    /// Dispatchers blocked in a long poll.
    waiting: usize,
    /// Dispatchers whose acknowledgement is on its way: the next thing they do is ask for work.
    returning: usize,
    /// Locks asked for in requests that are on their way.
    promised: usize,
    ready: VecDeque<Ready<T>>,
    /// How long a dispatcher lately took from getting something to having acknowledged it.
    takes: Option<Duration>,
}

#[derive(Debug)]
struct Ready<T> {
    ticket: u64,
    since: Instant,
    lock: String,
    item: T,
}

impl<P, T> State<P, T> {
    fn hold(&mut self, group: usize, lock: &str) {
        if self.held.len() >= MAX_HELD {
            // Locks that nobody ever acknowledged.
            self.held.clear();
        }
        self.held.insert(lock.to_owned(), (group, Instant::now()));
    }
}

impl<P, T> Group<P, T> {
    fn new(place: P, takes: Option<Duration>) -> Self {
        Self { place, waiting: 0, returning: 0, promised: 0, ready: VecDeque::new(), takes }
    }

    /// Whether one more can be locked for these dispatchers, who have `older` candidates to take before it.
    fn has_room(&self, older: usize) -> bool {
        let present = self.waiting + self.returning;
        present > 0 && self.promised + self.ready.len() + older < present + self.ahead(present)
    }

    fn ahead(&self, present: usize) -> usize {
        let Some(takes) = self.takes else {
            return 0;
        };
        let each = AHEAD.as_micros() / takes.as_micros().max(1);
        (present.saturating_mul(usize::try_from(each).unwrap_or(usize::MAX))).min(MOST_AHEAD as usize)
    }

    /// Half of what counts is the latest.
    fn took(&mut self, time: Duration) {
        self.takes = Some(self.takes.map_or(time, |takes| (takes + time) / 2));
    }
}

#[derive(Debug, Clone, Copy)]
enum Presence {
    Waiting,
    Returning { since: Instant },
}

impl<P: Clone + PartialEq, T> HandOff<P, T> {
    pub(crate) fn new(enabled: bool, expected: Option<Duration>) -> Self {
        let state = State { groups: Vec::new(), held: HashMap::new(), tickets: 0, enabled };
        Self { state: Mutex::new(state), expected, settled: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<P, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first thing that is ready for a dispatcher of this place, unless it came after `older`.
    pub(crate) fn take(&self, place: &P, older: Option<Instant>) -> Option<T> {
        let mut state = self.state();
        let group = state.groups.iter().position(|group| group.place == *place)?;
        let ready = &mut state.groups[group].ready;
        if ready.front().is_none_or(|first| older.is_some_and(|older| older < first.since)) {
            return None;
        }
        let Ready { lock, item, .. } = ready.pop_front()?;
        state.hold(group, &lock);
        Some(item)
    }

    /// A dispatcher blocks until the answer is dropped.
    pub(crate) fn wait(self: &Arc<Self>, place: &P) -> Option<Present<P, T>> {
        let mut state = self.state();
        let known = state.groups.iter().position(|group| group.place == *place);
        let group = known.or_else(|| {
            (state.groups.len() < MAX_GROUPS).then(|| {
                state.groups.push(Group::new(place.clone(), self.expected));
                state.groups.len() - 1
            })
        })?;
        Some(self.present(state, group, Presence::Waiting))
    }

    /// A dispatcher of this place has got something with this lock.
    pub(crate) fn hold(&self, place: &P, lock: &str) {
        let mut state = self.state();
        if let Some(group) = state.groups.iter().position(|group| group.place == *place) {
            state.hold(group, lock);
        }
    }

    /// The dispatcher with this lock acknowledges it, and returns when the answer is dropped.
    pub(crate) fn returning(self: &Arc<Self>, lock: &str) -> Option<Present<P, T>> {
        let mut state = self.state();
        let (group, since) = state.held.remove(lock)?;
        Some(self.present(state, group, Presence::Returning { since }))
    }

    fn present(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State<P, T>>,
        group: usize,
        presence: Presence,
    ) -> Present<P, T> {
        let place = state.groups[group].place.clone();
        match presence {
            Presence::Waiting => state.groups[group].waiting += 1,
            Presence::Returning { .. } => state.groups[group].returning += 1,
        }
        Present { hand_off: Arc::clone(self), group, place, presence }
    }

    /// A place for something about to be locked, if a dispatcher that `suits` has room for it beside what waits
    /// for longer: so many candidates as `older` says.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        suits: impl Fn(&P) -> bool,
        older: impl Fn(&P) -> usize,
    ) -> Option<Promise<P, T>> {
        let mut state = self.state();
        if !state.enabled {
            return None;
        }
        let group = state
            .groups
            .iter()
            .position(|group| suits(&group.place) && group.has_room(older(&group.place)))?;
        state.groups[group].promised += 1;
        let place = state.groups[group].place.clone();
        Some(Promise { hand_off: Arc::clone(self), group, place, since: Instant::now() })
    }

    /// Makes no further promises; answers what nobody has fetched once all that were made are kept.
    pub(crate) async fn close(&self) -> Vec<T> {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            {
                let mut state = self.state();
                state.enabled = false;
                if state.groups.iter().all(|group| group.promised == 0) {
                    let ready = state.groups.iter_mut().flat_map(|group| group.ready.drain(..));
                    return ready.map(|ready| ready.item).collect();
                }
            }
            settled.await;
        }
    }

    /// Takes back what nobody has fetched.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<T> {
        let mut state = self.state();
        let ready = &mut state.groups[ticket.group].ready;
        let place = ready.iter().position(|ready| ready.ticket == ticket.number)?;
        ready.remove(place).map(|ready| ready.item)
    }
}

/// A dispatcher that could take something over, until dropped.
#[derive(Debug)]
pub(crate) struct Present<P, T> {
    hand_off: Arc<HandOff<P, T>>,
    group: usize,
    pub(crate) place: P,
    presence: Presence,
}

impl<P, T> Drop for Present<P, T> {
    fn drop(&mut self) {
        let mut state = self.hand_off.state.lock().unwrap_or_else(PoisonError::into_inner);
        let group = &mut state.groups[self.group];
        match self.presence {
            Presence::Waiting => group.waiting -= 1,
            Presence::Returning { since } => {
                group.returning -= 1;
                group.took(since.elapsed());
            }
        }
    }
}

/// A place kept for something that is being locked; free again when dropped.
#[derive(Debug)]
pub(crate) struct Promise<P, T> {
    hand_off: Arc<HandOff<P, T>>,
    group: usize,
    pub(crate) place: P,
    /// Its place in the queue.
    since: Instant,
}

impl<P, T> Promise<P, T> {
    /// What is being locked has been waiting since then.
    pub(crate) fn since(mut self, since: Instant) -> Self {
        self.since = since;
        self
    }

    /// It is locked with `lock`: lays it ready. The caller wakes the dispatchers.
    pub(crate) fn fulfil(self, lock: String, item: T) -> Ticket {
        let mut state = self.hand_off.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tickets += 1;
        let number = state.tickets;
        state.groups[self.group].ready.push_back(Ready { ticket: number, since: self.since, lock, item });
        Ticket { group: self.group, number }
    }
}

impl<P, T> Drop for Promise<P, T> {
    fn drop(&mut self) {
        let mut state = self.hand_off.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups[self.group].promised -= 1;
        drop(state);
        self.hand_off.settled.notify_waiters();
    }
}

/// What was laid ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    group: usize,
    number: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Places = Arc<HandOff<&'static str, u32>>;

    fn places() -> Places {
        Arc::new(HandOff::new(true, None))
    }

    #[test]
    fn only_a_dispatcher_that_waits_or_returns_gets_a_promise_and_each_one() {
        let places = places();
        assert!(places.reserve(|_| true, |_| 0).is_none());
        let waiting = places.wait(&"a").unwrap();
        let first = places.reserve(|_| true, |_| 0).unwrap();
        assert!(places.reserve(|_| true, |_| 0).is_none());
        places.hold(&"a", "lock");
        let returning = places.returning("lock").unwrap();
        let second = places.reserve(|_| true, |_| 0).unwrap();
        assert!(places.reserve(|_| true, |_| 0).is_none());
        drop(first);
        assert!(places.reserve(|place| *place == "b", |_| 0).is_none());
        assert!(places.reserve(|place| *place == "a", |_| 0).is_some());
        drop((waiting, returning, second));
        assert!(places.reserve(|_| true, |_| 0).is_none());
        assert!(places.returning("lock").is_none());
    }

    #[test]
    fn what_is_ready_goes_to_its_kind_of_dispatcher_in_order_and_occupies_its_place() {
        let places = places();
        let _waiting = (places.wait(&"a").unwrap(), places.wait(&"a").unwrap());
        let (one, two) = (places.reserve(|_| true, |_| 0).unwrap(), places.reserve(|_| true, |_| 0).unwrap());
        one.fulfil("l1".into(), 1);
        let ticket = two.fulfil("l2".into(), 2);
        assert!(places.reserve(|_| true, |_| 0).is_none());
        assert_eq!(places.take(&"b", None), None);
        assert_eq!(places.take(&"a", None), Some(1));
        assert!(places.reserve(|_| true, |_| 0).is_some());
        assert_eq!(places.withdraw(ticket), Some(2));
        assert_eq!((places.withdraw(ticket), places.take(&"a", None)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_longer_comes_first() {
        let places = places();
        let _waiting = (places.wait(&"a").unwrap(), places.wait(&"a").unwrap());
        assert!(places.reserve(|_| true, |_| 2).is_none());
        let older = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        places.reserve(|_| true, |_| 1).unwrap().fulfil("l".into(), 1);
        assert_eq!(places.take(&"a", Some(older)), None);
        assert_eq!(places.take(&"a", Some(Instant::now())), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn quick_dispatchers_have_more_locked_ahead() {
        for (takes_ms, expected) in [(1, 33), (25, 9), (201, 1)] {
            let places = places();
            let _waiting = places.wait(&"a").unwrap();
            places.hold(&"a", "lock");
            let returning = places.returning("lock").unwrap();
            tokio::time::advance(Duration::from_millis(takes_ms)).await;
            drop(returning);
            let promises: Vec<_> = std::iter::from_fn(|| places.reserve(|_| true, |_| 0)).collect();
            assert_eq!(promises.len(), expected, "{takes_ms} ms");
        }
    }

    #[test]
    fn switched_off_nothing_is_promised() {
        let places: Places = Arc::new(HandOff::new(false, None));
        let _waiting = places.wait(&"a").unwrap();
        assert!(places.reserve(|_| true, |_| 0).is_none());
    }
}
