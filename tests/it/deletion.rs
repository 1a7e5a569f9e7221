//! Deletion across partitions: all or none, finished or undone after a crash, and nothing owed is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, ProviderAdmin, WorkItem};
use duroxide::{Event, EventKind, TagFilter};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use serde_json::json;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container, activity, start};

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
            // One that is undone ends at the second visit.
            expire_lease(container).await;
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

fn completed(instance: &str, id: u64, result: String) -> WorkItem {
    WorkItem::ActivityCompleted { instance: instance.into(), execution_id: 1, id, result }
}

/// Makes a running instance with `count` activities.
async fn busy_instance(provider: &CosmosDBProvider, id: &str, count: u64) {
    provider.enqueue_for_orchestrator(start(id), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    let work = (1..=count).map(|number| activity(id, number)).collect();
    provider
        .ack_orchestration_item(&token, 1, vec![event(id, 1)], work, Vec::new(), metadata(None), Vec::new())
        .await
        .expect("acknowledged");
}

async fn activity_token(provider: &CosmosDBProvider) -> Option<String> {
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::default()).await;
    fetched.expect("no error").map(|(_, token, _)| token)
}

/// Takes the instance's next turn; answers its history's length and how many messages it got.
async fn turn_of(provider: &CosmosDBProvider, id: &str) -> (usize, usize) {
    let fetched =
        provider.fetch_orchestration_item(LOCK, Duration::from_secs(5), None).await.expect("no error");
    let (item, ..) = fetched.expect("a turn");
    assert_eq!(item.instance, id);
    (item.history.len(), item.messages.len())
}

/// More activities than one call removes, some running: what they come to reaches no successor, and none of the
/// others runs any more, however long it takes until the deletion is finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activities_of_the_deleted_reach_no_successor() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let purges = Arc::new(AtomicUsize::new(0));
    let provider = {
        let purges = Arc::clone(&purges);
        Faulty::provider(&config, move |what| match what {
            "purgeInstance" if purges.fetch_add(1, Ordering::SeqCst) > 0 => Fate::Lost,
            _ => Fate::Pass,
        })
        .await
    };
    busy_instance(&provider, "a", 300).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(activity_token(&provider).await.expect("an activity"));
    }
    // Others' work waits behind all of it.
    provider.enqueue_for_worker(activity("bystander", 1)).await.expect("queued");
    let ids = ["a".to_owned()];
    let deletion =
        tokio::time::timeout(Duration::from_secs(2), provider.delete_instances_atomic(&ids, true)).await;
    assert!(deletion.is_err(), "crashed in the middle");
    assert!(container.documents("a", "c.type = 'work'").await.len() > 100, "the case under test");

    config.reconciler_age_threshold = Duration::ZERO;
    let other = CosmosDBProvider::new_with_config(config.clone()).await.expect("another process");
    for (n, token) in held.iter().enumerate() {
        let error = match n % 4 {
            0 => other.renew_work_item_lock(token, LOCK).await,
            1 => other.ack_work_item(token, None).await,
            2 => other.ack_work_item(token, Some(completed("a", 1, "x".repeat(3000)))).await,
            // With more than a request takes, so that it is sent ahead.
            _ if n < 4 * 45 => other.ack_work_item(token, Some(completed("a", 1, "r".into()))).await,
            _ => other.ack_work_item(token, Some(completed("a", 1, "x".repeat(1_900_000)))).await,
        };
        let error = error.expect_err("the activity is deleted");
        assert!(!error.is_retryable() && error.message.contains("lock"), "{error}");
    }
    // The id is started again at once.
    other.enqueue_for_orchestrator(start("a"), None).await.expect("queued");
    let taken = other
        .fetch_work_item(LOCK, Duration::from_secs(20), None, &TagFilter::default())
        .await
        .expect("no error");
    let (item, token, _) = taken.expect("the work of others");
    assert_eq!(item, activity("bystander", 1), "nothing of the deleted runs");
    other.ack_work_item(&token, None).await.expect("acknowledged");
    assert_eq!(activity_token(&other).await, None);

    expire_lease(&container).await;
    let third = other_process(&config).await;
    finished(&container).await;
    assert_eq!(turn_of(&third, "a").await, (0, 1), "a start, no completion");
    assert_eq!(container.documents("a", "c.type != 'head'").await, Vec::<serde_json::Value>::new());
    container.delete().await;
}

/// A deletion that is not decided yet loses nothing: what an activity comes to is there if it is taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_survives_a_deletion_that_is_taken_back() {
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
    instance(&provider, "b", 1, Vec::new()).await;
    busy_instance(&provider, "a", 2).await;
    let token = activity_token(&provider).await.expect("an activity");
    let ids = ["a".to_owned(), "b".to_owned()];
    let deletion =
        tokio::time::timeout(Duration::from_secs(2), provider.delete_instances_atomic(&ids, true)).await;
    assert!(deletion.is_err(), "crashed in the middle");
    provider.renew_work_item_lock(&token, LOCK).await.expect("renewed");
    provider.ack_work_item(&token, Some(completed("a", 1, "r".into()))).await.expect("acknowledged");

    let other = other_process(&config).await;
    expire_lease(&container).await;
    finished(&container).await;
    assert_eq!(turn_of(&other, "a").await, (1, 1), "the completion");
    assert!(activity_token(&other).await.is_some(), "the other activity runs, too");
    container.delete().await;
}

/// The caller gives up at once: the deletion goes on, and nobody is left marked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_outlives_its_caller() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    // The caller is gone when the first mark is on its way.
    let (marking, first) = tokio::sync::oneshot::channel();
    let mut marking = Some(marking);
    let provider = Faulty::provider(&config, move |what| {
        if what == "markDeletion" {
            marking.take().map(|marking| marking.send(()));
        }
        Fate::Pass
    })
    .await;
    let ids = ["a".to_owned(), "b".to_owned()];
    for id in &ids {
        instance(&provider, id, 1, Vec::new()).await;
    }
    tokio::select! {
        deleted = provider.delete_instances_atomic(&ids, false) => panic!("{deleted:?}"),
        marking = first => marking.expect("a mark"),
    }
    ended(&container).await;
    assert_eq!(instances(&provider).await, Vec::<String>::new());
    container.delete().await;
}

/// Waits for the end of a deletion by those who began it.
async fn ended(container: &Container) {
    let none = async {
        while !container.documents("$system", "c.type = 'deletion'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), none).await.expect("the deletion has ended");
}

/// A refusal is told as it is, even if it cannot be undone at once; others undo it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_cannot_be_undone_is_told_as_it_is() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    let marks = Arc::new(AtomicUsize::new(0));
    let provider = {
        let marks = Arc::clone(&marks);
        // Two marks, then those that undo.
        Faulty::provider(&config, move |what| match what {
            "markDeletion" if marks.fetch_add(1, Ordering::SeqCst) > 1 => Fate::Refused(403, 0),
            _ => Fate::Pass,
        })
        .await
    };
    instance(&provider, "ended", 1, Vec::new()).await;
    busy_instance(&provider, "running", 0).await;
    let ids = ["ended".to_owned(), "running".to_owned()];
    let error = provider.delete_instances_atomic(&ids, false).await.expect_err("one is running");
    assert!(!error.is_retryable() && error.message.contains("running"), "{error}");
    assert!(marks.load(Ordering::SeqCst) > 2, "the case under test");
    let other = other_process(&config).await;
    finished(&container).await;
    assert_eq!(instances(&other).await, ids);
    for id in &ids {
        let heads = container.documents(id, "c.type = 'head'").await;
        assert_eq!(heads[0].get("deletion"), None, "{id}");
    }
    container.delete().await;
}

/// Whose deletion it is goes by the server's clock: a client ten minutes behind is not undone by others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_clock_is_behind_deletes() {
    let (emulator, config) = support::emulated(1).await;
    emulator.set_clock_offset_ms(600_000);
    let config = CosmosDBProviderConfig { reconciler_interval: Duration::from_secs(3600), ..config };
    let marks = Arc::new(AtomicUsize::new(0));
    let provider = {
        let marks = Arc::clone(&marks);
        // Slow: others look meanwhile.
        Faulty::provider(&config, move |what| match what {
            "markDeletion" if marks.fetch_add(1, Ordering::SeqCst) < 8 => Fate::Refused(429, 0),
            _ => Fate::Pass,
        })
        .await
    };
    instance(&provider, "a", 1, Vec::new()).await;
    let other = other_process(&config).await;
    provider.delete_instance("a", false).await.expect("deleted");
    assert!(marks.load(Ordering::SeqCst) > 8, "the case under test");
    assert_eq!(instances(&other).await, Vec::<String>::new());
    emulator.shutdown().await;
}

/// A deletion that cannot be finished, and an unreachable receiver, hold up nothing else that was left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reconciled_holds_up_nothing_else() {
    let mut config = support::config();
    config.reconciler_interval = Duration::from_secs(3600);
    let container = Container::of(&config);
    {
        let mut starts = 2;
        let provider = Faulty::provider(&config, move |what| match what {
            "enqueueMessages" if starts > 0 => {
                starts -= 1;
                Fate::Pass
            }
            "enqueueMessages" | "purgeInstance" => Fate::Refused(403, 0),
            _ => Fate::Pass,
        })
        .await;
        instance(&provider, "stuck", 1, Vec::new()).await;
        let raised = |to: &str, data: u64| WorkItem::QueueMessage {
            instance: to.into(),
            name: "q".into(),
            data: data.to_string(),
        };
        // More than is loaded at once, for a receiver that is out of reach; then one for another.
        let mut messages: Vec<WorkItem> = (0..150).map(|n| raised("unreachable", n)).collect();
        messages.push(start("receiver"));
        messages.extend((0..3).map(|n| raised("receiver", n)));
        instance(&provider, "sender", 1, messages).await;
        let ids = ["stuck".to_owned()];
        provider.delete_instances_atomic(&ids, false).await.expect_err("crashed in the middle");
        assert_eq!(
            container.documents("sender", "c.type = 'outbox'").await.len(),
            154,
            "the case under test"
        );
    }
    expire_lease(&container).await;
    config.reconciler_interval = Duration::from_millis(50);
    config.reconciler_age_threshold = Duration::ZERO;
    // For others it is no better.
    let other = Faulty::cut_off(&config, "unreachable", |what| match what {
        "purgeInstance" => Fate::Refused(403, 0),
        _ => Fate::Pass,
    })
    .await;
    let settled = async {
        let owed = "c.type = 'outbox' AND c[\"to\"] = 'receiver'";
        while !container.documents("sender", owed).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled).await.expect("delivered");
    let fetched = other.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (item, ..) = fetched.expect("the receiver's start");
    assert_eq!(item.instance, "receiver");
    let told: Vec<String> = item
        .messages
        .iter()
        .filter_map(|message| match message {
            WorkItem::QueueMessage { data, .. } => Some(data.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["0", "1", "2"], "in the order they were sent");
    assert_eq!(container.documents("sender", "c.type = 'outbox'").await.len(), 150);
    container.delete().await;
}
