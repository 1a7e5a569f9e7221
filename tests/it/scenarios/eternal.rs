//! Workflows without end: one execution after the other.

use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{Provider, PruneOptions};
use duroxide::{ActivityContext, Client, EventKind, OrchestrationContext, OrchestrationRegistry};

use super::{World, activities, options};

/// Each execution removes the earlier ones with an activity of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_prunes_itself() {
    let world = World::new().await;
    let provider = Arc::clone(&world.provider);
    let prune = move |ctx: ActivityContext, _: String| {
        let client = Client::new(Arc::clone(&provider) as Arc<dyn Provider>);
        async move {
            let keep = PruneOptions { keep_last: Some(1), ..PruneOptions::default() };
            let pruned = client.prune_executions(ctx.instance_id(), keep).await;
            pruned.map(|pruned| pruned.executions_deleted.to_string()).map_err(|error| error.to_string())
        }
    };
    let eternal = |ctx: OrchestrationContext, round: String| async move {
        let round: u32 = round.parse().map_err(|_| "not a number")?;
        ctx.set_kv_value("round", round.to_string());
        let pruned = ctx.schedule_activity("Prune", "").await?;
        if pruned != if round == 1 { "0" } else { "1" } {
            return Err(format!("{pruned} executions pruned in round {round}"));
        }
        if round < 5 { ctx.continue_as_new((round + 1).to_string()).await } else { Ok("enough".into()) }
    };
    let registry = OrchestrationRegistry::builder().register("eternal", eternal).build();
    let runtime =
        world.runtime_with(activities().register("Prune", prune).build(), registry, options()).await;
    assert_eq!(world.outcome("e", "eternal", "1").await, Ok("enough".into()));
    assert_eq!(world.client.list_executions("e").await.expect("executions"), [5]);
    assert_eq!(
        world.container.documents("e", "c.type IN ('history', 'execution') AND c.execution < 5").await.len(),
        0
    );
    assert_eq!(world.client.get_kv_value("e", "round").await.expect("value").as_deref(), Some("5"));
    world.end([runtime]).await;
}

/// A child in each execution, under an id of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_a_child_in_each_execution() {
    let world = World::new().await;
    let eternal = |ctx: OrchestrationContext, round: String| async move {
        let round: u32 = round.parse().map_err(|_| "not a number")?;
        let result = ctx.schedule_sub_orchestration("child", round.to_string()).await?;
        if result != format!("child {round}") {
            return Err(format!("{result} in round {round}"));
        }
        if round < 4 { ctx.continue_as_new((round + 1).to_string()).await } else { Ok(result) }
    };
    let child = |ctx: OrchestrationContext, round: String| async move {
        ctx.schedule_activity("Echo", format!("child {round}")).await
    };
    let registry =
        OrchestrationRegistry::builder().register("eternal", eternal).register("child", child).build();
    let runtime = world.runtime(registry).await;
    assert_eq!(world.outcome("e", "eternal", "1").await, Ok("child 4".into()));
    let children = world.client.get_instance_tree("e").await.expect("a tree").all_ids;
    assert_eq!(children.len(), 5, "{children:?}");
    for execution in 1..=4 {
        let history = world.provider.read_with_execution("e", execution).await.expect("history");
        let done = |kind: &EventKind| matches!(kind, EventKind::SubOrchestrationCompleted { .. });
        assert_eq!(history.iter().filter(|event| done(&event.kind)).count(), 1, "execution {execution}");
    }
    world.end([runtime]).await;
}

/// One thread and one dispatcher of each kind are enough, also while an activity waits to be cancelled.
#[tokio::test]
async fn one_thread_is_enough() {
    let world = World::new().await;
    let eternal = |ctx: OrchestrationContext, round: String| async move {
        if round == "last" {
            return ctx.schedule_activity("Slow", "").await;
        }
        ctx.schedule_timer(Duration::from_millis(50)).await;
        let child = ctx.schedule_sub_orchestration("child", round).await?;
        ctx.continue_as_new(child).await
    };
    let child =
        |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("Echo", "last").await };
    let registry =
        OrchestrationRegistry::builder().register("eternal", eternal).register("child", child).build();
    let single = duroxide::runtime::RuntimeOptions {
        orchestration_concurrency: 1,
        worker_concurrency: 1,
        ..options()
    };
    let runtime = world.runtime_with(activities().build(), registry, single).await;
    for instance in ["a", "b"] {
        world.start(instance, "eternal", "first").await;
    }
    for instance in ["a", "b"] {
        world
            .until(
                instance,
                |kind| matches!(kind, EventKind::ActivityScheduled { name, .. } if name == "Slow"),
            )
            .await;
        world.client.cancel_instance(instance, "enough").await.expect("requested");
    }
    for instance in ["a", "b"] {
        assert!(world.ended(instance).await.expect_err("cancelled").contains("enough"));
    }
    assert_eq!(world.outcome("c", "child", "").await, Ok("last".into()), "the worker is free again");
    world.end([runtime]).await;
}
