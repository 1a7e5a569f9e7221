//! Runtimes that stop, come back, or do not know the code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use duroxide::providers::{DispatcherCapabilityFilter, ExecutionMetadata, Provider, SemverRange};
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

/// A new version is rolled out while the old one runs: two processes, of which only the new one knows version 2.0.0
/// and its activity. Instances of the old version go on, on either; some move to the new one; nothing is lost, and
/// each effect happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade() {
    let world = World::new().await;
    let effects: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let effect = || {
        let effects = Arc::clone(&effects);
        move |ctx: ActivityContext, step: String| {
            let effect = format!("{} {step}", ctx.instance_id());
            *effects.lock().expect("no panic").entry(effect).or_default() += 1;
            async move { Ok(step) }
        }
    };
    let one = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_activity("Effect", "before").await?;
        if ctx.schedule_wait("go").await == "upgrade" {
            return ctx.continue_as_new_versioned("2.0.0", "").await;
        }
        ctx.schedule_activity("Effect", "after").await?;
        Ok("one".to_owned())
    };
    let two = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_activity("New effect", "new").await?;
        Ok("two".to_owned())
    };
    let old_code = || OrchestrationRegistry::builder().register_versioned("o", "1.0.0", one);
    let old_activities = || activities().register("Effect", effect());
    let options = RuntimeOptions { unregistered_backoff: quick_backoff(), max_attempts: 100, ..options() };
    let old = world.runtime_with(old_activities().build(), old_code().build(), options.clone()).await;
    for n in 0..8 {
        world.start(&format!("old {n}"), "o", "").await;
    }
    for n in 0..8 {
        world.until(&format!("old {n}"), |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    }
    let new = world
        .runtime_on(
            &world.second_provider().await,
            old_activities().register("New effect", effect()).build(),
            old_code().register_versioned("o", "2.0.0", two).build(),
            options,
        )
        .await;
    let go = async |instances: std::ops::Range<usize>| {
        for n in instances {
            let data = if n % 2 == 0 { "upgrade" } else { "stay" };
            world.client.raise_event(&format!("old {n}"), "go", data).await.expect("raised");
        }
    };
    go(0..4).await;
    for n in 0..4 {
        let instance = format!("new {n}");
        world.client.start_orchestration_versioned(instance, "o", "2.0.0", "").await.expect("started");
    }
    assert_eq!(world.ended("new 0").await, Ok("two".into()), "while both run");
    old.shutdown(Some(5000)).await;
    go(4..8).await;
    for n in 4..8 {
        world.start(&format!("new {n}"), "o", "").await;
    }
    let mut expected = BTreeMap::new();
    for n in 0..8 {
        let (instance, upgraded) = (format!("old {n}"), n % 2 == 0);
        assert_eq!(
            world.ended(&instance).await,
            Ok(if upgraded { "two" } else { "one" }.into()),
            "{instance}"
        );
        let info = world.client.get_instance_info(&instance).await.expect("info");
        assert_eq!(info.orchestration_version, if upgraded { "2.0.0" } else { "1.0.0" }, "{instance}");
        expected.insert(format!("{instance} before"), 1);
        expected.insert(format!("{instance} {}", if upgraded { "new" } else { "after" }), 1);
        let instance = format!("new {n}");
        assert_eq!(world.ended(&instance).await, Ok("two".into()), "{instance}");
        expected.insert(format!("{instance} new"), 1);
    }
    assert_eq!(*effects.lock().expect("no panic"), expected);
    world.end([new]).await;
}

/// Two processes, of which one does not know the orchestration, or the activity. It learns of each first, as they are
/// enqueued through its provider, but must not use up their attempts: the other one gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_does_not_know_is_left_to_another() {
    let world = World::new().await;
    let options = RuntimeOptions { unregistered_backoff: quick_backoff(), max_attempts: 3, ..options() };
    let o = |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("New", "done").await };
    let late = |_: OrchestrationContext, _: String| async move { Ok("done".to_owned()) };
    let echo = |_: ActivityContext, input: String| async move { Ok(input) };
    let old = OrchestrationRegistry::builder().register("o", o).build();
    let old = world.runtime_with(activities().build(), old, options.clone()).await;
    let other = world.second_provider().await;
    let new = OrchestrationRegistry::builder().register("late", late).build();
    let new = world.runtime_on(&other, activities().register("New", echo).build(), new, options).await;
    for n in 0..3 {
        world.start(&format!("turn {n}"), "late", "").await;
        world.start(&format!("activity {n}"), "o", "").await;
    }
    for n in 0..3 {
        assert_eq!(world.ended(&format!("turn {n}")).await, Ok("done".into()));
        assert_eq!(world.ended(&format!("activity {n}")).await, Ok("done".into()));
    }
    world.end([old, new]).await;
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

/// The same of an activity: its workflow fails, and with it the one that waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_an_activity_end() {
    let world = World::new().await;
    let options = RuntimeOptions { unregistered_backoff: quick_backoff(), max_attempts: 2, ..options() };
    let child =
        |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("nobody knows", "").await };
    let parent = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_sub_orchestration("child", "").await
    };
    let registry = OrchestrationRegistry::builder().register("child", child).register("parent", parent);
    let runtime = world.runtime_with(activities().build(), registry.build(), options).await;
    let error = world.outcome("p", "parent", "").await.expect_err("poisoned");
    assert!(error.contains("attempt"), "{error}");
    assert_eq!(world.client.get_queue_depths().await.expect("depths").worker_queue, 0);
    world.end([runtime]).await;
}

/// An instance whose current execution is pinned to a version of duroxide, with a turn that is ready.
async fn pinned(world: &World, instance: &str, version: Version) {
    world.provider.enqueue_for_orchestrator(start(instance), None).await.expect("queued");
    let lock = Duration::from_secs(30);
    let nothing = DispatcherCapabilityFilter {
        supported_duroxide_versions: vec![SemverRange::new(Version::new(0, 0, 0), Version::new(0, 0, 0))],
    };
    let fetched = world.provider.fetch_orchestration_item(lock, Duration::ZERO, Some(&nothing)).await;
    let (item, token, _) = fetched.expect("no error").expect("a turn");
    assert_eq!(item.instance, instance);
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        pinned_duroxide_version: Some(version),
        ..ExecutionMetadata::default()
    };
    let again = vec![start(instance)];
    world
        .provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), again, metadata, Vec::new())
        .await
        .expect("acknowledged");
}

/// An instance of a newer duroxide is left alone by this one, and everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_instance_waits_for_its_runtime() {
    let world = World::new().await;
    pinned(&world, "pinned", Version::new(9, 0, 0)).await;
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

/// Two runtimes of different ranges at once: each takes its own, also behind many of the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_runtime_takes_what_it_can_replay() {
    let world = World::new().await;
    // More of one kind than a search answers.
    for n in 0..40 {
        pinned(&world, &format!("one {n}"), Version::new(1, 5, n)).await;
    }
    for n in 0..3 {
        pinned(&world, &format!("two {n}"), Version::new(2, 5, n)).await;
    }
    let mut runtimes = Vec::new();
    for (name, major) in [("two", 2), ("one", 1)] {
        let o = move |_: OrchestrationContext, _: String| async move { Ok(name.to_owned()) };
        let registry = OrchestrationRegistry::builder().register("o", o).build();
        let range = SemverRange::new(Version::new(major, 0, 0), Version::new(major, 99, 99));
        let options = RuntimeOptions { supported_replay_versions: Some(range), ..options() };
        let provider = world.second_provider().await;
        runtimes.push(world.runtime_on(&provider, activities().build(), registry, options).await);
        for n in 0..if major == 2 { 3 } else { 40 } {
            assert_eq!(world.ended(&format!("{name} {n}")).await, Ok(name.into()));
        }
    }
    world.end(runtimes).await;
}
