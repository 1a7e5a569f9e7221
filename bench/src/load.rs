//! Load for a bounded time, and what came of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Error;

/// What a number of concurrent workers measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Time of every successful request, ascending.
    latencies: Vec<Duration>,
    /// Sum of the request units.
    units: f64,
    /// Answers that were not what was asked for, and the status of the last of them.
    pub(crate) failures: u64,
    pub(crate) failed_with: Option<u16>,
    elapsed: Duration,
    /// Processor time of the server, where it runs on this machine.
    pub(crate) server_cpu: Option<Duration>,
}

/// One answered request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) units: f64,
}

impl Measured {
    /// Runs `workers` until `limit` is over; each is asked for one request after another, with its own number and
    /// that of the request, until it has no more.
    pub(crate) async fn run<W, F>(workers: Vec<W>, limit: Duration, ask: F) -> Result<Self, Error>
    where
        W: 'static,
        F: AsyncFn(&mut W, usize, u64) -> Result<Option<Answered>, Error> + 'static,
    {
        let total = Rc::new(RefCell::new(Self::default()));
        let ask = Rc::new(ask);
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = workers
            .into_iter()
            .enumerate()
            .map(|(worker, mut state)| {
                let (total, ask) = (Rc::clone(&total), Rc::clone(&ask));
                local.spawn_local(async move {
                    let mut number = 0;
                    while started.elapsed() < limit {
                        let sent = Instant::now();
                        let Some(answered) = ask(&mut state, worker, number).await? else { break };
                        total.borrow_mut().note(&answered, sent.elapsed());
                        number += 1;
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        local.await;
        for task in tasks {
            task.await.map_err(|error| Error::Other(error.to_string()))??;
        }
        let mut total = total.take();
        total.elapsed = started.elapsed();
        total.latencies.sort_unstable();
        Ok(total)
    }

    fn note(&mut self, answered: &Answered, latency: Duration) {
        self.units += answered.units;
        if answered.status < 300 {
            self.latencies.push(latency);
        } else {
            self.failures += 1;
            self.failed_with = Some(answered.status);
        }
    }

    /// Successful requests.
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// Successful requests per second.
    pub(crate) fn rate(&self) -> f64 {
        ratio(self.requests(), self.elapsed.as_secs_f64())
    }

    /// The time within which `share` (0 to 1) of the requests were answered.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        // Far below 2^52 requests, and never negative.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Request units per request.
    pub(crate) fn units(&self) -> f64 {
        self.units / ratio(self.requests().max(1), 1.0)
    }

    /// Processor time of the server per request.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let requests = u32::try_from(self.requests()).ok().filter(|count| *count > 0)?;
        Some(self.server_cpu? / requests)
    }
}

// Counts stay far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn ratio(count: usize, by: f64) -> f64 {
    count as f64 / by
}
