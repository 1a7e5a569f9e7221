//! Fails the n-th request of a scenario, for every n, once before and once after it took effect. Nothing may be
//! lost, nothing happen twice, and the history must be that of an undisturbed run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{Provider, ProviderAdmin, PruneOptions};
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{
    ActivityContext, Client, Either2, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use duroxide_cosmos::CosmosDBProviderConfig;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

/// Two activities at once, one with a result of so many characters as the input says, a cancelled activity, a
/// timer, a session, a child, a key, a custom status, then a second execution with an event.
async fn scenario(ctx: OrchestrationContext, round: String) -> Result<String, String> {
    if let Ok(length) = round.parse::<usize>() {
        ctx.set_custom_status("working");
        ctx.set_kv_value("key", "value");
        let both = vec![ctx.schedule_activity("Effect", "a"), ctx.schedule_activity("Effect", "b")];
        let results = ctx.join(both).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        if ctx.schedule_activity("Long", round).await?.len() != length {
            return Err("the long result is not whole".into());
        }
        // Nobody works for this tag, so the timer wins and the activity is cancelled.
        let never = ctx.schedule_activity("Effect", "never").with_tag("nobody");
        if let Either2::First(_) = ctx.select2(never, ctx.schedule_timer(Duration::from_millis(10))).await {
            return Err("somebody worked for nobody's tag".into());
        }
        // A session of its own: that of another run is held for its runtime until it expires.
        let session = ctx.instance_id().to_owned();
        ctx.schedule_activity_on_session("Effect", "session", session).await?;
        let child = ctx.schedule_sub_orchestration("child", "c").await?;
        return ctx.continue_as_new(format!("{}{child}", results.concat())).await;
    }
    let timer = ctx.schedule_timer(Duration::from_secs(20));
    match ctx.select2(ctx.dequeue_event("go"), timer).await {
        Either2::First(data) => Ok(format!("{round} {data}")),
        Either2::Second(()) => Err("the event got lost".into()),
    }
}

async fn child(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    ctx.schedule_activity("Effect", input).await
}

/// Too long to go into a request with what surrounds it: it is sent ahead.
const LONG: usize = 1_800_000;

/// It fits, and is quick to sign and parse.
const SHORT: usize = 10;

/// What a run leaves behind, without what differs from run to run.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    output: String,
    custom_status: Option<String>,
    value: Option<String>,
    /// How often each activity ran.
    effects: BTreeMap<String, usize>,
    /// Kinds of events, sorted: completions of parallel activities come in any order.
    histories: Vec<Vec<String>>,
    /// Executions that pruning left, and documents that deletion left.
    executions: Vec<u64>,
    documents: usize,
}

async fn kinds(provider: &dyn Provider, instance: &str, execution: u64) -> Vec<String> {
    let history = provider.read_with_execution(instance, execution).await.expect("history");
    let ids: Vec<u64> = history.iter().map(duroxide::Event::event_id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "{instance}: events in order, each once");
    let mut kinds: Vec<String> = history
        .iter()
        .map(|event| format!("{:?}", event.kind).split([' ', '{']).next().unwrap_or_default().to_owned())
        .collect();
    kinds.sort();
    kinds
}

/// Runs the scenario with `fate` for the n-th request after start-up; answers the trace and how many requests
/// there were.
async fn run(
    config: &CosmosDBProviderConfig,
    instance: &str,
    length: usize,
    nth: usize,
    fate: Fate,
) -> (Trace, usize) {
    let started = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(AtomicUsize::new(0));
    let provider = {
        let (started, requests) = (Arc::clone(&started), Arc::clone(&requests));
        Faulty::provider(config, move |_| {
            if started.load(Ordering::SeqCst) == 0 {
                return Fate::Pass;
            }
            if requests.fetch_add(1, Ordering::SeqCst) + 1 == nth { fate } else { Fate::Pass }
        })
        .await
    };
    started.store(1, Ordering::SeqCst);
    let effects: Arc<std::sync::Mutex<BTreeMap<String, usize>>> = Arc::default();
    let activities = {
        let effects = Arc::clone(&effects);
        ActivityRegistry::builder().register("Effect", move |_: ActivityContext, input: String| {
            *effects.lock().expect("no panic").entry(input.clone()).or_default() += 1;
            async move { Ok(input) }
        })
    };
    let activities = activities.register("Long", |_: ActivityContext, length: String| async move {
        length.parse().map(|length| "x".repeat(length)).map_err(|_| "no length".to_owned())
    });
    let orchestrations =
        OrchestrationRegistry::builder().register("scenario", scenario).register("child", child);
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let runtime =
        Runtime::start_with_store(Arc::clone(&store), activities.build(), orchestrations.build()).await;
    let client = Client::new(Arc::clone(&store));
    client.start_orchestration(instance, "scenario", length.to_string()).await.expect("started");
    client.wait_for_orchestration(instance, Duration::from_millis(1)).await.ok();
    client.enqueue_event(instance, "go", "now").await.expect("enqueued");
    // Less than a lock lives: one that is stranded shows.
    let status = client.wait_for_orchestration(instance, Duration::from_secs(25)).await;
    let Ok(OrchestrationStatus::Completed { output, .. }) = status else {
        panic!("request {nth} {fate:?}: {status:?}");
    };
    runtime.shutdown(Some(500)).await;
    let effects = effects.lock().expect("no panic").clone();
    let container = Container::of(config);
    let sub = provider.list_children(instance).await.expect("children").remove(0);
    let mut first = kinds(&*store, instance, 1).await;
    // The client's message may come before this execution has ended, or after.
    first.retain(|kind| kind != "QueueEventDelivered");
    let mut trace = Trace {
        output,
        custom_status: provider
            .get_custom_status(instance, 0)
            .await
            .expect("status")
            .and_then(|(text, _)| text),
        value: provider.get_kv_value(instance, "key").await.expect("value"),
        effects,
        histories: vec![first, kinds(&*store, instance, 2).await, kinds(&*store, &sub, 1).await],
        ..Trace::default()
    };
    provider.prune_executions(instance, PruneOptions::default()).await.expect("pruned");
    trace.executions = provider.list_executions(instance).await.expect("executions");
    provider.delete_instance(instance, false).await.expect("deleted");
    for gone in [instance, &sub] {
        trace.documents += container.documents(gone, "c.type != 'inbox'").await.len();
    }
    let count = requests.load(Ordering::SeqCst);
    (trace, count)
}

/// What the service answers when it is busy, moving or unwell: before and after the effect.
const TRANSIENT: [Fate; 10] = [
    Fate::Refused(429, 3200),
    Fate::Refused(449, 0),
    Fate::Refused(408, 0),
    Fate::Refused(410, 1007),
    Fate::Refused(503, 0),
    Fate::Refused(404, 1002),
    Fate::Failed(408),
    Fate::Failed(500),
    Fate::Failed(502),
    Fate::Failed(503),
];

/// Every `step`-th request of the scenario.
async fn sweep(step: usize, length: usize) {
    let config = support::config();
    let (undisturbed, count) = run(&config, "undisturbed", length, usize::MAX, Fate::Pass).await;
    assert_eq!(undisturbed.output, "abc now");
    assert!(undisturbed.effects.values().all(|runs| *runs == 1));
    assert_eq!((&*undisturbed.executions, undisturbed.documents), (&[2][..], 0));
    let mut statuses = TRANSIENT.iter().cycle();
    for nth in (1..=count).step_by(step) {
        let status = *statuses.next().expect("it cycles");
        for fate in [Fate::Lost, Fate::AnswerLost, status] {
            let (trace, _) = run(&config, &format!("{fate:?}-{nth}"), length, nth, fate).await;
            assert_eq!(trace, undisturbed, "request {nth} {fate:?}");
        }
    }
    Container::of(&config).delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_requests_fail() {
    sweep(5, SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_requests_with_a_long_value_fail() {
    sweep(25, LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test it every_request_fails -- --ignored"]
async fn every_request_fails() {
    sweep(1, LONG).await;
}
