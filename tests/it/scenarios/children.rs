//! Sub-orchestrations, detached ones, cancellation of a tree, versions.

use std::time::Duration;

use duroxide::{Either2, EventKind, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};

use super::{PATIENCE, World};

async fn child(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    if input == "bad" {
        return ctx.schedule_activity("Fail", input).await;
    }
    ctx.schedule_activity("Echo", format!("child of {input}")).await
}

async fn waiting(ctx: OrchestrationContext, _: String) -> Result<String, String> {
    Ok(ctx.schedule_wait("never").await)
}

/// A failing child is handled: what had been done is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compensation() {
    let world = World::new().await;
    let saga = |ctx: OrchestrationContext, _: String| async move {
        let booked = ctx.schedule_sub_orchestration("child", "trip").await?;
        match ctx.schedule_sub_orchestration("child", "bad").await {
            Ok(_) => Err("the second step should fail".into()),
            Err(error) => Ok(format!(
                "{} after {error}",
                ctx.schedule_activity("Echo", format!("undo {booked}")).await?
            )),
        }
    };
    let registry = OrchestrationRegistry::builder().register("saga", saga).register("child", child).build();
    let runtime = world.runtime(registry).await;
    let outcome = world.outcome("s", "saga", "").await.expect("compensated");
    assert!(outcome.starts_with("undo child of trip after ") && outcome.contains("no bad"), "{outcome}");
    world.end([runtime]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_orchestration_outlives_its_starter() {
    let world = World::new().await;
    let starter = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_orchestration("child", "detached", "starter");
        Ok("gone".to_owned())
    };
    let registry =
        OrchestrationRegistry::builder().register("starter", starter).register("child", child).build();
    let runtime = world.runtime(registry).await;
    assert_eq!(world.outcome("st", "starter", "").await, Ok("gone".into()));
    assert_eq!(world.ended("detached").await, Ok("child of starter".into()));
    assert_eq!(world.client.get_instance_info("detached").await.expect("info").parent_instance_id, None);
    world.end([runtime]).await;
}

/// Cancelling the root ends the whole tree, three deep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_reaches_all_descendants() {
    let world = World::new().await;
    let level = |next: &'static str| {
        move |ctx: OrchestrationContext, _: String| async move { ctx.schedule_sub_orchestration(next, "").await }
    };
    let registry = OrchestrationRegistry::builder()
        .register("root", level("middle"))
        .register("middle", level("leaf"))
        .register("leaf", waiting)
        .build();
    let runtime = world.runtime(registry).await;
    world.start("root", "root", "").await;
    let whole = async {
        loop {
            let tree = world.client.get_instance_tree("root").await.expect("a tree");
            if tree.size() == 3 {
                return tree.all_ids;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let all = tokio::time::timeout(PATIENCE, whole).await.expect("the tree grows");
    world.client.cancel_instance("root", "enough").await.expect("requested");
    for instance in all {
        let error = world.ended(&instance).await.expect_err("cancelled");
        assert!(error.contains("cancel"), "{instance}: {error}");
    }
    world.end([runtime]).await;
}

/// A child that is cancelled by itself tells its parent, which goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_hears_of_a_cancelled_child() {
    let world = World::new().await;
    let parent = |ctx: OrchestrationContext, _: String| async move {
        match ctx.schedule_sub_orchestration_with_id("waiting", "cancelled", "").await {
            Ok(_) => Err("the child completed".into()),
            Err(error) => ctx.schedule_activity("Echo", error).await,
        }
    };
    let registry =
        OrchestrationRegistry::builder().register("parent", parent).register("waiting", waiting).build();
    let runtime = world.runtime(registry).await;
    world.start("p", "parent", "").await;
    world.until("cancelled", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    world.client.cancel_instance("cancelled", "enough").await.expect("requested");
    assert!(world.ended("p").await.expect("it goes on").contains("enough"));
    world.end([runtime]).await;
}

/// Cancelled before any runtime has seen the start: no step is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_waits_with_its_start() {
    let world = World::new().await;
    world.start("early", "waiting", "").await;
    world.client.cancel_instance("early", "enough").await.expect("requested");
    let runtime = world.runtime(OrchestrationRegistry::builder().register("waiting", waiting).build()).await;
    assert!(world.ended("early").await.expect_err("cancelled").contains("enough"));
    world.end([runtime]).await;
}

/// The child that loses a race is cancelled; its parent goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_losing_child_is_cancelled() {
    let world = World::new().await;
    let race = |ctx: OrchestrationContext, _: String| async move {
        let child = ctx.schedule_sub_orchestration_with_id("waiting", "loser", "");
        match ctx.select2(child, ctx.schedule_wait("go")).await {
            Either2::First(_) => Err("the child won".into()),
            Either2::Second(data) => ctx.schedule_activity("Echo", data).await,
        }
    };
    let registry =
        OrchestrationRegistry::builder().register("race", race).register("waiting", waiting).build();
    let runtime = world.runtime(registry).await;
    world.start("r", "race", "").await;
    world.until("loser", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    world.client.raise_event("r", "go", "won").await.expect("raised");
    assert_eq!(world.ended("r").await, Ok("won".into()));
    assert!(world.ended("loser").await.expect_err("cancelled").contains("cancel"));
    world.end([runtime]).await;
}

/// A second parent that asks for the same child fails at once; the child's result stays the first one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_has_one_parent() {
    let world = World::new().await;
    let parent = |ctx: OrchestrationContext, input: String| async move {
        ctx.schedule_sub_orchestration_with_id("child", "shared", input).await
    };
    let registry =
        OrchestrationRegistry::builder().register("parent", parent).register("child", child).build();
    let runtime = world.runtime(registry).await;
    assert_eq!(world.outcome("one", "parent", "one").await, Ok("child of one".into()));
    let error = world.outcome("two", "parent", "two").await.expect_err("taken");
    assert!(error.contains("shared"), "{error}");
    assert_eq!(world.ended("shared").await, Ok("child of one".into()));
    let parent = world.client.get_instance_info("shared").await.expect("info").parent_instance_id;
    assert_eq!(parent.as_deref(), Some("one"));
    world.end([runtime]).await;
}

/// An instance keeps the version it was started with; continue-as-new moves it to the newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions() {
    let world = World::new().await;
    let first = |ctx: OrchestrationContext, input: String| async move {
        if input == "upgrade" {
            ctx.continue_as_new_versioned("2.0.0", "upgraded").await
        } else {
            Ok("one".into())
        }
    };
    let second = |_: OrchestrationContext, input: String| async move { Ok(format!("two {input}")) };
    let registry = OrchestrationRegistry::builder()
        .register_versioned("o", "1.0.0", first)
        .register_versioned("o", "2.0.0", second)
        .build();
    let runtime = world.runtime(registry).await;
    for (instance, input) in [("old", "stay"), ("upgraded", "upgrade")] {
        world.client.start_orchestration_versioned(instance, "o", "1.0.0", input).await.expect("started");
    }
    assert_eq!(world.outcome("new", "o", "x").await, Ok("two x".into()), "the latest by default");
    assert_eq!(world.ended("old").await, Ok("one".into()));
    assert_eq!(world.ended("upgraded").await, Ok("two upgraded".into()));
    let info = world.client.get_instance_info("upgraded").await.expect("info");
    assert_eq!((info.current_execution_id, info.orchestration_version.as_str()), (2, "2.0.0"));
    assert_eq!(world.client.get_execution_info("upgraded", 1).await.expect("info").status, "ContinuedAsNew");
    world.end([runtime]).await;
}

/// Started twice, it runs once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_start_is_ignored() {
    let world = World::new().await;
    let runtime = world.runtime(OrchestrationRegistry::builder().register("waiting", waiting).build()).await;
    world.start("twice", "waiting", "first").await;
    world.start("twice", "waiting", "second").await;
    world.until("twice", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    world.client.raise_event("twice", "never", "after all").await.expect("raised");
    assert_eq!(world.ended("twice").await, Ok("after all".into()));
    let starts = |kind: &EventKind| matches!(kind, EventKind::OrchestrationStarted { .. });
    assert_eq!(world.history("twice").await.iter().filter(|event| starts(&event.kind)).count(), 1);
    let status = world.client.get_orchestration_status("twice").await.expect("status");
    assert!(matches!(status, OrchestrationStatus::Completed { .. }));
    world.end([runtime]).await;
}
