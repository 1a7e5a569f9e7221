//! Messages between instances: each arrives exactly once, whatever happens between commit and delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, WorkItem};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

const LOCK: Duration = Duration::from_secs(30);

fn start(instance: &str, parent: Option<&str>) -> WorkItem {
    WorkItem::StartOrchestration {
        instance: instance.into(),
        orchestration: "o".into(),
        input: String::new(),
        version: Some("1.0.0".into()),
        parent_instance: parent.map(str::to_owned),
        parent_id: parent.map(|_| 2),
        parent_execution_id: None,
        execution_id: 1,
    }
}

/// Runs the parent's turn that starts a child.
async fn start_child(provider: &CosmosDBProvider) {
    provider.enqueue_for_orchestrator(start("parent", None), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("the parent's turn");
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    let messages = vec![start("child", Some("parent"))];
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), messages, metadata, Vec::new())
        .await
        .expect("acknowledged");
}

/// Fetches and commits the child's turn; answers how many messages it had.
async fn child_turn(provider: &CosmosDBProvider, wait: Duration) -> Option<usize> {
    let fetched = provider.fetch_orchestration_item(LOCK, wait, None).await.expect("no error");
    let (item, token, _) = fetched?;
    assert_eq!(item.instance, "child");
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
    Some(item.messages.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_with_the_turn_and_settled() {
    let (provider, container) = support::provider().await;
    start_child(&provider).await;
    assert_eq!(
        child_turn(&provider, Duration::ZERO).await,
        Some(1),
        "there when the acknowledgement returns"
    );
    assert_eq!(container.documents("parent", "c.type = 'outbox'").await.len(), 0);
    container.delete().await;
}

/// The delivery is sent twice before the receiver has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_twice_before_consumption_counts_once() {
    let config = support::config();
    let container = Container::of(&config);
    let provider = Faulty::provider(&config, |what| match what {
        "enqueueMessages" => Fate::Twice,
        _ => Fate::Pass,
    })
    .await;
    start_child(&provider).await;
    assert_eq!(child_turn(&provider, Duration::ZERO).await, Some(1));
    assert_eq!(child_turn(&provider, Duration::ZERO).await, None);
    container.delete().await;
}

/// Delivered, but the outbox could not be settled: the reconciler of another process delivers once more,
/// after the receiver has consumed the message. Then it must not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_again_after_consumption_counts_once() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let provider = Faulty::provider(&config, |what| match what {
        "settleOutbox" => Fate::Lost,
        _ => Fate::Pass,
    })
    .await;
    start_child(&provider).await;
    assert_eq!(child_turn(&provider, Duration::ZERO).await, Some(1));
    assert_eq!(container.documents("parent", "c.type = 'outbox'").await.len(), 1, "the case under test");
    drop(provider);

    config.reconciler_interval = Duration::from_millis(50);
    config.reconciler_age_threshold = Duration::ZERO;
    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    settled(&container).await;
    assert_eq!(child_turn(&other, Duration::ZERO).await, None, "delivered a second time");
    container.delete().await;
}

/// A crash between commit and delivery: another process delivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_is_delivered_by_others() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let crashed = Arc::new(AtomicBool::new(false));
    let provider = {
        let crashed = Arc::clone(&crashed);
        Faulty::provider(&config, move |what| {
            if what == "ackTurn" {
                crashed.store(true, Ordering::SeqCst);
                return Fate::Pass;
            }
            if crashed.load(Ordering::SeqCst) { Fate::Lost } else { Fate::Pass }
        })
        .await
    };
    start_child(&provider).await;
    assert_eq!(container.documents("parent", "c.type = 'outbox'").await.len(), 1, "the case under test");
    drop(provider);

    config.reconciler_interval = Duration::from_millis(50);
    config.reconciler_age_threshold = Duration::ZERO;
    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    assert_eq!(child_turn(&other, Duration::from_secs(10)).await, Some(1));
    settled(&container).await;
    container.delete().await;
}

/// Waits until the parent's outbox is empty.
async fn settled(container: &Container) {
    let empty = async {
        while !container.documents("parent", "c.type = 'outbox'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), empty).await.expect("the outbox is settled");
}
