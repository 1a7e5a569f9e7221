//! Runtimes that stop, come back, or do not know the code.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, SemverRange};
use duroxide::runtime::{RuntimeOptions, UnregisteredBackoffConfig};
use duroxide::{ActivityContext, EventKind, OrchestrationContext, OrchestrationRegistry};
use semver::Version;

use super::{World, activities, options};
use crate::support::start;

/// A runtime stops in the middle, within an execution or in a later one; the next one goes on. What was done is
/// not done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on() {
    let world = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let runs = Arc::clone(&runs);
        let count = move |_: ActivityContext, input: String| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { Ok(input) }
        };
        activities().register("Count", count).build()
    };
    let steps = |ctx: OrchestrationContext, round: String| async move {
        ctx.schedule_activity("Count", "before").await?;
        ctx.schedule_wait("go").await;
        ctx.schedule_activity("Count", "after").await?;
        if round == "2" { Ok("done".to_owned()) } else { ctx.continue_as_new("2").await }
    };
    let registry = || OrchestrationRegistry::builder().register("steps", steps).build();
    world.start("s", "steps", "1").await;
    let mut runtimes = Vec::new();
    for execution in [1, 2] {
        let runtime = world.runtime_with(counted(), registry(), options()).await;
        let waits = async {
            loop {
                let history = world.provider.read_with_execution("s", execution).await.expect("history");
                if history.iter().any(|event| matches!(event.kind, EventKind::ExternalSubscribed { .. })) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, waits).await.expect("it waits");
        runtime.shutdown(Some(0)).await;
        // Nobody runs now; the event must still be there for the next runtime.
        world.client.raise_event("s", "go", "").await.expect("raised");
    }
    runtimes.push(world.runtime_with(counted(), registry(), options()).await);
    assert_eq!(world.ended("s").await, Ok("done".into()));
    assert_eq!(runs.load(Ordering::SeqCst), 4, "each step once");
    world.end(runtimes).await;
}

/// Code that no longer fits the history fails the instance, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_code_is_noticed() {
    let world = World::new().await;
    let before = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_activity("Echo", "x").await?;
        Ok(ctx.schedule_wait("go").await)
    };
    let after = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_timer(Duration::from_millis(1)).await;
        Ok(ctx.schedule_wait("go").await)
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("o", before).build()).await;
    world.start("n", "o", "").await;
    world.until("n", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    runtime.shutdown(Some(500)).await;
    let runtime = world.runtime(OrchestrationRegistry::builder().register("o", after).build()).await;
    world.client.raise_event("n", "go", "").await.expect("raised");
    let error = world.ended("n").await.expect_err("fails");
    assert!(error.contains("nondeterminis"), "{error}");
    world.end([runtime]).await;
}

fn quick_backoff() -> UnregisteredBackoffConfig {
    UnregisteredBackoffConfig {
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(300),
    }
}

/// Nobody knows the orchestration yet (a rolling upgrade): it waits, with an event that came meanwhile, until a
/// runtime that knows it starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_code_is_waited_for() {
    let world = World::new().await;
    let options = RuntimeOptions { unregistered_backoff: quick_backoff(), max_attempts: 100, ..options() };
    let old = world
        .runtime_with(activities().build(), OrchestrationRegistry::builder().build(), options.clone())
        .await;
    world.start("u", "late", "").await;
    world.client.raise_event("u", "nobody waits", "").await.expect("raised");
    // Given back at least once by a runtime that does not know it.
    let given_back = async {
        while world.provider.stats().get("abandonTurn").is_none_or(|stats| stats.requests == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, given_back).await.expect("given back");
    old.shutdown(Some(500)).await;
    let late =
        |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("Echo", "here").await };
    let registry = OrchestrationRegistry::builder().register("late", late).build();
    let new = world.runtime_with(activities().build(), registry, options).await;
    assert_eq!(world.ended("u").await, Ok("here".into()));
    world.end([new]).await;
}

/// What nobody ever knows fails after the attempts are used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_end() {
    let world = World::new().await;
    let options = RuntimeOptions { unregistered_backoff: quick_backoff(), max_attempts: 2, ..options() };
    let runtime =
        world.runtime_with(activities().build(), OrchestrationRegistry::builder().build(), options).await;
    let error = world.outcome("p", "nobody knows", "").await.expect_err("poisoned");
    assert!(error.contains("attempt"), "{error}");
    world.end([runtime]).await;
}

/// An instance of a newer duroxide is left alone by this one, and everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_instance_waits_for_its_runtime() {
    let world = World::new().await;
    world.provider.enqueue_for_orchestrator(start("pinned"), None).await.expect("queued");
    let lock = Duration::from_secs(30);
    let fetched =
        world.provider.fetch_orchestration_item(lock, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        pinned_duroxide_version: Some(Version::new(9, 0, 0)),
        ..ExecutionMetadata::default()
    };
    let again = vec![start("pinned")];
    world
        .provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), again, metadata, Vec::new())
        .await
        .expect("acknowledged");
    let o = |_: OrchestrationContext, _: String| async move { Ok("done".to_owned()) };
    let registry = || OrchestrationRegistry::builder().register("o", o).build();
    let old = world.runtime(registry()).await;
    assert_eq!(world.outcome("other", "o", "").await, Ok("done".into()));
    assert_eq!(world.history("pinned").await.len(), 0, "not touched");
    old.shutdown(Some(500)).await;
    let range = SemverRange::new(Version::new(0, 0, 0), Version::new(9, 9, 9));
    let options = RuntimeOptions { supported_replay_versions: Some(range), ..options() };
    let new = world.runtime_with(activities().build(), registry(), options).await;
    assert_eq!(world.ended("pinned").await, Ok("done".into()));
    world.end([new]).await;
}
