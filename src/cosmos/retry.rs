//! How often and how long requests are repeated.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Class, Failure};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Repeats `attempt` while its failures are transient and `budget` lasts. Pauses grow exponentially with full
/// jitter, so that callers that collided once do not collide again; a 429's own delay is honoured.
pub(crate) async fn until<T, F>(budget: Duration, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + budget;
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) if failure.class() == Class::Transient => failure,
            Err(failure) => return Err(failure),
        };
        let wait = failure.retry_after.unwrap_or_default() + jitter(pause);
        if Instant::now() + wait >= deadline {
            return Err(failure);
        }
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
