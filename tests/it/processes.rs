//! Several processes share many instances, and some are killed and replaced meanwhile: nothing is lost, nothing
//! counts twice. The workers are this test binary again, running the ignored test `worker`.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, EventKind, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use tokio::io::AsyncReadExt;

use crate::support::{self, Account};

const CONTAINER: &str = "PROCESSES_CONTAINER";

/// Two activities at once, a timer, one activity more.
async fn steps(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    let both = ["a", "b"].map(|part| ctx.schedule_activity("Append", format!("{input}{part}")));
    let both = ctx.join(both.into()).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    ctx.schedule_timer(Duration::from_millis(50)).await;
    ctx.schedule_activity("Append", both.join(" ")).await
}

/// The activities of one instance.
const ACTIVITIES: usize = 3;

/// Runs workflows until standard input ends, which it also does when the parent dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the tests below, which run it as a process"]
async fn worker() {
    let Ok(container) = std::env::var(CONTAINER) else { return };
    let config = CosmosDBProviderConfig { container, ..support::config() };
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    let activities = ActivityRegistry::builder()
        .register("Append", |_: ActivityContext, input: String| async move { Ok(input + "+") })
        .build();
    let registry = OrchestrationRegistry::builder().register("steps", steps).build();
    // What a killed process held must come back soon.
    let options = RuntimeOptions {
        orchestrator_lock_timeout: Duration::from_secs(3),
        orchestrator_lock_renewal_buffer: Duration::from_secs(1),
        worker_lock_timeout: Duration::from_secs(3),
        worker_lock_renewal_buffer: Duration::from_secs(1),
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::start_with_options(Arc::new(provider), activities, registry, options).await;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("standard input");
    runtime.shutdown(Some(500)).await;
}

/// A worker process; killed with this value.
struct Worker(Child);

impl Worker {
    fn start(container: &str) -> Self {
        let Account { endpoint, key, database } = support::account();
        let child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--ignored", "--exact", "processes::worker"])
            .env("COSMOS_ENDPOINT", endpoint)
            .env("COSMOS_KEY", key)
            .env("COSMOS_DATABASE", database)
            .env(CONTAINER, container)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("a process"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SIGKILL: it gets no chance to clean up. Fails only for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn completed(client: &Client) -> usize {
    client.list_instances_by_status("Completed").await.expect("instances").len()
}

async fn share(processes: usize, instances: usize, kills: usize, patience: Duration) {
    let (provider, container) = support::provider().await;
    let client = Client::new(Arc::clone(&provider) as Arc<dyn Provider>);
    let mut workers: Vec<Worker> = (0..processes).map(|_| Worker::start(&container.name)).collect();
    for n in 0..instances {
        client.start_orchestration(format!("i{n}"), "steps", n.to_string()).await.expect("started");
    }
    let all = async {
        for kill in 1..=kills {
            while completed(&client).await < instances * kill / (kills + 1) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            workers[kill % processes] = Worker::start(&container.name);
        }
        while completed(&client).await < instances {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let outcome = tokio::time::timeout(patience, all).await;
    assert!(outcome.is_ok(), "{} of {instances} completed", completed(&client).await);
    for n in 0..instances {
        let instance = format!("i{n}");
        let status = client.get_orchestration_status(&instance).await.expect("status");
        let OrchestrationStatus::Completed { output, .. } = status else { panic!("{instance}: {status:?}") };
        assert_eq!(output, format!("{n}a+ {n}b++"));
        let history = provider.read(&instance).await.expect("history");
        let done = history.iter().filter(|event| matches!(event.kind, EventKind::ActivityCompleted { .. }));
        let sources: Vec<_> = done.map(|event| event.source_event_id).collect();
        let different: HashSet<_> = sources.iter().collect();
        assert_eq!((sources.len(), different.len()), (ACTIVITIES, ACTIVITIES), "{instance}: {sources:?}");
        let ids: Vec<u64> = history.iter().map(duroxide::Event::event_id).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "{instance}: events in order, each once");
    }
    drop(workers);
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_share_sixty_instances() {
    share(3, 60, 2, Duration::from_secs(90)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see docs/ARCHITECTURE.md"]
async fn ten_processes_share_a_thousand_instances() {
    share(10, 1000, 6, Duration::from_secs(1200)).await;
}
