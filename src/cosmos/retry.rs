//! How often and how long requests are repeated.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Class, Failure};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Repeats `attempt` while its failures are transient and `budget` lasts.
pub(crate) async fn until<T, F>(budget: Duration, attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + budget;
    before(|| deadline, attempt).await
}

/// Repeats `attempt` while its failures are transient and `deadline`, which may move meanwhile, has not come.
/// Pauses grow exponentially with full jitter, so that callers that collided once do not collide again; the
/// delay a 429 asks for is honoured, and where it ends too late the failure is answered at once.
pub(crate) async fn before<T, F>(
    deadline: impl Fn() -> Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) if failure.class() == Class::Transient => failure,
            Err(failure) => return Err(failure),
        };
        let asked = failure.retry_after.unwrap_or_default();
        let left = deadline().saturating_duration_since(Instant::now()).saturating_sub(asked);
        if left < FIRST_PAUSE {
            return Err(failure);
        }
        // Half of what is left at most: the last moments are used, too.
        let wait = asked + jitter(pause.min(left / 2));
        tracing::debug!(operation = failure.operation, %failure, wait_ms = wait.as_millis() as u64, "repeating");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A random part of `longest`. The bits of a fresh UUID are random enough and need no further dependency.
fn jitter(longest: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u64_pair().0;
    longest.mul_f64((random >> 12) as f64 / (1u64 << 52) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A request that is always throttled, and when it was tried.
    async fn throttled(deadline: impl Fn() -> Instant, retry_after_ms: u64) -> (Duration, usize) {
        let (started, last, attempts) = (Instant::now(), Cell::new(Instant::now()), Cell::new(0));
        let attempt = || async {
            last.set(Instant::now());
            attempts.set(attempts.get() + 1);
            #[allow(clippy::unwrap_used)]
            let answer = http::Response::builder()
                .status(429)
                .header("x-ms-retry-after-ms", retry_after_ms.to_string())
                .body(bytes::Bytes::new())
                .unwrap();
            Err::<(), _>(Failure::of_answer("test", &answer))
        };
        assert!(before(deadline, attempt).await.is_err());
        (last.get() - started, attempts.get())
    }

    #[tokio::test(start_paused = true)]
    async fn retries_go_on_until_the_deadline_and_no_longer() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (last, _) = throttled(|| deadline, 50).await;
        assert!((Duration::from_secs(59)..Duration::from_secs(60)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_is_followed() {
        let start = Instant::now();
        let renewed = || start + Duration::from_secs(if start.elapsed().as_secs() < 4 { 5 } else { 9 });
        let (last, _) = throttled(renewed, 0).await;
        assert!((Duration::from_secs(8)..Duration::from_secs(9)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_beyond_the_deadline_is_not_waited_for() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let (last, attempts) = throttled(|| deadline, 6_000).await;
        assert_eq!((last, attempts), (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_tried_once() {
        let (_, attempts) = throttled(Instant::now, 0).await;
        assert_eq!(attempts, 1);
    }
}
