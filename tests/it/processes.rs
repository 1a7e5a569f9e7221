//! Several processes share many instances, and some are killed and replaced meanwhile: nothing is lost, nothing
//! counts twice, although before all of it lies work that none of them may take. The workers are this test binary
//! again, running the ignored test `worker`.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::providers::{
    DispatcherCapabilityFilter, ExecutionMetadata, Provider, SemverRange, SessionFetchConfig, WorkItem,
};
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, EventKind, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
    TagFilter,
};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use futures_util::StreamExt;
use semver::Version;
use tokio::io::AsyncReadExt;

use crate::support::{self, Account, start};

const CONTAINER: &str = "PROCESSES_CONTAINER";
const EFFECTS: &str = "PROCESSES_EFFECTS";
const LIBFAKETIME: &str = "LIBFAKETIME";

/// Activities that a process runs at the same time.
const WORKERS: usize = 2;

const POLL: Duration = Duration::from_millis(100);

/// Items of each kind that no process may take: more than one search answers.
const INELIGIBLE: u64 = 40;

/// Two activities at once, a timer, one activity more.
async fn steps(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    let both = ["a", "b"].map(|part| ctx.schedule_activity("Append", format!("{input}{part}")));
    let both = ctx.join(both.into()).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    ctx.schedule_timer(Duration::from_millis(50)).await;
    ctx.schedule_activity("Append", both.join(" ")).await
}

/// The activities of one instance.
const ACTIVITIES: usize = 3;

/// Runs workflows until standard input ends, which it also does when the parent dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the tests below, which run it as a process"]
async fn worker() {
    let (Ok(container), Ok(effects)) = (std::env::var(CONTAINER), std::env::var(EFFECTS)) else { return };
    let config = CosmosDBProviderConfig { container, ..support::config() };
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    // Lines of this length are appended whole, whoever writes at the same time and is killed.
    let effects = Arc::new(OpenOptions::new().append(true).open(effects).expect("the file of effects"));
    let append = move |ctx: ActivityContext, input: String| {
        let effect = format!("{} {input}\n", ctx.instance_id());
        let written = effects.as_ref().write_all(effect.as_bytes());
        async move {
            written.map_err(|error| error.to_string())?;
            // Time to be killed in.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(input + "+")
        }
    };
    let activities = ActivityRegistry::builder().register("Append", append).build();
    let registry = OrchestrationRegistry::builder().register("steps", steps).build();
    // What a killed process held must come back soon.
    let options = RuntimeOptions {
        orchestrator_lock_timeout: Duration::from_secs(5),
        worker_lock_timeout: Duration::from_secs(5),
        worker_concurrency: WORKERS,
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::start_with_options(Arc::new(provider), activities, registry, options).await;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("standard input");
    runtime.shutdown(Some(500)).await;
}

/// A worker process; killed with this value.
struct Worker(Child);

impl Worker {
    /// With `clock`, such as `+60s`, in a time of its own.
    fn start(container: &str, effects: &Path, clock: Option<&str>) -> Self {
        let Account { endpoint, key, database } = support::account();
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        if let Some(clock) = clock {
            let library = std::env::var(LIBFAKETIME).expect("the path of libfaketime.so.1");
            assert!(Path::new(&library).is_file(), "{library} is not there");
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", clock)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let child = command
            .args(["--ignored", "--exact", "processes::worker"])
            .env("COSMOS_ENDPOINT", endpoint)
            .env("COSMOS_KEY", key)
            .env("COSMOS_DATABASE", database)
            .env(CONTAINER, container)
            .env(EFFECTS, effects)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("a process"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SIGKILL: it gets no chance to clean up. Fails only for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that survives whoever writes it; deleted with this value.
struct Effects(PathBuf);

impl Effects {
    fn new() -> Self {
        let path = std::env::temp_dir().join(support::unique("effects"));
        File::create_new(&path).expect("a file");
        Self(path)
    }

    /// How often each activity of each instance ran.
    fn count(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for effect in std::fs::read_to_string(&self.0).expect("effects").lines() {
            *counts.entry(effect.to_owned()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn append(instance: String, id: u64, session_id: Option<String>, tag: Option<String>) -> WorkItem {
    let (name, input) = ("Append".to_owned(), String::new());
    WorkItem::ActivityExecute { instance, execution_id: 1, id, name, input, session_id, tag }
}

/// Lays work into both queues that no process may take: activities with a tag nobody serves, activities of sessions
/// that somebody else holds for so long, instances of a later duroxide.
async fn lay_ineligible(provider: &CosmosDBProvider, long: Duration) {
    let elsewhere = SessionFetchConfig { owner_id: "elsewhere".into(), lock_timeout: long };
    let range = SemverRange::new(Version::new(0, 0, 0), Version::new(1, 0, 0));
    let today = DispatcherCapabilityFilter { supported_duroxide_versions: vec![range] };
    let session = |n| Some(format!("session {n}"));
    for n in 1..=INELIGIBLE {
        let first = append("nobody's".into(), n, session(n), None);
        provider.enqueue_for_worker(first).await.expect("queued");
        let fetched =
            provider.fetch_work_item(long, Duration::ZERO, Some(&elsewhere), &TagFilter::DefaultOnly).await;
        let (_, token, _) = fetched.expect("no error").expect("an activity, and with it the session");
        provider.ack_work_item(&token, None).await.expect("removed");
    }
    for n in 1..=INELIGIBLE {
        for (id, session, tag) in [(1000 + n, session(n), None), (2000 + n, None, Some("nobody".to_owned()))]
        {
            let item = append("nobody's".into(), id, session, tag);
            provider.enqueue_for_worker(item).await.expect("queued");
        }
        let instance = format!("pinned {n}");
        provider.enqueue_for_orchestrator(start(&instance), None).await.expect("queued");
        let fetched = provider.fetch_orchestration_item(long, Duration::ZERO, Some(&today)).await;
        let (_, token, _) = fetched.expect("no error").expect("a turn");
        let metadata = ExecutionMetadata {
            orchestration_name: Some("steps".into()),
            orchestration_version: Some("1.0.0".into()),
            pinned_duroxide_version: Some(Version::new(99, 0, 0)),
            ..ExecutionMetadata::default()
        };
        let again = vec![start(&instance)];
        provider
            .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), again, metadata, Vec::new())
            .await
            .expect("acknowledged");
    }
}

async fn completed(client: &Client) -> usize {
    client.list_instances_by_status("Completed").await.expect("instances").len()
}

/// Output and history are those of a run that nobody disturbed.
async fn assert_whole(provider: &CosmosDBProvider, client: &Client, n: usize) {
    let instance = format!("i{n}");
    let status = client.get_orchestration_status(&instance).await.expect("status");
    let OrchestrationStatus::Completed { output, .. } = status else { panic!("{instance}: {status:?}") };
    assert_eq!(output, format!("{n}a+ {n}b++"));
    let history = provider.read(&instance).await.expect("history");
    let done = history.iter().filter(|event| matches!(event.kind, EventKind::ActivityCompleted { .. }));
    let sources: Vec<_> = done.map(|event| event.source_event_id).collect();
    let different: HashSet<_> = sources.iter().collect();
    assert_eq!((sources.len(), different.len()), (ACTIVITIES, ACTIVITIES), "{instance}: {sources:?}");
    let ids: Vec<u64> = history.iter().map(duroxide::Event::event_id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "{instance}: events in order, each once");
}

/// Each activity ran, and again only where its process was killed before it could say so: a process runs no more
/// than `WORKERS` at a time, and what else it had locked had not begun.
fn assert_effects(effects: &BTreeMap<String, usize>, instances: usize, kills: usize) {
    let ineligible: Vec<_> = effects.keys().filter(|effect| !effect.starts_with('i')).collect();
    assert!(ineligible.is_empty(), "nobody may run these: {ineligible:?}");
    assert_eq!(effects.len(), instances * ACTIVITIES, "each activity ran");
    let surplus = effects.values().sum::<usize>() - effects.len();
    println!("{surplus} of {} activities ran again after {kills} kills", effects.len());
    assert!(surplus <= kills * WORKERS, "{surplus} activities ran again");
}

/// The clocks of the processes: right.
const RIGHT: [Option<&str>; 1] = [None];

async fn share(
    processes: usize,
    instances: usize,
    kills: usize,
    patience: Duration,
    clocks: &[Option<&str>],
) {
    let (provider, container) = support::provider().await;
    lay_ineligible(&provider, patience * 2).await;
    let client = Client::new(Arc::clone(&provider) as Arc<dyn Provider>);
    let effects = Effects::new();
    let worker = |n: usize| Worker::start(&container.name, &effects.0, clocks[n % clocks.len()]);
    let mut workers: Vec<Worker> = (0..processes).map(worker).collect();
    let begun = Instant::now();
    let started = futures_util::stream::iter(0..instances).for_each_concurrent(8, async |n| {
        client.start_orchestration(format!("i{n}"), "steps", n.to_string()).await.expect("started");
    });
    let ended = async {
        for kill in 1..=kills {
            while completed(&client).await < instances * kill / (kills + 1) {
                tokio::time::sleep(POLL).await;
            }
            workers[kill % processes] = worker(kill);
        }
        while completed(&client).await < instances {
            tokio::time::sleep(POLL).await;
        }
    };
    let outcome = tokio::time::timeout(patience, async { tokio::join!(started, ended) }).await;
    assert!(outcome.is_ok(), "{} of {instances} completed", completed(&client).await);
    println!("{processes} processes: {instances} instances in {:?}", begun.elapsed());
    drop(workers);
    for n in 0..instances {
        assert_whole(&provider, &client, n).await;
    }
    assert_effects(&effects.count(), instances, kills);
    let depths = client.get_queue_depths().await.expect("depths");
    let left = (depths.orchestrator_queue as u64, depths.worker_queue as u64);
    assert_eq!(left, (INELIGIBLE, 2 * INELIGIBLE), "what nobody may take is still there");
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_share_sixty_instances() {
    share(3, 60, 2, Duration::from_secs(90), &RIGHT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see docs/ARCHITECTURE.md"]
async fn ten_processes_share_a_thousand_instances() {
    share(10, 1000, 6, Duration::from_secs(1200), &RIGHT).await;
}

/// Two minutes between the first and the second: no activity runs twice, no timer waits for another's clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs libfaketime: see docs/ARCHITECTURE.md"]
async fn processes_disagree_about_the_time() {
    share(3, 60, 0, Duration::from_secs(45), &[Some("+60s"), Some("-60s"), None]).await;
}
