//! Key-value state and custom status.

use std::time::Duration;

use duroxide::{EventKind, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};

use super::{PATIENCE, World};

/// Set, cleared, kept over continue-as-new, read by a client and by another instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_values_are_shared() {
    let world = World::new().await;
    let writer = |ctx: OrchestrationContext, round: String| async move {
        if round == "first" {
            ctx.set_kv_value("kept", "1");
            ctx.set_kv_value("cleared", "1");
            return ctx.continue_as_new("second").await;
        }
        ctx.clear_kv_value("cleared");
        ctx.set_kv_value("later", "2");
        ctx.schedule_wait("end").await;
        Ok(format!("{:?} {:?}", ctx.get_kv_value("kept"), ctx.get_kv_value("cleared")))
    };
    let reader = |ctx: OrchestrationContext, key: String| async move {
        Ok(format!("{:?}", ctx.get_kv_value_from_instance("w", key).await?))
    };
    let registry =
        OrchestrationRegistry::builder().register("writer", writer).register("reader", reader).build();
    let runtime = world.runtime(registry).await;
    world.start("w", "writer", "first").await;
    world.until("w", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    let values = world.client.get_kv_all_values("w").await.expect("values");
    assert_eq!(values.get("kept").map(String::as_str), Some("1"));
    assert_eq!((values.get("cleared"), values.get("later").map(String::as_str)), (None, Some("2")));
    assert_eq!(world.outcome("r1", "reader", "later").await, Ok(r#"Some("2")"#.into()));
    assert_eq!(world.outcome("r2", "reader", "cleared").await, Ok("None".into()));
    world.client.raise_event("w", "end", "").await.expect("raised");
    assert_eq!(world.ended("w").await, Ok(r#"Some("1") None"#.into()));
    world.end([runtime]).await;
}

/// Everything older than a moment is pruned, also what an earlier execution set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_values_are_pruned_by_age() {
    let world = World::new().await;
    let prune = |ctx: OrchestrationContext, round: String| async move {
        if round == "first" {
            ctx.set_kv_value("old", "1");
            ctx.schedule_timer(Duration::from_millis(20)).await;
            return ctx.continue_as_new("second").await;
        }
        let now =
            ctx.utc_now().await?.duration_since(std::time::UNIX_EPOCH).map_err(|error| error.to_string())?;
        let pruned = ctx.prune_kv_values_updated_before(u64::try_from(now.as_millis()).unwrap_or(0));
        ctx.set_kv_value("new", "2");
        Ok(format!("{pruned} {}", ctx.get_kv_length()))
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("prune", prune).build()).await;
    assert_eq!(world.outcome("p", "prune", "first").await, Ok("1 1".into()));
    let values = world.client.get_kv_all_values("p").await.expect("values");
    assert_eq!(values.into_iter().collect::<Vec<_>>(), [("new".to_owned(), "2".to_owned())]);
    world.end([runtime]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_follows_the_custom_status() {
    let world = World::new().await;
    let steps = |ctx: OrchestrationContext, _: String| async move {
        for step in 1..=3 {
            ctx.set_custom_status(format!("step {step}"));
            ctx.schedule_wait("next").await;
        }
        Ok("done".to_owned())
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("steps", steps).build()).await;
    world.start("s", "steps", "").await;
    let mut seen = 0;
    for step in 1..=3 {
        let poll = Duration::from_millis(10);
        let status = world.client.wait_for_status_change("s", seen, poll, PATIENCE).await.expect("a status");
        let OrchestrationStatus::Running { custom_status, custom_status_version } = status else {
            panic!("{status:?}");
        };
        assert_eq!(custom_status, Some(format!("step {step}")));
        assert!(custom_status_version > seen);
        seen = custom_status_version;
        world.client.raise_event("s", "next", "").await.expect("raised");
    }
    assert_eq!(world.ended("s").await, Ok("done".into()));
    world.end([runtime]).await;
}
