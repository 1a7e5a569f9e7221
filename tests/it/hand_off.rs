//! Handing work over: only to whom it is for, and given back at once when he has gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cosmos_emulator::{Emulator, Fault, FaultRule};
use duroxide::TagFilter;
use duroxide::providers::{DispatcherCapabilityFilter, ExecutionMetadata, Provider, SemverRange, WorkItem};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::{self, start};

const LOCK: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(20);

async fn site() -> (Emulator, Arc<CosmosDBProvider>) {
    let (emulator, config) = support::emulated(1).await;
    (emulator, Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a provider")))
}

fn activity(id: u64, tag: Option<&str>) -> WorkItem {
    WorkItem::ActivityExecute {
        instance: "i".into(),
        execution_id: 1,
        id,
        name: "a".into(),
        input: format!("input {id}"),
        session_id: None,
        tag: tag.map(str::to_owned),
    }
}

/// A turn of the instance `i`, locked.
async fn turn(provider: &CosmosDBProvider) -> String {
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    fetched.expect("a turn").1
}

async fn commit(provider: &CosmosDBProvider, token: &str, work: Vec<WorkItem>, pinned: Option<&str>) {
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        pinned_duroxide_version: pinned.map(|version| version.parse().expect("a version")),
        ..Default::default()
    };
    provider
        .ack_orchestration_item(token, 1, Vec::new(), work, Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
}

/// A worker in a long poll.
fn worker(
    provider: &Arc<CosmosDBProvider>,
    tags: TagFilter,
) -> tokio::task::JoinHandle<Option<(WorkItem, String, u32)>> {
    let provider = Arc::clone(provider);
    tokio::spawn(async move { provider.fetch_work_item(LOCK, POLL, None, &tags).await.expect("no error") })
}

/// Waits until all dispatchers that were started are blocked: the loop has looked for them, and found nothing.
async fn blocked(provider: &CosmosDBProvider, operation: &str) {
    while provider.stats().get(operation).is_none_or(|spent| spent.requests == 0) {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn gpu() -> TagFilter {
    TagFilter::Tags(HashSet::from(["gpu".to_owned()]))
}

#[tokio::test]
async fn an_activity_goes_to_the_worker_that_waits_with_one_request() {
    let (emulator, provider) = site().await;
    let token = turn(&provider).await;
    let waiting = worker(&provider, TagFilter::DefaultOnly);
    blocked(&provider, "discoverWork").await;
    commit(&provider, &token, vec![activity(1, None), activity(2, None)], None).await;
    let (item, token, attempts) = waiting.await.expect("no panic").expect("an activity");
    assert_eq!((item, attempts), (activity(1, None), 1));
    assert!(!provider.stats().contains_key("lockWork"), "{:?}", provider.stats());
    provider.renew_work_item_lock(&token, LOCK).await.expect("held");
    // The other one was left, and is known to be there.
    let (item, ..) = worker(&provider, TagFilter::DefaultOnly).await.expect("no panic").expect("an activity");
    assert_eq!(item, activity(2, None));
    assert_eq!(provider.counters().work_handed_over, 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn what_a_waiting_dispatcher_may_not_take_is_left_to_others() {
    let (emulator, provider) = site().await;
    let token = turn(&provider).await;
    let waiting = worker(&provider, gpu());
    blocked(&provider, "discoverWork").await;
    commit(&provider, &token, vec![activity(1, None), activity(2, Some("gpu"))], Some("1.0.0")).await;
    let (item, ..) = waiting.await.expect("no panic").expect("an activity");
    assert_eq!(item, activity(2, Some("gpu")));
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (item, _, attempts) = fetched.expect("no error").expect("an activity");
    assert_eq!((item, attempts), (activity(1, None), 1));

    let newer = DispatcherCapabilityFilter {
        supported_duroxide_versions: vec![SemverRange {
            min: "2.0.0".parse().expect("a version"),
            max: "3.0.0".parse().expect("a version"),
        }],
    };
    let other = Arc::clone(&provider);
    let dispatcher =
        tokio::spawn(async move { other.fetch_orchestration_item(LOCK, POLL, Some(&newer)).await });
    blocked(&provider, "discoverTurns").await;
    let event = WorkItem::ExternalRaised { instance: "i".into(), name: "e".into(), data: String::new() };
    provider.enqueue_for_orchestrator(event, None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert_eq!(fetched.expect("a turn").2, 1);
    assert_eq!(provider.counters().turns_handed_over, 0);
    dispatcher.abort();
    emulator.shutdown().await;
}

/// A commit that is on its way with an activity for a worker that waits, and goes away meanwhile.
async fn commit_for_one_that_goes(
    emulator: &Emulator,
    provider: &Arc<CosmosDBProvider>,
) -> tokio::task::JoinHandle<()> {
    let token = turn(provider).await;
    let waiting = worker(provider, TagFilter::DefaultOnly);
    blocked(provider, "discoverWork").await;
    let slow = FaultRule::new(Fault::Latency(Duration::from_millis(300))).procedure("ackTurn*").count(1);
    emulator.faults().add(slow);
    let committing = Arc::clone(provider);
    let committed =
        tokio::spawn(async move { commit(&committing, &token, vec![activity(1, None)], None).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    waiting.abort();
    committed
}

#[tokio::test]
async fn what_was_locked_for_a_worker_that_has_gone_is_given_back_unused() {
    let (emulator, provider) = site().await;
    let commit = commit_for_one_that_goes(&emulator, &provider).await;
    commit.await.expect("no panic");
    let since = Instant::now();
    let fetched = loop {
        let fetched = provider.fetch_work_item(LOCK * 2, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
        if let Some(fetched) = fetched.expect("no error") {
            break fetched;
        }
        assert!(since.elapsed() < LOCK / 3, "the lock was stranded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((fetched.0, fetched.2), (activity(1, None), 1));
    assert_eq!(provider.counters().given_back, 1);
    emulator.shutdown().await;
}

/// A process that ends need not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_gives_back_what_is_locked_ahead() {
    let (emulator, provider) = site().await;
    let committed = commit_for_one_that_goes(&emulator, &provider).await;
    // The commit, which locks the activity for the worker, is still on its way.
    provider.close().await;
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (item, _, attempts) = fetched.expect("no error").expect("given back");
    assert_eq!((item, attempts), (activity(1, None), 1));
    committed.await.expect("no panic");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_turn_goes_to_the_dispatcher_that_waits_also_when_the_answer_was_lost() {
    let (emulator, provider) = site().await;
    for (instance, fault) in [("a", None), ("b", Some(Fault::DropAfter))] {
        let other = Arc::clone(&provider);
        let looked = provider.stats().get("discoverTurns").map_or(0, |spent| spent.requests);
        let dispatcher = tokio::spawn(async move { other.fetch_orchestration_item(LOCK, POLL, None).await });
        if looked == 0 {
            blocked(&provider, "discoverTurns").await;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let Some(fault) = fault {
            emulator.faults().add(FaultRule::new(fault).procedure("enqueueMessages*").count(1));
        }
        provider.enqueue_for_orchestrator(start(instance), None).await.expect("queued");
        let (item, _, attempts) = dispatcher.await.expect("no panic").expect("no error").expect("a turn");
        assert_eq!((item.instance.as_str(), item.messages.len(), attempts), (instance, 1, 1));
    }
    assert_eq!(provider.counters().turns_handed_over, 2);
    emulator.shutdown().await;
}
