//! What this process knows of instances: their heads as last seen, and the history of their running execution.
//! Nothing here is trusted unasked: a turn's history counts only up to what the lock procedure confirms, and a
//! head only while it is younger than the configured age, or the service says that it has not changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use duroxide::Event;
use lru::LruCache;
use tokio::time::Instant;

use crate::model::documents::{HeadFacts, KnownHistory};

/// What an entry takes beside its events.
const ENTRY_BYTES: usize = 512;

/// The history of an execution up to its last event.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) incarnation: String,
    pub(crate) execution: u64,
    pub(crate) last: u64,
    pub(crate) events: Arc<Vec<Event>>,
    /// Size of the events as stored.
    pub(crate) bytes: usize,
}

impl History {
    /// Whether it is (the beginning of) the history of the execution that `facts` speak of.
    pub(crate) fn is_of(&self, facts: &HeadFacts) -> bool {
        self.incarnation == facts.incarnation
            && self.execution == facts.execution
            && self.last <= facts.last_event
    }
}

#[derive(Debug)]
struct Entry {
    facts: HeadFacts,
    /// When the latest answer came that said so.
    learnt: Instant,
    history: Option<History>,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.history.as_ref().map_or(0, |history| history.bytes)
    }
}

/// A cache bounded by bytes; the instance not used for longest goes first.
#[derive(Debug)]
pub(crate) struct Known {
    max_bytes: usize,
    max_age: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entries: LruCache<String, Entry>,
    bytes: usize,
    /// Answers to requests sent before this moment are not believed: something was deleted then.
    forgotten: Option<Instant>,
}

impl Known {
    pub(crate) fn new(max_bytes: usize, max_age: Duration) -> Self {
        let state = State { entries: LruCache::unbounded(), bytes: 0, forgotten: None };
        Self { max_bytes, max_age, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head as last seen, and whether that is recent enough to be taken for true.
    pub(crate) fn facts(&self, partition: &str) -> Option<(HeadFacts, bool)> {
        let mut state = self.state();
        let entry = state.entries.get(partition)?;
        Some((entry.facts.clone(), entry.learnt.elapsed() < self.max_age))
    }

    /// An answer to a request sent at `asked` speaks of a head.
    pub(crate) fn learn(&self, partition: &str, facts: &HeadFacts, asked: Instant) {
        let mut state = self.state();
        if state.forgotten.is_some_and(|forgotten| asked <= forgotten) {
            return;
        }
        if let Some(entry) = state.entries.get_mut(partition) {
            if entry.facts.incarnation == facts.incarnation && entry.facts.revision > facts.revision {
                return;
            }
            entry.facts = facts.clone();
            entry.learnt = Instant::now();
            return;
        }
        let entry = Entry { facts: facts.clone(), learnt: Instant::now(), history: None };
        state.bytes += entry.bytes();
        state.entries.put(partition.to_owned(), entry);
        state.shrink(self.max_bytes);
    }

    /// What to tell the lock procedure, so that it sends no more than is new.
    pub(crate) fn known_history(&self, partition: &str) -> Option<KnownHistory> {
        let mut state = self.state();
        let history = state.entries.get(partition)?.history.as_ref()?;
        Some(KnownHistory {
            incarnation: history.incarnation.clone(),
            execution: history.execution,
            last_event: history.last,
        })
    }

    /// The history known, if it is (the beginning of) the one that `facts` speak of.
    pub(crate) fn history(&self, partition: &str, facts: &HeadFacts) -> Option<History> {
        let mut state = self.state();
        state.entries.get(partition)?.history.clone().filter(|history| history.is_of(facts))
    }

    /// Keeps a history that was read.
    pub(crate) fn keep(&self, partition: &str, history: History) {
        self.change(partition, |entry| {
            if entry.facts.incarnation == history.incarnation {
                entry.history = Some(history);
            }
        });
    }

    /// Events have been committed after the event `previous` of the execution `facts` speak of.
    pub(crate) fn append(
        &self,
        partition: &str,
        facts: &HeadFacts,
        previous: u64,
        events: Vec<Event>,
        bytes: usize,
    ) {
        self.change(partition, |entry| match &mut entry.history {
            Some(history) if history.is_of(facts) && history.last == previous => {
                Arc::make_mut(&mut history.events).extend(events);
                history.last = facts.last_event;
                history.bytes += bytes;
            }
            _ if previous == 0 => {
                entry.history = Some(History {
                    incarnation: facts.incarnation.clone(),
                    execution: facts.execution,
                    last: facts.last_event,
                    events: Arc::new(events),
                    bytes,
                });
            }
            history => *history = None,
        });
    }

    fn change(&self, partition: &str, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(partition) else {
            return;
        };
        let before = entry.bytes();
        change(entry);
        let after = entry.bytes();
        state.bytes = state.bytes + after - before;
        state.shrink(self.max_bytes);
    }

    /// Forgets an instance that has been deleted or changed unseen, and whatever answers on their way still say of it.
    pub(crate) fn forget(&self, partition: &str) {
        let mut state = self.state();
        state.forgotten = Some(Instant::now());
        if let Some(entry) = state.entries.pop(partition) {
            state.bytes -= entry.bytes();
        }
    }
}

impl State {
    fn shrink(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes
            && let Some((_, entry)) = self.entries.pop_lru()
        {
            self.bytes -= entry.bytes();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use duroxide::EventKind;

    fn facts(incarnation: &str, revision: u64, last_event: u64) -> HeadFacts {
        HeadFacts {
            etag: format!("\"{revision}\""),
            revision,
            incarnation: incarnation.into(),
            execution: 1,
            last_event,
            events: last_event,
            custom_status_version: 0,
            pinned: None,
            name: None,
            version: None,
        }
    }

    fn events(ids: std::ops::RangeInclusive<u64>) -> Vec<Event> {
        ids.map(|id| Event::with_event_id(id, "i", 1, None, EventKind::KeyValuesCleared)).collect()
    }

    fn known_up_to(known: &Known, partition: &str) -> Option<u64> {
        known.known_history(partition).map(|history| history.last_event)
    }

    #[tokio::test(start_paused = true)]
    async fn facts_age_and_older_answers_that_come_late_do_not_count() {
        let known = Known::new(100_000, Duration::from_millis(20));
        let asked = Instant::now();
        known.learn("p", &facts("a", 2, 4), asked);
        known.learn("p", &facts("a", 1, 2), asked);
        assert_eq!(known.facts("p"), Some((facts("a", 2, 4), true)));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(known.facts("p"), Some((facts("a", 2, 4), false)));
        known.forget("p");
        known.learn("p", &facts("a", 2, 4), asked);
        assert_eq!(known.facts("p"), None);
    }

    #[test]
    fn own_commits_lengthen_the_history_and_gaps_discard_it() {
        let known = Known::new(100_000, Duration::ZERO);
        known.learn("p", &facts("a", 1, 0), Instant::now());
        known.append("p", &facts("a", 2, 2), 0, events(1..=2), 10);
        known.append("p", &facts("a", 3, 4), 2, events(3..=4), 10);
        let history = known.history("p", &facts("a", 3, 4)).unwrap();
        assert_eq!((history.events.len(), history.last, history.bytes), (4, 4, 20));
        assert!(known.history("p", &facts("b", 3, 4)).is_none());
        known.append("p", &facts("a", 4, 9), 7, events(8..=9), 10);
        assert_eq!(known_up_to(&known, "p"), None);
    }

    #[test]
    fn the_bound_on_bytes_evicts_what_was_not_used_for_longest() {
        let known = Known::new(2 * ENTRY_BYTES + 1500, Duration::ZERO);
        for partition in ["p", "q"] {
            known.learn(partition, &facts("a", 1, 0), Instant::now());
            known.append(partition, &facts("a", 2, 2), 0, events(1..=2), 700);
        }
        assert!(known_up_to(&known, "p").is_some());
        known.learn("r", &facts("a", 1, 0), Instant::now());
        let left = ["p", "q", "r"].map(|partition| known.facts(partition).is_some());
        assert_eq!(left, [true, false, true]);
    }
}
