//! A server whose clock is a minute off this process's: leases hold, timers fire in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cosmos_emulator::Emulator;
use duroxide::providers::{Provider, WorkItem};
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};

const MINUTE: i64 = 60_000;

/// A provider on an emulator of its own: its clock is nobody else's business.
async fn provider(offset_ms: i64) -> (Arc<CosmosDBProvider>, Emulator) {
    let emulator = Emulator::builder().start().await.expect("an emulator");
    emulator.set_clock_offset_ms(offset_ms);
    let config = CosmosDBProviderConfig {
        endpoint: emulator.endpoint().to_owned(),
        key: emulator.key().to_owned(),
        ..CosmosDBProviderConfig::default()
    };
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    (Arc::new(provider), emulator)
}

async fn leases_and_timers(offset_ms: i64) {
    let (provider, emulator) = provider(offset_ms).await;
    let start = WorkItem::StartOrchestration {
        instance: "lease".into(),
        orchestration: "o".into(),
        input: String::new(),
        version: Some("1.0.0".into()),
        parent_instance: None,
        parent_id: None,
        parent_execution_id: None,
        execution_id: 1,
    };
    provider.enqueue_for_orchestrator(start, None).await.expect("queued");
    let lease = Duration::from_secs(2);
    let fetched = provider.fetch_orchestration_item(lease, Duration::ZERO, None).await.expect("no error");
    let taken = Instant::now();
    let (_, token, _) = fetched.expect("a turn");
    let second = provider.fetch_orchestration_item(lease, Duration::ZERO, None).await.expect("no error");
    assert!(second.is_none() || taken.elapsed() >= lease, "the lease holds");
    provider.renew_orchestration_item_lock(&token, lease).await.expect("renewed");
    let again =
        provider.fetch_orchestration_item(lease, Duration::from_secs(10), None).await.expect("no error");
    let (_, token, attempts) = again.expect("free after its lease");
    assert!(attempts == 2 && taken.elapsed() >= lease, "{attempts} {:?}", taken.elapsed());
    provider
        .abandon_orchestration_item(&token, Some(Duration::from_secs(3600)), true)
        .await
        .expect("abandoned");

    let orchestrations = OrchestrationRegistry::builder()
        .register("timer", |ctx: OrchestrationContext, _: String| async move {
            ctx.schedule_timer(Duration::from_millis(500)).await;
            Ok("rang".to_owned())
        })
        .build();
    let store = Arc::clone(&provider) as Arc<dyn Provider>;
    let activities = ActivityRegistry::builder().build();
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, orchestrations).await;
    let client = Client::new(store);
    let started = Instant::now();
    client.start_orchestration("t", "timer", "").await.expect("started");
    let status = client.wait_for_orchestration("t", Duration::from_secs(10)).await.expect("rings in time");
    assert!(matches!(status, OrchestrationStatus::Completed { .. }), "{status:?}");
    assert!(started.elapsed() >= Duration::from_millis(450), "rang after {:?}", started.elapsed());
    runtime.shutdown(Some(500)).await;
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_a_minute_ahead() {
    leases_and_timers(MINUTE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_a_minute_behind() {
    leases_and_timers(-MINUTE).await;
}
