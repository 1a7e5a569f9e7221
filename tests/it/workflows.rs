//! Workflows from start to end: runtime, provider, emulator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, Either2, EventKind, OrchestrationContext, OrchestrationRegistry,
    OrchestrationStatus,
};
use duroxide_cosmos::CosmosDBProvider;

use crate::support;

const PATIENCE: Duration = Duration::from_secs(30);

fn activities() -> ActivityRegistry {
    ActivityRegistry::builder()
        .register("Append", |_: ActivityContext, input: String| async move { Ok(format!("{input}+")) })
        .register("Fail", |_: ActivityContext, input: String| async move { Err(format!("no {input}")) })
        .build()
}

async fn chain(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    let mut text = input;
    for _ in 0..5 {
        text = ctx.schedule_activity("Append", text).await?;
    }
    Ok(text)
}

async fn fan_out(ctx: OrchestrationContext, count: String) -> Result<String, String> {
    let count: usize = count.parse().map_err(|_| "not a number".to_owned())?;
    let all = (0..count).map(|i| ctx.schedule_activity("Append", i.to_string())).collect();
    let results = ctx.join(all).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(results.join(","))
}

async fn timer_or_event(ctx: OrchestrationContext, millis: String) -> Result<String, String> {
    let timer = ctx.schedule_timer(Duration::from_millis(millis.parse().unwrap_or(100)));
    match ctx.select2(timer, ctx.schedule_wait("go")).await {
        Either2::First(()) => Ok("timer".into()),
        Either2::Second(data) => Ok(format!("event {data}")),
    }
}

async fn parent(ctx: OrchestrationContext, count: String) -> Result<String, String> {
    let count: usize = count.parse().map_err(|_| "not a number".to_owned())?;
    let children = (0..count).map(|i| ctx.schedule_sub_orchestration("chain", format!("c{i}"))).collect();
    let results = ctx.join(children).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(results.join(","))
}

async fn countdown(ctx: OrchestrationContext, left: String) -> Result<String, String> {
    let left: u32 = left.parse().map_err(|_| "not a number".to_owned())?;
    ctx.schedule_activity("Append", left.to_string()).await?;
    if left > 0 {
        return ctx.continue_as_new((left - 1).to_string()).await;
    }
    Ok("done".into())
}

async fn failing(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    ctx.schedule_activity("Fail", input).await
}

fn orchestrations() -> OrchestrationRegistry {
    OrchestrationRegistry::builder()
        .register("chain", chain)
        .register("fan_out", fan_out)
        .register("timer_or_event", timer_or_event)
        .register("parent", parent)
        .register("countdown", countdown)
        .register("failing", failing)
        .build()
}

async fn runtime(provider: &Arc<CosmosDBProvider>) -> Arc<Runtime> {
    Runtime::start_with_store(Arc::clone(provider) as Arc<dyn Provider>, activities(), orchestrations()).await
}

fn client(provider: &Arc<CosmosDBProvider>) -> Client {
    Client::new(Arc::clone(provider) as Arc<dyn Provider>)
}

/// Runs one workflow and returns its output or error text.
async fn outcome(client: &Client, instance: &str, name: &str, input: &str) -> Result<String, String> {
    client.start_orchestration(instance, name, input).await.expect("started");
    ended(client, instance).await
}

async fn ended(client: &Client, instance: &str) -> Result<String, String> {
    match client.wait_for_orchestration(instance, PATIENCE).await.expect("ends in time") {
        OrchestrationStatus::Completed { output, .. } => Ok(output),
        OrchestrationStatus::Failed { details, .. } => Err(details.display_message()),
        other => panic!("{instance}: {other:?}"),
    }
}

/// Waits until the instance listens: an event raised before that is dropped, by duroxide's rules.
async fn subscribed(provider: &CosmosDBProvider, instance: &str) {
    let listening = async {
        loop {
            let history = provider.read(instance).await.expect("history");
            if history.iter().any(|event| matches!(event.kind, EventKind::ExternalSubscribed { .. })) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("the instance listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_step() {
    let (provider, container) = support::provider().await;
    let runtime = runtime(&provider).await;
    let client = client(&provider);

    assert_eq!(outcome(&client, "chain", "chain", "x").await, Ok("x+++++".into()));
    assert_eq!(
        outcome(&client, "fan", "fan_out", "20").await,
        Ok((0..20).map(|i| format!("{i}+")).collect::<Vec<_>>().join(","))
    );
    assert_eq!(outcome(&client, "timer", "timer_or_event", "50").await, Ok("timer".into()));
    assert_eq!(outcome(&client, "parent", "parent", "3").await, Ok("c0+++++,c1+++++,c2+++++".into()));
    assert_eq!(outcome(&client, "countdown", "countdown", "3").await, Ok("done".into()));
    let error = outcome(&client, "failing", "failing", "luck").await.expect_err("fails");
    assert!(error.contains("no luck"), "{error}");

    client.start_orchestration("event", "timer_or_event", "20000").await.expect("started");
    subscribed(&provider, "event").await;
    client.raise_event("event", "go", "now").await.expect("raised");
    assert_eq!(ended(&client, "event").await, Ok("event now".into()));

    assert_eq!(client.list_executions("countdown").await.expect("executions"), [1, 2, 3, 4]);
    let mut completed = client.list_instances_by_status("Completed").await.expect("instances");
    completed.retain(|instance| !instance.contains("::sub::"));
    completed.sort();
    assert_eq!(completed, ["chain", "countdown", "event", "fan", "parent", "timer"]);
    runtime.shutdown(Some(1000)).await;
    container.delete().await;
}

/// Two processes (here: two providers with a runtime each) share the work; nothing runs twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runtimes_share_a_container() {
    let (first, container) = support::provider().await;
    let mut config = support::config();
    config.container.clone_from(&container.name);
    let second = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a second provider"));
    let ran = Arc::new(AtomicUsize::new(0));
    let mut runtimes = Vec::new();
    for provider in [&first, &second] {
        let ran = Arc::clone(&ran);
        let activities = ActivityRegistry::builder()
            .register("Append", move |_: ActivityContext, input: String| {
                ran.fetch_add(1, Ordering::SeqCst);
                async move { Ok(format!("{input}+")) }
            })
            .build();
        let store = Arc::clone(provider) as Arc<dyn Provider>;
        runtimes.push(Runtime::start_with_store(store, activities, orchestrations()).await);
    }
    let client = client(&first);
    for i in 0..10 {
        client.start_orchestration(format!("w{i}"), "chain", "").await.expect("started");
    }
    for i in 0..10 {
        assert_eq!(ended(&client, &format!("w{i}")).await, Ok("+++++".into()));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 50, "each activity runs once");
    for runtime in runtimes {
        runtime.shutdown(Some(1000)).await;
    }
    container.delete().await;
}

/// A worker that dies in the middle of a turn or an activity: its locks expire and another one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_worker_is_replaced() {
    let (provider, container) = support::provider().await;
    let client = client(&provider);
    client.start_orchestration("orphan", "chain", "x").await.expect("started");
    // Taken and never given back.
    let taken = provider
        .fetch_orchestration_item(Duration::from_millis(700), Duration::from_secs(5), None)
        .await
        .expect("no error");
    assert!(taken.is_some());
    let options = RuntimeOptions { worker_lock_timeout: Duration::from_secs(5), ..RuntimeOptions::default() };
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let runtime = Runtime::start_with_options(store, activities(), orchestrations(), options).await;
    assert_eq!(ended(&client, "orphan").await, Ok("x+++++".into()));
    runtime.shutdown(Some(1000)).await;
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_emulator_needs_nothing() {
    let provider = Arc::new(CosmosDBProvider::embedded().await.expect("an embedded provider"));
    let runtime = runtime(&provider).await;
    let client = client(&provider);
    assert_eq!(outcome(&client, "chain", "chain", "x").await, Ok("x+++++".into()));
    runtime.shutdown(Some(1000)).await;
    let stats = provider.stats();
    assert!(stats["ackTurn"].requests >= 6 && stats["ackTurn"].request_units > 0.0, "{stats:?}");
}
