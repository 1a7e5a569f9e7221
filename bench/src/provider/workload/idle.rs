//! A runtime that has nothing to do, and how fast it sees that it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::Client;
use tokio::sync::mpsc;

use crate::Error;
use crate::provider::code::{self, Event};
use crate::provider::trial::{Cost, Trial};

use super::{Case, Limits, Row};

/// After so long without work a provider looks as rarely as it ever does.
const SETTLE: Duration = Duration::from_secs(3);
/// A start that nobody sees within this is lost.
const LOST: Duration = Duration::from_secs(60);

/// The titles of the rows.
pub(in crate::provider) const IDLE: &str = "idle runtime";
pub(in crate::provider) const SAME_PROCESS: &str = "start seen, same process (slowest)";
pub(in crate::provider) const OTHER_PROCESS: &str = "start seen, other process (slowest)";

/// All of it, on one runtime with default settings.
pub(super) async fn run(case: Case, limits: Limits) -> Vec<Row> {
    let (seen, mut turns) = mpsc::unbounded_channel();
    let observer = Arc::new(move |event: Event<'_>| {
        if event == Event::Turn {
            let _ = seen.send(Instant::now());
        }
    });
    let trial = match Trial::start(case.setting, observer).await {
        Ok(trial) => trial,
        Err(error) => return vec![Row::new(case, IDLE, "second", Err(error))],
    };
    let idle = watch(&trial, limits).await;
    let same = slowest(&trial.client, "same", limits.rounds, &mut turns).await;
    // A provider object shares nothing with another one: neither wake-ups nor caches.
    let other = match trial.site.address().open(case.setting.dispatchers).await {
        Ok(other) => slowest(&Client::new(other), "other", limits.rounds, &mut turns).await,
        Err(error) => Err(error),
    };
    trial.stop().await;
    vec![
        Row::new(case, IDLE, "second", idle),
        Row::new(case, SAME_PROCESS, "start", same),
        Row::new(case, OTHER_PROCESS, "start", other),
    ]
}

/// What a runtime costs that has had nothing to do for a while.
pub(super) async fn watch(trial: &Trial, limits: Limits) -> Result<Cost, Error> {
    tokio::time::sleep(SETTLE).await;
    let wait = async {
        tokio::time::sleep(limits.span).await;
        Ok(())
    };
    trial.cost(limits.span.as_secs_f64(), wait).await
}

/// The longest time from the end of a start's request to the first line of its code.
async fn slowest(
    client: &Client,
    name: &str,
    rounds: u32,
    turns: &mut mpsc::UnboundedReceiver<Instant>,
) -> Result<Cost, Error> {
    let mut times = Vec::new();
    for round in 0..rounds {
        // Different each time, so that no rhythm of looks is met by chance.
        tokio::time::sleep(SETTLE + Duration::from_millis(137) * round).await;
        let start = client.start_orchestration_typed(format!("{name}-{round}"), code::EMPTY, 0u64);
        start.await.map_err(Error::other)?;
        let accepted = Instant::now();
        let seen = tokio::time::timeout(LOST, turns.recv()).await.map_err(Error::other)?;
        times.push(seen.map_or(LOST, |seen| seen.saturating_duration_since(accepted)));
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Cost {
        count: 1.0,
        by_operation: Default::default(),
        elapsed: times.last().copied().unwrap_or_default(),
        idle: None,
        note: Some(format!("median of {rounds}: {:.1} ms", median.as_secs_f64() * 1000.0)),
    })
}
