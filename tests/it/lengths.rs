//! Long histories and long queues.

use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, WorkItem};
use duroxide::{Event, EventKind};
use duroxide_cosmos::CosmosDBProvider;

use crate::support::{self, start};

const LOCK: Duration = Duration::from_secs(300);

fn event(instance: &str, id: u64) -> Event {
    let kind = EventKind::ExternalEvent { name: "n".into(), data: id.to_string() };
    Event::with_event_id(id, instance, 1, None, kind)
}

fn raised(instance: &str, n: usize) -> WorkItem {
    WorkItem::ExternalRaised { instance: instance.into(), name: "n".into(), data: n.to_string() }
}

async fn commit(provider: &CosmosDBProvider, token: &str, events: Vec<Event>, messages: Vec<WorkItem>) {
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..ExecutionMetadata::default()
    };
    provider
        .ack_orchestration_item(token, 1, events, Vec::new(), messages, metadata, Vec::new())
        .await
        .expect("acknowledged");
}

/// 100 turns of 100 events: each turn sees all events before it, and another process all 10,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_ten_thousand_events() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("long"), None).await.expect("queued");
    for turn in 0..100u64 {
        let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
        let (item, token, _) = fetched.expect("a turn");
        assert_eq!((item.history_error, item.history.len() as u64), (None, turn * 100));
        let events = (turn * 100 + 1..=turn * 100 + 100).map(|id| event("long", id)).collect();
        commit(&provider, &token, events, vec![raised("long", 0)]).await;
    }
    let mut config = support::config();
    config.container.clone_from(&container.name);
    let other = CosmosDBProvider::new_with_config(config).await.expect("another process");
    let fetched = other.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (item, ..) = fetched.expect("a turn");
    let ids = |history: &[Event]| history.iter().map(Event::event_id).collect::<Vec<_>>();
    let all: Vec<u64> = (1..=10_000).collect();
    assert!(ids(&item.history) == all, "{} events", item.history.len());
    assert!(ids(&other.read("long").await.expect("history")) == all);
    container.delete().await;
}

/// Messages of an instance that was busy for long: taken in several turns, in order, each once.
async fn waiting_messages(count: usize) {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("busy"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    for n in 0..count {
        provider.enqueue_for_orchestrator(raised("busy", n), None).await.expect("queued");
    }
    commit(&provider, &token, Vec::new(), Vec::new()).await;
    let mut received = Vec::new();
    while let Some((item, token, _)) =
        provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error")
    {
        received.extend(item.messages.into_iter().filter_map(|message| match message {
            WorkItem::ExternalRaised { data, .. } => Some(data),
            _ => None,
        }));
        commit(&provider, &token, Vec::new(), Vec::new()).await;
    }
    let sent: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert!(received == sent, "{} of {count} messages", received.len());
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_messages() {
    waiting_messages(1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: see docs/ARCHITECTURE.md"]
async fn five_thousand_waiting_messages() {
    waiting_messages(5000).await;
}
