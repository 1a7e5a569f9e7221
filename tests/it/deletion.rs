//! Deletion across partitions: all or none, finished or undone after a crash, and nothing owed is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, ProviderAdmin, WorkItem};
use duroxide::{Event, EventKind};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use serde_json::json;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container, start};

const LOCK: Duration = Duration::from_secs(30);

fn metadata(status: Option<&str>) -> ExecutionMetadata {
    ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        status: status.map(str::to_owned),
        ..ExecutionMetadata::default()
    }
}

fn event(instance: &str, id: u64) -> Event {
    Event::with_event_id(id, instance, 1, None, EventKind::CustomStatusUpdated { status: None })
}

/// Makes an instance with `turns` turns, each with an event and thus a page.
async fn instance(provider: &CosmosDBProvider, id: &str, turns: u64, send: Vec<WorkItem>) {
    provider.enqueue_for_orchestrator(start(id), None).await.expect("queued");
    let mut send = Some(send);
    for turn in 1..=turns {
        let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
        let (item, token, _) = fetched.expect("a turn");
        assert_eq!(item.instance, id);
        let mut messages = Vec::new();
        if turn < turns {
            messages.push(WorkItem::ExternalRaised {
                instance: id.into(),
                name: "n".into(),
                data: String::new(),
            });
        } else {
            messages.extend(send.take().unwrap_or_default());
        }
        let end = metadata((turn == turns).then_some("Completed"));
        provider
            .ack_orchestration_item(&token, 1, vec![event(id, turn)], Vec::new(), messages, end, Vec::new())
            .await
            .expect("acknowledged");
    }
}

/// A process of its own whose reconciler runs all the time.
async fn other_process(config: &CosmosDBProviderConfig) -> CosmosDBProvider {
    let config = CosmosDBProviderConfig {
        reconciler_interval: Duration::from_millis(50),
        reconciler_age_threshold: Duration::ZERO,
        ..config.clone()
    };
    CosmosDBProvider::new_with_config(config).await.expect("another process")
}

/// Lets the lease of a deletion that was left run out.
async fn expire_lease(container: &Container) {
    for mut deletion in container.documents("$system", "c.type = 'deletion'").await {
        deletion["outboxAt"] = json!(1);
        container.upsert("$system", &deletion).await;
    }
}

async fn finished(container: &Container) {
    let none = async {
        while !container.documents("$system", "c.type = 'deletion'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), none).await.expect("the deletion is finished");
}

async fn instances(provider: &CosmosDBProvider) -> Vec<String> {
    let mut all = provider.list_instances().await.expect("instances");
    all.sort();
    all
}

/// Crashed after the decision: all of them go, finished by somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_deletion_is_finished_by_others() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let purges = Arc::new(AtomicUsize::new(0));
    let provider = {
        let purges = Arc::clone(&purges);
        // The first purge of the first instance arrives, nothing after it.
        Faulty::provider(&config, move |what| match what {
            "purgeInstance" if purges.fetch_add(1, Ordering::SeqCst) > 0 => Fate::Lost,
            _ => Fate::Pass,
        })
        .await
    };
    instance(&provider, "a", 120, Vec::new()).await;
    instance(&provider, "b", 1, Vec::new()).await;
    instance(&provider, "bystander", 1, Vec::new()).await;
    let ids = ["a".to_owned(), "b".to_owned()];
    let deletion =
        tokio::time::timeout(Duration::from_secs(2), provider.delete_instances_atomic(&ids, false)).await;
    assert!(deletion.is_err(), "crashed in the middle");
    assert!(!container.documents("a", "c.type = 'history'").await.is_empty(), "the case under test");
    // A successor is started before the remains are gone: it belongs to what comes.
    provider.enqueue_for_orchestrator(start("a"), None).await.expect("queued");

    let other = other_process(&config).await;
    expire_lease(&container).await;
    finished(&container).await;
    assert_eq!(instances(&other).await, ["bystander"]);
    assert_eq!(container.documents("a", "c.type = 'history'").await.len(), 0);
    assert_eq!(container.documents("b", "true").await.len(), 0);
    let fetched = other.fetch_orchestration_item(LOCK, Duration::from_secs(5), None).await.expect("no error");
    let (item, _, attempts) = fetched.expect("the successor's start");
    assert_eq!((item.instance.as_str(), item.messages.len(), item.history.len(), attempts), ("a", 1, 0, 1));
    container.delete().await;
}

/// Crashed before the decision: none of them goes, and all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecided_deletion_is_undone_by_others() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let marks = Arc::new(AtomicUsize::new(0));
    let provider = {
        let marks = Arc::clone(&marks);
        Faulty::provider(&config, move |what| match what {
            "markDeletion" if marks.fetch_add(1, Ordering::SeqCst) > 0 => Fate::Lost,
            _ => Fate::Pass,
        })
        .await
    };
    instance(&provider, "a", 1, Vec::new()).await;
    instance(&provider, "b", 1, Vec::new()).await;
    let ids = ["a".to_owned(), "b".to_owned()];
    let deletion =
        tokio::time::timeout(Duration::from_secs(2), provider.delete_instances_atomic(&ids, false)).await;
    assert!(deletion.is_err(), "crashed in the middle");
    let raised = WorkItem::ExternalRaised { instance: "a".into(), name: "n".into(), data: String::new() };
    provider.enqueue_for_orchestrator(raised, None).await.expect("queued");
    let marked = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert!(marked.is_none(), "a marked instance has no turns");

    let other = other_process(&config).await;
    expire_lease(&container).await;
    finished(&container).await;
    assert_eq!(instances(&other).await, ["a", "b"]);
    let fetched = other.fetch_orchestration_item(LOCK, Duration::from_secs(5), None).await.expect("no error");
    assert_eq!(fetched.expect("the turn goes on").0.instance, "a");
    container.delete().await;
}

/// Refused for one, refused for all; nobody stays marked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_deletion_leaves_no_mark() {
    let (provider, container) = support::provider().await;
    instance(&provider, "done", 1, Vec::new()).await;
    provider.enqueue_for_orchestrator(start("running"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    provider
        .ack_orchestration_item(
            &token,
            1,
            vec![event("running", 1)],
            Vec::new(),
            Vec::new(),
            metadata(None),
            Vec::new(),
        )
        .await
        .expect("acknowledged");
    let ids = ["done".to_owned(), "running".to_owned()];
    let error = provider.delete_instances_atomic(&ids, false).await.expect_err("one is running");
    assert!(!error.is_retryable() && error.message.contains("running"), "{error}");
    assert_eq!(instances(&provider).await, ["done", "running"]);
    for id in &ids {
        let heads = container.documents(id, "c.type = 'head'").await;
        assert_eq!(heads[0].get("deletion"), None, "{id}");
    }
    let deleted = provider.delete_instances_atomic(&ids, true).await.expect("forced");
    assert_eq!((deleted.instances_deleted, deleted.executions_deleted, deleted.events_deleted), (2, 2, 2));
    assert_eq!(instances(&provider).await, Vec::<String>::new());
    container.delete().await;
}

/// A parent is deleted while its message to a child still lies in the outbox: the child gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_deleted_owed_is_delivered() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let sent = Arc::new(AtomicUsize::new(0));
    let provider = {
        let sent = Arc::clone(&sent);
        // The parent's start arrives; its message to the child does not.
        Faulty::provider(&config, move |what| match what {
            "enqueueMessages" if sent.fetch_add(1, Ordering::SeqCst) > 0 => Fate::Lost,
            _ => Fate::Pass,
        })
        .await
    };
    instance(&provider, "parent", 1, vec![start("child")]).await;
    assert_eq!(container.documents("parent", "c.type = 'outbox'").await.len(), 1, "the case under test");
    drop(provider);
    config.reconciler_interval = Duration::from_secs(3600);
    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    other.delete_instance("parent", false).await.expect("deleted");
    assert_eq!(container.documents("parent", "true").await.len(), 0);
    let fetched = other.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert_eq!(fetched.expect("the child's start").0.instance, "child");
    container.delete().await;
}

/// Whichever answer is lost, the deletion knows what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_survives_each_lost_answer() {
    let config = support::config();
    let container = Container::of(&config);
    // Requests until the answer that is lost; then it wraps and stays far from zero.
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let provider = {
        let left = Arc::clone(&left);
        Faulty::provider(&config, move |_| match left.fetch_sub(1, Ordering::SeqCst) {
            0 => Fate::AnswerLost,
            _ => Fate::Pass,
        })
        .await
    };
    let mut reached = true;
    for n in 0.. {
        if !reached {
            assert!(n > 5, "requests of a deletion: {n}");
            break;
        }
        let ids = [format!("a{n}"), format!("b{n}")];
        for id in &ids {
            instance(&provider, id, 1, Vec::new()).await;
        }
        left.store(n, Ordering::SeqCst);
        let deleted = provider.delete_instances_atomic(&ids, false).await;
        reached = left.swap(usize::MAX, Ordering::SeqCst) > usize::MAX / 2;
        assert!(deleted.is_ok(), "answer {n}: {deleted:?}");
        assert_eq!(instances(&provider).await, Vec::<String>::new(), "answer {n}");
        assert_eq!(container.documents("$system", "c.type = 'deletion'").await.len(), 0, "answer {n}");
    }
    container.delete().await;
}

/// What is deleted together is decided in one document, which names all of it.
#[tokio::test]
async fn more_instances_than_one_document_names_are_refused() {
    let (provider, container) = support::provider().await;
    let ids: Vec<String> = (0..50_000).map(|n| format!("{n:040}")).collect();
    let requests = || provider.stats().values().map(|operation| operation.requests).sum::<u64>();
    let before = requests();
    let error = provider.delete_instances_atomic(&ids, true).await.expect_err("too many");
    assert!(!error.is_retryable(), "{error}");
    for part in ["50000 instances", "2150000 bytes", "2000000", "fewer"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(requests(), before, "nothing was asked for");
    container.delete().await;
}
