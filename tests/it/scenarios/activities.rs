//! Retries, cancellation, tags and sessions of activities.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, BackoffStrategy, Either2, Event, EventKind, OrchestrationContext, OrchestrationRegistry,
    RetryPolicy, TagFilter,
};

use super::{World, activities, options};

fn policy(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(BackoffStrategy::Fixed { delay: Duration::from_millis(20) })
}

/// Two failures, then success; with a timeout for each attempt where it would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_with_backoff_and_timeout() {
    let world = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let flaky = {
        let runs = Arc::clone(&runs);
        move |_: ActivityContext, _: String| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            async move { if run < 3 { Err(format!("run {run}")) } else { Ok(format!("run {run}")) } }
        }
    };
    let retry = |ctx: OrchestrationContext, _: String| async move {
        let flaky = ctx.schedule_activity_with_retry("Flaky", "", policy(5)).await?;
        let given_up = ctx.schedule_activity_with_retry("Fail", "luck", policy(2)).await;
        let timed_out = ctx
            .schedule_activity_with_retry("Slow", "", policy(1).with_timeout(Duration::from_millis(200)))
            .await;
        Ok(format!("{flaky}; {}; {}", given_up.is_err(), timed_out.is_err()))
    };
    let registry = OrchestrationRegistry::builder().register("retry", retry).build();
    let runtime =
        world.runtime_with(activities().register("Flaky", flaky).build(), registry, options()).await;
    assert_eq!(world.outcome("r", "retry", "").await, Ok("run 3; true; true".into()));
    world.end([runtime]).await;
}

/// duroxide's timeout is for each attempt; one for all of them is a timer beside the retries, which end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_total_timeout_ends_the_retries() {
    let world = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let hopeless = {
        let runs = Arc::clone(&runs);
        move |_: ActivityContext, _: String| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Err(format!("run {run}")) }
        }
    };
    let retry = |ctx: OrchestrationContext, _: String| async move {
        // So many attempts would last for hours.
        let retries = ctx.schedule_activity_with_retry("Hopeless", "", policy(1_000_000));
        match ctx.select2(retries, ctx.schedule_timer(Duration::from_secs(2))).await {
            Either2::First(result) => result,
            Either2::Second(()) => Err("timeout: no success in 2 s".into()),
        }
    };
    let registry = OrchestrationRegistry::builder().register("retry", retry).build();
    let runtime =
        world.runtime_with(activities().register("Hopeless", hopeless).build(), registry, options()).await;
    let error = world.outcome("r", "retry", "").await.expect_err("fails");
    assert!(error.contains("timeout: no success in 2 s"), "{error}");
    let scheduled = |event: &&Event| matches!(event.kind, EventKind::ActivityScheduled { .. });
    let attempts = world.history("r").await.iter().filter(scheduled).count();
    // The timer may cancel the last one before it runs.
    let runs = runs.load(Ordering::SeqCst);
    assert!(runs > 1 && (runs..=runs + 1).contains(&attempts), "{runs} runs of {attempts} attempts");
    assert_eq!(world.client.get_queue_depths().await.expect("depths").worker_queue, 0);
    world.end([runtime]).await;
}

/// A cancelled workflow cancels its running activity, which learns of it by its lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_reaches_a_running_activity() {
    let world = World::new().await;
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let watch = move |ctx: ActivityContext, _: String| {
        let (begun, ended) = (begun.clone(), ended.clone());
        async move {
            begun.send(()).ok();
            ctx.cancelled().await;
            ended.send(ctx.is_cancelled()).ok();
            Ok(String::new())
        }
    };
    let long = |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("Watch", "").await };
    let registry = OrchestrationRegistry::builder().register("long", long).build();
    let runtime =
        world.runtime_with(activities().register("Watch", watch).build(), registry, options()).await;
    world.start("l", "long", "").await;
    begins.recv().await.expect("it runs");
    world.client.cancel_instance("l", "enough").await.expect("requested");
    assert!(world.ended("l").await.expect_err("cancelled").contains("enough"));
    let told = tokio::time::timeout(super::PATIENCE, ends.recv()).await.expect("in time");
    assert_eq!(told, Some(true));
    world.end([runtime]).await;
}

/// Two workers: each runs only what carries its tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_choose_the_worker() {
    let world = World::new().await;
    let both = |ctx: OrchestrationContext, _: String| async move {
        let gpu = ctx.schedule_activity("Who", "").with_tag("gpu");
        let (plain, gpu) = ctx.join2(ctx.schedule_activity("Who", ""), gpu).await;
        Ok(format!("{} {}", plain?, gpu?))
    };
    let mut runtimes = Vec::new();
    for (name, filter) in
        [("plain", TagFilter::DefaultOnly), ("gpu", TagFilter::Tags(HashSet::from(["gpu".to_owned()])))]
    {
        let who = move |_: ActivityContext, _: String| async move { Ok(name.to_owned()) };
        let registry = OrchestrationRegistry::builder().register("both", both).build();
        let options = RuntimeOptions { worker_tag_filter: filter, ..options() };
        let store = world.second_provider().await as Arc<dyn Provider>;
        let activities = activities().register("Who", who).build();
        runtimes.push(Runtime::start_with_options(store, activities, registry, options).await);
    }
    assert_eq!(world.outcome("b", "both", "").await, Ok("plain gpu".into()));
    world.end(runtimes).await;
}

/// Activities of a session all run on one worker; when that one goes, its session moves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_stays_with_a_worker_and_survives_it() {
    let world = World::new().await;
    let session = |ctx: OrchestrationContext, _: String| async move {
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(ctx.schedule_activity_on_session("Who", "", "s").await?);
        }
        ctx.schedule_wait("go").await;
        workers.push(ctx.schedule_activity_on_session("Who", "", "s").await?);
        Ok(workers.join(" "))
    };
    let mut runtimes = Vec::new();
    for name in ["one", "two"] {
        let who = move |_: ActivityContext, _: String| async move { Ok(name.to_owned()) };
        let options = RuntimeOptions {
            worker_node_id: Some(name.into()),
            session_lock_timeout: Duration::from_secs(2),
            session_lock_renewal_buffer: Duration::from_secs(1),
            ..options()
        };
        let registry = OrchestrationRegistry::builder().register("session", session).build();
        let store = world.second_provider().await as Arc<dyn Provider>;
        let activities = activities().register("Who", who).build();
        runtimes.push((name, Runtime::start_with_options(store, activities, registry, options).await));
    }
    world.start("s", "session", "").await;
    world.until("s", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    let results: Vec<String> = world
        .history("s")
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::ActivityCompleted { result } => Some(result),
            _ => None,
        })
        .collect();
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|worker| *worker == results[0]), "{results:?}");
    let at = runtimes.iter().position(|(name, _)| *name == results[0]).expect("one of them");
    runtimes.remove(at).1.shutdown(Some(500)).await;
    let gone = std::time::Instant::now();
    world.client.raise_event("s", "go", "").await.expect("raised");
    let workers = world.ended("s").await.expect("completes");
    assert!(workers.ends_with(runtimes[0].0), "{workers}: the one that is left");
    // The session's lock takes 2 s to expire, a long poll 30 s.
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    world.end(runtimes.into_iter().map(|(_, runtime)| runtime)).await;
}

/// A session goes on in the next execution, with the same worker, also where that is of a newer version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_survives_continue_as_new() {
    let world = World::new().await;
    let one = |ctx: OrchestrationContext, _: String| async move {
        let worker = ctx.schedule_activity_on_session("Who", "", "s").await?;
        ctx.continue_as_new_versioned("2.0.0", worker).await
    };
    let two = |ctx: OrchestrationContext, before: String| async move {
        let mut workers = vec![before];
        for _ in 0..3 {
            workers.push(ctx.schedule_activity_on_session("Who", "", "s").await?);
        }
        Ok(workers.join(" "))
    };
    let mut runtimes = Vec::new();
    for name in ["a", "b"] {
        let who = move |_: ActivityContext, _: String| async move { Ok(name.to_owned()) };
        let registry = OrchestrationRegistry::builder()
            .register_versioned("o", "1.0.0", one)
            .register_versioned("o", "2.0.0", two);
        let options = RuntimeOptions { worker_node_id: Some(name.into()), ..options() };
        let activities = activities().register("Who", who).build();
        let provider = world.second_provider().await;
        runtimes.push(world.runtime_on(&provider, activities, registry.build(), options).await);
    }
    world.client.start_orchestration_versioned("i", "o", "1.0.0", "").await.expect("started");
    let workers = world.ended("i").await.expect("completes");
    assert!(["a a a a", "b b b b"].contains(&&*workers), "{workers}");
    world.end(runtimes).await;
}

/// A runtime that may hold one session at a time gives the second back, and takes it when the first is done: long
/// before the claim of the worker that gave it back expires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_beyond_the_limit_wait() {
    let world = World::new().await;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let slow = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        move |_: ActivityContext, input: String| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Long enough for the other worker to try.
                tokio::time::sleep(Duration::from_millis(300)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(input)
            }
        }
    };
    let both = |ctx: OrchestrationContext, _: String| async move {
        let both = ["a", "b"].map(|session| ctx.schedule_activity_on_session("Hold", session, session));
        let results = ctx.join(both.into()).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(results.concat())
    };
    let registry = OrchestrationRegistry::builder().register("both", both).build();
    let options = RuntimeOptions { max_sessions_per_runtime: 1, worker_concurrency: 2, ..Default::default() };
    let runtime = world.runtime_with(activities().register("Hold", slow).build(), registry, options).await;
    let begun = std::time::Instant::now();
    assert_eq!(world.outcome("s", "both", "").await, Ok("ab".into()));
    assert_eq!(most.load(Ordering::SeqCst), 1, "one session at a time");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.end([runtime]).await;
}
