//! Messages between instances: each arrives exactly once, whatever happens between commit and delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duroxide::providers::{ExecutionMetadata, Provider, WorkItem};
use duroxide::{AppErrorKind, ErrorDetails};
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

/// Everything one instance may send to another.
fn intents() -> [WorkItem; 5] {
    [
        start("receiver", Some("sender")),
        start("receiver", None),
        WorkItem::SubOrchCompleted {
            parent_instance: "receiver".into(),
            parent_execution_id: 1,
            parent_id: 2,
            result: "done".into(),
        },
        WorkItem::SubOrchFailed {
            parent_instance: "receiver".into(),
            parent_execution_id: 1,
            parent_id: 2,
            details: ErrorDetails::Application {
                kind: AppErrorKind::OrchestrationFailed,
                message: "no".into(),
                retryable: false,
            },
        },
        WorkItem::CancelInstance { instance: "receiver".into(), reason: "enough".into() },
    ]
}

/// Fetches and commits one turn that sends `messages`; answers what it received, nothing if there is none.
async fn turn(
    provider: &CosmosDBProvider,
    instance: &str,
    wait: Duration,
    messages: Vec<WorkItem>,
) -> Vec<WorkItem> {
    let fetched = provider.fetch_orchestration_item(LOCK, wait, None).await.expect("no error");
    let Some((item, token, _)) = fetched else {
        return Vec::new();
    };
    assert_eq!(item.instance, instance);
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), messages, metadata, Vec::new())
        .await
        .expect("acknowledged");
    item.messages
}

/// The sender's turn is ready; the receiver is there, unless this starts it.
async fn prepare(provider: &CosmosDBProvider, intent: &WorkItem) {
    if !matches!(intent, WorkItem::StartOrchestration { .. }) {
        provider.enqueue_for_orchestrator(start("receiver", None), None).await.expect("queued");
        assert_eq!(turn(provider, "receiver", Duration::ZERO, Vec::new()).await.len(), 1);
    }
    provider.enqueue_for_orchestrator(start("sender", None), None).await.expect("queued");
}

/// Runs the sender's turn.
async fn send(provider: &CosmosDBProvider, intent: &WorkItem) {
    prepare(provider, intent).await;
    assert_eq!(turn(provider, "sender", Duration::ZERO, vec![intent.clone()]).await.len(), 1);
}

/// What the receiver finds.
async fn received(provider: &CosmosDBProvider) -> Vec<WorkItem> {
    turn(provider, "receiver", Duration::ZERO, Vec::new()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_with_the_turn_and_settled() {
    for intent in intents() {
        let (provider, container) = support::provider().await;
        send(&provider, &intent).await;
        assert_eq!(received(&provider).await, [intent], "there when the acknowledgement returns");
        settled(&container).await;
        container.delete().await;
    }
}

/// Delivery takes no reconciler and no look later on: the message is there for every process when the sender's
/// acknowledgement returns, brought by one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_within_milliseconds() {
    let mut longest = Duration::ZERO;
    for by_other in [false, true] {
        for intent in intents() {
            let mut config = support::config();
            config.reconciler_interval = Duration::from_secs(3600);
            let container = Container::of(&config);
            let provider = CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider");
            let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
            prepare(&provider, &intent).await;
            let deliveries = || provider.stats()["enqueueMessages"].requests;
            let before = deliveries();
            let begun = Instant::now();
            assert_eq!(turn(&provider, "sender", Duration::ZERO, vec![intent.clone()]).await.len(), 1);
            assert_eq!(received(if by_other { &other } else { &provider }).await, [intent]);
            longest = longest.max(begun.elapsed());
            assert_eq!(deliveries() - before, 1);
            let reconciled = |provider: &CosmosDBProvider| provider.stats().contains_key("reconcile");
            assert!(!reconciled(&provider) && !reconciled(&other));
            container.delete().await;
        }
    }
    println!("both turns and the delivery between them took {longest:?} at most");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

/// Each delivery is sent twice, one right after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrives_twice_counts_once() {
    for intent in intents() {
        let config = support::config();
        let container = Container::of(&config);
        let provider = Faulty::provider(&config, |what| match what {
            "enqueueMessages" => Fate::Twice,
            _ => Fate::Pass,
        })
        .await;
        send(&provider, &intent).await;
        assert_eq!(received(&provider).await, [intent]);
        assert_eq!(received(&provider).await, []);
        container.delete().await;
    }
}

/// Delivered, but the outbox could not be settled: the reconciler of another process delivers once more, before
/// the receiver has consumed the message or after it. It must not come twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_again_by_another_process_counts_once() {
    for consumed in [false, true] {
        for intent in intents() {
            let mut config = support::config();
            config.reconciler_interval = Duration::from_secs(3600);
            let container = Container::of(&config);
            let provider = Faulty::provider(&config, |what| match what {
                "settleOutbox" => Fate::Lost,
                _ => Fate::Pass,
            })
            .await;
            send(&provider, &intent).await;
            let mut all = if consumed { received(&provider).await } else { Vec::new() };
            let owed = container.documents("sender", "c.type = 'outbox'").await;
            assert_eq!(owed.len(), 1, "the case under test");

            config.reconciler_interval = Duration::from_millis(50);
            config.reconciler_age_threshold = Duration::ZERO;
            let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
            settled(&container).await;
            all.extend(received(&provider).await);
            all.extend(received(&other).await);
            assert_eq!(all, [intent], "consumed before the second delivery: {consumed}");
            container.delete().await;
        }
    }
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
    let intent = start("receiver", Some("sender"));
    send(&provider, &intent).await;
    assert_eq!(container.documents("sender", "c.type = 'outbox'").await.len(), 1, "the case under test");
    drop(provider);

    config.reconciler_interval = Duration::from_millis(50);
    config.reconciler_age_threshold = Duration::ZERO;
    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    assert_eq!(turn(&other, "receiver", Duration::from_secs(10), Vec::new()).await, [intent]);
    settled(&container).await;
    container.delete().await;
}

/// Waits until the sender's outbox is empty.
async fn settled(container: &Container) {
    let empty = async {
        while !container.documents("sender", "c.type = 'outbox'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), empty).await.expect("the outbox is settled");
}
