//! Values that no document can hold: the workflow fails, at once and with a text that says so. Nothing waits for
//! ever, nothing runs twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{Provider, ProviderAdmin, WorkItem};
use duroxide::runtime::{RuntimeOptions, UnregisteredBackoffConfig};
use duroxide::{ActivityContext, OrchestrationContext, OrchestrationRegistry, TagFilter};

use super::{PATIENCE, World, activities, options};
use crate::support;

/// The service takes 2 MB in a document.
fn large() -> String {
    "x".repeat(2_500_000)
}

/// What every such error says: which value, its size and the limit.
fn assert_names(error: &str, value: &str) {
    for part in [value, "2500", "2000000", "store large data elsewhere"] {
        assert!(error.contains(part), "{part:?} is not in {error:.300}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_a_turn() {
    let world = World::new().await;
    let scheduling = |ctx: OrchestrationContext, first: String| async move {
        if first.is_empty() {
            ctx.schedule_activity("Echo", "small").await?;
        }
        ctx.schedule_activity("Echo", large()).await
    };
    let returning = |_: OrchestrationContext, _: String| async move { Ok(large()) };
    let failing = |_: OrchestrationContext, _: String| async move { Err(large()) };
    let continuing = |ctx: OrchestrationContext, _: String| async move { ctx.continue_as_new(large()).await };
    let starting = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_sub_orchestration("returning", large()).await
    };
    let registry = OrchestrationRegistry::builder()
        .register("scheduling", scheduling)
        .register("returning", returning)
        .register("failing", failing)
        .register("continuing", continuing)
        .register("starting", starting)
        .build();
    let runtime = world.runtime(registry).await;
    for (instance, name, input, value) in [
        ("first turn", "scheduling", "first", "event 2"),
        ("later turn", "scheduling", "", "event 4"),
        ("output", "returning", "", "event 2"),
        ("next input", "continuing", "", "event 2"),
        ("child's input", "starting", "", "event 2"),
    ] {
        let error = world.outcome(instance, name, input).await.expect_err("too large");
        assert_names(&error, value);
        let info = world.provider.get_instance_info(instance).await.expect("info");
        assert_eq!((&*info.orchestration_name, &*info.status), (name, "Failed"), "{instance}");
    }
    // The text of an error is cut instead: that it failed is what matters.
    let error = world.outcome("error", "failing", "").await.expect_err("fails");
    assert!(error.starts_with("xxx") && error.len() < 1_000_000, "{} characters", error.len());
    assert!(error.contains("2500000"), "says how long it was");
    world.end([runtime]).await;
}

/// duroxide fails an instance whose commit was refused, but does not tell the parent: we do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_learns_of_it() {
    let world = World::new().await;
    let child = |ctx: OrchestrationContext, turns: String| async move {
        if turns == "two" {
            ctx.schedule_activity("Echo", "small").await?;
        }
        Ok(large())
    };
    let again = |ctx: OrchestrationContext, input: String| async move {
        if input.is_empty() {
            return ctx.continue_as_new("again").await;
        }
        Ok(large())
    };
    let parent = |ctx: OrchestrationContext, which: String| async move {
        let child = if which == "again" { "again" } else { "child" };
        let input = if which == "again" { String::new() } else { which };
        ctx.schedule_sub_orchestration(child, input).await
    };
    let registry = OrchestrationRegistry::builder()
        .register("child", child)
        .register("again", again)
        .register("parent", parent)
        .build();
    let runtime = world.runtime(registry).await;
    for which in ["one", "two", "again"] {
        let error = world.outcome(which, "parent", which).await.expect_err("its child fails");
        assert_names(&error, "event");
        assert_eq!(world.provider.list_children(which).await.expect("children").len(), 1, "{which}");
    }
    world.end([runtime]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_activities() {
    let world = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = |result: fn() -> Result<String, String>| {
        let runs = Arc::clone(&runs);
        move |_: ActivityContext, _: String| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { result() }
        }
    };
    let activities = activities()
        .register("Large", counted(|| Ok(large())))
        .register("LargeError", counted(|| Err(large())));
    let call = |ctx: OrchestrationContext, name: String| async move { ctx.schedule_activity(name, "").await };
    let registry = OrchestrationRegistry::builder().register("call", call).build();
    let runtime = world.runtime_with(activities.build(), registry, options()).await;
    let error = world.outcome("result", "call", "Large").await.expect_err("too large");
    assert_names(&error, "result of activity 2");
    let error = world.outcome("error", "call", "LargeError").await.expect_err("fails");
    assert!(error.contains("xxx") && error.len() < 1_000_000, "{} characters", error.len());
    assert_eq!(runs.load(Ordering::SeqCst), 2, "each ran once");
    assert_eq!(world.provider.get_queue_depths().await.expect("depths").worker_queue, 0);
    world.end([runtime]).await;
}

/// The worker is told as well, and what it does about it changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_learns_of_it() {
    let world = World::new().await;
    let (instance, execution_id, id) = (String::from("w"), 1, 2);
    world.provider.enqueue_for_orchestrator(support::start(&instance), None).await.expect("queued");
    let item = support::activity(&instance, id);
    world.provider.enqueue_for_worker(item).await.expect("queued");
    let lock = Duration::from_secs(30);
    let fetched = world.provider.fetch_work_item(lock, PATIENCE, None, &TagFilter::DefaultOnly).await;
    let (_, token, _) = fetched.expect("no error").expect("an activity");
    let result = WorkItem::ActivityCompleted { instance, execution_id, id, result: large() };
    let error = world.provider.ack_work_item(&token, Some(result)).await.expect_err("too large");
    assert!(!error.is_retryable(), "{error}");
    assert_names(&error.message, "result of activity 2");
    world.provider.abandon_work_item(&token, None, false).await.expect_err("its item is gone");
    let depths = world.provider.get_queue_depths().await.expect("depths");
    assert_eq!((depths.worker_queue, depths.orchestrator_queue), (0, 2), "the start, and the failure");
    world.end([]).await;
}

/// duroxide quotes a poisoned message in the failure, which makes it longer than the message was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_message() {
    let world = World::new().await;
    let quick = Duration::from_millis(50);
    let unregistered_backoff = UnregisteredBackoffConfig { base_delay: quick, max_delay: quick };
    let options = RuntimeOptions { unregistered_backoff, max_attempts: 2, ..options() };
    let unknown = |ctx: OrchestrationContext, input: String| async move {
        ctx.schedule_activity("Unknown", input).await
    };
    let parent = |ctx: OrchestrationContext, input: String| async move {
        ctx.schedule_sub_orchestration("nobody knows", input).await
    };
    let registry =
        OrchestrationRegistry::builder().register("unknown", unknown).register("parent", parent).build();
    let runtime = world.runtime_with(activities().build(), registry, options).await;
    let quotes = "\"".repeat(400_000);
    for (instance, name) in [("turn", "nobody knows"), ("activity", "unknown"), ("child", "parent")] {
        let error = world.outcome(instance, name, &quotes).await.expect_err("poisoned");
        assert!(error.contains("attempt") && error.len() < 1_000_000, "{instance}: {error:.200}");
    }
    world.end([runtime]).await;
}
