//! How long the locks of this process still live, by its own clock: the end of every retry made under a lock.
//!
//! No lock is judged by this clock: the server does that. But a lock under which a call has failed is used no more,
//! because of what a runtime does then: it commits the failure of an orchestration whose acknowledgement it could
//! not bring home, and removes an activity whose lock it could not renew. Both would be wrong if the server still
//! took them. Left alone, the lock expires and the work is done again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use duroxide::providers::ProviderError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Inner, millis};
use crate::cosmos::client::RETRY_BUDGET;
use crate::cosmos::failure::Class;
use crate::model::documents::Changed;
use crate::model::tokens;

/// Locks remembered; more than any process has dispatchers. Those beyond it count as unknown.
const MAX_LEASES: usize = 10_000;

/// A lock that is over is remembered so long, for the last calls that name it.
const MEMORY: Duration = Duration::from_secs(60);

/// The locks this process has taken and not yet let go.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<String, Lease>>);

#[derive(Debug, Clone, Copy)]
struct Lease {
    /// The server holds the lock at least until then.
    end: Instant,
    given_up: bool,
}

impl Leases {
    /// Takes note that the server holds `lock` until `end`, or longer. A lock that was given up stays so.
    pub(crate) fn hold(&self, lock: &str, end: Instant) {
        self.change(lock, |lease| lease.end = lease.end.max(end), Lease { end, given_up: false });
    }

    /// The lock is not to be used any more, whatever the server thinks of it.
    pub(crate) fn give_up(&self, lock: &str) {
        let given_up = Lease { end: Instant::now(), given_up: true };
        self.change(lock, |lease| *lease = given_up, given_up);
    }

    /// The lock is released.
    pub(crate) fn forget(&self, lock: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(lock);
    }

    /// When the lock ends; `None` for one this process knows nothing of.
    pub(crate) fn end(&self, lock: &str) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(lock).map(|lease| lease.end)
    }

    pub(crate) fn is_given_up(&self, lock: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(lock).is_some_and(|lease| lease.given_up)
    }

    fn change(&self, lock: &str, known: impl FnOnce(&mut Lease), unknown: Lease) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = leases.get_mut(lock) {
            if !lease.given_up {
                known(lease);
            }
            return;
        }
        if leases.len() >= MAX_LEASES {
            let now = Instant::now();
            leases.retain(|_, lease| lease.end + MEMORY > now);
        }
        if leases.len() < MAX_LEASES {
            leases.insert(lock.to_owned(), unknown);
        }
    }
}

impl Inner {
    /// Executes a procedure that needs `lock`: repeated while the lock lives, and not after. Answers also when
    /// the attempt that succeeded was sent.
    ///
    /// # Errors
    /// Permanent, if the lock has been given up, which it is when the last attempt fails.
    pub(super) async fn under_lock<T: DeserializeOwned>(
        &self,
        operation: &str,
        lock: &str,
        name: &'static str,
        partition: &str,
        argument: &impl Serialize,
    ) -> Result<(T, Instant), ProviderError> {
        if self.leases.is_given_up(lock) {
            return Err(tokens::lost(operation));
        }
        let unknown = Instant::now() + RETRY_BUDGET;
        let deadline = || self.leases.end(lock).unwrap_or(unknown);
        self.procedure_before(deadline, name, partition, argument).await.map_err(|failure| {
            if failure.class() == Class::Permanent {
                return failure.into();
            }
            self.leases.give_up(lock);
            ProviderError::permanent(operation, format!("{}; before that: {failure}", tokens::LOST))
        })
    }

    /// Renews `lock`. A renewal that fails gives the lock up: the runtime has done so then, too.
    pub(super) async fn renew(
        &self,
        operation: &str,
        lock: &str,
        name: &'static str,
        partition: &str,
        argument: &impl Serialize,
        extend_for: Duration,
    ) -> Result<(), ProviderError> {
        let answer = self.under_lock::<Changed>(operation, lock, name, partition, argument).await;
        let (changed, sent) = answer.inspect_err(|_| self.leases.give_up(lock))?;
        if changed.status != "renewed" {
            return Err(tokens::lost(operation));
        }
        self.leases.hold(lock, sent + Duration::from_millis(millis(extend_for)));
        Ok(())
    }

    /// Gives `lock` back. That is worth a request even where the lock has ended here, but no repetition.
    pub(super) async fn give_back(
        &self,
        lock: &str,
        name: &'static str,
        partition: &str,
        argument: &impl Serialize,
    ) -> Result<Changed, ProviderError> {
        let deadline = self.leases.end(lock).unwrap_or(Instant::now() + RETRY_BUDGET);
        let (changed, _) = self.procedure_before(|| deadline, name, partition, argument).await?;
        self.leases.forget(lock);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_lock_ends_in_time_unless_it_is_renewed() {
        let leases = Leases::default();
        let start = Instant::now();
        leases.hold("a", start + 5 * SECOND);
        leases.hold("b", start + 5 * SECOND);
        leases.hold("b", start + 8 * SECOND);
        leases.hold("b", start + 7 * SECOND);
        assert_eq!((leases.end("a"), leases.end("b")), (Some(start + 5 * SECOND), Some(start + 8 * SECOND)));
        assert_eq!(leases.end("unknown"), None);
        leases.forget("a");
        assert_eq!(leases.end("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_is_not_revived() {
        let leases = Leases::default();
        for lock in ["known", "unknown"] {
            assert!(!leases.is_given_up(lock));
            if lock == "known" {
                leases.hold(lock, Instant::now() + SECOND);
            }
            leases.give_up(lock);
            leases.hold(lock, Instant::now() + SECOND);
            assert!(leases.is_given_up(lock) && leases.end(lock) <= Some(Instant::now()), "{lock}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let leases = Leases::default();
        for i in 0..MAX_LEASES {
            leases.hold(&i.to_string(), Instant::now() + SECOND);
        }
        leases.hold("one more", Instant::now() + SECOND);
        assert_eq!(leases.end("one more"), None);
        tokio::time::advance(SECOND + MEMORY).await;
        leases.hold("one more", Instant::now() + SECOND);
        assert!(leases.end("one more").is_some() && leases.end("0").is_none());
    }
}
