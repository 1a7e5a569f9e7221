//! Turns of which more is to be told than one answer of the service holds: history, messages and key-value state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, OrchestrationItem, Provider, WorkItem};
use duroxide::{Event, EventKind, TagFilter};
use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};

use crate::support::{self, Container, start};

const LOCK: Duration = Duration::from_secs(30);

/// A text that goes into a request as it is; two of them and a third are more than an answer takes.
const LARGE: usize = 1_500_000;

fn raised(data: String) -> WorkItem {
    WorkItem::ExternalRaised { instance: "i".into(), name: "e".into(), data }
}

fn completed(result: String) -> WorkItem {
    WorkItem::ActivityCompleted { instance: "i".into(), execution_id: 1, id: 2, result }
}

fn activity() -> WorkItem {
    support::activity("i", 2)
}

async fn fetch(provider: &CosmosDBProvider, patience: Duration) -> (OrchestrationItem, String) {
    let fetched = provider.fetch_orchestration_item(LOCK, patience, None).await.expect("no error");
    let (item, token, attempts) = fetched.expect("a turn");
    assert_eq!((&item.history_error, attempts), (&None, 1));
    (item, token)
}

async fn commit(provider: &CosmosDBProvider, token: &str, events: Vec<EventKind>, first: u64) {
    let events = events.into_iter().zip(first..);
    let events = events.map(|(kind, id)| Event::with_event_id(id, "i", 1, None, kind)).collect();
    let metadata = ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..ExecutionMetadata::default()
    };
    provider
        .ack_orchestration_item(token, 1, events, Vec::new(), Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
}

fn received(data: String) -> EventKind {
    EventKind::ExternalEvent { name: "e".into(), data }
}

/// An instance whose history is `pages`, one event each, and a provider that has seen nothing of it.
async fn instance(pages: &[usize]) -> (Arc<CosmosDBProvider>, Container) {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    for (size, id) in pages.iter().zip(1..) {
        let (_, token) = fetch(&provider, Duration::ZERO).await;
        commit(&provider, &token, vec![received("x".repeat(*size))], id).await;
        if id < pages.len() as u64 {
            provider.enqueue_for_orchestrator(raised(String::new()), None).await.expect("queued");
        }
    }
    let config = CosmosDBProviderConfig { container: container.name.clone(), ..support::config() };
    let stranger = CosmosDBProvider::new_with_config(config).await.expect("a second provider");
    (Arc::new(stranger), container)
}

fn history_sizes(item: &OrchestrationItem) -> Vec<usize> {
    let size = |event: &Event| match &event.kind {
        EventKind::ExternalEvent { data, .. } => data.len(),
        _ => 0,
    };
    item.history.iter().map(size).collect()
}

fn message_sizes(item: &OrchestrationItem) -> Vec<usize> {
    let size = |item: &WorkItem| match item {
        WorkItem::ExternalRaised { data, .. } => data.len(),
        WorkItem::ActivityCompleted { result, .. } => result.len(),
        _ => 0,
    };
    item.messages.iter().map(size).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_large_results_reach_a_stranger() {
    let (stranger, container) = instance(&[LARGE, LARGE]).await;
    stranger.enqueue_for_orchestrator(completed("r".repeat(LARGE)), None).await.expect("queued");
    let (item, token) = fetch(&stranger, Duration::ZERO).await;
    assert_eq!((history_sizes(&item), message_sizes(&item)), (vec![LARGE; 2], vec![LARGE]));
    // What it knows now counts for the next turn.
    commit(&stranger, &token, vec![received("x".repeat(LARGE))], 3).await;
    stranger.enqueue_for_orchestrator(raised(String::new()), None).await.expect("queued");
    let (item, _) = fetch(&stranger, Duration::ZERO).await;
    assert_eq!(history_sizes(&item), vec![LARGE; 3]);
    container.delete().await;
}

/// Events and messages whose text takes twice its length in an answer, and many small pages around large ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_all_sizes_reach_a_stranger() {
    let quotes = "\"".repeat(400_000);
    let sizes = [10, 1_000_000, 10, 700_000, 10, 10, LARGE, 10];
    let (stranger, container) = instance(&sizes).await;
    for _ in 0..3 {
        stranger.enqueue_for_orchestrator(raised(quotes.clone()), None).await.expect("queued");
    }
    let mut messages = Vec::new();
    let (item, token) = fetch(&stranger, Duration::ZERO).await;
    assert_eq!(history_sizes(&item), sizes);
    messages.extend(message_sizes(&item));
    commit(&stranger, &token, vec![received(quotes.clone()), received(quotes)], 9).await;
    while messages.len() < 3 {
        let (item, token) = fetch(&stranger, Duration::ZERO).await;
        messages.extend(message_sizes(&item));
        commit(&stranger, &token, Vec::new(), 11).await;
    }
    assert_eq!(messages, [400_000; 3]);
    container.delete().await;
}

/// A dispatcher waits in a process that knows nothing of the instance: what makes its turn ready is stored all the
/// same, and it gets the turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_stranger_gets_a_turn_larger_than_an_answer() {
    let (stranger, container) = instance(&[LARGE, LARGE]).await;
    let waiting = |stranger: &Arc<CosmosDBProvider>| {
        let stranger = Arc::clone(stranger);
        tokio::spawn(async move { fetch(&stranger, Duration::from_secs(30)).await })
    };
    let dispatcher = waiting(&stranger);
    stranger.enqueue_for_orchestrator(raised("r".repeat(LARGE)), None).await.expect("queued");
    let (item, token) = dispatcher.await.expect("fetched");
    assert_eq!((history_sizes(&item), message_sizes(&item)), (vec![LARGE; 2], vec![LARGE]));
    commit(&stranger, &token, vec![received("x".repeat(LARGE))], 3).await;

    stranger.enqueue_for_worker(activity()).await.expect("queued");
    let config = CosmosDBProviderConfig { container: container.name.clone(), ..support::config() };
    let other = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a third provider"));
    let fetched = other.fetch_work_item(LOCK, Duration::from_secs(30), None, &TagFilter::DefaultOnly).await;
    let (_, work, _) = fetched.expect("no error").expect("an activity");
    let dispatcher = waiting(&other);
    other.ack_work_item(&work, Some(completed("r".repeat(LARGE)))).await.expect("completed");
    let (item, _) = dispatcher.await.expect("fetched");
    assert_eq!((history_sizes(&item), message_sizes(&item)), (vec![LARGE; 3], vec![LARGE]));
    container.delete().await;
}

/// Key-value state at duroxide's limits beside a long history and a long message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_values_beside_large_history_and_messages() {
    for value in ["v".repeat(65_536), "\u{1}".repeat(1_024)] {
        let (provider, container) = support::provider().await;
        provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
        let (_, token) = fetch(&provider, Duration::ZERO).await;
        let set = |n: u64| EventKind::KeyValueSet {
            key: format!("key {n}"),
            value: value.clone(),
            last_updated_at_ms: n,
        };
        let end = ExecutionMetadata { status: Some("ContinuedAsNew".into()), ..ExecutionMetadata::default() };
        let events = (1..=150).map(|n| Event::with_event_id(n, "i", 1, None, set(n))).collect();
        let next = WorkItem::ContinueAsNew {
            instance: "i".into(),
            orchestration: "o".into(),
            input: "c".repeat(LARGE),
            version: Some("1.0.0".into()),
            parent_instance: None,
            parent_id: None,
            parent_execution_id: None,
            carry_forward_events: Vec::new(),
            initial_custom_status: None,
        };
        provider
            .ack_orchestration_item(&token, 1, events, Vec::new(), vec![next], end, Vec::new())
            .await
            .expect("acknowledged");
        for (execution, first) in [(2, 1), (2, 2)] {
            let (_, token) = fetch(&provider, Duration::ZERO).await;
            let event = Event::with_event_id(first, "i", execution, None, received("x".repeat(LARGE)));
            provider
                .ack_orchestration_item(
                    &token,
                    execution,
                    vec![event],
                    Vec::new(),
                    Vec::new(),
                    ExecutionMetadata::default(),
                    Vec::new(),
                )
                .await
                .expect("acknowledged");
            provider.enqueue_for_orchestrator(raised("r".repeat(LARGE)), None).await.expect("queued");
        }
        let config = CosmosDBProviderConfig { container: container.name.clone(), ..support::config() };
        let stranger = CosmosDBProvider::new_with_config(config).await.expect("a second provider");
        let (item, _) = fetch(&stranger, Duration::ZERO).await;
        assert_eq!((history_sizes(&item), message_sizes(&item)), (vec![LARGE; 2], vec![LARGE]));
        assert_eq!(item.kv_snapshot.len(), 150);
        assert!(item.kv_snapshot.values().all(|entry| entry.value == value));
        container.delete().await;
    }
}

/// A service that has not heard of the newest pages for so many queries.
#[derive(Debug)]
struct Lagging {
    inner: HttpTransport,
    queries: AtomicUsize,
}

impl Lagging {
    async fn provider(container: &Container, queries: usize) -> CosmosDBProvider {
        let config = CosmosDBProviderConfig { container: container.name.clone(), ..support::config() };
        let inner = HttpTransport::new(&config.endpoint, false).expect("an endpoint");
        let transport = Arc::new(Self { inner, queries: AtomicUsize::new(queries) });
        CosmosDBProvider::new_with_transport(config, transport).await.expect("a provider")
    }
}

#[async_trait::async_trait]
impl Transport for Lagging {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let query = String::from_utf8_lossy(request.body());
        if query.contains("c.type = 'history'") {
            let lags = |left: usize| left.checked_sub(1);
            if self.queries.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lags).is_ok() {
                return Ok(http::Response::new(r#"{"_rid":"","Documents":[],"_count":0}"#.into()));
            }
        }
        self.inner.call(request, timeout).await
    }
}

/// A history that comes short is read again, and never taken for whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_answer_shortens_no_history() {
    let (provider, container) = instance(&[LARGE, LARGE]).await;
    for (queries, whole) in [(2, true), (usize::MAX, false)] {
        let lagging = Lagging::provider(&container, queries).await;
        let read = lagging.read("i").await;
        assert_eq!(read.map(|history| history.len()).ok(), whole.then_some(2));
        let lagging = Lagging::provider(&container, queries).await;
        provider.enqueue_for_orchestrator(raised(String::new()), None).await.expect("queued");
        let fetched = lagging.fetch_orchestration_item(LOCK, Duration::ZERO, None).await;
        let (item, token, _) = fetched.expect("no error").expect("a turn");
        assert_eq!(item.history_error.is_none(), whole, "{:?}", item.history_error);
        assert_eq!(item.history.len(), if whole { 2 } else { 0 });
        commit(&lagging, &token, Vec::new(), 3).await;
    }
    container.delete().await;
}
