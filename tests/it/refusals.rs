//! The service may refuse any operation inside a procedure (`isAccepted` is false), and everything the procedure did
//! is rolled back. Each procedure is refused once at its first operation, once at its second, and so on to its last,
//! in each request of a call of the provider that uses it: the call succeeds all the same, and has its effect once.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cosmos_emulator::{Emulator, Fault, FaultRule};
use duroxide::providers::{
    ExecutionMetadata, OrchestrationItem, Provider, ProviderAdmin, PruneOptions, ScheduledActivityIdentifier,
    SessionFetchConfig, WorkItem,
};
use duroxide::{Event, EventKind, TagFilter};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};

use crate::support::{self, Container, start};

const LOCK: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what the procedure is for, with an instance of its own, and asserts the effect. Leaves no work behind.
type Use = for<'a> fn(&'a Site, &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! uses {
    ($($procedure:literal: $by:ident,)*) => {
        [$(($procedure, stringify!($by), (|site, id| Box::pin($by(site, id))) as Use)),*]
    };
}

/// Every procedure with the calls that use it.
fn uses() -> impl Iterator<Item = (&'static str, &'static str, Use)> {
    uses! {
        "abandonTurn": giving_a_turn_back,
        "abandonWork": giving_an_activity_back,
        "ackTurn": committing_a_turn,
        "ackWork": completing_an_activity,
        "appendHistory": appending_events,
        "claimSession": claiming_a_session,
        "enqueueMessages": enqueueing_a_message,
        "enqueueMessages": delivering_a_message,
        "enqueueWork": enqueueing_an_activity,
        "lockTurn": fetching_a_turn,
        "lockTurn": dropping_messages_of_nobody,
        "lockWork": fetching_an_activity,
        "markDeletion": deleting_an_instance,
        "markDeletion": taking_a_deletion_back,
        "pruneExecutions": pruning_executions,
        "purgeInstance": deleting_an_instance,
        "renewSession": renewing_a_session,
        "renewSession": completing_an_activity_of_a_session,
        "renewTurn": renewing_a_turn,
        "renewWork": renewing_an_activity,
        "settleOutbox": delivering_a_message,
        "stepDeletion": deleting_an_instance,
        "stepDeletion": taking_a_deletion_back,
        "stageTexts": committing_long_events,
        "stageTexts": completing_with_a_long_result,
    }
    .into_iter()
}

/// A container on which one request for a procedure is refused: after `skip` others, after so many operations.
struct Site {
    emulator: Emulator,
    config: CosmosDBProviderConfig,
    container: Container,
    provider: CosmosDBProvider,
    /// Another process, which remembers nothing.
    other: CosmosDBProvider,
    procedure: &'static str,
    skip: u64,
    after: u64,
    /// Whether there was such a request.
    reached: AtomicBool,
}

impl Site {
    async fn new(emulator: &Emulator, config: &CosmosDBProviderConfig, procedure: &'static str) -> Self {
        let config = CosmosDBProviderConfig { container: support::unique("refused"), ..config.clone() };
        let forgetful =
            CosmosDBProviderConfig { cache_bytes: 0, cache_max_age: Duration::ZERO, ..config.clone() };
        Self {
            emulator: emulator.clone(),
            container: Container::of(&config),
            provider: CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider"),
            other: CosmosDBProvider::new_with_config(forgetful).await.expect("a second provider"),
            config,
            procedure,
            skip: 0,
            after: 0,
            reached: AtomicBool::default(),
        }
    }

    /// Makes a call that is refused.
    async fn refused<T>(&self, call: impl Future<Output = T>) -> T {
        let path = format!("/dbs/{}/colls/{}/*", self.config.database, self.config.container);
        let rule = FaultRule::new(Fault::RefuseOperations { after: self.after });
        let rule = rule.procedure(&format!("{}_*", self.procedure)).path(&path).skip(self.skip).count(1);
        let rule = self.emulator.faults().add(rule);
        let answer = call.await;
        self.reached.store(self.emulator.faults().applied(rule) == Some(1), Ordering::SeqCst);
        self.emulator.faults().remove(rule);
        answer
    }

    /// Requests for the procedure that have failed so far.
    fn failed(&self) -> u64 {
        let of = |provider: &CosmosDBProvider| {
            provider.stats().get(self.procedure).map_or(0, |spent| spent.failed)
        };
        of(&self.provider) + of(&self.other)
    }

    async fn enqueue(&self, message: WorkItem) {
        self.provider.enqueue_for_orchestrator(message, None).await.expect("queued");
    }

    async fn fetch_turn(&self) -> (OrchestrationItem, String, u32) {
        let fetched = self.provider.fetch_orchestration_item(LOCK, PATIENCE, None).await;
        fetched.expect("no error").expect("a turn")
    }

    /// The turn that is ready: its messages, token and attempts.
    async fn turn(&self, id: &str) -> (usize, String, u32) {
        let (item, token, attempts) = self.fetch_turn().await;
        assert_eq!(item.instance, id);
        (item.messages.len(), token, attempts)
    }

    async fn started(&self, id: &str) -> String {
        self.enqueue(start(id)).await;
        self.turn(id).await.1
    }

    /// A turn that says no more than its events, and ends.
    async fn commit(&self, token: &str, execution: u64, events: Vec<Event>, status: &str) {
        let metadata = ExecutionMetadata { status: Some(status.into()), ..metadata() };
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        self.provider
            .ack_orchestration_item(token, execution, events, nothing.0, nothing.1, metadata, nothing.2)
            .await
            .expect("acknowledged");
    }

    /// An instance of `executions` executions of two events each; the last one has not ended.
    async fn grown(&self, id: &str, executions: u64) {
        let mut token = self.started(id).await;
        for execution in 1..executions {
            self.commit(&token, execution, events(id, execution), "ContinuedAsNew").await;
            self.enqueue(event(id)).await;
            token = self.turn(id).await.1;
        }
        self.commit(&token, executions, events(id, executions), "Running").await;
    }

    /// Takes the turn that is ready, which has so many messages, and ends it.
    async fn one_turn(&self, id: &str, messages: usize) {
        let (found, token, attempts) = self.turn(id).await;
        assert_eq!((found, attempts), (messages, 1), "{id}");
        let execution = self.provider.get_instance_info(id).await.map_or(1, |info| info.current_execution_id);
        self.commit(&token, execution.max(1), Vec::new(), "Running").await;
    }

    async fn fetch_work(&self, owner: Option<&SessionFetchConfig>) -> Option<(WorkItem, String, u32)> {
        let fetched = self.provider.fetch_work_item(LOCK, Duration::ZERO, owner, &TagFilter::DefaultOnly);
        fetched.await.expect("no error")
    }

    /// The activity that is ready, of the first attempt: its token.
    async fn work(&self, id: u64) -> String {
        let (item, token, attempts) = self.fetch_work(None).await.expect("an activity");
        let WorkItem::ActivityExecute { id: found, .. } = item else { panic!("{item:?}") };
        assert_eq!((found, attempts), (id, 1));
        token
    }

    async fn discard(&self, token: &str) {
        self.provider.ack_work_item(token, None).await.expect("removed");
    }

    async fn ids(&self, id: &str, execution: u64) -> Vec<u64> {
        let history = self.other.read_with_execution(id, execution).await.expect("history");
        history.iter().map(Event::event_id).collect()
    }
}

fn metadata() -> ExecutionMetadata {
    ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..ExecutionMetadata::default()
    }
}

/// Too long for the document that refers to it.
fn long() -> String {
    "x".repeat(5_000)
}

fn event(id: &str) -> WorkItem {
    WorkItem::ExternalRaised { instance: id.into(), name: "e".into(), data: long() }
}

/// A key and a custom status, both long.
fn events(id: &str, execution: u64) -> Vec<Event> {
    let set = EventKind::KeyValueSet { key: "key".into(), value: long(), last_updated_at_ms: 1 };
    let status = EventKind::CustomStatusUpdated { status: Some(long()) };
    let of = |(number, kind)| Event::with_event_id(number, id, execution, None, kind);
    [(1, set), (2, status)].map(of).into()
}

fn activity(id: &str, number: u64, session: Option<&str>) -> WorkItem {
    WorkItem::ActivityExecute {
        instance: id.into(),
        execution_id: 1,
        id: number,
        name: "a".into(),
        input: long(),
        session_id: session.map(str::to_owned),
        tag: None,
    }
}

fn completed(id: &str, number: u64, result: String) -> WorkItem {
    WorkItem::ActivityCompleted { instance: id.into(), execution_id: 1, id: number, result }
}

fn owner(name: &str) -> SessionFetchConfig {
    SessionFetchConfig { owner_id: name.into(), lock_timeout: LOCK }
}

async fn giving_a_turn_back(site: &Site, id: &str) {
    site.enqueue(start(id)).await;
    site.enqueue(event(id)).await;
    let (_, token, _) = site.turn(id).await;
    let hidden = Some(Duration::from_millis(1));
    site.refused(site.provider.abandon_orchestration_item(&token, hidden, true)).await.expect("given back");
    // The attempt was given back once.
    site.one_turn(id, 2).await;
}

async fn giving_an_activity_back(site: &Site, id: &str) {
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    let token = site.work(1).await;
    site.refused(site.provider.abandon_work_item(&token, None, true)).await.expect("given back");
    let token = site.work(1).await;
    site.discard(&token).await;
}

/// The first turn of a second execution: events, activities, one cancelled, messages to itself and to a child.
async fn committing_a_turn(site: &Site, id: &str) {
    site.grown(id, 1).await;
    site.provider.enqueue_for_worker(activity(id, 9, None)).await.expect("queued");
    site.enqueue(event(id)).await;
    let (_, token, _) = site.turn(id).await;
    let child = format!("{id} child");
    let work = vec![activity(id, 1, None), activity(id, 2, None)];
    let messages = vec![event(id), start(&child)];
    let cancelled =
        vec![ScheduledActivityIdentifier { instance: id.into(), execution_id: 1, activity_id: 9 }];
    let commit =
        site.provider.ack_orchestration_item(&token, 2, events(id, 2), work, messages, metadata(), cancelled);
    site.refused(commit).await.expect("acknowledged");
    assert_eq!((site.ids(id, 1).await, site.ids(id, 2).await), (vec![1, 2], vec![1, 2]));
    let value = site.other.get_kv_value(id, "key").await.expect("value");
    assert_eq!(value, Some(long()));
    let status = site.other.get_custom_status(id, 0).await.expect("status");
    assert_eq!(status, Some((Some(long()), 2)), "of two turns");
    for number in [1, 2] {
        let token = site.work(number).await;
        site.discard(&token).await;
    }
    let mut ready = BTreeSet::new();
    for _ in 0..2 {
        let (item, token, _) = site.fetch_turn().await;
        assert_eq!(item.messages.len(), 1);
        let execution = if item.instance == id { 2 } else { 1 };
        site.commit(&token, execution, Vec::new(), "Running").await;
        ready.insert(item.instance);
    }
    assert_eq!(ready, BTreeSet::from([id.to_owned(), child]));
}

/// The worker takes the next activity with the same request.
async fn completing_an_activity(site: &Site, id: &str) {
    site.grown(id, 1).await;
    for number in [1, 2] {
        site.provider.enqueue_for_worker(activity(id, number, None)).await.expect("queued");
    }
    let token = site.work(1).await;
    let completion = Some(completed(id, 1, long()));
    site.refused(site.provider.ack_work_item(&token, completion)).await.expect("acknowledged");
    site.one_turn(id, 1).await;
    let token = site.work(2).await;
    site.discard(&token).await;
}

/// An event of an earlier execution.
async fn appending_events(site: &Site, id: &str) {
    site.grown(id, 2).await;
    let kind = EventKind::ExternalEvent { name: "n".into(), data: long() };
    let third = vec![Event::with_event_id(3, id, 1, None, kind)];
    site.refused(site.provider.append_with_execution(id, 1, third)).await.expect("appended");
    assert_eq!((site.ids(id, 1).await, site.ids(id, 2).await), (vec![1, 2, 3], vec![1, 2]));
}

async fn claiming_a_session(site: &Site, id: &str) {
    let item = |number| activity(id, number, Some(id));
    site.provider.enqueue_for_worker(item(1)).await.expect("queued");
    let me = owner("me");
    let (_, first, _) = site.refused(site.fetch_work(Some(&me))).await.expect("an activity");
    site.provider.enqueue_for_worker(item(2)).await.expect("queued");
    assert!(site.fetch_work(Some(&owner("you"))).await.is_none(), "it is mine");
    let (_, second, _) = site.fetch_work(Some(&me)).await.expect("an activity");
    for token in [first, second] {
        site.discard(&token).await;
    }
}

async fn enqueueing_a_message(site: &Site, id: &str) {
    site.enqueue(start(id)).await;
    site.refused(site.enqueue(event(id))).await;
    site.one_turn(id, 2).await;
}

/// Also settles the outbox.
async fn delivering_a_message(site: &Site, id: &str) {
    let token = site.started(id).await;
    let child = format!("{id} child");
    let delivered = async {
        let messages = vec![start(&child)];
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        site.provider
            .ack_orchestration_item(&token, 1, nothing.0, nothing.1, messages, metadata(), nothing.2)
            .await
            .expect("acknowledged");
        while !site.container.documents(id, "c.type = 'outbox'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    site.refused(tokio::time::timeout(PATIENCE, delivered)).await.expect("the outbox is settled");
    site.one_turn(&child, 1).await;
}

/// The second one of the same number: duroxide allows it.
async fn enqueueing_an_activity(site: &Site, id: &str) {
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    site.refused(site.provider.enqueue_for_worker(activity(id, 1, None))).await.expect("queued");
    for _ in 0..2 {
        let token = site.work(1).await;
        site.discard(&token).await;
    }
}

/// With history, key-value state and a long message, for a process that remembers nothing, and that nobody hands
/// anything over to.
async fn fetching_a_turn(site: &Site, id: &str) {
    site.grown(id, 1).await;
    site.other.enqueue_for_orchestrator(event(id), None).await.expect("queued");
    let fetched = site.refused(site.other.fetch_orchestration_item(LOCK, Duration::ZERO, None)).await;
    let (item, token, attempts) = fetched.expect("no error").expect("a turn");
    assert_eq!((item.instance.as_str(), item.messages.len(), item.history.len()), (id, 1, 2));
    assert_eq!(attempts, 1);
    site.commit(&token, 1, Vec::new(), "Running").await;
}

async fn dropping_messages_of_nobody(site: &Site, id: &str) {
    let message = WorkItem::QueueMessage { instance: id.into(), name: "q".into(), data: long() };
    site.other.enqueue_for_orchestrator(message, None).await.expect("queued");
    let fetched = site.refused(site.provider.fetch_orchestration_item(LOCK, Duration::ZERO, None)).await;
    assert!(fetched.expect("no error").is_none());
}

async fn fetching_an_activity(site: &Site, id: &str) {
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    let token = site.refused(site.work(1)).await;
    site.discard(&token).await;
}

async fn deleting_an_instance(site: &Site, id: &str) {
    site.grown(id, 2).await;
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    site.enqueue(event(id)).await;
    let deleted = site.refused(site.provider.delete_instance(id, true)).await.expect("deleted");
    assert_eq!((deleted.instances_deleted, deleted.executions_deleted, deleted.events_deleted), (1, 2, 4));
    assert_eq!(deleted.queue_messages_deleted, 2);
    assert_eq!(site.container.documents(id, "c.type != 'inbox'").await.len(), 0);
}

/// One of two runs: neither is deleted, and the mark of the first goes.
async fn taking_a_deletion_back(site: &Site, id: &str) {
    let both = [format!("{id} ended"), format!("{id} running")];
    let token = site.started(&both[0]).await;
    site.commit(&token, 1, events(&both[0], 1), "Completed").await;
    site.grown(&both[1], 1).await;
    let deletion = site.provider.delete_instances_atomic(&both, false);
    let error = site.refused(deletion).await.expect_err("one runs");
    assert!(error.message.contains("running"), "{error}");
    for id in &both {
        site.enqueue(event(id)).await;
        site.one_turn(id, 1).await;
    }
}

async fn pruning_executions(site: &Site, id: &str) {
    site.grown(id, 3).await;
    let pruned = site.refused(site.provider.prune_executions(id, PruneOptions::default())).await;
    let pruned = pruned.expect("pruned");
    assert_eq!((pruned.executions_deleted, pruned.events_deleted), (2, 4));
    assert_eq!(site.provider.list_executions(id).await.expect("executions"), [3]);
    assert_eq!((site.ids(id, 1).await, site.ids(id, 3).await), (Vec::new(), vec![1, 2]));
}

async fn renewing_a_session(site: &Site, id: &str) {
    let me = owner(id);
    site.provider.enqueue_for_worker(activity(id, 1, Some(id))).await.expect("queued");
    let (_, token, _) = site.fetch_work(Some(&me)).await.expect("an activity");
    let partition = format!("$session/{id}");
    let until =
        async || site.container.documents(&partition, "c.id = 'session'").await[0]["sessionUntil"].as_f64();
    let before = until().await;
    let renewed = site.refused(site.provider.renew_session_lock(&[id], LOCK * 10, LOCK)).await;
    assert_eq!(renewed.expect("renewed"), 1);
    assert!(until().await > before);
    site.discard(&token).await;
}

async fn completing_an_activity_of_a_session(site: &Site, id: &str) {
    site.grown(id, 1).await;
    site.provider.enqueue_for_worker(activity(id, 1, Some(id))).await.expect("queued");
    let (_, token, _) = site.fetch_work(Some(&owner("me"))).await.expect("an activity");
    let completion = Some(completed(id, 1, long()));
    site.refused(site.provider.ack_work_item(&token, completion)).await.expect("acknowledged");
    site.one_turn(id, 1).await;
}

async fn renewing_a_turn(site: &Site, id: &str) {
    let token = site.started(id).await;
    let until = async || site.container.documents(id, "c.id = 'head'").await[0]["lock"]["until"].as_f64();
    let before = until().await.expect("it is locked");
    site.refused(site.provider.renew_orchestration_item_lock(&token, LOCK * 10)).await.expect("renewed");
    assert!(until().await > Some(before));
    site.commit(&token, 1, Vec::new(), "Running").await;
}

async fn renewing_an_activity(site: &Site, id: &str) {
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    let token = site.work(1).await;
    let until = async || site.container.documents(id, "c.type = 'work'").await[0]["lock"]["until"].as_f64();
    let before = until().await.expect("it is locked");
    site.refused(site.provider.renew_work_item_lock(&token, LOCK * 10)).await.expect("renewed");
    assert!(until().await > Some(before));
    site.discard(&token).await;
}

/// More than a request takes.
async fn committing_long_events(site: &Site, id: &str) {
    let token = site.started(id).await;
    let of = |number| {
        let kind = EventKind::ExternalEvent { name: "n".into(), data: "x".repeat(1_000_000) };
        Event::with_event_id(number, id, 1, None, kind)
    };
    site.refused(site.commit(&token, 1, [1, 2].map(of).into(), "Running")).await;
    assert_eq!(site.ids(id, 1).await, [1, 2]);
    assert_eq!(site.container.documents(id, "c.type = 'text'").await.len(), 1, "one is sent ahead");
}

async fn completing_with_a_long_result(site: &Site, id: &str) {
    site.grown(id, 1).await;
    site.provider.enqueue_for_worker(activity(id, 1, None)).await.expect("queued");
    let token = site.work(1).await;
    let completion = Some(completed(id, 1, "x".repeat(1_900_000)));
    site.refused(site.provider.ack_work_item(&token, completion)).await.expect("acknowledged");
    site.one_turn(id, 1).await;
}

/// Refuses one operation after the other, until the procedure needs no more, in one request after the other, until
/// there are no more; answers how many operations that were.
async fn refuse_all(mut site: Site, by: &str, used: Use) -> u64 {
    let mut refused = 0;
    loop {
        println!("{} by {by}, request {}, operation {}", site.procedure, site.skip + 1, site.after + 1);
        let before = site.failed();
        used(&site, &format!("i{}-{}", site.skip, site.after)).await;
        let depths = site.provider.get_queue_depths().await.expect("depths");
        assert_eq!((depths.orchestrator_queue, depths.worker_queue), (0, 0), "nothing is there twice");
        if !site.reached.load(Ordering::SeqCst) {
            return refused;
        }
        match site.failed() - before {
            0 => (site.skip, site.after) = (site.skip + 1, 0),
            failed => {
                assert_eq!(failed, 1, "the repeated request is not refused");
                (site.after, refused) = (site.after + 1, refused + 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_of_every_procedure() {
    let named: BTreeSet<&str> = uses().map(|(procedure, ..)| procedure).collect();
    let deployed: BTreeSet<&str> =
        duroxide_cosmos::procedures().filter_map(|(id, _)| id.split('_').next()).collect();
    assert_eq!(named, deployed, "each procedure has a use");
    let (emulator, config) = support::emulated(1).await;
    for (procedure, by, used) in uses() {
        let site = Site::new(&emulator, &config, procedure).await;
        assert!(refuse_all(site, by, used).await > 0, "{procedure} by {by} does something");
    }
    emulator.shutdown().await;
}
