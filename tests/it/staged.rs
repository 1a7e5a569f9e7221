//! Long texts lie in documents of their own: each goes when nothing refers to it any more, and not before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{ExecutionMetadata, Provider, ProviderAdmin as _, PruneOptions, WorkItem};
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{OrchestrationStatus, Runtime};
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, TagFilter};
use serde_json::Value;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container, start};

const LOCK: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

/// Too long to go with anything else into a request.
const LONG: usize = 1_800_000;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(id)) = members.get("ref") {
                found.insert(id.clone());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The documents of texts, each of which must be referred to, and all that is referred to must be there.
async fn texts(container: &Container, instance: &str) -> BTreeSet<String> {
    let mut referred = BTreeSet::new();
    for document in container.documents(instance, "c.type != 'text'").await {
        references(&document, &mut referred);
    }
    let stored = container.ids(instance, "c.type = 'text'").await;
    assert_eq!(referred, stored);
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_result_is_kept_once() {
    let (provider, container) = support::provider().await;
    let activities = ActivityRegistry::builder()
        .register("Long", |_: ActivityContext, _: String| async move { Ok("r".repeat(LONG)) })
        .build();
    let workflow = |ctx: OrchestrationContext, _: String| async move {
        for _ in 0..3 {
            ctx.schedule_activity("Long", "").await?;
        }
        Ok(String::new())
    };
    let orchestrations = OrchestrationRegistry::builder().register("w", workflow).build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    client.start_orchestration("w", "w", "").await.expect("started");
    let status = client.wait_for_orchestration("w", PATIENCE).await.expect("it ends");
    assert!(matches!(status, OrchestrationStatus::Completed { .. }), "{status:?}");
    runtime.shutdown(Some(1000)).await;
    assert_eq!(texts(&container, "w").await.len(), 3, "one for each result, in the history");
    container.delete().await;
}

/// A workflow that hands a long input on for ever takes no more room with time, if it is pruned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_input_handed_on_leaves_nothing_behind() {
    let (provider, container) = support::provider().await;
    let eternal = |ctx: OrchestrationContext, input: String| async move {
        let Some(rest) = input.strip_prefix('x') else {
            return Ok(String::new());
        };
        let rest = if rest.len() > LONG { rest.to_owned() } else { String::new() };
        ctx.continue_as_new(rest).await
    };
    let orchestrations = OrchestrationRegistry::builder().register("e", eternal).build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let activities = ActivityRegistry::builder().build();
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    client.start_orchestration("e", "e", "x".repeat(LONG + 5)).await.expect("started");
    let status = client.wait_for_orchestration("e", PATIENCE).await.expect("it ends");
    assert!(matches!(status, OrchestrationStatus::Completed { .. }), "{status:?}");
    runtime.shutdown(Some(1000)).await;
    assert!(texts(&container, "e").await.len() >= 4, "the case under test");
    let keep = PruneOptions { keep_last: Some(1), ..PruneOptions::default() };
    provider.prune_executions("e", keep).await.expect("pruned");
    assert_eq!(texts(&container, "e").await.len(), 0);
    container.delete().await;
}

/// A completion that is refused after its text was sent ahead, and another one in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_sent_ahead_in_vain_is_removed() {
    let config = support::config();
    let container = Container::of(&config);
    let mut completions = 0;
    let provider = Faulty::provider(&config, move |what| {
        completions += u32::from(what == "ackWork");
        if what == "ackWork" && completions == 1 { Fate::Refused(400, 0) } else { Fate::Pass }
    })
    .await;
    provider.enqueue_for_orchestrator(start("v"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    let activity = support::activity("v", 2);
    let metadata = ExecutionMetadata::default();
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), vec![activity], Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
    let (_, work, _) = fetched.expect("no error").expect("an activity");
    let completed =
        |result: String| WorkItem::ActivityCompleted { instance: "v".into(), execution_id: 1, id: 2, result };
    provider.ack_work_item(&work, Some(completed("r".repeat(LONG)))).await.expect_err("refused");
    assert_eq!(container.documents("v", "c.type = 'text'").await.len(), 1, "the case under test");
    provider.ack_work_item(&work, Some(completed("short".into()))).await.expect("completed");
    assert_eq!(texts(&container, "v").await.len(), 0);
    container.delete().await;
}
