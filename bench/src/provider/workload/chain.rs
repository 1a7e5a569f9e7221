//! Activities one after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::Error;
use crate::provider::code::{self, Event, Observer};
use crate::provider::counts::{ByOperation, since};
use crate::provider::proxy::Meter;
use crate::provider::trial::{Cost, Trial};

use super::{Case, HISTORY, Limits, Row};

/// The cost of one step is that of so many, from so many before it.
const WINDOW: u64 = 10;

/// One chain of so many steps; the client's start and waiting are part of it.
pub(super) async fn one(case: Case, title: &str, steps: u32, limits: Limits) -> Vec<Row> {
    vec![Row::new(case, title, "step", measure(case, steps, limits).await)]
}

async fn measure(case: Case, steps: u32, limits: Limits) -> Result<Cost, Error> {
    let trial = Trial::start(case.setting, Arc::new(|_| {})).await?;
    let run = trial.complete("chain", code::CHAIN, steps.into(), limits.workload);
    let cost = trial.cost(steps.into(), run).await;
    trial.stop().await;
    cost
}

/// Steps of a long chain, each as the mean of the [`WINDOW`] up to it.
pub(super) async fn by_history(case: Case, limits: Limits) -> Vec<Row> {
    let row = |step: u64, outcome| Row::new(case, history_title(step), "step", outcome);
    match marks(case, limits).await {
        Ok((marks, end)) => HISTORY.into_iter().map(|step| row(step, window(&marks, step, &end))).collect(),
        Err(error) => vec![row(HISTORY[0], Err(error))],
    }
}

/// The title of the row for one step of a long chain.
pub(in crate::provider) fn history_title(step: u64) -> String {
    format!("step {step} of a chain")
}

/// Costs and time when a step began.
type Marks = BTreeMap<u64, (ByOperation, Instant)>;

/// Runs the long chain as far as it comes, and says how that ended.
async fn marks(case: Case, limits: Limits) -> Result<(Marks, Result<(), String>), Error> {
    let marks = Arc::new(Mutex::new(Marks::new()));
    let meter: Arc<OnceLock<Option<Meter>>> = Arc::default();
    let observer: Observer = {
        let (marks, meter) = (Arc::clone(&marks), Arc::clone(&meter));
        Arc::new(move |event| {
            // Not during the warm-up.
            if let (Event::Step(number), Some(meter)) = (event, meter.get()) {
                let counts = meter.as_ref().map(Meter::by_operation).unwrap_or_default();
                let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
                marks.entry(number).or_insert((counts, Instant::now()));
            }
        })
    };
    let trial = Trial::start(case.setting, observer).await?;
    let _ = meter.set(trial.site.meter().cloned());
    let longest = HISTORY.last().copied().unwrap_or_default() + 1;
    let end = trial.complete("history", code::CHAIN, longest, 2 * limits.workload).await;
    trial.stop().await;
    let marks = marks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((marks, end.map_err(|error| error.to_string())))
}

fn window(marks: &Marks, step: u64, end: &Result<(), String>) -> Result<Cost, Error> {
    let (Some(first), Some(last)) = (marks.get(&(step - WINDOW)), marks.get(&step)) else {
        let reached = marks.keys().last().copied().unwrap_or_default();
        let reason = end.as_ref().err().map_or("", |reason| reason.as_str());
        return Err(Error::Other(format!("{reason} (came to step {reached})")));
    };
    let by_operation = since(&first.0, last.0.clone());
    // A window is ten steps, far from any limit of precision.
    #[allow(clippy::cast_precision_loss)]
    let count = WINDOW as f64;
    Ok(Cost { count, by_operation, elapsed: last.1 - first.1, idle: None, note: None })
}
