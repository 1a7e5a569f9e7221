//! Administration of many instances: pages of ids, never lists of documents; work that follows the result.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cosmos_emulator::Emulator;
use duroxide::providers::{InstanceFilter, ProviderAdmin, PruneOptions};
use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};
use serde_json::{Value, json};

use crate::support::{self, Container};

/// Counts answers and their bytes.
#[derive(Debug)]
struct Counting {
    inner: HttpTransport,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    longest: AtomicUsize,
}

#[async_trait::async_trait]
impl Transport for Counting {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let answer = self.inner.call(request, timeout).await?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(answer.body().len(), Ordering::SeqCst);
        self.longest.fetch_max(answer.body().len(), Ordering::SeqCst);
        Ok(answer)
    }
}

/// What an operation has cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    requests: usize,
    bytes: usize,
    units: f64,
}

struct Crowd {
    emulator: Emulator,
    provider: CosmosDBProvider,
    transport: Arc<Counting>,
    count: usize,
}

const STATUSES: [&str; 4] = ["Completed", "Failed", "Running", "Completed"];

/// Few enough to be exact.
fn units(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("few"))
}

fn id(n: usize) -> String {
    format!("i{n}")
}

/// Whether the n-th instance runs, with a message and an activity; those of every other one are locked.
fn runs(n: usize) -> (bool, bool) {
    (STATUSES[n % 4] == "Running", n % 8 == 6)
}

/// The head of the n-th instance: a tenth are children of `i0`, the others have no parent. The later, the newer.
fn head(n: usize) -> Value {
    let status = STATUSES[n % 4];
    let mut head = json!({
        "id": "head", "instanceId": id(n), "type": "head", "incarnation": id(n), "slot": n % 256,
        "lastStamp": 0, "inbox": [], "backlog": { "count": 0, "attempts": {} }, "turns": [], "applied": [],
        "execution": 1, "lastEvent": 5, "events": 5, "bytes": 1000, "pages": 3, "customStatusVersion": 0,
        "name": "o", "version": "1.0.0", "status": status, "startedAt": n, "createdAt": n + 1, "updatedAt": n + 1,
        "output": "x".repeat(500),
    });
    match runs(n) {
        (false, _) => head["completedAt"] = json!(n + 1),
        (true, locked) => {
            let message =
                json!({ "stamp": n + 1, "visibleAt": n + 1, "attempts": 0, "kind": "message", "item": "{}" });
            head["inbox"] = json!([message]);
            head["turnReadyAt"] = json!(n + 1);
            if locked {
                head["lock"] = json!({ "id": "l", "until": n + 1, "inline": [n + 1], "backlog": [] });
            } else {
                head["waiting"] = json!(1);
            }
        }
    }
    if n % 10 == 4 {
        head["parent"] = json!(id(0));
    }
    head
}

/// An activity of the n-th instance, with an input of some size.
fn work(n: usize) -> Value {
    let mut work = json!({
        "id": "w:1:1", "instanceId": id(n), "type": "work", "workReadyAt": n + 1, "slot": n % 256, "attempts": 0,
        "item": "x".repeat(500),
    });
    if runs(n).1 {
        work["lock"] = json!({ "id": "l", "until": n + 1 });
    } else {
        work["waiting"] = json!(1);
    }
    work
}

impl Crowd {
    /// So many instances on two physical partitions.
    async fn gather(count: usize) -> Self {
        let (emulator, config) = support::emulated(1).await;
        let inner = HttpTransport::new(&config.endpoint, false).expect("an endpoint");
        let transport = Arc::new(Counting {
            inner,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            longest: AtomicUsize::new(0),
        });
        let config = CosmosDBProviderConfig {
            // Nobody else is to send requests.
            reconciler_interval: Duration::from_secs(86_400),
            ..config
        };
        let counting = Arc::clone(&transport) as Arc<dyn Transport>;
        let provider =
            CosmosDBProvider::new_with_transport(config.clone(), counting).await.expect("a provider");
        let container = Container::of(&config);
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(100) {
            container.create_all("0", some.iter().map(|n| (id(*n), head(*n)))).await;
            let running = some.iter().filter(|n| runs(**n).0);
            container.create_all("0", running.map(|n| (id(*n), work(*n)))).await;
        }
        emulator.split(&config.database, &config.container, 0).await.expect("two partitions");
        provider.list_instances_by_status("None").await.expect("the new ranges are known");
        Self { emulator, provider, transport, count }
    }

    fn spent(&self) -> Cost {
        Cost {
            requests: self.transport.requests.load(Ordering::SeqCst),
            bytes: self.transport.bytes.load(Ordering::SeqCst),
            units: self.provider.stats().values().map(|stats| stats.request_units).sum(),
        }
    }

    /// Does something; answers its result and cost.
    async fn cost<T>(&self, what: &str, work: impl Future<Output = T>) -> (T, Cost) {
        let (before, started) = (self.spent(), Instant::now());
        let result = work.await;
        let after = self.spent();
        let cost = Cost {
            requests: after.requests - before.requests,
            bytes: after.bytes - before.bytes,
            units: after.units - before.units,
        };
        println!("{} instances, {what}: {cost:?}, {:?}", self.count, started.elapsed());
        (result, cost)
    }

    async fn lists(&self) {
        let (count, provider) = (self.count, &self.provider);
        // A page has up to 1,000 rows; each of the two partitions may end with one that is not full.
        let pages = |rows: usize| rows / 1000 + 2;
        let (all, cost) = self.cost("list_instances", provider.list_instances()).await;
        // Each row is read from its document, once.
        let rows = |rows: usize| 0.15 * units(rows) + 10.0;
        assert!(cost.units < rows(count), "{cost:?}");
        let newest_first: Vec<String> = (0..count).rev().map(id).collect();
        assert!(all.expect("no error") == newest_first);
        assert!(cost.requests <= pages(count) && cost.bytes < count * 60 + 1000, "{cost:?}");
        let (failed, cost) =
            self.cost("list_instances_by_status", provider.list_instances_by_status("Failed")).await;
        assert_eq!(failed.expect("no error").len(), count / 4);
        assert!(cost.requests <= pages(count / 4) && cost.units < rows(count / 4), "{cost:?}");
        let (children, cost) = self.cost("list_children", provider.list_children("i0")).await;
        assert_eq!(children.expect("no error").len(), count / 10);
        assert!(cost.requests <= pages(count / 10) && cost.units < rows(count / 10), "{cost:?}");
        let (tree, cost) = self.cost("get_instance_tree", provider.get_instance_tree("i0")).await;
        assert_eq!(tree.expect("no error").all_ids.len(), count / 10 + 1);
        // The root's children, then one look for grandchildren of 200 at a time.
        assert!(cost.requests <= pages(count / 10) + 2 * (count / 2000 + 1) + 2, "{cost:?}");
    }

    async fn counts(&self) {
        let count = self.count as u64;
        let (metrics, cost) = self.cost("get_system_metrics", self.provider.get_system_metrics()).await;
        let metrics = metrics.expect("no error");
        assert_eq!((metrics.total_instances, metrics.total_executions), (count, count));
        assert_eq!(
            (metrics.running_instances, metrics.completed_instances, metrics.failed_instances),
            (count / 4, count / 2, count / 4)
        );
        assert_eq!(metrics.total_events, 5 * count);
        // A floor for each query and partition, and next to nothing for each instance.
        assert!(cost.requests <= 12 && cost.bytes < 5000, "{cost:?}");
        assert!(cost.units < 30.0 + 0.002 * units(self.count), "{cost:?}");
        let (depths, cost) = self.cost("get_queue_depths", self.provider.get_queue_depths()).await;
        let depths = depths.expect("no error");
        assert_eq!((depths.orchestrator_queue, depths.worker_queue), (self.count / 8, self.count / 8));
        assert!(cost.requests <= 4 && cost.bytes < 2000, "{cost:?}");
        assert!(cost.units < 10.0 + 0.0004 * units(self.count), "{cost:?}");
    }

    /// Bulk operations take on as many as the filter says, and cost what these cost.
    async fn bulk(&self) {
        let limited = InstanceFilter { limit: Some(10), ..InstanceFilter::default() };
        let options = PruneOptions::default();
        let pruned = self.provider.prune_executions_bulk(limited.clone(), options);
        let (pruned, cost) = self.cost("prune_executions_bulk of 10", pruned).await;
        assert_eq!(pruned.expect("no error").instances_processed, 10);
        assert!(cost.requests <= 40 && cost.bytes < 40_000 && cost.units < 60.0, "{cost:?}");
        let some = InstanceFilter {
            instance_ids: Some(vec![id(8), id(9), id(11), id(15), id(19)]),
            ..InstanceFilter::default()
        };
        let (deleted, cost) =
            self.cost("delete_instance_bulk of 5 ids", self.provider.delete_instance_bulk(some)).await;
        assert_eq!(deleted.expect("no error").instances_deleted, 5);
        assert!(cost.requests <= 100 && cost.bytes < 60_000 && cost.units < 400.0, "{cost:?}");
        let selected = self.selection();
        let (deleted, cost) =
            self.cost("delete_instance_bulk of 10", self.provider.delete_instance_bulk(limited)).await;
        let deleted = deleted.expect("no error").instances_deleted;
        // i0, the oldest, goes with its tree.
        assert_eq!(deleted as usize, 10 + self.count / 10);
        assert!(cost.requests <= self.count / 4 + 200, "{cost:?}");
        assert!(cost.units < 40.0 * units(self.count / 10 + 10), "{cost:?}");
        // The oldest ten of each partition are read off the index.
        let selected = self.selection() - selected;
        assert!(selected < 15.0, "{selected} request units to select ten instances");
        let mut left = self.provider.list_instances_by_status("Completed").await.expect("no error");
        // Those that ended first went first: 0, 1, 3, 5, 7, 12, 13, 16, 17 and 20; 21 failed, 22 is running.
        assert_eq!(left.pop().as_deref(), Some("i23"));
    }

    /// Request units of all selections by bulk operations so far.
    fn selection(&self) -> f64 {
        self.provider.stats().get("selectInstances").map_or(0.0, |stats| stats.request_units)
    }

    /// Costs follow the answer: what is asked of one instance costs the same among many.
    async fn one_instance(&self) {
        let provider = &self.provider;
        let (info, cost) = self.cost("get_instance_info", provider.get_instance_info("i5")).await;
        assert_eq!(info.expect("no error").status, "Failed");
        assert!(cost.requests == 1 && cost.units < 2.0, "{cost:?}");
        let (executions, cost) = self.cost("list_executions", provider.list_executions("i5")).await;
        assert_eq!(executions.expect("no error"), [1]);
        assert!(cost.requests <= 2 && cost.units < 5.0, "{cost:?}");
        let (tree, cost) = self.cost("get_instance_tree of 1", provider.get_instance_tree("i5")).await;
        assert_eq!(tree.expect("no error").all_ids, ["i5"]);
        assert!(cost.requests <= 2 && cost.units < 5.0, "{cost:?}");
        let (parent, cost) = self.cost("get_parent_id", provider.get_parent_id("i14")).await;
        assert_eq!(parent.expect("no error").as_deref(), Some("i0"));
        assert!(cost.requests == 1 && cost.units < 2.0, "{cost:?}");
    }

    async fn administer(self) {
        self.lists().await;
        self.one_instance().await;
        self.counts().await;
        self.bulk().await;
        let longest = self.transport.longest.load(Ordering::SeqCst);
        assert!(longest < 100_000, "no answer is long: {longest} bytes");
        self.emulator.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_instances() {
    Crowd::gather(2_000).await.administer().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test it a_hundred_thousand_instances -- --ignored --nocapture"]
async fn a_hundred_thousand_instances() {
    Crowd::gather(100_000).await.administer().await;
}
