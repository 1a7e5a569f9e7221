//! What users write workflows for, each pattern through a real runtime over HTTP. The plain steps (chains,
//! fan-out, timers, children, continue-as-new, failures) are in `workflows.rs`.

mod activities;
mod children;
mod eternal;
mod long;
mod recovery;
mod state;
mod too_large;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::registry::{ActivityRegistry, ActivityRegistryBuilder};
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{ActivityContext, Client, Event, EventKind, OrchestrationRegistry, OrchestrationStatus};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::{self, Container};

const PATIENCE: Duration = Duration::from_secs(30);

/// A container, and a client on it.
struct World {
    provider: Arc<CosmosDBProvider>,
    container: Container,
    client: Client,
}

/// The activities of most scenarios.
fn activities() -> ActivityRegistryBuilder {
    ActivityRegistry::builder()
        .register("Echo", |_: ActivityContext, input: String| async move { Ok(input) })
        .register("Fail", |_: ActivityContext, input: String| async move { Err(format!("no {input}")) })
        .register("Slow", |ctx: ActivityContext, _: String| async move {
            // Only cancellation ends it in time.
            tokio::select! {
                () = ctx.cancelled() => Err("cancelled".into()),
                () = tokio::time::sleep(PATIENCE * 2) => Ok("not cancelled".into()),
            }
        })
}

/// Short waits: those of a service suit activities of minutes.
fn options() -> RuntimeOptions {
    RuntimeOptions {
        dispatcher_min_poll_interval: Duration::from_millis(10),
        activity_cancellation_grace_period: Duration::from_millis(500),
        worker_lock_timeout: Duration::from_secs(2),
        worker_lock_renewal_buffer: Duration::from_millis(1700),
        ..RuntimeOptions::default()
    }
}

impl World {
    async fn new() -> Self {
        let (provider, container) = support::provider().await;
        let client = Client::new(Arc::clone(&provider) as Arc<dyn Provider>);
        Self { provider, container, client }
    }

    /// Another process would have a provider of its own, too.
    async fn second_provider(&self) -> Arc<CosmosDBProvider> {
        let mut config = support::config();
        config.container.clone_from(&self.container.name);
        Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a second provider"))
    }

    async fn runtime(&self, orchestrations: OrchestrationRegistry) -> Arc<Runtime> {
        self.runtime_with(activities().build(), orchestrations, options()).await
    }

    async fn runtime_with(
        &self,
        activities: ActivityRegistry,
        orchestrations: OrchestrationRegistry,
        options: RuntimeOptions,
    ) -> Arc<Runtime> {
        self.runtime_on(&self.provider, activities, orchestrations, options).await
    }

    async fn runtime_on(
        &self,
        provider: &Arc<CosmosDBProvider>,
        activities: ActivityRegistry,
        orchestrations: OrchestrationRegistry,
        options: RuntimeOptions,
    ) -> Arc<Runtime> {
        let store = Arc::clone(provider) as Arc<dyn Provider>;
        Runtime::start_with_options(store, activities, orchestrations, options).await
    }

    async fn start(&self, instance: &str, name: &str, input: &str) {
        self.client.start_orchestration(instance, name, input).await.expect("started");
    }

    /// Output or error text.
    async fn ended(&self, instance: &str) -> Result<String, String> {
        match self.client.wait_for_orchestration(instance, PATIENCE).await.expect("ends in time") {
            OrchestrationStatus::Completed { output, .. } => Ok(output),
            OrchestrationStatus::Failed { details, .. } => Err(details.display_message()),
            other => panic!("{instance}: {other:?}"),
        }
    }

    async fn outcome(&self, instance: &str, name: &str, input: &str) -> Result<String, String> {
        self.start(instance, name, input).await;
        self.ended(instance).await
    }

    /// Waits until the current history has such an event.
    async fn until(&self, instance: &str, is: impl Fn(&EventKind) -> bool) {
        let there = async {
            while !self.history(instance).await.iter().any(|event| is(&event.kind)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.expect("the event comes");
    }

    async fn history(&self, instance: &str) -> Vec<Event> {
        self.provider.read(instance).await.expect("history")
    }

    async fn end(self, runtimes: impl IntoIterator<Item = Arc<Runtime>>) {
        for runtime in runtimes {
            runtime.shutdown(Some(500)).await;
        }
        self.container.delete().await;
    }
}
