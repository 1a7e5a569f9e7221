//! What a random sequence consists of. Operations name what they work on by small numbers, which the run resolves
//! against what there is at that moment: so a sequence still means something after shrinking took parts of it away.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// One call, or a look at everything there is to read.
#[derive(Debug, Clone)]
pub enum Op {
    Start { instance: u8, orchestration: u8 },
    Send { instance: u8, message: Message },
    EnqueueWork { instance: u8, activity: Activity },
    FetchTurn { filter: Option<u8> },
    AckTurn { turn: u8, plan: Plan },
    AbandonTurn { turn: u8, ignore_attempt: bool, hide: bool },
    RenewTurn { turn: u8 },
    StaleTurn { turn: u8, what: Stale },
    FetchWork { tags: Tags, owner: Option<u8> },
    AckWork { work: u8, outcome: Outcome },
    AbandonWork { work: u8, ignore_attempt: bool, hide: bool },
    RenewWork { work: u8 },
    StaleWork { work: u8, what: Stale },
    RenewSessions { owner: u8 },
    Append { instance: u8, events: u8, duplicate: bool },
    Look { instance: u8 },
    Overview,
    Delete { instance: u8, force: bool },
    DeleteAlone { instance: u8, force: bool },
    DeleteBulk { instances: Vec<u8>, completed: Option<bool> },
    Prune { instance: u8, keep_last: Option<u8>, completed: Option<bool> },
    PruneBulk { keep_last: Option<u8>, completed: Option<bool> },
}

#[derive(Debug, Clone)]
pub enum Message {
    Event {
        long: bool,
    },
    /// Invisible for an hour.
    Hidden,
    Queue {
        long: bool,
    },
    Cancel,
    ChildCompleted,
    Timer,
}

#[derive(Debug, Clone)]
pub struct Activity {
    pub tag: Option<u8>,
    pub session: Option<u8>,
}

#[derive(Debug, Clone)]
pub enum Tags {
    Default,
    Only(u8),
    DefaultAnd(u8),
    Any,
    None,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Completed { long: bool },
    Failed,
    Dropped,
}

/// What is tried with a token that is no longer good.
#[derive(Debug, Clone)]
pub enum Stale {
    Ack,
    Abandon,
    Renew,
}

#[derive(Debug, Clone)]
pub enum End {
    Completed,
    Failed,
    ContinuedAsNew,
}

#[derive(Debug, Clone)]
pub enum Change {
    Set { key: u8, long: bool },
    Clear { key: u8 },
    ClearAll,
}

/// What a turn commits.
#[derive(Debug, Clone)]
pub struct Plan {
    pub events: u8,
    pub duplicate: bool,
    pub changes: Vec<Change>,
    /// The custom status: unchanged, cleared, set.
    pub status: Option<Option<u8>>,
    pub activities: Vec<Activity>,
    /// Activities of this instance to cancel, among all ever scheduled, and whether the first new one too.
    pub cancel: Vec<u8>,
    pub cancel_new: bool,
    pub to_self: Option<Message>,
    pub to_other: Option<(u8, Message)>,
    pub child: Option<u8>,
    pub end: Option<End>,
    pub pinned: Option<u8>,
    pub carried: u8,
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => prop::bool::weighted(0.1).prop_map(|long| Message::Event { long }),
        1 => Just(Message::Hidden),
        2 => prop::bool::weighted(0.2).prop_map(|long| Message::Queue { long }),
        1 => Just(Message::Cancel),
        1 => Just(Message::ChildCompleted),
        2 => Just(Message::Timer),
    ]
}

fn activity() -> impl Strategy<Value = Activity> {
    (option::weighted(0.3, 0..2u8), option::weighted(0.3, 0..3u8))
        .prop_map(|(tag, session)| Activity { tag, session })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (0..5u8, prop::bool::weighted(0.2)).prop_map(|(key, long)| Change::Set { key, long }),
        2 => (0..5u8).prop_map(|key| Change::Clear { key }),
        1 => Just(Change::ClearAll),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![2 => Just(End::Completed), 1 => Just(End::Failed), 3 => Just(End::ContinuedAsNew)]
}

fn plan() -> impl Strategy<Value = Plan> {
    let history =
        (0..4u8, prop::bool::weighted(0.05), vec(change(), 0..3), option::of(option::of(any::<u8>())));
    let work = (vec(activity(), 0..3), vec(any::<u8>(), 0..2), prop::bool::weighted(0.1));
    let messages = (
        option::weighted(0.2, message()),
        option::weighted(0.3, (any::<u8>(), message())),
        option::weighted(0.2, any::<u8>()),
    );
    let rest = (option::weighted(0.3, end()), option::weighted(0.3, 0..3u8), 0..3u8);
    (history, work, messages, rest).prop_map(
        |(
            (events, duplicate, changes, status),
            (activities, cancel, cancel_new),
            messages,
            (end, pinned, carried),
        )| {
            let (to_self, to_other, child) = messages;
            Plan {
                events,
                duplicate,
                changes,
                status,
                activities,
                cancel,
                cancel_new,
                to_self,
                to_other,
                child,
                end,
                pinned,
                carried,
            }
        },
    )
}

fn tags() -> impl Strategy<Value = Tags> {
    prop_oneof![
        3 => Just(Tags::Default),
        2 => (0..3u8).prop_map(Tags::Only),
        2 => (0..3u8).prop_map(Tags::DefaultAnd),
        4 => Just(Tags::Any),
        1 => Just(Tags::None),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => prop::bool::weighted(0.1).prop_map(|long| Outcome::Completed { long }),
        1 => Just(Outcome::Failed),
        1 => Just(Outcome::Dropped),
    ]
}

fn stale() -> impl Strategy<Value = Stale> {
    prop_oneof![Just(Stale::Ack), Just(Stale::Abandon), Just(Stale::Renew)]
}

/// One operation; the weights keep queues short and turns moving.
pub fn op() -> impl Strategy<Value = Op> {
    let any8 = any::<u8>;
    let rare = || prop::bool::weighted(0.1);
    let queues = prop_oneof![
        8 => (any8(), 0..2u8).prop_map(|(instance, orchestration)| Op::Start { instance, orchestration }),
        12 => (any8(), message()).prop_map(|(instance, message)| Op::Send { instance, message }),
        4 => (any8(), activity()).prop_map(|(instance, activity)| Op::EnqueueWork { instance, activity }),
        20 => option::weighted(0.3, 0..4u8).prop_map(|filter| Op::FetchTurn { filter }),
        20 => (any8(), plan()).prop_map(|(turn, plan)| Op::AckTurn { turn, plan }),
        4 => (any8(), any::<bool>(), rare()).prop_map(|(turn, ignore_attempt, hide)| Op::AbandonTurn { turn, ignore_attempt, hide }),
        1 => any8().prop_map(|turn| Op::RenewTurn { turn }),
        2 => (any8(), stale()).prop_map(|(turn, what)| Op::StaleTurn { turn, what }),
        14 => (tags(), option::weighted(0.6, 0..3u8)).prop_map(|(tags, owner)| Op::FetchWork { tags, owner }),
        9 => (any8(), outcome()).prop_map(|(work, outcome)| Op::AckWork { work, outcome }),
        3 => (any8(), any::<bool>(), rare()).prop_map(|(work, ignore_attempt, hide)| Op::AbandonWork { work, ignore_attempt, hide }),
        1 => any8().prop_map(|work| Op::RenewWork { work }),
        2 => (any8(), stale()).prop_map(|(work, what)| Op::StaleWork { work, what }),
        1 => (0..3u8).prop_map(|owner| Op::RenewSessions { owner }),
    ];
    let completed = || option::weighted(0.3, any::<bool>());
    let admin = prop_oneof![
        3 => (any8(), 0..3u8, rare()).prop_map(|(instance, events, duplicate)| Op::Append { instance, events, duplicate }),
        6 => any8().prop_map(|instance| Op::Look { instance }),
        2 => Just(Op::Overview),
        2 => (any8(), any::<bool>()).prop_map(|(instance, force)| Op::Delete { instance, force }),
        1 => (any8(), any::<bool>()).prop_map(|(instance, force)| Op::DeleteAlone { instance, force }),
        1 => (vec(any8(), 0..3), completed()).prop_map(|(instances, completed)| Op::DeleteBulk { instances, completed }),
        2 => (any8(), option::of(0..4u8), completed()).prop_map(|(instance, keep_last, completed)| Op::Prune { instance, keep_last, completed }),
        1 => (option::of(0..4u8), completed()).prop_map(|(keep_last, completed)| Op::PruneBulk { keep_last, completed }),
    ];
    prop_oneof![85 => queues, 15 => admin]
}
