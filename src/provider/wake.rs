//! Waking the dispatchers of this process: at once by its own writes, in time for what it hid itself, and by a
//! slowing poll for what other processes do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use duroxide::providers::ProviderError;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::discovery::{Found, InFlight};

/// First pause after an empty look; doubles up to `idle_poll_interval`.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Due times remembered per queue. Beyond that the poll finds what is due, up to one interval later.
const MAX_DUE: usize = 10_000;

/// Wakes the dispatchers of one queue.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    notify: Notify,
    due: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// There is a new earliest due time: who sleeps must sleep less.
    sooner: Notify,
}

impl Wake {
    /// Something may be ready now: everybody looks, because whoever is woken alone may not be allowed to
    /// take it (tags, sessions, versions).
    pub(crate) fn now(&self) {
        self.notify.notify_waiters();
    }

    /// Something becomes ready at the server time `ready_at`, which was `now` a moment ago.
    pub(crate) fn at(&self, ready_at: Option<f64>, now: Option<f64>) {
        let (Some(ready_at), Some(now)) = (ready_at, now) else {
            return;
        };
        let millis = ready_at - now;
        if millis <= 0.0 {
            return self.now();
        }
        if let Ok(delay) = Duration::try_from_secs_f64(millis / 1000.0)
            && let Some(due) = Instant::now().checked_add(delay)
        {
            let mut heap = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let sooner = heap.peek().is_none_or(|Reverse(earliest)| due < *earliest);
            if heap.len() < MAX_DUE {
                heap.push(Reverse(due));
            }
            if sooner {
                self.sooner.notify_waiters();
            }
        }
    }

    /// The next due time; past ones are dropped.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let mut heap = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        while heap.peek().is_some_and(|Reverse(due)| *due <= now) {
            heap.pop();
        }
        heap.peek().map(|Reverse(due)| *due)
    }

    /// Sleeps until woken, until the first time after `started` at which something is due, or until `latest`.
    async fn sleep(&self, mut woken: Pin<&mut Notified<'_>>, started: Instant, latest: Instant) {
        loop {
            let mut sooner = std::pin::pin!(self.sooner.notified());
            sooner.as_mut().enable();
            let until = self.next_due(started).map_or(latest, |due| due.min(latest));
            tokio::select! {
                () = woken.as_mut() => return,
                () = tokio::time::sleep_until(until) => return,
                () = sooner => {}
            }
        }
    }

    /// Calls `look` until it finds something or `poll_timeout` is over. Never starts a look after the deadline.
    ///
    /// A zero timeout wants one true answer: where others of this process are just locking what is there, the
    /// answer waits for them. A long poll need not: it looks again anyway.
    pub(crate) async fn poll<T, F>(
        &self,
        poll_timeout: Duration,
        longest_pause: Duration,
        in_flight: &InFlight,
        mut look: impl FnMut() -> F,
    ) -> Result<Option<T>, ProviderError>
    where
        F: Future<Output = Result<Found<T>, ProviderError>>,
    {
        let deadline = Instant::now() + poll_timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            // Registered before looking, so that a wake-up during the look is not lost.
            let mut woken = std::pin::pin!(self.notify.notified());
            woken.as_mut().enable();
            let mut released = std::pin::pin!(in_flight.released());
            released.as_mut().enable();
            let started = Instant::now();
            match look().await? {
                Found::Locked(found) => return Ok(Some(found)),
                Found::Busy if poll_timeout.is_zero() => {
                    released.await;
                    continue;
                }
                Found::Busy | Found::Nothing => {}
            }
            self.sleep(woken, started, (started + pause).min(deadline)).await;
            if Instant::now() >= deadline {
                return Ok(None);
            }
            pause = (pause * 2).min(longest_pause.max(FIRST_PAUSE));
        }
    }
}

/// The latest order stamp this process has seen in any partition. Sent with each enqueue, it keeps what is
/// enqueued one after the other in that order, whichever partitions it goes to.
#[derive(Debug, Default)]
pub(crate) struct OrderClock(AtomicU64);

impl OrderClock {
    pub(crate) fn latest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn saw(&self, stamp: Option<u64>) {
        self.0.fetch_max(stamp.unwrap_or(0), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn found(ready: bool) -> Found<()> {
        if ready { Found::Locked(()) } else { Found::Nothing }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_finds_what_a_wake_up_announces_without_waiting_for_the_poll() {
        let (wake, none) = (Wake::default(), InFlight::default());
        let ready = Cell::new(false);
        let started = Instant::now();
        let look = || async { Ok(found(ready.get())) };
        let (result, ()) =
            tokio::join!(wake.poll(Duration::from_secs(30), Duration::from_secs(30), &none, look), async {
                // Far into the slow part of the poll.
                tokio::time::sleep(Duration::from_secs(9)).await;
                ready.set(true);
                wake.now();
            });
        assert_eq!(result, Ok(Some(())));
        assert_eq!(started.elapsed(), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_hidden_here_is_looked_for_when_it_is_due() {
        let wake = Wake::default();
        let started = Instant::now();
        let look = || async { Ok(found(started.elapsed() >= Duration::from_millis(7_345))) };
        wake.at(Some(107_345.0), Some(100_000.0));
        let result =
            wake.poll(Duration::from_secs(30), Duration::from_secs(30), &InFlight::default(), look).await;
        assert_eq!(result, Ok(Some(())));
        assert!(started.elapsed() < Duration::from_millis(7_400), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn zero_looks_once_and_a_timeout_is_kept() {
        let wake = Wake::default();
        let looks = Cell::new(0);
        let look = || async {
            looks.set(looks.get() + 1);
            Ok(Found::<()>::Nothing)
        };
        let none = InFlight::default();
        let started = Instant::now();
        assert_eq!(wake.poll(Duration::ZERO, Duration::from_secs(1), &none, look).await, Ok(None));
        assert_eq!((looks.get(), started.elapsed()), (1, Duration::ZERO));
        assert_eq!(
            wake.poll(Duration::from_millis(500), Duration::from_secs(1), &none, look).await,
            Ok(None)
        );
        assert_eq!(started.elapsed(), Duration::from_millis(500));
    }
}
