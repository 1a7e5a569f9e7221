//! What a workflow costs: ceilings on requests and request units, so that a regression fails. Times are not
//! measured here; what depends on them (looks for work, reads of a waiting client) has a ceiling per second. The
//! ceilings leave room for what a busy machine adds; the targets are measured by `bench`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cosmos_emulator::Emulator;
use duroxide::providers::Provider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{OrchestrationStatus, Runtime, RuntimeOptions};
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, TagFilter};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig, OperationStats};
use serde_json::json;

use crate::support::{self, Container};

type Stats = BTreeMap<&'static str, OperationStats>;

const PATIENCE: Duration = Duration::from_secs(60);

/// Operations whose number depends on how long a workflow takes.
const BY_TIME: [&str; 4] = ["read", "probe", "reconcile", "listSessions"];

/// A provider, a runtime on it, and what was sent so far.
struct Site {
    provider: Arc<CosmosDBProvider>,
    client: Client,
    runtime: Arc<Runtime>,
    emulator: Emulator,
    container: Container,
    config: CosmosDBProviderConfig,
    /// Taken by the activity `Step` whenever its input asks for it.
    snapshots: Arc<Mutex<BTreeMap<u32, Stats>>>,
}

async fn chain(ctx: OrchestrationContext, steps: String) -> Result<String, String> {
    let steps: u32 = steps.parse().map_err(|_| "not a number")?;
    for step in 1..=steps {
        ctx.schedule_activity("Step", step.to_string()).await?;
    }
    Ok(steps.to_string())
}

async fn fan_out(ctx: OrchestrationContext, width: String) -> Result<String, String> {
    let width: u32 = width.parse().map_err(|_| "not a number")?;
    let all = (1..=width).map(|step| ctx.schedule_activity("Step", step.to_string()));
    let results = ctx.join(all.collect()).await;
    results.into_iter().collect::<Result<Vec<_>, _>>().map(|results| results.len().to_string())
}

async fn parent(ctx: OrchestrationContext, children: String) -> Result<String, String> {
    let children: u32 = children.parse().map_err(|_| "not a number")?;
    let all = (1..=children).map(|_| ctx.schedule_sub_orchestration("chain", "1"));
    let results = ctx.join(all.collect()).await;
    results.into_iter().collect::<Result<Vec<_>, _>>().map(|results| results.len().to_string())
}

impl Site {
    async fn start(dispatchers: usize) -> Self {
        // Whatever the environment says of partitions, isolation, hand-off and caches.
        let (emulator, config) = support::emulated(1).await;
        let container = Container::of(&config);
        let provider = Arc::new(CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider"));
        let snapshots: Arc<Mutex<BTreeMap<u32, Stats>>> = Arc::default();
        let (taken, counted) = (Arc::clone(&snapshots), Arc::clone(&provider));
        let activities =
            ActivityRegistry::builder().register("Step", move |_: ActivityContext, step: String| {
                if let Ok(step) = step.parse::<u32>()
                    && step % 10 == 0
                {
                    taken.lock().expect("no panic").insert(step, counted.stats());
                }
                async move { Ok(step) }
            });
        let orchestrations = OrchestrationRegistry::builder()
            .register("chain", chain)
            .register("fan-out", fan_out)
            .register("parent", parent);
        let store = Arc::clone(&provider) as Arc<dyn Provider>;
        let options = RuntimeOptions {
            orchestration_concurrency: dispatchers,
            worker_concurrency: dispatchers,
            ..Default::default()
        };
        let runtime = Runtime::start_with_options(
            Arc::clone(&store),
            activities.build(),
            orchestrations.build(),
            options,
        );
        let runtime = runtime.await;
        Self { provider, client: Client::new(store), runtime, emulator, container, config, snapshots }
    }

    /// Runs workflows at once, to their ends; answers what was sent for them.
    async fn run(&self, orchestration: &str, input: u32, count: usize) -> Stats {
        let before = self.provider.stats();
        let started = Instant::now();
        let ids: Vec<String> = (0..count).map(|_| support::unique("i")).collect();
        for id in &ids {
            self.client.start_orchestration(id, orchestration, input.to_string()).await.expect("started");
        }
        for id in &ids {
            let status = self.client.wait_for_orchestration(id, PATIENCE).await.expect("a status");
            assert!(matches!(status, OrchestrationStatus::Completed { .. }), "{status:?}");
        }
        let spent = since(&self.provider.stats(), &before);
        // A client looks ten times a second in the long run, more often at first.
        let reads = requests(&spent, |name| name == "read");
        let looks = 20.0 + 12.0 * started.elapsed().as_secs_f64();
        assert!((reads as f64) < looks * count as f64, "{reads} reads of {looks} looks: {spent:?}");
        spent
    }

    async fn end(self) {
        self.runtime.shutdown(Some(1000)).await;
        self.emulator.shutdown().await;
    }
}

fn since(now: &Stats, before: &Stats) -> Stats {
    let earlier = |name| before.get(name).copied().unwrap_or_default();
    now.iter()
        .filter(|(name, now)| now.requests > earlier(**name).requests)
        .map(|(name, now)| {
            let mut spent = *now;
            spent.requests -= earlier(*name).requests;
            spent.request_units -= earlier(*name).request_units;
            (*name, spent)
        })
        .collect()
}

fn requests(stats: &Stats, which: impl Fn(&str) -> bool) -> u64 {
    stats.iter().filter(|(name, _)| which(name)).map(|(_, spent)| spent.requests).sum()
}

fn request_units(stats: &Stats, which: impl Fn(&str) -> bool) -> f64 {
    stats.iter().filter(|(name, _)| which(name)).map(|(_, spent)| spent.request_units).sum()
}

fn of_steps(name: &str) -> bool {
    !BY_TIME.contains(&name)
}

fn assert_ceiling(what: &str, stats: &Stats, steps: u64, ceiling: f64, units_ceiling: f64) {
    let per_step = requests(stats, of_steps) as f64 / steps as f64;
    let units = request_units(stats, of_steps) / steps as f64;
    let sent: BTreeMap<_, _> = stats.iter().map(|(name, spent)| (*name, spent.requests)).collect();
    assert!(per_step <= ceiling, "{what}: {per_step} requests per step, at most {ceiling}: {sent:?}");
    assert!(units <= units_ceiling, "{what}: {units} RU per step, at most {units_ceiling}: {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_takes_two_requests_a_step() {
    let site = Site::start(2).await;
    let spent = site.run("chain", 10, 1).await;
    // The start and the last turn are no steps.
    assert_ceiling("chain of 10", &spent, 10, 2.7, 60.0);
    let spent = site.run("chain", 100, 1).await;
    assert_ceiling("chain of 100", &spent, 100, 2.1, 52.0);
    let saved = site.provider.counters();
    assert!(saved.turns_handed_over > 100 && saved.work_handed_over > 100, "{saved:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_costs_the_same_however_long_the_history() {
    let site = Site::start(2).await;
    site.run("chain", 310, 1).await;
    let snapshots = site.snapshots.lock().expect("no panic").clone();
    let (early, late) = (since(&snapshots[&40], &snapshots[&10]), since(&snapshots[&310], &snapshots[&280]));
    let units = [&early, &late].map(|stats| request_units(stats, |name| name.starts_with("ack")));
    assert!(units[1] <= units[0] * 1.1, "{units:?}");
    assert_ceiling("steps 280 to 310", &late, 30, 2.2, 52.0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_takes_two_requests_an_activity() {
    let site = Site::start(2).await;
    let spent = site.run("fan-out", 50, 1).await;
    assert_ceiling("fan-out of 50", &spent, 50, 2.5, 60.0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_chains_at_once_take_no_more_than_three_requests_a_step() {
    let site = Site::start(4).await;
    let spent = site.run("chain", 10, 20).await;
    assert_ceiling("20 chains of 10", &spent, 200, 3.0, 65.0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_takes_few_requests() {
    let site = Site::start(2).await;
    let spent = site.run("parent", 5, 1).await;
    assert_ceiling("parent of 5", &spent, 5, 9.5, 190.0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_runtime_asks_twice_a_second_at_most_and_hears_a_start_without_asking() {
    let site = Site::start(2).await;
    site.run("chain", 1, 1).await;
    // The pauses between looks have grown to their longest.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = site.provider.stats();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let idle = since(&site.provider.stats(), &before);
    assert!(requests(&idle, |_| true) <= 8, "in 4 s: {idle:?}");
    let spent = site.run("chain", 1, 1).await;
    assert_eq!(requests(&spent, |name| name.starts_with("lock")), 0, "{spent:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_elsewhere_is_seen_within_a_second() {
    let site = Site::start(2).await;
    site.run("chain", 1, 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let elsewhere = CosmosDBProvider::new_with_config(site.config.clone()).await.expect("a provider");
    let client = Client::new(Arc::new(elsewhere));
    let started = Instant::now();
    client.start_orchestration("far", "chain", "1").await.expect("started");
    client.wait_for_orchestration("far", PATIENCE).await.expect("a status");
    // The second, and room for the work itself on a busy machine.
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    site.end().await;
}

/// Instances that have ended and timers that are not due do not make looking for work dearer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_rest_costs_nothing() {
    let site = Site::start(2).await;
    site.run("chain", 1, 1).await;
    Arc::clone(&site.runtime).shutdown(Some(1000)).await;
    let look = async || {
        let before = site.provider.stats();
        let found = site.provider.fetch_orchestration_item(PATIENCE, Duration::ZERO, None).await;
        assert!(found.expect("no error").is_none());
        request_units(&since(&site.provider.stats(), &before), |name| name == "discoverTurns")
    };
    // Both queues wanted for longer than the longest pause: while nothing is found one probe stands for two searches.
    let probe = async || {
        let (before, wait) = (site.provider.stats(), Duration::from_millis(1500));
        let (turn, work) = tokio::join!(
            site.provider.fetch_orchestration_item(PATIENCE, wait, None),
            site.provider.fetch_work_item(PATIENCE, wait, None, &TagFilter::DefaultOnly),
        );
        assert!(turn.expect("no error").is_none() && work.expect("no error").is_none());
        let spent = since(&site.provider.stats(), &before);
        request_units(&spent, |name| name == "probe") / requests(&spent, |name| name == "probe") as f64
    };
    let (empty, idle) = (look().await, probe().await);
    let far = json!(4_102_444_800_000_u64);
    for n in 0..400 {
        let instance = format!("rest{n}");
        let mut head = json!({ "id": "head", "instanceId": instance, "type": "head", "status": "Completed" });
        if n % 4 == 0 {
            head["turnReadyAt"] = far.clone();
        }
        site.container.upsert(&instance, &head).await;
    }
    let full = look().await;
    assert!(full <= empty * 1.2, "{full} request units, {empty} when empty");
    let full = probe().await;
    assert!(full <= idle * 1.2, "{full} request units a probe, {idle} when empty");
    site.emulator.shutdown().await;
}
