//! A runtime that stops: in time, whatever the account does, and without a lock left behind. (Turns: `queues.rs`.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duroxide::providers::{Provider, SessionFetchConfig, WorkItem};
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, TagFilter};

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

const LOCK: Duration = Duration::from_secs(30);

/// A worker goes away while its fetch locks an activity: the next fetch gets it, as its first attempt.
async fn a_dropped_fetch_leaves_work(session: Option<&'static str>) {
    let config = support::config();
    let container = Container::of(&config);
    let (calling, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let provider = Faulty::provider(&config, move |what| {
        if what == "lockWork" || what == "abandonWork" {
            let _ = calling.send(what.to_owned());
        }
        Fate::Pass
    })
    .await;
    let item = WorkItem::ActivityExecute {
        instance: "i".into(),
        execution_id: 1,
        id: 2,
        name: "a".into(),
        input: String::new(),
        session_id: session.map(str::to_owned),
        tag: None,
    };
    provider.enqueue_for_worker(item).await.expect("queued");
    let owner = session.map(|_| SessionFetchConfig { owner_id: "me".into(), lock_timeout: LOCK });
    let fetch = {
        let (provider, owner) = (Arc::clone(&provider), owner.clone());
        tokio::spawn(async move {
            provider.fetch_work_item(LOCK, Duration::ZERO, owner.as_ref(), &TagFilter::DefaultOnly).await
        })
    };
    assert_eq!(calls.recv().await.as_deref(), Some("lockWork"));
    fetch.abort();
    if fetch.await.is_err() {
        // Otherwise the fetch was faster than the abort; nothing to see this time.
        assert_eq!(calls.recv().await.as_deref(), Some("abandonWork"));
        let wait = Duration::from_secs(5);
        let fetched = provider.fetch_work_item(LOCK, wait, owner.as_ref(), &TagFilter::DefaultOnly).await;
        let (_, _, attempts) = fetched.expect("no error").expect("free again");
        assert_eq!(attempts, 1, "the stranded attempt does not count");
    }
    container.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_fetch_gives_an_activity_back() {
    a_dropped_fetch_leaves_work(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_fetch_gives_an_activity_of_a_session_back() {
    a_dropped_fetch_leaves_work(Some("s")).await;
}

/// No request is answered any more; the runtime stops within its grace time all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_stops_while_requests_hang() {
    let config = support::config();
    let container = Container::of(&config);
    let hanging = Arc::new(AtomicBool::new(false));
    let (hung, mut hangs) = tokio::sync::mpsc::unbounded_channel();
    let provider = {
        let hanging = Arc::clone(&hanging);
        Faulty::provider(&config, move |_| {
            if !hanging.load(Ordering::SeqCst) {
                return Fate::Pass;
            }
            let _ = hung.send(());
            Fate::Hangs
        })
        .await
    };
    let store = provider as Arc<dyn Provider>;
    let activities = ActivityRegistry::builder()
        .register("Echo", |_: ActivityContext, input: String| async move { Ok(input) })
        .build();
    let endless = |ctx: OrchestrationContext, _: String| async move {
        loop {
            ctx.schedule_activity("Echo", "").await?;
        }
    };
    let registry = OrchestrationRegistry::builder().register("endless", endless).build();
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities, registry).await;
    Client::new(store).start_orchestration("e", "endless", "").await.expect("started");
    hanging.store(true, Ordering::SeqCst);
    hangs.recv().await.expect("a request hangs");
    let begun = Instant::now();
    runtime.shutdown(Some(500)).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    container.delete().await;
}
