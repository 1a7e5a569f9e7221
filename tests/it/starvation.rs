//! Work that a worker may not take must not hide work that it may: more of the former than one search looks at
//! waits at the head of the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::TagFilter;
use duroxide::providers::{
    DispatcherCapabilityFilter, ExecutionMetadata, Provider, SemverRange, SessionFetchConfig, WorkItem,
};
use duroxide_cosmos::CosmosDBProvider;
use semver::Version;

use crate::support::{self, start};

const LOCK: Duration = Duration::from_secs(60);
/// More than the candidates of one search (32 for each physical partition).
const INELIGIBLE: u64 = 150;
/// Far more than the few searches take, far less than trying each ineligible item at each poll would.
const PROMPTLY: Duration = Duration::from_secs(5);

fn activity(id: u64, session_id: Option<String>, tag: Option<&str>) -> WorkItem {
    WorkItem::ActivityExecute {
        instance: format!("i{}", id % 40),
        execution_id: 1,
        id,
        name: "a".into(),
        input: String::new(),
        session_id,
        tag: tag.map(str::to_owned),
    }
}

fn owner(name: &str) -> SessionFetchConfig {
    SessionFetchConfig { owner_id: name.into(), lock_timeout: LOCK }
}

async fn work(provider: &CosmosDBProvider, session: Option<&SessionFetchConfig>) -> Option<u64> {
    let fetched = provider.fetch_work_item(LOCK, Duration::ZERO, session, &TagFilter::DefaultOnly).await;
    match fetched.expect("no error")? {
        (WorkItem::ActivityExecute { id, .. }, ..) => Some(id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_tags_that_nobody_serves() {
    let (provider, container) = support::provider().await;
    for id in 1..=INELIGIBLE {
        provider.enqueue_for_worker(activity(id, None, Some("nobody"))).await.expect("queued");
    }
    provider.enqueue_for_worker(activity(9999, None, None)).await.expect("queued");
    let begun = Instant::now();
    assert_eq!(work(&provider, None).await, Some(9999));
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    container.delete().await;
}

/// The sessions are held by a worker of another process; this one has yet to learn of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sessions_of_others() {
    let (provider, container) = support::provider().await;
    let mut config = support::config();
    config.container.clone_from(&container.name);
    let other = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a second provider"));
    let session = |id: u64| Some(format!("session {id}"));
    for id in 1..=INELIGIBLE {
        other.enqueue_for_worker(activity(id, session(id), None)).await.expect("queued");
        assert_eq!(work(&other, Some(&owner("other"))).await, Some(id), "and with it the session");
    }
    for id in 1..=INELIGIBLE {
        provider.enqueue_for_worker(activity(1000 + id, session(id), None)).await.expect("queued");
    }
    provider.enqueue_for_worker(activity(9999, None, None)).await.expect("queued");
    let begun = Instant::now();
    assert_eq!(work(&provider, Some(&owner("me"))).await, Some(9999));
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    // What the sessions hide from this worker is there for their holder.
    assert!(
        work(&other, Some(&owner("other"))).await.is_some_and(|id| (1001..=1000 + INELIGIBLE).contains(&id))
    );
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_versions_that_nobody_supports() {
    let (provider, container) = support::provider().await;
    let range = SemverRange::new(Version::new(0, 0, 0), Version::new(1, 0, 0));
    let filter = DispatcherCapabilityFilter { supported_duroxide_versions: vec![range] };
    for n in 1..=INELIGIBLE {
        let instance = format!("future-{n}");
        provider.enqueue_for_orchestrator(start(&instance), None).await.expect("queued");
        let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, Some(&filter)).await;
        let fetched = fetched.expect("no error");
        let (_, token, _) = fetched.expect("a turn");
        let metadata = ExecutionMetadata {
            orchestration_name: Some("o".into()),
            orchestration_version: Some("1.0.0".into()),
            pinned_duroxide_version: Some(Version::new(99, 0, 0)),
            ..ExecutionMetadata::default()
        };
        provider
            .ack_orchestration_item(
                &token,
                1,
                Vec::new(),
                Vec::new(),
                vec![start(&instance)],
                metadata,
                Vec::new(),
            )
            .await
            .expect("acknowledged");
    }
    provider.enqueue_for_orchestrator(start("now"), None).await.expect("queued");
    let begun = Instant::now();
    let fetched =
        provider.fetch_orchestration_item(LOCK, Duration::ZERO, Some(&filter)).await.expect("no error");
    assert_eq!(fetched.expect("a turn").0.instance, "now");
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    container.delete().await;
}

/// An event that overtakes a start which is hidden (a runtime that does not know the orchestration gives it back
/// with a delay) waits for it: it is no turn of its own, and hides no other instance.
#[tokio::test]
async fn an_event_waits_for_a_hidden_start() {
    let (provider, container) = support::provider().await;
    provider.enqueue_for_orchestrator(start("early"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    let hidden = Duration::from_millis(700);
    provider.abandon_orchestration_item(&token, Some(hidden), true).await.expect("given back");
    let event = WorkItem::ExternalRaised { instance: "early".into(), name: "e".into(), data: "d".into() };
    provider.enqueue_for_orchestrator(event, None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(LOCK, Duration::ZERO, None).await.expect("no error");
    assert!(fetched.is_none(), "{fetched:?}");
    let fetched =
        provider.fetch_orchestration_item(LOCK, Duration::from_secs(5), None).await.expect("no error");
    let (item, ..) = fetched.expect("a turn");
    assert_eq!((item.orchestration_name.as_str(), item.messages.len()), ("o", 2));
    container.delete().await;
}
