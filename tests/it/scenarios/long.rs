//! Activities and turns that last longer than their locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use duroxide::runtime::RuntimeOptions;
use duroxide::{ActivityContext, OrchestrationContext, OrchestrationRegistry};
use duroxide_cosmos::CosmosDBProvider;

use super::{PATIENCE, World, activities, options};

/// Renewed after half of it.
const LOCK: Duration = Duration::from_millis(1500);

/// More than three locks would last without them.
const RENEWALS: u64 = 7;

fn short_locks() -> RuntimeOptions {
    RuntimeOptions { orchestrator_lock_timeout: LOCK, worker_lock_timeout: LOCK, ..options() }
}

/// Requests that one of the providers has sent.
fn sent(providers: &[Arc<CosmosDBProvider>], operation: &str) -> u64 {
    let of =
        |provider: &Arc<CosmosDBProvider>| provider.stats().get(operation).map_or(0, |spent| spent.requests);
    providers.iter().map(of).sum()
}

/// Whether the lock has been renewed often enough; panics when it never will.
fn renewed(providers: &[Arc<CosmosDBProvider>], operation: &str, since: Instant) -> bool {
    assert!(since.elapsed() < PATIENCE, "{} {operation}", sent(providers, operation));
    sent(providers, operation) >= RENEWALS
}

/// Two runtimes, each with a provider of its own: one runs the activity, the other looks for work all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_is_renewed_and_runs_once() {
    let world = World::new().await;
    let providers = [Arc::clone(&world.provider), world.second_provider().await];
    let runs = Arc::new(AtomicUsize::new(0));
    let mut runtimes = Vec::new();
    for provider in &providers {
        let (watched, runs) = (providers.clone(), Arc::clone(&runs));
        let long = move |_: ActivityContext, _: String| {
            let watched = watched.clone();
            runs.fetch_add(1, Ordering::SeqCst);
            async move {
                let begun = Instant::now();
                while !renewed(&watched, "renewWork", begun) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok("done".to_owned())
            }
        };
        let o = |ctx: OrchestrationContext, _: String| async move { ctx.schedule_activity("Long", "").await };
        let registry = OrchestrationRegistry::builder().register("o", o).build();
        let activities = activities().register("Long", long).build();
        runtimes.push(world.runtime_on(provider, activities, registry, short_locks()).await);
    }
    assert_eq!(world.outcome("i", "o", "").await, Ok("done".into()));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert!(
        providers.iter().all(|provider| sent(&[Arc::clone(provider)], "probe") > 0),
        "both look for work"
    );
    world.end(runtimes).await;
}

/// The same of a turn, which here computes for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_renewed_and_runs_once() {
    let world = World::new().await;
    let providers = [Arc::clone(&world.provider), world.second_provider().await];
    let turns = Arc::new(AtomicUsize::new(0));
    let mut runtimes = Vec::new();
    for provider in &providers {
        let (watched, turns) = (providers.clone(), Arc::clone(&turns));
        let o = move |ctx: OrchestrationContext, _: String| {
            let watched = watched.clone();
            let turn = turns.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                if turn == 1 {
                    let begun = Instant::now();
                    tokio::task::block_in_place(|| {
                        while !renewed(&watched, "renewTurn", begun) {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    });
                }
                ctx.schedule_activity("Echo", "done").await
            }
        };
        let registry = OrchestrationRegistry::builder().register("o", o).build();
        runtimes.push(world.runtime_on(provider, activities().build(), registry, short_locks()).await);
    }
    assert_eq!(world.outcome("i", "o", "").await, Ok("done".into()));
    assert_eq!(turns.load(Ordering::SeqCst), 2, "up to the activity, and after it");
    world.end(runtimes).await;
}
