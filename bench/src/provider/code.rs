//! The workflows that are run.

use std::sync::Arc;

use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{ActivityContext, OrchestrationContext, OrchestrationRegistry};

/// What a workflow lets the measurement know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The code of an instance runs, in any of its turns.
    Turn,
    /// The activity of this number (from 0) runs.
    Step(u64),
    /// An instance has run to its end.
    End(&'a str),
}

/// Is told of every [`Event`].
pub(super) type Observer = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Runs this many activities one after the other.
pub(super) const CHAIN: &str = "chain";
/// Runs this many activities at once.
pub(super) const FAN_OUT: &str = "fan-out";
/// Runs this many chains of one activity at once, each as an instance of its own.
pub(super) const CHILDREN: &str = "children";
/// Ends at once.
pub(super) const EMPTY: &str = "empty";
/// Waits for so many milliseconds.
pub(super) const TIMER: &str = "timer";
const STEP: &str = "step";

pub(super) fn activities(observer: &Observer) -> ActivityRegistry {
    let observer = Arc::clone(observer);
    ActivityRegistry::builder()
        .register(STEP, move |_: ActivityContext, number: String| {
            if let Ok(number) = number.parse() {
                observer(Event::Step(number));
            }
            async move { Ok(number) }
        })
        .build()
}

pub(super) fn orchestrations(observer: &Observer) -> OrchestrationRegistry {
    let (turns, chains) = (Arc::clone(observer), Arc::clone(observer));
    OrchestrationRegistry::builder()
        .register_typed(CHAIN, move |ctx: OrchestrationContext, steps: u64| {
            let observer = Arc::clone(&chains);
            async move {
                for number in 0..steps {
                    ctx.schedule_activity(STEP, number.to_string()).await?;
                }
                observer(Event::End(&ctx.instance_id()));
                Ok(steps)
            }
        })
        .register_typed(FAN_OUT, async |ctx: OrchestrationContext, width: u64| {
            let all = (0..width).map(|number| ctx.schedule_activity(STEP, number.to_string())).collect();
            count_ok(ctx.join(all).await)
        })
        .register_typed(CHILDREN, async |ctx: OrchestrationContext, width: u64| {
            let all = (0..width).map(|_| ctx.schedule_sub_orchestration(CHAIN, "1")).collect();
            count_ok(ctx.join(all).await)
        })
        .register_typed(EMPTY, move |_: OrchestrationContext, input: u64| {
            turns(Event::Turn);
            async move { Ok(input) }
        })
        .register_typed(TIMER, async |ctx: OrchestrationContext, millis: u64| {
            ctx.schedule_timer(std::time::Duration::from_millis(millis)).await;
            Ok(millis)
        })
        .build()
}

/// How many there are, if none has failed.
fn count_ok(results: Vec<Result<String, String>>) -> Result<u64, String> {
    let all: Result<Vec<_>, _> = results.into_iter().collect();
    Ok(all?.len() as u64)
}
