//! Queues beyond the common case: order across instances, backlogs, long messages, repeated requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, WorkItem};
use duroxide::{Event, EventKind, TagFilter};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};

use crate::support::faulty::{Fate, Faulty};
use crate::support::late::Late;
use crate::support::{self, Container, activity, start};

const LOCK: Duration = Duration::from_secs(30);

fn event(instance: &str, data: impl Into<String>) -> WorkItem {
    WorkItem::ExternalRaised { instance: instance.into(), name: "e".into(), data: data.into() }
}

async fn turn(provider: &CosmosDBProvider) -> (Vec<WorkItem>, String) {
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (item, token, _) = fetched.expect("a turn");
    assert_eq!(item.history_error, None);
    (item.messages, token)
}

async fn commit(provider: &CosmosDBProvider, token: &str, work: Vec<WorkItem>, messages: Vec<WorkItem>) {
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    provider
        .ack_orchestration_item(token, 1, Vec::new(), work, messages, metadata, Vec::new())
        .await
        .expect("acknowledged");
}

fn data(messages: &[WorkItem]) -> Vec<String> {
    let data = messages.iter().filter_map(|item| match item {
        WorkItem::ExternalRaised { data, .. } => Some(data.clone()),
        _ => None,
    });
    data.collect()
}

/// What is enqueued one after the other is fetched in that order, also within one millisecond, in whichever
/// partitions it lies.
#[tokio::test]
async fn the_worker_queue_is_first_in_first_out_across_instances() {
    let (provider, container) = support::provider().await;
    for id in 1..=20 {
        provider.enqueue_for_worker(activity(&format!("i{}", id % 7), id)).await.expect("queued");
    }
    for expected in 1..=20 {
        let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
        let Some((WorkItem::ActivityExecute { id, .. }, token, attempts)) = fetched.expect("no error") else {
            panic!("item {expected} is not there");
        };
        assert_eq!((id, attempts), (expected, 1));
        provider.ack_work_item(&token, None).await.expect("acknowledged");
    }
    container.delete().await;
}

/// More messages than a head holds, and longer ones: all arrive, in order, each once.
#[tokio::test]
async fn a_backlog_keeps_its_order() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("b"), None).await.expect("queued");
    let mut sent = Vec::new();
    for i in 0..60 {
        // Some long, so that head and documents of their own alternate.
        let text = if i % 5 == 0 { format!("{i}:{}", "x".repeat(5000)) } else { i.to_string() };
        provider.enqueue_for_orchestrator(event("b", text.clone()), None).await.expect("queued");
        sent.push(text);
    }
    assert!(!container.documents("b", "c.type = 'message'").await.is_empty(), "the case under test");
    let (messages, token) = turn(&provider).await;
    assert_eq!(data(&messages), sent);
    // Given back, they keep their order; what comes later comes last.
    provider.abandon_orchestration_item(&token, None, false).await.expect("abandoned");
    provider.enqueue_for_orchestrator(event("b", "last"), None).await.expect("queued");
    let (messages, token) = turn(&provider).await;
    sent.push("last".into());
    assert_eq!(data(&messages), sent);
    commit(&provider, &token, Vec::new(), Vec::new()).await;
    assert_eq!(container.documents("b", "c.type = 'message'").await.len(), 0);
    let rest = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert!(rest.is_none(), "nothing is left");
    container.delete().await;
}

/// A backlog larger than one turn takes comes in several turns, in order.
#[tokio::test]
async fn a_large_backlog_comes_in_batches() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("large"), None).await.expect("queued");
    let (_, token) = turn(&provider).await;
    let messages = (0..400).map(|i| event("large", i.to_string())).collect();
    commit(&provider, &token, Vec::new(), messages).await;
    let mut received = Vec::new();
    let mut turns = 0;
    while let Some((item, token, _)) =
        provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error")
    {
        turns += 1;
        received.extend(data(&item.messages));
        commit(&provider, &token, Vec::new(), Vec::new()).await;
    }
    assert_eq!(received, (0..400).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(turns > 1, "the case under test");
    container.delete().await;
}

/// A turn that schedules far more than the 100 operations of a transactional batch is still one commit.
#[tokio::test]
async fn a_wide_fan_out_is_one_commit() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("wide"), None).await.expect("queued");
    let (_, token) = turn(&provider).await;
    commit(&provider, &token, (1..=300).map(|id| activity("wide", id)).collect(), Vec::new()).await;
    assert_eq!(provider.stats()["ackTurn"].requests, 1);
    assert_eq!(container.documents("wide", "c.type = 'work'").await.len(), 300);
    container.delete().await;
}

/// Every changing procedure, once with its answer lost: the provider repeats it, and it counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_no_second_effect() {
    let config = support::config();
    let container = Container::of(&config);
    let mut lost: BTreeMap<String, bool> = BTreeMap::new();
    let provider = Faulty::provider(&config, move |what| {
        let procedures =
            ["enqueueMessages", "lockTurn", "ackTurn", "lockWork", "ackWork", "renewTurn", "renewWork"];
        if procedures.contains(&what) && !lost.contains_key(what) {
            lost.insert(what.to_owned(), true);
            return Fate::AnswerLost;
        }
        Fate::Pass
    })
    .await;
    provider.enqueue_for_orchestrator(start("once"), None).await.expect("queued");
    let (messages, token) = turn(&provider).await;
    assert_eq!(messages.len(), 1, "enqueued once");
    provider.renew_orchestration_item_lock(&token, LOCK).await.expect("renewed");
    commit(&provider, &token, vec![activity("once", 2)], Vec::new()).await;
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (_, token, attempts) = fetched.expect("no error").expect("an activity");
    assert_eq!(attempts, 1, "locked once");
    provider.renew_work_item_lock(&token, LOCK).await.expect("renewed");
    let completion =
        WorkItem::ActivityCompleted { instance: "once".into(), execution_id: 1, id: 2, result: "r".into() };
    provider.ack_work_item(&token, Some(completion)).await.expect("acknowledged");
    let (messages, _) = turn(&provider).await;
    assert_eq!(messages.len(), 1, "completed once");
    assert_eq!(container.documents("once", "c.type = 'work'").await.len(), 0);
    container.delete().await;
}

/// A message whose answer is long in coming counts once, whatever happened meanwhile: more messages than a head
/// remembers, more completions and turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_repetition_of_a_message_is_no_second_message() {
    let config = support::config();
    let container = Container::of(&config);
    let (slow, late) = Late::provider(&config, "enqueueMessages").await;
    let quick = CosmosDBProvider::new_with_config(config).await.expect("a second provider");
    quick.enqueue_for_orchestrator(start("late"), None).await.expect("queued");
    let sending =
        tokio::spawn(async move { slow.enqueue_for_orchestrator(event("late", "once"), None).await });
    late.repeated().await;
    let mut received = Vec::new();
    for id in 2..42 {
        quick.enqueue_for_orchestrator(event("late", "other"), None).await.expect("queued");
        let (messages, token) = turn(&quick).await;
        received.extend(data(&messages));
        commit(&quick, &token, vec![activity("late", id)], Vec::new()).await;
        let fetched = quick.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
        let (_, work, _) = fetched.expect("no error").expect("an activity");
        let result = String::new();
        let done = WorkItem::ActivityCompleted { instance: "late".into(), execution_id: 1, id, result };
        quick.ack_work_item(&work, Some(done)).await.expect("completed");
    }
    late.let_go();
    sending.await.expect("sent").expect("no error");
    received.extend(data(&turn(&quick).await.0));
    assert_eq!(received.iter().filter(|data| *data == "once").count(), 1);
    assert_eq!(received.len(), 41);
    container.delete().await;
}

/// A commit whose answer is long in coming is known by the history it wrote, however many turns followed. Where there
/// is none, the lock counts as lost; what the commit had locked for a worker that waits is given back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_repetition_of_a_commit_is_recognised_or_gives_back() {
    for writes_history in [true, false] {
        let config = support::config();
        let container = Container::of(&config);
        let (slow, late) = Late::provider(&config, "ackTurn").await;
        let quick = CosmosDBProvider::new_with_config(config).await.expect("a second provider");
        slow.enqueue_for_orchestrator(start("late"), None).await.expect("queued");
        let (_, token) = turn(&slow).await;
        let worker = Arc::clone(&slow);
        let worker = tokio::spawn(async move {
            worker.fetch_work_item(LOCK, Duration::from_secs(20), None, &TagFilter::DefaultOnly).await
        });
        while !["discoverWork", "probe"].iter().any(|look| slow.stats().contains_key(look)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let kind = EventKind::ExternalEvent { name: "e".into(), data: String::new() };
        let events = vec![Event::with_event_id(1, "late", 1, None, kind)];
        let events = if writes_history { events } else { Vec::new() };
        let committing = tokio::spawn(async move {
            let work = vec![activity("late", 2)];
            let end = ExecutionMetadata::default();
            slow.ack_orchestration_item(&token, 1, events, work, Vec::new(), end, Vec::new()).await
        });
        late.repeated().await;
        for _ in 0..5 {
            quick.enqueue_for_orchestrator(event("late", ""), None).await.expect("queued");
            let (_, token) = turn(&quick).await;
            commit(&quick, &token, Vec::new(), Vec::new()).await;
        }
        late.let_go();
        assert_eq!(committing.await.expect("it ends").is_ok(), writes_history);
        let fetched = worker.await.expect("it ends").expect("no error");
        assert!(fetched.is_some_and(|(_, _, attempts)| attempts == 1), "the worker gets the activity");
        container.delete().await;
    }
}

/// A dispatcher that goes away while its fetch is under way (a runtime shutting down) strands no lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_fetch_gives_its_lock_back() {
    let config = support::config();
    let container = Container::of(&config);
    let (locking, mut locks) = tokio::sync::mpsc::unbounded_channel();
    let provider = Faulty::provider(&config, move |what| {
        if what == "lockTurn" || what == "abandonTurn" {
            let _ = locking.send(what.to_owned());
        }
        Fate::Pass
    })
    .await;
    provider.enqueue_for_orchestrator(start("d"), None).await.expect("queued");
    let fetch = {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await })
    };
    assert_eq!(locks.recv().await.as_deref(), Some("lockTurn"));
    fetch.abort();
    if fetch.await.is_ok() {
        // The fetch was faster than the abort; nothing to see this time.
        container.delete().await;
        return;
    }
    assert_eq!(locks.recv().await.as_deref(), Some("abandonTurn"));
    let fetched =
        provider.fetch_orchestration_item(LOCK, Duration::from_secs(5), None).await.expect("no error");
    let (_, _, attempts) = fetched.expect("free again");
    assert_eq!(attempts, 1, "the stranded attempt does not count");
    container.delete().await;
}

/// Messages of mailboxes for an instance that never started are dropped by the next fetch, however long and many they
/// are; beside anything else they wait for the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_of_nobody_are_emptied() {
    let (provider, container) = support::provider().await;
    let mail = |instance: &str, data: String| WorkItem::QueueMessage {
        instance: instance.into(),
        name: "q".into(),
        data,
    };
    let all = (0..20).map(|n| mail("nobody", n.to_string())).chain([
        mail("nobody", "x".repeat(5_000)),
        event("somebody", "x".repeat(5_000)),
        mail("somebody", "x".repeat(5_000)),
    ]);
    for message in all {
        provider.enqueue_for_orchestrator(message, None).await.expect("queued");
    }
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert!(fetched.is_none(), "{fetched:?}");
    for (instance, messages) in [("nobody", 1), ("somebody", 3)] {
        provider.enqueue_for_orchestrator(start(instance), None).await.expect("queued");
        let (received, token) = turn(&provider).await;
        assert_eq!(received.len(), messages, "{instance}");
        commit(&provider, &token, Vec::new(), Vec::new()).await;
    }
    container.delete().await;
}

/// A work item that this version cannot read (of a later one, say) goes through the runtime's hands like an activity
/// nobody knows: given back with a delay, and failed in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_work_item_is_poisoned() {
    use duroxide::runtime::registry::ActivityRegistry;
    use duroxide::runtime::{Runtime, RuntimeOptions, UnregisteredBackoffConfig};
    use duroxide::{
        ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
    };
    let (provider, container) = support::provider().await;
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let call = |ctx: OrchestrationContext, _: String| async move {
        ctx.schedule_activity("A", "").with_tag("later").await
    };
    let registry = || OrchestrationRegistry::builder().register("call", call).build();
    let activities = || {
        ActivityRegistry::builder()
            .register("A", |_: ActivityContext, _: String| async move { Ok("ran".to_owned()) })
            .build()
    };
    let client = Client::new(Arc::clone(&store));
    let first = Runtime::start_with_store(Arc::clone(&store), activities(), registry()).await;
    client.start_orchestration("u", "call", "").await.expect("started");
    let scheduled = async {
        loop {
            let work = container.documents("u", "c.type = 'work'").await;
            if let [work] = work.as_slice() {
                return work.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut work = tokio::time::timeout(LOCK, scheduled).await.expect("an activity");
    work["item"] = r#"{"ActivityOfLater":{"instance":"u"}}"#.into();
    container.upsert("u", &work).await;
    first.shutdown(Some(500)).await;
    let quick = Duration::from_millis(50);
    let options = RuntimeOptions {
        unregistered_backoff: UnregisteredBackoffConfig { base_delay: quick, max_delay: quick },
        max_attempts: 3,
        worker_tag_filter: TagFilter::tags(["later"]),
        ..RuntimeOptions::default()
    };
    let second = Runtime::start_with_options(store, activities(), registry(), options).await;
    let status = client.wait_for_orchestration("u", Duration::from_secs(20)).await.expect("ends in time");
    let OrchestrationStatus::Failed { details, .. } = status else { panic!("{status:?}") };
    let text = details.display_message();
    assert!(text.contains("unreadable work item") && text.contains("attempts"), "{text}");
    second.shutdown(Some(500)).await;
    container.delete().await;
}

/// A timer in a commit is hidden until it fires; one that is enqueued by itself is there at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueued_timer_is_visible_at_once() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("t"), None).await.expect("queued");
    let (_, token) = turn(&provider).await;
    let timer = |id| {
        let fire_at_ms = 4_102_444_800_000; // 2100
        WorkItem::TimerFired { instance: "t".into(), execution_id: 1, id, fire_at_ms }
    };
    commit(&provider, &token, Vec::new(), vec![timer(2)]).await;
    provider.enqueue_for_orchestrator(timer(3), None).await.expect("queued");
    let (messages, _) = turn(&provider).await;
    assert_eq!(messages, [timer(3)]);
    container.delete().await;
}

/// A process sees what it committed, also where it only heard that it had been committed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_read_at_once() {
    let config = CosmosDBProviderConfig { cache_max_age: LOCK, ..support::config() };
    let container = Container::of(&config);
    let mut commits = 0;
    let provider = Faulty::provider(&config, move |what| {
        commits += usize::from(what == "ackTurn");
        if what == "ackTurn" && commits == 1 { Fate::AnswerLost } else { Fate::Pass }
    })
    .await;
    provider.enqueue_for_orchestrator(start("r"), None).await.expect("queued");
    let (_, token) = turn(&provider).await;
    assert_eq!(provider.read("r").await.expect("history"), []);
    let kind = EventKind::ExternalEvent { name: "n".into(), data: String::new() };
    let event = Event::with_event_id(1, "r", 1, None, kind);
    let metadata = ExecutionMetadata::default();
    provider
        .ack_orchestration_item(&token, 1, vec![event.clone()], Vec::new(), Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
    assert_eq!(provider.read("r").await.expect("history"), [event]);
    container.delete().await;
}
