//! Workflows of every kind, run while something goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, Event, EventKind, OrchestrationContext, OrchestrationRegistry,
    OrchestrationStatus,
};
use duroxide_cosmos::CosmosDBProvider;

/// A runtime on a provider, with workflows that run activities, timers and children.
pub struct Workload {
    store: Arc<dyn Provider>,
    pub client: Client,
    runtime: Arc<Runtime>,
    /// How often each activity ran.
    effects: Arc<Mutex<BTreeMap<String, usize>>>,
    instances: Vec<String>,
}

/// Two activities at once, a timer, a child with an activity of its own, a second execution.
async fn whole(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    if let Some(rest) = input.strip_suffix("/again") {
        let last = ctx.schedule_activity("Effect", format!("{rest}/last")).await?;
        return Ok(last);
    }
    let both = ["a", "b"].map(|part| ctx.schedule_activity("Effect", format!("{input}/{part}")));
    ctx.join(both.into()).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    ctx.schedule_timer(Duration::from_millis(300)).await;
    ctx.schedule_sub_orchestration("part", format!("{input}/child")).await?;
    ctx.continue_as_new(format!("{input}/again")).await
}

async fn part(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    ctx.schedule_activity("Effect", input).await
}

impl Workload {
    pub async fn start(provider: &Arc<CosmosDBProvider>) -> Self {
        let effects: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counted = Arc::clone(&effects);
        let activities =
            ActivityRegistry::builder().register("Effect", move |_: ActivityContext, input: String| {
                *counted.lock().expect("no panic").entry(input.clone()).or_default() += 1;
                async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(input)
                }
            });
        let orchestrations = OrchestrationRegistry::builder().register("whole", whole).register("part", part);
        let store = Arc::clone(provider) as Arc<dyn Provider>;
        let options =
            RuntimeOptions { orchestration_concurrency: 4, worker_concurrency: 4, ..Default::default() };
        let runtime = Runtime::start_with_options(
            Arc::clone(&store),
            activities.build(),
            orchestrations.build(),
            options,
        );
        let runtime = runtime.await;
        Self { client: Client::new(Arc::clone(&store)), store, runtime, effects, instances: Vec::new() }
    }

    /// Starts so many more workflows.
    pub async fn launch(&mut self, count: usize) {
        for _ in 0..count {
            let instance = format!("w{}", self.instances.len());
            self.client.start_orchestration(&instance, "whole", instance.as_str()).await.expect("started");
            self.instances.push(instance);
        }
    }

    /// Waits for all of them: each must end as it should, with each step in its history once; ends the runtime.
    /// Answers how often each activity ran.
    pub async fn finish(self, patience: Duration) -> BTreeMap<String, usize> {
        for instance in &self.instances {
            let status = self.client.wait_for_orchestration(instance, patience).await;
            match status {
                Ok(OrchestrationStatus::Completed { output, .. }) => {
                    assert_eq!(output, format!("{instance}/last"));
                }
                other => panic!("{instance}: {other:?}"),
            }
            let history = self.store.read_with_execution(instance, 1).await.expect("history");
            assert_eq!(completions(&history), 4, "two activities, a timer, a child: {history:?}");
            let history = self.store.read(instance).await.expect("history");
            assert_eq!(completions(&history), 1, "{history:?}");
        }
        self.runtime.shutdown(Some(1000)).await;
        let effects = self.effects.lock().expect("no panic").clone();
        assert_eq!(effects.len(), self.instances.len() * 4, "every activity ran: {effects:?}");
        effects
    }
}

fn completions(history: &[Event]) -> usize {
    let ended = |event: &&Event| {
        matches!(
            event.kind,
            EventKind::ActivityCompleted { .. }
                | EventKind::TimerFired { .. }
                | EventKind::SubOrchestrationCompleted { .. }
        )
    };
    history.iter().filter(ended).count()
}
