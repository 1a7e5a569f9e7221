//! One physical partition is unwell: work in the others goes on, and nothing in it is lost.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cosmos_emulator::{Emulator, Fault, FaultRule};
use duroxide::providers::{Provider, WorkItem};
use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};

use crate::support::{self, start};

const LOCK: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(6);
/// More than the 2 s that a dispatcher spends on a partition, far less than the 20 s of any other request.
const PROMPTLY: Duration = Duration::from_secs(5);
const INSTANCES: usize = 12;

/// What is down: ranges by their ids, logical partitions by their header.
type Down = Arc<Mutex<HashSet<String>>>;

/// Answers 503 for what is down.
#[derive(Debug)]
struct Unwell {
    inner: HttpTransport,
    down: Down,
}

#[async_trait::async_trait]
impl Transport for Unwell {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let named = ["x-ms-documentdb-partitionkeyrangeid", "x-ms-documentdb-partitionkey"]
            .iter()
            .filter_map(|name| request.headers().get(*name)?.to_str().ok())
            .any(|value| self.down.lock().expect("no panic").contains(value));
        if named {
            let down = http::Response::builder().status(503).body(r#"{"message":"down"}"#.into());
            return Ok(down.expect("a response"));
        }
        self.inner.call(request, timeout).await
    }
}

/// An account of two physical partitions, and two processes, the second of which finds one of them unwell.
struct World {
    emulator: Emulator,
    well: CosmosDBProvider,
    unwell: CosmosDBProvider,
    down: Down,
}

impl World {
    async fn new() -> Self {
        let (emulator, config) = support::emulated(2).await;
        let well = CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider");
        let down = Down::default();
        let inner = HttpTransport::new(&config.endpoint, false).expect("an endpoint");
        let transport = Arc::new(Unwell { inner, down: Arc::clone(&down) });
        // What is known from own writes is not looked for.
        let config = CosmosDBProviderConfig { hand_off: false, ..config };
        let unwell = CosmosDBProvider::new_with_transport(config, transport).await.expect("a provider");
        Self { emulator, well, unwell, down }
    }

    fn set_down(&self, what: impl IntoIterator<Item = String>) {
        *self.down.lock().expect("no panic") = what.into_iter().collect();
    }

    async fn queue(&self) -> HashSet<String> {
        let all: HashSet<String> = (0..INSTANCES).map(|n| format!("i{n}")).collect();
        for instance in &all {
            self.well.enqueue_for_orchestrator(start(instance), None).await.expect("queued");
        }
        all
    }

    /// The instances of a physical partition: those that are not to be found while it is down.
    async fn split(&self) -> (HashSet<String>, HashSet<String>) {
        let all = self.queue().await;
        self.set_down(["0".to_owned()]);
        let mut others = HashSet::new();
        while let Ok(Some((item, token, _))) = self.unwell.fetch_orchestration_item(LOCK, POLL, None).await {
            others.insert(item.instance);
            drop(token);
        }
        self.set_down([]);
        (all.difference(&others).cloned().collect(), others)
    }
}

fn header(instance: &str) -> String {
    format!("[\"{instance}\"]")
}

/// The queries of one partition fail: what is in the other is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_fail() {
    let world = World::new().await;
    let all = world.queue().await;
    world.set_down(["0".to_owned()]);
    let mut found = HashSet::new();
    let begun = Instant::now();
    let mut last = begun;
    while let Ok(Some((item, ..))) = world.unwell.fetch_orchestration_item(LOCK, POLL, None).await {
        assert!(last.elapsed() < PROMPTLY, "{:?}", last.elapsed());
        last = Instant::now();
        found.insert(item.instance);
    }
    assert!(!found.is_empty() && found.len() < INSTANCES, "{found:?}");
    world.set_down([]);
    while found.len() < INSTANCES {
        let fetched = world.unwell.fetch_orchestration_item(LOCK, POLL, None).await.expect("no error");
        found.insert(fetched.expect("the others come back").0.instance);
    }
    assert_eq!(found, all);
    world.emulator.shutdown().await;
}

/// Procedures of one partition fail, though it shows what is ready there, and that is older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_fail() {
    let world = World::new().await;
    let (down, up) = world.split().await;
    assert!(!down.is_empty() && !up.is_empty());
    world.set_down(down.iter().map(|instance| header(instance)));
    let raised = |instance: &String| WorkItem::StartOrchestration {
        instance: format!("{instance} more"),
        orchestration: "o".into(),
        input: String::new(),
        version: None,
        parent_instance: None,
        parent_id: None,
        parent_execution_id: None,
        execution_id: 1,
    };
    let late = up.iter().next().expect("one that is up");
    world.well.enqueue_for_orchestrator(raised(late), None).await.expect("queued");
    let begun = Instant::now();
    // As many dispatchers as a runtime has by default.
    // Like a runtime, they ask again after an error.
    let dispatcher = || async {
        loop {
            match world.unwell.fetch_orchestration_item(LOCK, Duration::from_secs(30), None).await {
                Ok(turn) => break turn.expect("a turn").0.instance,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let instance = tokio::select! { first = dispatcher() => first, first = dispatcher() => first };
    assert!(!down.contains(&instance), "{instance} is down");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    world.emulator.shutdown().await;
}

/// What this process has hidden itself comes in time, whatever a look waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_in_time() {
    let world = World::new().await;
    let (_, up) = world.split().await;
    world.set_down(["0".to_owned()]);
    // A look is under way.
    let none = world.unwell.fetch_orchestration_item(LOCK, Duration::from_millis(300), None);
    let delay = Some(Duration::from_millis(700));
    let later = format!("{} later", up.iter().next().expect("one that is up"));
    let fetched = tokio::join!(none, world.unwell.enqueue_for_orchestrator(start(&later), delay));
    fetched.1.expect("queued");
    let begun = Instant::now();
    let mut seen = None;
    while seen.as_ref() != Some(&later) {
        let fetched = world.unwell.fetch_orchestration_item(LOCK, POLL, None).await;
        seen = fetched.ok().flatten().map(|(item, ..)| item.instance);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    world.emulator.shutdown().await;
}

/// What the service asks to leave alone for long is left alone: the runtime learns of it and waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_locks_are_not_tried_at_once() {
    let (emulator, config) = support::emulated(1).await;
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    let retry_after = Some(Duration::from_secs(10));
    let fault = Fault::Status { status: 429, sub_status: 3200, retry_after };
    emulator.faults().add(FaultRule::new(fault).procedure("lockTurn_*"));
    provider.enqueue_for_orchestrator(start("i"), None).await.expect("queued");
    let error = provider.fetch_orchestration_item(LOCK, POLL, None).await.expect_err("throttled");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(provider.stats()["lockTurn"].requests, 1);
    emulator.shutdown().await;
}
