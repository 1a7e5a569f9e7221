//! Retries under a lock: as long as it lives, and not after; giving back is repeatable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cosmos_emulator::{Emulator, Fault, FaultRule};
use duroxide::TagFilter;
use duroxide::providers::{ExecutionMetadata, Provider, ProviderError, WorkItem};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container, start};

const LONG: Duration = Duration::from_secs(60);

fn activity(id: u64) -> WorkItem {
    support::activity("i", id)
}

fn completed(id: u64) -> WorkItem {
    WorkItem::ActivityCompleted { instance: "i".into(), execution_id: 1, id, result: "r".into() }
}

async fn turn(provider: &CosmosDBProvider, lock: Duration) -> (String, u32) {
    let fetched = provider.fetch_orchestration_item(lock, Duration::ZERO, None).await.expect("no error");
    let (item, token, attempts) = fetched.expect("a turn");
    assert_eq!(item.messages.len(), 1);
    (token, attempts)
}

async fn work(provider: &CosmosDBProvider, lock: Duration) -> (String, u32) {
    let fetched = provider.fetch_work_item(lock, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (_, token, attempts) = fetched.expect("no error").expect("an activity");
    (token, attempts)
}

async fn commit(provider: &CosmosDBProvider, token: &str) -> Result<(), ProviderError> {
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    provider.ack_orchestration_item(token, 1, Vec::new(), Vec::new(), Vec::new(), metadata, Vec::new()).await
}

/// Throttles the procedures that `pattern` names, so that each asks for a delay of `retry_after`.
fn throttle(emulator: &Emulator, pattern: &str, retry_after: Duration) {
    let fault = Fault::Status { status: 429, sub_status: 3200, retry_after: Some(retry_after) };
    emulator.faults().add(FaultRule::new(fault).procedure(pattern));
}

async fn provider() -> (Emulator, CosmosDBProvider) {
    let (emulator, config) = support::emulated(1).await;
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    (emulator, provider)
}

/// When a commit cannot come before the lock's end, the lock is left alone: the runtime's next call, which is to
/// fail the orchestration, must not find the service willing again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_comes_too_late_is_not_followed_by_another() {
    let (emulator, provider) = provider().await;
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    let lock = Duration::from_secs(3);
    let (token, _) = turn(&provider, lock).await;
    throttle(&emulator, "ackTurn_*", Duration::from_secs(10));
    let began = Instant::now();
    let error = commit(&provider, &token).await.expect_err("it cannot be heard in time");
    assert!(began.elapsed() < lock, "{:?}", began.elapsed());
    assert!(!error.is_retryable() && error.message.contains("429"), "{error}");
    emulator.faults().clear();
    let error = commit(&provider, &token).await.expect_err("given up");
    assert!(!error.is_retryable() && error.message.contains("Invalid lock token"), "{error}");
    let again =
        provider.fetch_orchestration_item(LONG, Duration::from_secs(20), None).await.expect("no error");
    let (item, token, attempts) = again.expect("the turn is done again");
    assert_eq!((item.messages.len(), attempts), (1, 2));
    commit(&provider, &token).await.expect("acknowledged");
}

/// An activity whose lock could not be renewed is cancelled by the runtime, which then removes it. It must come
/// back instead, or its orchestration would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_that_could_not_be_renewed_comes_back() {
    let (emulator, provider) = provider().await;
    provider.enqueue_for_worker(activity(1)).await.expect("queued");
    let (token, _) = work(&provider, Duration::from_secs(3)).await;
    throttle(&emulator, "renewWork_*", Duration::from_secs(10));
    provider.renew_work_item_lock(&token, LONG).await.expect_err("it cannot be heard in time");
    emulator.faults().clear();
    provider.ack_work_item(&token, None).await.expect_err("given up");
    let again = provider
        .fetch_work_item(LONG, Duration::from_secs(20), None, &TagFilter::DefaultOnly)
        .await
        .expect("no error");
    let (_, token, attempts) = again.expect("the activity runs again");
    assert_eq!(attempts, 2);
    provider.ack_work_item(&token, Some(completed(1))).await.expect("acknowledged");
}

/// A renewal that got through extends the time for a commit that has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_gives_a_commit_more_time() {
    let (emulator, provider) = provider().await;
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    let lock = Duration::from_secs(2);
    let (token, _) = turn(&provider, lock).await;
    throttle(&emulator, "ackTurn_*", Duration::from_millis(100));
    let renewed = async {
        tokio::time::sleep(lock / 2).await;
        provider.renew_orchestration_item_lock(&token, LONG).await.expect("renewed");
        tokio::time::sleep(lock * 2).await;
        emulator.faults().clear();
    };
    let (committed, ()) = tokio::join!(commit(&provider, &token), renewed);
    committed.expect("acknowledged");
}

/// The answer of a call that gives a lock back gets lost: the repeated call succeeds, a second one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_back_is_repeatable() {
    let config = support::config();
    let given_back = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given_back);
    let provider: Arc<CosmosDBProvider> = Faulty::provider(&config, move |what| match what {
        "abandonTurn" | "abandonWork" if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) => {
            Fate::AnswerLost
        }
        _ => Fate::Pass,
    })
    .await;
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    let (token, _) = turn(&provider, LONG).await;
    provider.abandon_orchestration_item(&token, None, true).await.expect("given back");
    let error = provider.abandon_orchestration_item(&token, None, true).await.expect_err("lost by now");
    assert!(error.message.contains("Invalid lock token"), "{error}");
    let (_, attempts) = turn(&provider, LONG).await;
    assert_eq!(attempts, 1, "the attempt was given back once");

    provider.enqueue_for_worker(activity(1)).await.expect("queued");
    let (token, _) = work(&provider, LONG).await;
    provider.abandon_work_item(&token, None, true).await.expect("given back");
    let error = provider.abandon_work_item(&token, None, true).await.expect_err("lost by now");
    assert!(error.message.contains("Invalid lock token"), "{error}");
    let (_, attempts) = work(&provider, LONG).await;
    assert_eq!(attempts, 1, "the attempt was given back once");
    assert_eq!(given_back.load(Ordering::SeqCst), 6, "each of the two was repeated once");
    Container::of(&config).delete().await;
}

/// The same for an activity that is cancelled: it is removed without a completion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_is_repeatable() {
    let config = support::config();
    let removed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&removed);
    let provider = Faulty::provider(&config, move |what| match what {
        "ackWork" if counted.fetch_add(1, Ordering::SeqCst) == 0 => Fate::AnswerLost,
        _ => Fate::Pass,
    })
    .await;
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    provider.enqueue_for_worker(activity(1)).await.expect("queued");
    let (token, _) = work(&provider, LONG).await;
    provider.ack_work_item(&token, None).await.expect("removed");
    let error = provider.ack_work_item(&token, None).await.expect_err("lost by now");
    assert!(error.message.contains("Invalid lock token"), "{error}");
    assert_eq!(removed.load(Ordering::SeqCst), 3, "the first was repeated once");
    let (_, attempts) = turn(&provider, LONG).await;
    assert_eq!(attempts, 1, "the queue is as it was");
    Container::of(&config).delete().await;
}
