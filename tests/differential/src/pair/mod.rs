//! Both providers, and what a sequence has outstanding at them.

use std::collections::HashSet;
use std::time::Duration;

use cosmos_emulator::Emulator;
use duroxide::providers::sqlite::SqliteProvider;
use duroxide::providers::{
    DispatcherCapabilityFilter, OrchestrationItem, Provider, ProviderAdmin, ScheduledActivityIdentifier,
    SemverRange, TagFilter, WorkItem,
};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use semver::Version;

use crate::answers::{self, agree};
use crate::ops::{Message, Op, Plan, Stale, Tags};
use crate::turn;

/// Longer than a sequence takes: what expires is time, and left to other tests.
const LOCK: Duration = Duration::from_secs(300);
const HIDDEN: Duration = Duration::from_secs(3600);

/// The ids of instances; two of them are not welcome everywhere.
const INSTANCES: [&str; 6] = ["a", "b", "c", "d", "$e/f #?", "größe\\☃"];

/// Fewer than the candidates of one search: beyond, a process may begin at its own place among them.
const MOST_WORK: usize = 24;

/// Calls the method of both and compares the views of their answers.
macro_rules! both {
    ($pair:expr, $method:ident($($argument:expr),*), $view:expr) => {
        agree(
            concat!(stringify!($method)),
            $pair.ours.$method($($argument),*).await.map($view),
            $pair.theirs.$method($($argument),*).await.map($view),
        )
    };
}

mod admin;
mod worker;

/// The same lock at both.
#[derive(Debug, Clone)]
pub struct Token {
    ours: String,
    theirs: String,
}

struct Turn {
    token: Token,
    instance: usize,
    item: OrchestrationItem,
}

struct Work {
    token: Token,
    item: WorkItem,
}

/// What the sequence knows of an instance.
#[derive(Default, Clone)]
struct Known {
    /// A start has been sent since it last did not exist.
    started: bool,
    /// Who started it, if an instance did.
    parent: Option<usize>,
    /// Activities that its turns scheduled, whether or not they still wait.
    scheduled: Vec<ScheduledActivityIdentifier>,
}

pub struct Pair {
    ours: CosmosDBProvider,
    theirs: SqliteProvider,
    known: Vec<Known>,
    turns: Vec<Turn>,
    works: Vec<Work>,
    old_turns: Vec<Token>,
    old_works: Vec<Token>,
    /// A turn was given back: SQLite then leaves its token on the messages and no longer counts them.
    gave_back: bool,
    counter: u64,
}

pub async fn emulator() -> Emulator {
    let partitions = std::env::var("EMULATOR_PARTITIONS").map_or(1, |text| text.parse().expect("a number"));
    Emulator::builder().partitions(partitions).start().await.expect("an emulator")
}

/// Runs a sequence on two fresh stores; the error says where they differ.
pub async fn compare(emulator: &Emulator, ops: &[Op]) -> Result<(), String> {
    static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let config = CosmosDBProviderConfig {
        endpoint: emulator.endpoint().to_owned(),
        key: emulator.key().to_owned(),
        database: "differential".to_owned(),
        container: format!("run-{run}"),
        ..CosmosDBProviderConfig::default()
    };
    let mut pair = Pair {
        ours: CosmosDBProvider::new_with_config(config).await.expect("a provider"),
        theirs: SqliteProvider::new_in_memory().await.expect("a SQLite provider"),
        known: vec![Known::default(); INSTANCES.len()],
        turns: Vec::new(),
        works: Vec::new(),
        old_turns: Vec::new(),
        old_works: Vec::new(),
        gave_back: false,
        counter: 0,
    };
    for (step, op) in ops.iter().enumerate() {
        pair.run(op).await.map_err(|difference| format!("step {step}, {op:?}: {difference}"))?;
    }
    for instance in 0..INSTANCES.len() {
        pair.look(instance).await.map_err(|difference| format!("in the end: {difference}"))?;
    }
    pair.overview().await.map_err(|difference| format!("in the end: {difference}"))
}

fn pick<T>(list: &[T], index: u8) -> Option<usize> {
    (!list.is_empty()).then(|| usize::from(index) % list.len())
}

fn instance(index: u8) -> usize {
    usize::from(index) % INSTANCES.len()
}

fn completed_before(completed: Option<bool>) -> Option<u64> {
    completed.map(|all| if all { 4_000_000_000_000 } else { 1 })
}

fn filter(index: u8) -> DispatcherCapabilityFilter {
    let range = |min: u64, max: u64| SemverRange::new(Version::new(0, min, 0), Version::new(0, max, 9));
    let ranges = [vec![range(0, 0)], vec![range(1, 2)], vec![range(0, 9)], vec![]];
    DispatcherCapabilityFilter {
        supported_duroxide_versions: ranges[usize::from(index) % ranges.len()].clone(),
    }
}

fn tag(index: u8) -> String {
    format!("tag{index}")
}

fn tag_filter(tags: &Tags) -> TagFilter {
    let one = |index: &u8| HashSet::from([tag(*index)]);
    match tags {
        Tags::Default => TagFilter::DefaultOnly,
        Tags::Only(index) => TagFilter::Tags(one(index)),
        Tags::DefaultAnd(index) => TagFilter::DefaultAnd(one(index)),
        Tags::Any => TagFilter::Any,
        Tags::None => TagFilter::None,
    }
}

impl Pair {
    async fn run(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Start { instance: i, orchestration } => self.start(instance(*i), *orchestration).await,
            Op::Send { instance: i, message } => self.send(instance(*i), message).await,
            Op::EnqueueWork { instance: i, activity } => self.enqueue_work(instance(*i), activity).await,
            Op::FetchTurn { filter } => self.fetch_turn(*filter).await,
            Op::AckTurn { turn, plan } => self.ack_turn(*turn, plan).await,
            Op::AbandonTurn { turn, ignore_attempt, hide } => {
                self.abandon_turn(*turn, *ignore_attempt, *hide).await
            }
            Op::RenewTurn { turn } => self.renew_turn(*turn).await,
            Op::StaleTurn { turn, what } => self.stale_turn(*turn, what).await,
            Op::FetchWork { tags, owner } => self.fetch_work(tags, *owner).await,
            Op::AckWork { work, outcome } => self.ack_work(*work, outcome).await,
            Op::AbandonWork { work, ignore_attempt, hide } => {
                self.abandon_work(*work, *ignore_attempt, *hide).await
            }
            Op::RenewWork { work } => self.renew_work(*work).await,
            Op::StaleWork { work, what } => self.stale_work(*work, what).await,
            Op::RenewSessions { owner } => self.renew_sessions(*owner).await,
            Op::Append { instance: i, events, duplicate } => {
                self.append(instance(*i), *events, *duplicate).await
            }
            Op::Look { instance: i } => self.look(instance(*i)).await,
            Op::Overview => self.overview().await,
            Op::Delete { instance: i, force } => self.delete(instance(*i), *force).await,
            Op::DeleteAlone { instance: i, force } => self.delete_alone(instance(*i), *force).await,
            Op::DeleteBulk { instances, completed } => self.delete_bulk(instances, *completed).await,
            Op::Prune { instance: i, keep_last, completed } => {
                self.prune(instance(*i), *keep_last, *completed).await
            }
            Op::PruneBulk { keep_last, completed } => self.prune_bulk(*keep_last, *completed).await,
        }
    }

    /// A text no other value has.
    fn text(&mut self, long: bool) -> String {
        self.counter += 1;
        format!("{}{}", self.counter, if long { "x".repeat(3000) } else { String::new() })
    }

    async fn has_room_for_work(&self) -> bool {
        let depths = self.theirs.get_queue_depths().await.expect("depths");
        depths.worker_queue + self.works.len() < MOST_WORK
    }

    async fn exists(&self, instance: usize) -> bool {
        self.theirs.get_instance_info(INSTANCES[instance]).await.is_ok()
    }

    fn start_message(&mut self, instance: usize, orchestration: u8, parent: Option<usize>) -> WorkItem {
        let first = !std::mem::replace(&mut self.known[instance].started, true);
        if first {
            self.known[instance].parent = parent;
        }
        WorkItem::StartOrchestration {
            instance: INSTANCES[instance].to_owned(),
            orchestration: format!("orchestration{orchestration}"),
            input: self.text(false),
            version: (orchestration == 0).then(|| "1.0.0".to_owned()),
            parent_instance: parent.map(|parent| INSTANCES[parent].to_owned()),
            parent_id: parent.map(|_| 2),
            parent_execution_id: None,
            execution_id: 1,
        }
    }

    /// `None`: a message other than of a queue for an instance without a start. The contract leaves it in the
    /// queue until the start comes, and SQLite finds nothing else meanwhile.
    fn message(&mut self, instance: usize, message: &Message) -> Option<WorkItem> {
        if !self.known[instance].started && !matches!(message, Message::Queue { .. }) {
            return None;
        }
        let to = INSTANCES[instance].to_owned();
        Some(match message {
            Message::Event { long } => {
                WorkItem::ExternalRaised { instance: to, name: "event".to_owned(), data: self.text(*long) }
            }
            Message::Hidden => {
                WorkItem::ExternalRaised { instance: to, name: "hidden".to_owned(), data: self.text(false) }
            }
            Message::Queue { long } => {
                WorkItem::QueueMessage { instance: to, name: "queue".to_owned(), data: self.text(*long) }
            }
            Message::Cancel => WorkItem::CancelInstance { instance: to, reason: self.text(false) },
            Message::ChildCompleted => WorkItem::SubOrchCompleted {
                parent_instance: to,
                parent_execution_id: 1,
                parent_id: 2,
                result: self.text(true),
            },
            Message::Timer => WorkItem::TimerFired {
                instance: to,
                execution_id: 1,
                id: 3,
                fire_at_ms: 1_000_000 + self.counter,
            },
        })
    }

    async fn start(&mut self, instance: usize, orchestration: u8) -> Result<(), String> {
        let item = self.start_message(instance, orchestration, None);
        both!(self, enqueue_for_orchestrator(item.clone(), None), answers::same).map(drop)
    }

    async fn send(&mut self, instance: usize, message: &Message) -> Result<(), String> {
        let Some(mut item) = self.message(instance, message) else { return Ok(()) };
        if let WorkItem::TimerFired { fire_at_ms, .. } = &mut item {
            // Only a commit hides timers: this one is visible at once.
            *fire_at_ms += 4_000_000_000_000;
        }
        let delay = matches!(message, Message::Hidden).then_some(HIDDEN);
        both!(self, enqueue_for_orchestrator(item.clone(), delay), answers::same).map(drop)
    }

    async fn fetch_turn(&mut self, index: Option<u8>) -> Result<(), String> {
        let filter = index.map(filter);
        let ours = self.ours.fetch_orchestration_item(LOCK, Duration::ZERO, filter.as_ref()).await;
        let mut theirs = self.theirs.fetch_orchestration_item(LOCK, Duration::ZERO, filter.as_ref()).await;
        // Queue messages for an instance that does not exist are dropped; SQLite then answers None although
        // others wait, where None must mean that nobody does.
        for _ in INSTANCES {
            if matches!(theirs, Ok(None)) {
                theirs = self.theirs.fetch_orchestration_item(LOCK, Duration::ZERO, filter.as_ref()).await;
            }
        }
        type Fetched = Option<(OrchestrationItem, String, u32)>;
        let view =
            |fetched: &Fetched| fetched.as_ref().map(|(item, _, attempts)| (answers::item(item), *attempts));
        agree(
            "fetch_orchestration_item",
            ours.as_ref().map(view).map_err(Clone::clone),
            theirs.as_ref().map(view).map_err(Clone::clone),
        )?;
        if let (Ok(Some((item, ours, _))), Ok(Some((_, theirs, _)))) = (ours, theirs) {
            let instance = INSTANCES.iter().position(|id| *id == item.instance).expect("one of ours");
            self.turns.push(Turn { token: Token { ours, theirs }, instance, item });
        }
        Ok(())
    }

    async fn ack_turn(&mut self, index: u8, plan: &Plan) -> Result<(), String> {
        let Some(at) = pick(&self.turns, index) else { return Ok(()) };
        let Turn { instance, item, token } = self.turns.remove(at);
        let known = self.known.clone();
        let commit = self.commit(instance, &item, plan).await;
        let acked = self.ack(&token, &commit).await?;
        if acked.is_none() {
            // Refused for its events: nothing has been sent, and the lock is still held.
            self.known = known;
            self.turns.push(Turn { token, instance, item });
            return Ok(());
        }
        for work in &commit.work {
            if let WorkItem::ActivityExecute { execution_id, id, .. } = work {
                self.known[instance].scheduled.push(ScheduledActivityIdentifier {
                    instance: INSTANCES[instance].to_owned(),
                    execution_id: *execution_id,
                    activity_id: *id,
                });
            }
        }
        self.old_turns.push(token);
        Ok(())
    }

    async fn ack(&self, token: &Token, commit: &turn::Commit) -> Result<Option<()>, String> {
        let turn::Commit { execution, events, work, messages, metadata, cancelled } = commit.clone();
        let ours = self.ours.ack_orchestration_item(
            &token.ours,
            execution,
            events.clone(),
            work.clone(),
            messages.clone(),
            metadata.clone(),
            cancelled.clone(),
        );
        let ours = ours.await;
        let theirs = self.theirs.ack_orchestration_item(
            &token.theirs,
            execution,
            events,
            work,
            messages,
            metadata,
            cancelled,
        );
        agree("ack_orchestration_item", ours, theirs.await)
    }

    /// What the plan comes to for this turn.
    async fn commit(&mut self, instance: usize, item: &OrchestrationItem, plan: &Plan) -> turn::Commit {
        let carried = item.messages.iter().rev().find_map(|message| match message {
            WorkItem::ContinueAsNew { carry_forward_events, .. } => Some(carry_forward_events.clone()),
            _ => None,
        });
        let execution = item.execution_id + u64::from(carried.is_some());
        let known = self.theirs.read_with_execution(INSTANCES[instance], execution).await.expect("history");
        let mut builder = turn::Builder::new(INSTANCES[instance], execution, item, &known);
        let parent = self.known[instance].parent;
        let parent = match parent {
            // SQLite refuses a parent that does not exist (any more); a runtime would name it all the same.
            Some(parent) if self.exists(parent).await => Some(INSTANCES[parent].to_owned()),
            _ => None,
        };
        builder.first_turn(carried, parent, plan.pinned);
        for _ in 0..plan.events {
            let data = self.text(false);
            builder.external(data);
        }
        for change in &plan.changes {
            let value = self.text(matches!(change, crate::ops::Change::Set { long: true, .. }));
            builder.change(change, value);
        }
        if let Some(status) = plan.status {
            builder.custom_status(status.map(|n| format!("status {n}")));
        }
        if self.has_room_for_work().await {
            for activity in &plan.activities {
                builder.activity(activity.tag.map(tag), activity.session.map(|n| format!("session{n}")));
            }
        }
        for index in &plan.cancel {
            let scheduled = &self.known[instance].scheduled;
            if let Some(at) = pick(scheduled, *index) {
                builder.cancel(scheduled[at].clone());
            }
        }
        if plan.cancel_new {
            builder.cancel_new();
        }
        // Two messages on their way to two instances may arrive in either order.
        let child =
            plan.child.map(self::instance).filter(|child| !self.known[*child].started && *child != instance);
        if let Some(child) = child {
            let start = self.start_message(child, 0, Some(instance));
            builder.message(start);
        } else if let Some((to, message)) = &plan.to_other
            && let Some(item) = self.message(self::instance(*to), message)
        {
            builder.message(item);
        }
        if let Some(message) = &plan.to_self
            && let Some(item) = self.message(instance, message)
        {
            builder.message_to_self(item);
        }
        builder.finish(plan, self.counter)
    }

    async fn abandon_turn(&mut self, index: u8, ignore_attempt: bool, hide: bool) -> Result<(), String> {
        let Some(at) = pick(&self.turns, index) else { return Ok(()) };
        let Turn { token, instance, .. } = self.turns.remove(at);
        // Nor is a start hidden: see `message`.
        let delay = (hide && self.exists(instance).await).then_some(HIDDEN);
        agree(
            "abandon_orchestration_item",
            self.ours.abandon_orchestration_item(&token.ours, delay, ignore_attempt).await,
            self.theirs.abandon_orchestration_item(&token.theirs, delay, ignore_attempt).await,
        )?;
        self.gave_back = true;
        self.old_turns.push(token);
        Ok(())
    }

    async fn renew_turn(&mut self, index: u8) -> Result<(), String> {
        let Some(at) = pick(&self.turns, index) else { return Ok(()) };
        let token = &self.turns[at].token;
        agree(
            "renew_orchestration_item_lock",
            self.ours.renew_orchestration_item_lock(&token.ours, LOCK).await,
            self.theirs.renew_orchestration_item_lock(&token.theirs, LOCK).await,
        )
        .map(drop)
    }

    async fn stale_turn(&mut self, index: u8, what: &Stale) -> Result<(), String> {
        let Some(at) = pick(&self.old_turns, index) else { return Ok(()) };
        let token = self.old_turns[at].clone();
        let answer = match what {
            Stale::Ack => self.ack(&token, &turn::Commit::default()).await,
            Stale::Abandon => agree(
                "abandon_orchestration_item with an old token",
                self.ours.abandon_orchestration_item(&token.ours, None, false).await,
                self.theirs.abandon_orchestration_item(&token.theirs, None, false).await,
            ),
            Stale::Renew => agree(
                "renew_orchestration_item_lock with an old token",
                self.ours.renew_orchestration_item_lock(&token.ours, LOCK).await,
                self.theirs.renew_orchestration_item_lock(&token.theirs, LOCK).await,
            ),
        };
        answer?.map_or(Ok(()), |()| Err("an old token was good".to_owned()))
    }
}
