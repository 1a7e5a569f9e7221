//! Pruning: earlier executions go all or none, however many and long they are, and are counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, ProviderAdmin, PruneOptions, WorkItem};
use duroxide::{Event, EventKind};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use serde_json::{Value, json};

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container, start};

const LOCK: Duration = Duration::from_secs(30);

/// Executions of an instance, and the pages of each but the last, an event in each.
const EXECUTIONS: u64 = 3;
const PAGES: u64 = 100;

fn event(instance: &str, execution: u64, id: u64) -> Event {
    // Every tenth is long, and gets a document of its own.
    let data = "x".repeat(if id.is_multiple_of(10) { 5000 } else { 10 });
    Event::with_event_id(id, instance, execution, None, EventKind::ExternalEvent { name: "n".into(), data })
}

/// Makes an instance of `executions` executions; the last one has a page, the earlier ones `pages` of them.
async fn grow(provider: &CosmosDBProvider, id: &str, executions: u64, pages: u64) {
    provider.enqueue_for_orchestrator(start(id), None).await.expect("queued");
    for execution in 1..=executions {
        let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
        let (_, token, _) = fetched.expect("a turn");
        let last = execution == executions;
        let go_on = WorkItem::ExternalRaised { instance: id.into(), name: "n".into(), data: String::new() };
        let metadata = ExecutionMetadata {
            orchestration_name: Some("o".into()),
            orchestration_version: Some("1.0.0".into()),
            status: (!last).then(|| "ContinuedAsNew".to_owned()),
            output: (!last).then(|| "y".repeat(5000)),
            ..ExecutionMetadata::default()
        };
        let messages = if last { Vec::new() } else { vec![go_on] };
        let events = vec![event(id, execution, 1)];
        provider
            .ack_orchestration_item(&token, execution, events, Vec::new(), messages, metadata, Vec::new())
            .await
            .expect("acknowledged");
        for number in 2..=if last { 1 } else { pages } {
            let page = vec![event(id, execution, number)];
            provider.append_with_execution(id, execution, page).await.expect("appended");
        }
    }
}

/// Nothing but the current execution is there, for readers and in the container.
async fn only_the_last_is_left(provider: &CosmosDBProvider, container: &Container, id: &str) {
    assert_eq!(provider.list_executions(id).await.expect("executions"), [EXECUTIONS]);
    assert_eq!(provider.read_with_execution(id, EXECUTIONS).await.expect("history").len(), 1);
    let left = container.documents(id, "c.type IN ('execution', 'history', 'text')").await;
    assert_eq!(
        left.iter().map(|document| &document["id"]).collect::<Vec<_>>(),
        [&format!("h:{EXECUTIONS}:1")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_once_whichever_answers_are_lost() {
    let config = support::config();
    let container = Container::of(&config);
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = {
        let calls = Arc::clone(&calls);
        // Of each call, the first answer.
        Faulty::provider(&config, move |what| match what {
            "pruneExecutions" if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Fate::AnswerLost,
            _ => Fate::Pass,
        })
        .await
    };
    grow(&provider, "a", EXECUTIONS, PAGES).await;
    let pruned = provider.prune_executions("a", PruneOptions::default()).await.expect("pruned");
    assert_eq!((pruned.executions_deleted, pruned.events_deleted), (2, 2 * PAGES));
    assert!(calls.load(Ordering::SeqCst) > 2, "the case under test");
    only_the_last_is_left(&provider, &container, "a").await;
    let again = provider.prune_executions("a", PruneOptions::default()).await.expect("nothing to prune");
    assert_eq!((again.executions_deleted, again.events_deleted), (0, 0));
    container.delete().await;
}

/// From the first call on, nobody sees any of them; who prunes next finishes, and tells of all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_left_is_finished_by_the_next() {
    let config = support::config();
    let container = Container::of(&config);
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = {
        let calls = Arc::clone(&calls);
        Faulty::provider(&config, move |what| match what {
            "pruneExecutions" if calls.fetch_add(1, Ordering::SeqCst) > 0 => Fate::Lost,
            _ => Fate::Pass,
        })
        .await
    };
    grow(&provider, "a", EXECUTIONS, PAGES).await;
    let prune = provider.prune_executions("a", PruneOptions::default());
    assert!(tokio::time::timeout(Duration::from_secs(2), prune).await.is_err(), "crashed in the middle");
    assert!(container.documents("a", "c.type = 'history'").await.len() > 90, "the case under test");

    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    assert_eq!(other.list_executions("a").await.expect("executions"), [EXECUTIONS]);
    for execution in 1..EXECUTIONS {
        assert_eq!(other.read_with_execution("a", execution).await.expect("history"), Vec::new());
        let history = other.read_history_with_execution_id("a", execution).await.expect("history");
        assert_eq!(history, Vec::new());
        other.get_execution_info("a", execution).await.expect_err("it is gone");
    }
    let pruned = other.prune_executions("a", PruneOptions::default()).await.expect("pruned");
    assert_eq!((pruned.executions_deleted, pruned.events_deleted), (2, 2 * PAGES));
    only_the_last_is_left(&other, &container, "a").await;
    container.delete().await;
}

/// A caller that gives up leaves nothing behind; a deletion takes along what a prune has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_takes_along_what_a_prune_left() {
    let config = support::config();
    let container = Container::of(&config);
    let mut calls = 0;
    let provider = Faulty::provider(&config, move |what| match what {
        "pruneExecutions" => {
            calls += 1;
            if calls > 1 { Fate::Refused(403, 0) } else { Fate::Pass }
        }
        _ => Fate::Pass,
    })
    .await;
    grow(&provider, "a", EXECUTIONS, PAGES).await;
    provider.prune_executions("a", PruneOptions::default()).await.expect_err("refused");
    provider.delete_instance("a", true).await.expect("deleted");
    assert_eq!(container.documents("a", "true").await, Vec::<Value>::new());
    container.delete().await;
}

/// Two at once: each of the executions goes once, and is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_count_each_once() {
    let (provider, container) = support::provider().await;
    grow(&provider, "a", EXECUTIONS, PAGES).await;
    let prune = || provider.prune_executions("a", PruneOptions::default());
    let (one, other) = tokio::join!(prune(), prune());
    let (one, other) = (one.expect("pruned"), other.expect("pruned"));
    assert_eq!(one.executions_deleted + other.executions_deleted, 2);
    assert_eq!(one.events_deleted + other.events_deleted, 2 * PAGES);
    only_the_last_is_left(&provider, &container, "a").await;
    container.delete().await;
}

/// What pruning is for: thousands of executions, more than one procedure could remove.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_executions() {
    const MANY: u64 = 4000;
    let (emulator, config) = support::emulated(1).await;
    let config = CosmosDBProviderConfig { container: support::unique("prune"), ..config };
    let container = Container::of(&config);
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    grow(&provider, "a", 1, 1).await;
    let mut head = container.documents("a", "c.type = 'head'").await.remove(0);
    head["execution"] = json!(MANY + 1);
    container.upsert("a", &head).await;
    let record = |execution: u64| {
        json!({
            "id": format!("x:{execution}"), "instanceId": "a", "type": "execution", "execution": execution,
            "lastEvent": 2, "events": 2, "bytes": 10, "pages": 1, "completedAt": execution,
            // One that runs stays.
            "status": if execution == 10 { "Running" } else { "ContinuedAsNew" },
        })
    };
    let page = |execution: u64| {
        let event = serde_json::to_string(&event("a", execution, 2)).expect("an event");
        json!({
            "id": format!("h:{execution}:2"), "instanceId": "a", "type": "history", "execution": execution,
            "first": 2, "last": 2, "events": [event],
        })
    };
    for some in (1..=MANY).collect::<Vec<_>>().chunks(50) {
        let documents =
            some.iter().flat_map(|n| [record(*n), page(*n)]).map(|document| ("a".to_owned(), document));
        container.create_all("0", documents).await;
    }
    let options = PruneOptions { keep_last: Some(3), completed_before: None };
    let pruned = provider.prune_executions("a", options).await.expect("pruned");
    assert_eq!((pruned.executions_deleted, pruned.events_deleted), (MANY - 3, 2 * (MANY - 3)));
    let left = provider.list_executions("a").await.expect("executions");
    assert_eq!(left, [10, MANY - 1, MANY, MANY + 1]);
    let pages = container.documents("a", "c.type = 'history' AND c.execution <= 4000").await;
    assert_eq!(pages.len(), 3);
    let calls = provider.stats()["pruneExecutions"];
    assert_eq!((calls.failed, calls.requests), (0, (2 * MANY).div_ceil(90)), "so much at a time");
    emulator.shutdown().await;
}
