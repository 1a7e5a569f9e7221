//! Fails the n-th request of a scenario, for every n, once before and once after it took effect. Nothing may be
//! lost, nothing happen twice, and the history must be that of an undisturbed run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide::providers::{Provider, ProviderAdmin};
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{
    ActivityContext, Client, Either2, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use duroxide_cosmos::CosmosDBProviderConfig;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

/// Two activities at once, a timer, a child, a key, a custom status, then a second execution with an event.
async fn scenario(ctx: OrchestrationContext, round: String) -> Result<String, String> {
    if round == "first" {
        ctx.set_custom_status("working");
        ctx.set_kv_value("key", "value");
        let both = vec![ctx.schedule_activity("Effect", "a"), ctx.schedule_activity("Effect", "b")];
        let results = ctx.join(both).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        ctx.schedule_timer(Duration::from_millis(10)).await;
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
async fn run(config: &CosmosDBProviderConfig, instance: &str, nth: usize, fate: Fate) -> (Trace, usize) {
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
    let orchestrations =
        OrchestrationRegistry::builder().register("scenario", scenario).register("child", child);
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let runtime =
        Runtime::start_with_store(Arc::clone(&store), activities.build(), orchestrations.build()).await;
    let client = Client::new(Arc::clone(&store));
    client.start_orchestration(instance, "scenario", "first").await.expect("started");
    client.wait_for_orchestration(instance, Duration::from_millis(1)).await.ok();
    client.enqueue_event(instance, "go", "now").await.expect("enqueued");
    let status = client.wait_for_orchestration(instance, Duration::from_secs(25)).await;
    let count = requests.load(Ordering::SeqCst);
    let Ok(OrchestrationStatus::Completed { output, .. }) = status else {
        panic!("request {nth} {fate:?}: {status:?}");
    };
    runtime.shutdown(Some(500)).await;
    let effects = effects.lock().expect("no panic").clone();
    let sub = provider.list_children(instance).await.expect("children").remove(0);
    let trace = Trace {
        output,
        custom_status: provider
            .get_custom_status(instance, 0)
            .await
            .expect("status")
            .and_then(|(text, _)| text),
        value: provider.get_kv_value(instance, "key").await.expect("value"),
        effects,
        histories: vec![
            kinds(&*store, instance, 1).await,
            kinds(&*store, instance, 2).await,
            kinds(&*store, &sub, 1).await,
        ],
    };
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
async fn sweep(step: usize) {
    let config = support::config();
    let (undisturbed, count) = run(&config, "undisturbed", usize::MAX, Fate::Pass).await;
    assert_eq!(undisturbed.output, "abc now");
    assert!(undisturbed.effects.values().all(|runs| *runs == 1));
    let mut statuses = TRANSIENT.iter().cycle();
    for nth in (1..=count).step_by(step) {
        let status = *statuses.next().expect("it cycles");
        for fate in [Fate::Lost, Fate::AnswerLost, status] {
            let (trace, _) = run(&config, &format!("{fate:?}-{nth}"), nth, fate).await;
            assert_eq!(trace, undisturbed, "request {nth} {fate:?}");
        }
    }
    Container::of(&config).delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_requests_fail() {
    sweep(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test it every_request_fails -- --ignored"]
async fn every_request_fails() {
    sweep(1).await;
}
