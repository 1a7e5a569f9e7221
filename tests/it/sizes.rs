//! Large values and many of them: atomic always, and a clear error where the service's limits end it.

use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{
    ExecutionMetadata, Provider, ProviderAdmin, ScheduledActivityIdentifier, WorkItem,
};
use duroxide::runtime::Runtime;
use duroxide::runtime::limits::MAX_CUSTOM_STATUS_BYTES;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{
    ActivityContext, Client, Event, EventKind, OrchestrationContext, OrchestrationRegistry,
    OrchestrationStatus, TagFilter,
};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::{self, start};

const LOCK: Duration = Duration::from_secs(30);
const LARGE: usize = 1_500_000;

fn metadata() -> ExecutionMetadata {
    ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..ExecutionMetadata::default()
    }
}

async fn turn(provider: &CosmosDBProvider) -> String {
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    fetched.expect("a turn").1
}

/// An activity with input and result of 1.5 MB, and the output of the workflow made of it: each commit alone is
/// larger than a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_inputs_results_and_outputs() {
    let (provider, container) = support::provider().await;
    let activities = ActivityRegistry::builder()
        .register(
            "Turn",
            |_: ActivityContext, input: String| async move { Ok(input.chars().rev().collect()) },
        )
        .build();
    let child = |_: OrchestrationContext, input: String| async move { Ok(input) };
    let parent = |ctx: OrchestrationContext, _: String| async move {
        let text = format!("{}{}", "a".repeat(LARGE / 2), "b".repeat(LARGE / 2));
        let turned = ctx.schedule_activity("Turn", text).await?;
        ctx.set_custom_status("c".repeat(200_000));
        ctx.schedule_sub_orchestration("child", turned).await
    };
    let orchestrations =
        OrchestrationRegistry::builder().register("parent", parent).register("child", child).build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    client.start_orchestration("large", "parent", "").await.expect("started");
    let status = client.wait_for_orchestration("large", Duration::from_secs(60)).await.expect("ends in time");
    let OrchestrationStatus::Completed { output, custom_status, .. } = status else {
        panic!("{status:?}");
    };
    assert_eq!(output.len(), LARGE);
    assert!(output.starts_with('b') && output.ends_with('a'));
    assert_eq!(custom_status.map(|text| text.len()), Some(200_000));
    let info = client.get_instance_info("large").await.expect("info");
    assert_eq!(info.output.map(|text| text.len()), Some(LARGE));
    runtime.shutdown(Some(1000)).await;
    client.delete_instance("large", true).await.expect("deleted");
    assert_eq!(container.documents("large", "c.type != 'inbox'").await.len(), 0, "staged texts go with it");
    container.delete().await;
}

/// What is too large for one document fails the turn with a text that says so; the lock is still held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_beyond_a_document_is_named() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("huge"), None).await.expect("queued");
    let token = turn(&provider).await;
    let event = |status: String| {
        Event::with_event_id(1, "huge", 1, None, EventKind::CustomStatusUpdated { status: Some(status) })
    };
    let events = vec![event("x".repeat(3_000_000))];
    let error = provider
        .ack_orchestration_item(&token, 1, events, Vec::new(), Vec::new(), metadata(), Vec::new())
        .await
        .expect_err("too large");
    assert!(!error.is_retryable(), "{error}");
    for part in ["event 1", "3000", "2000000"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(provider.read("huge").await.expect("history").len(), 0, "nothing is written");
    provider
        .ack_orchestration_item(
            &token,
            1,
            vec![event("x".into())],
            Vec::new(),
            Vec::new(),
            metadata(),
            Vec::new(),
        )
        .await
        .expect("the lock is still held");
    container.delete().await;
}

fn scheduled(instance: &str, id: u64) -> Event {
    let kind = EventKind::ActivityScheduled {
        name: "a".into(),
        input: format!("input {id}"),
        session_id: None,
        tag: None,
    };
    Event::with_event_id(id, instance, 1, None, kind)
}

fn activity(instance: &str, id: u64) -> WorkItem {
    WorkItem::ActivityExecute {
        instance: instance.into(),
        execution_id: 1,
        id,
        name: "a".into(),
        input: format!("input {id}"),
        session_id: None,
        tag: None,
    }
}

/// As many activities in one turn as a commit takes: they are more than a request takes, in small parts.
async fn activities_in_one_turn(count: u64) {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("wide"), None).await.expect("queued");
    let token = turn(&provider).await;
    let work = (1..=count).map(|id| activity("wide", id)).collect();
    let events = (1..=count).map(|id| scheduled("wide", id)).collect();
    provider
        .ack_orchestration_item(&token, 1, events, work, Vec::new(), metadata(), Vec::new())
        .await
        .expect("acknowledged");
    let ids: Vec<u64> = provider.read("wide").await.expect("history").iter().map(Event::event_id).collect();
    assert_eq!(ids, (1..=count).collect::<Vec<_>>());
    let stats = provider.get_instance_stats("wide").await.expect("no error").expect("it is there");
    assert_eq!(stats.history_event_count, count);
    for expected in 1..=3u64 {
        let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
        let Some((WorkItem::ActivityExecute { id, input, .. }, ..)) = fetched.expect("no error") else {
            panic!("no activity");
        };
        // A full page is taken from the own slot on; within one instance that is the order of the queue.
        assert_eq!((id, input), (expected, format!("input {expected}")));
    }
    let depths = provider.get_queue_depths().await.expect("depths");
    assert_eq!(depths.worker_queue as u64, count - 3);
    provider.delete_instance("wide", true).await.expect("deleted");
    assert_eq!(container.documents("wide", "c.type != 'inbox'").await.len(), 0, "batches go with it");
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_activities_in_one_turn() {
    activities_in_one_turn(2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_activities_in_one_turn() {
    activities_in_one_turn(5_000).await;
}

/// A turn beyond that is refused with a text that says so, which is how its workflow fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_commit_takes_fails_the_workflow() {
    let (provider, container) = support::provider().await;
    let orchestrations = OrchestrationRegistry::builder()
        .register("wide", |ctx: OrchestrationContext, _: String| async move {
            let all = (0..20_000).map(|i| ctx.schedule_activity("a", i.to_string())).collect();
            ctx.join(all).await;
            Ok(String::new())
        })
        .build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let activities = ActivityRegistry::builder().build();
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    client.start_orchestration("wide", "wide", "").await.expect("started");
    let status = client.wait_for_orchestration("wide", Duration::from_secs(60)).await.expect("it ends");
    let OrchestrationStatus::Failed { details, .. } = status else {
        panic!("{status:?}");
    };
    let message = details.display_message();
    assert!(message.contains("20000") && message.contains("5000"), "{message}");
    runtime.shutdown(Some(1000)).await;
    container.delete().await;
}

/// An activity is cancelled after its worker has sent a large result ahead, and before the commit of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cancelled_activity_staged_is_removed() {
    use crate::support::Container;
    use crate::support::faulty::{Fate, Faulty};
    let config = support::config();
    let container = Container::of(&config);
    let (committing, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let provider = Faulty::provider(&config, move |what| {
        if what != "ackWork" {
            return Fate::Pass;
        }
        let _ = committing.send(());
        Fate::Lost
    })
    .await;
    provider.enqueue_for_orchestrator(start("c"), None).await.expect("queued");
    let token = turn(&provider).await;
    provider.enqueue_for_worker(activity("c", 2)).await.expect("queued");
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (_, work, _) = fetched.expect("no error").expect("an activity");
    let result = WorkItem::ActivityCompleted {
        instance: "c".into(),
        execution_id: 1,
        id: 2,
        result: "x".repeat(1_900_000),
    };
    tokio::select! {
        _ = provider.ack_work_item(&work, Some(result)) => panic!("the commit never arrives"),
        _ = commits.recv() => {}
    }
    assert_eq!(container.documents("c", "c.type = 'text'").await.len(), 1, "the case under test");
    let cancelled = ScheduledActivityIdentifier { instance: "c".into(), execution_id: 1, activity_id: 2 };
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), Vec::new(), metadata(), vec![cancelled])
        .await
        .expect("acknowledged");
    assert_eq!(container.documents("c", "c.type IN ('text', 'work')").await.len(), 0);
    container.delete().await;
}

/// A custom status of duroxide's limit, in bytes of two-byte characters, reaches every client; a byte more fails the
/// workflow, by duroxide's rules, with both sizes in the text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_status_at_the_limit() {
    let (provider, container) = support::provider().await;
    let orchestrations = OrchestrationRegistry::builder()
        .register("status", |ctx: OrchestrationContext, surplus: String| async move {
            let status = "\u{fc}".repeat(MAX_CUSTOM_STATUS_BYTES / 2) + &surplus;
            ctx.set_custom_status(status);
            Ok(ctx.schedule_wait("end").await)
        })
        .build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let activities = ActivityRegistry::builder().build();
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    client.start_orchestration("full", "status", "").await.expect("started");
    let (poll, patience) = (Duration::from_millis(10), Duration::from_secs(60));
    let changed = client.wait_for_status_change("full", 0, poll, patience).await.expect("a status");
    // A client without anything remembered.
    let mut config = support::config();
    config.container.clone_from(&container.name);
    let other = CosmosDBProvider::new_with_config(config).await.expect("a second provider");
    let asked = Client::new(Arc::new(other)).get_orchestration_status("full").await.expect("a status");
    for status in [changed, asked] {
        let OrchestrationStatus::Running { custom_status: Some(text), .. } = status else {
            panic!("{status:?}");
        };
        assert_eq!(text.len(), MAX_CUSTOM_STATUS_BYTES);
        assert!(text.chars().all(|character| character == '\u{fc}'));
    }
    client.raise_event("full", "end", "done").await.expect("raised");
    let status = client.wait_for_orchestration("full", patience).await.expect("it ends");
    let OrchestrationStatus::Completed { output, custom_status, .. } = status else {
        panic!("{status:?}");
    };
    assert_eq!((&*output, custom_status.map(|text| text.len())), ("done", Some(MAX_CUSTOM_STATUS_BYTES)));

    client.start_orchestration("beyond", "status", "x").await.expect("started");
    let status = client.wait_for_orchestration("beyond", patience).await.expect("it ends");
    let OrchestrationStatus::Failed { details, .. } = status else {
        panic!("{status:?}");
    };
    let message = details.display_message();
    assert!(message.contains("262145") && message.contains("262144"), "{message}");
    runtime.shutdown(Some(1000)).await;
    container.delete().await;
}

/// KV at duroxide's limits: 150 keys of 64 KiB, set in one turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_values_at_the_limit() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("kv"), None).await.expect("queued");
    let token = turn(&provider).await;
    let events = (1..=150u64).map(|id| {
        let kind = EventKind::KeyValueSet {
            key: format!("key {id}"),
            value: format!("{id}:{}", "v".repeat(65_000)),
            last_updated_at_ms: id,
        };
        Event::with_event_id(id, "kv", 1, None, kind)
    });
    let end = ExecutionMetadata { status: Some("Completed".into()), ..metadata() };
    provider
        .ack_orchestration_item(&token, 1, events.collect(), Vec::new(), Vec::new(), end, Vec::new())
        .await
        .expect("acknowledged");
    let values = provider.get_kv_all_values("kv").await.expect("values");
    assert_eq!(values.len(), 150);
    assert!(values["key 150"].starts_with("150:v"));
    let raised = WorkItem::ExternalRaised { instance: "kv".into(), name: "n".into(), data: String::new() };
    provider.enqueue_for_orchestrator(raised, None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (item, ..) = fetched.expect("a turn");
    assert_eq!((item.kv_snapshot.len(), item.history.len()), (150, 150));
    assert_eq!(item.kv_snapshot["key 7"].last_updated_at_ms, 7);
    container.delete().await;
}

/// A history of 20 MB comes whole, in a fetch and in a read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_20_megabytes() {
    let (provider, container) = support::provider().await;
    for page in 0..20u64 {
        let events = (1..=50u64).map(|i| {
            let kind = EventKind::ExternalEvent { name: "n".into(), data: "d".repeat(20_000) };
            Event::with_event_id(page * 50 + i, "old", 1, None, kind)
        });
        provider.append_with_execution("old", 1, events.collect()).await.expect("appended");
    }
    provider.enqueue_for_orchestrator(start("old"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (item, ..) = fetched.expect("a turn");
    assert_eq!((item.history_error, item.history.len()), (None, 1000));
    assert_eq!(item.history[999].event_id(), 1000);
    assert_eq!(provider.read("old").await.expect("history").len(), 1000);
    container.delete().await;
}

/// Texts staged by a worker that then dies are let go of by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_worker_staged_is_removed() {
    use crate::support::Container;
    use crate::support::faulty::{Fate, Faulty};
    let config = support::config();
    let container = Container::of(&config);
    let (committing, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let provider = Faulty::provider(&config, move |what| {
        if what != "ackTurn" {
            return Fate::Pass;
        }
        let _ = committing.send(());
        Fate::Lost
    })
    .await;
    provider.enqueue_for_orchestrator(start("s"), None).await.expect("queued");
    let short = Duration::from_secs(10);
    let fetched = provider.fetch_orchestration_item(short, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    let events = (1..=2u64).map(|id| {
        let kind = EventKind::CustomStatusUpdated { status: Some("x".repeat(LARGE)) };
        Event::with_event_id(id, "s", 1, None, kind)
    });
    let events: Vec<Event> = events.collect();
    let ack =
        provider.ack_orchestration_item(&token, 1, events, Vec::new(), Vec::new(), metadata(), Vec::new());
    tokio::select! {
        _ = ack => panic!("the commit never arrives"),
        _ = commits.recv() => {}
    }
    assert!(!container.documents("s", "c.type = 'text'").await.is_empty(), "the case under test");
    let fetched =
        provider.fetch_orchestration_item(LOCK, Duration::from_secs(20), None).await.expect("no error");
    assert!(fetched.is_some(), "the lock has expired");
    assert_eq!(container.documents("s", "c.type = 'text'").await.len(), 0);
    container.delete().await;
}

/// Keys of any name, also those that mean something to JavaScript.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_any_name() {
    let keys =
        ["__proto__", "constructor", "toString", "", "a.b", "a/b\\c\"d", "$", "日本 🦀", &"k".repeat(250)];
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("keys"), None).await.expect("queued");
    let commit = |token: String, execution: u64, kinds: Vec<EventKind>, status: &str| {
        let (provider, end) =
            (Arc::clone(&provider), ExecutionMetadata { status: Some(status.into()), ..metadata() });
        let events = kinds.into_iter().zip(1..);
        let events =
            events.map(|(kind, id)| Event::with_event_id(id, "keys", execution, None, kind)).collect();
        async move {
            provider
                .ack_orchestration_item(&token, execution, events, Vec::new(), Vec::new(), end, Vec::new())
                .await
                .expect("acknowledged");
            let raised =
                WorkItem::ExternalRaised { instance: "keys".into(), name: "n".into(), data: String::new() };
            provider.enqueue_for_orchestrator(raised, None).await.expect("queued");
            let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await;
            let (item, token, _) = fetched.expect("no error").expect("a turn");
            (item.kv_snapshot, token)
        }
    };
    let set = |key: &str, value: &str| EventKind::KeyValueSet {
        key: key.into(),
        value: format!("{value} {key}"),
        last_updated_at_ms: 7,
    };
    let token = turn(&provider).await;
    let all = keys.iter().map(|key| set(key, "first")).collect();
    let (snapshot, token) = commit(token, 1, all, "Running").await;
    assert_eq!(snapshot.len(), 0, "the execution goes on");
    for key in keys {
        let value = provider.get_kv_value("keys", key).await.expect("no error");
        assert_eq!(value, Some(format!("first {key}")));
    }
    let all = keys.iter().map(|key| set(key, "second")).collect();
    let (snapshot, token) = commit(token, 2, all, "ContinuedAsNew").await;
    assert_eq!(snapshot.len(), keys.len());
    assert!(keys.iter().all(|key| snapshot[*key].value == format!("second {key}")));
    let cleared = keys.iter().map(|key| EventKind::KeyValueCleared { key: (*key).into() }).collect();
    let (snapshot, _) = commit(token, 3, cleared, "ContinuedAsNew").await;
    assert_eq!(snapshot.len(), 0);
    assert_eq!(provider.get_kv_all_values("keys").await.expect("values").len(), 0);
    container.delete().await;
}
