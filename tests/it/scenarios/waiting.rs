//! Timers, events and queues, alone and racing.

use std::time::Duration;

use duroxide::{Either2, EventKind, OrchestrationContext, OrchestrationRegistry};

use super::World;

/// The event wins over an activity that would take for ever, which is then cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_beats_an_activity() {
    let world = World::new().await;
    let race = |ctx: OrchestrationContext, _: String| async move {
        match ctx.select2(ctx.schedule_activity("Slow", ""), ctx.schedule_wait("go")).await {
            Either2::First(_) => Err("the activity won".into()),
            Either2::Second(data) => Ok(data),
        }
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("race", race).build()).await;
    world.start("r", "race", "").await;
    world.until("r", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    world.client.raise_event("r", "go", "now").await.expect("raised");
    assert_eq!(world.ended("r").await, Ok("now".into()));
    let cancelled = |kind: &EventKind| matches!(kind, EventKind::ActivityCancelRequested { .. });
    assert!(world.history("r").await.iter().any(|event| cancelled(&event.kind)));
    world.end([runtime]).await;
}

/// Messages of a queue wait for their reader, keep their order, and survive continue-as-new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_read_across_executions() {
    let world = World::new().await;
    let reader = |ctx: OrchestrationContext, so_far: String| async move {
        let read = format!("{so_far}{}", ctx.dequeue_event("queue").await);
        if read.len() < 6 { ctx.continue_as_new(read).await } else { Ok(read) }
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("reader", reader).build()).await;
    world.start("q", "reader", "").await;
    for letter in ["a", "b", "c", "d", "e", "f"] {
        world.client.enqueue_event("q", "queue", letter).await.expect("enqueued");
    }
    assert_eq!(world.ended("q").await, Ok("abcdef".into()));
    world.end([runtime]).await;
}

/// An event nobody waits for yet is dropped, by duroxide's rules; the timer wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_before_its_subscription_is_lost() {
    let world = World::new().await;
    let late = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_wait("first").await;
        let timer = ctx.schedule_timer(Duration::from_millis(200));
        match ctx.select2(ctx.schedule_wait("second"), timer).await {
            Either2::First(data) => Ok(data),
            Either2::Second(()) => Ok("timer".into()),
        }
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("late", late).build()).await;
    world.start("l", "late", "").await;
    world.until("l", |kind| matches!(kind, EventKind::ExternalSubscribed { .. })).await;
    world.client.raise_event("l", "second", "early").await.expect("raised");
    world.client.raise_event("l", "first", "").await.expect("raised");
    assert_eq!(world.ended("l").await, Ok("timer".into()));
    world.end([runtime]).await;
}

/// Timers fire in the order of their times, whatever the order they were set in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_in_order() {
    let world = World::new().await;
    let timers = |ctx: OrchestrationContext, _: String| async move {
        let mut order = String::new();
        let mut late = ctx.schedule_timer(Duration::from_millis(400));
        let mut early = ctx.schedule_timer(Duration::from_millis(100));
        match ctx.select2(&mut late, &mut early).await {
            Either2::First(()) => order.push_str("late first"),
            Either2::Second(()) => order.push_str("early"),
        }
        late.await;
        Ok(order + ", late")
    };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("timers", timers).build()).await;
    assert_eq!(world.outcome("t", "timers", "").await, Ok("early, late".into()));
    world.end([runtime]).await;
}

/// A finished instance ignores what still comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_instance_ignores_events() {
    let world = World::new().await;
    let done = |_: OrchestrationContext, _: String| async move { Ok("done".to_owned()) };
    let runtime = world.runtime(OrchestrationRegistry::builder().register("done", done).build()).await;
    assert_eq!(world.outcome("d", "done", "").await, Ok("done".into()));
    let before = world.history("d").await.len();
    world.client.raise_event("d", "e", "x").await.expect("raised");
    world.client.enqueue_event("d", "q", "x").await.expect("enqueued");
    world.client.cancel_instance("d", "too late").await.expect("requested");
    let empty = async {
        while world.client.get_queue_depths().await.expect("depths").orchestrator_queue > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, empty).await.expect("the messages are taken");
    assert_eq!(world.ended("d").await, Ok("done".into()));
    assert_eq!(world.history("d").await.len(), before);
    world.end([runtime]).await;
}
