//! One loop per process that finds what became ready elsewhere: a narrow index range per physical partition,
//! asked often while it finds something and ever more rarely while it does not. What this process hid itself
//! (timers, delays) it knows and need not look for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use duroxide::TagFilter;
use duroxide::providers::ProviderError;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Inner;
use super::candidates::{Candidate, PAGE, spread};
use crate::cosmos::Failure;
use crate::cosmos::client::{DISPATCH_BUDGET, Query};
use crate::cosmos::ranges::Answers;
use crate::model::documents::VersionRange;

/// Pause after a look that found something; doubles up to `idle_poll_interval` while nothing is found.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Pauses end after a day at the latest, whatever is set.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Pause after a look that filled its page: there is more where that came from.
const PAUSE_BETWEEN_PAGES: Duration = Duration::from_millis(5);

/// Due times remembered. Beyond that the loop finds what is due, up to one interval later.
const MAX_DUE: usize = 10_000;

/// The two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Turns,
    Work,
}

/// What a dispatcher looks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    kind: Kind,
    condition: String,
    parameters: Vec<(String, Value)>,
}

impl Search {
    /// Instances that are ready for a turn.
    pub(crate) fn turns(range: Option<VersionRange>) -> Self {
        let mut condition = "c.turnReadyAt <= GetCurrentTimestampStatic()".to_owned();
        let mut parameters = Vec::new();
        if let Some(range) = range {
            condition.push_str(" AND (NOT IS_DEFINED(c.pinned) OR (c.pinned >= @min AND c.pinned <= @max))");
            parameters.push(("@min".to_owned(), range.min.into()));
            parameters.push(("@max".to_owned(), range.max.into()));
        }
        Self { kind: Kind::Turns, condition, parameters }
    }

    /// Work items that are ready and that the filter allows. Items of the sessions in `foreign` are left out;
    /// without `sessions`, items of any session.
    pub(crate) fn work(tags: &TagFilter, sessions: bool, foreign: &[String]) -> Self {
        let mut condition = "c.workReadyAt <= GetCurrentTimestampStatic()".to_owned();
        let mut parameters: Vec<(String, Value)> = Vec::new();
        for (n, tag) in sorted(tags).into_iter().enumerate() {
            parameters.push((format!("@tag{n}"), tag.as_str().into()));
        }
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        let listed = names.join(", ");
        match tags {
            TagFilter::Any => {}
            TagFilter::DefaultOnly => condition.push_str(" AND NOT IS_DEFINED(c.tag)"),
            TagFilter::Tags(_) => condition.push_str(&format!(" AND c.tag IN ({listed})")),
            TagFilter::DefaultAnd(_) => {
                condition.push_str(&format!(" AND (NOT IS_DEFINED(c.tag) OR c.tag IN ({listed}))"));
            }
            TagFilter::None => condition.push_str(" AND false"),
        }
        if !sessions {
            condition.push_str(" AND NOT IS_DEFINED(c.session)");
        } else if !foreign.is_empty() {
            condition.push_str(" AND (NOT IS_DEFINED(c.session) OR NOT ARRAY_CONTAINS(@foreign, c.session))");
            parameters.push(("@foreign".to_owned(), foreign.into()));
        }
        Self { kind: Kind::Work, condition, parameters }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The candidates that wait longest.
    fn query(&self) -> Query {
        let (operation, ready_at) = match self.kind {
            Kind::Turns => ("discoverTurns", "c.turnReadyAt"),
            Kind::Work => ("discoverWork", "c.workReadyAt"),
        };
        let text = format!(
            "SELECT TOP {PAGE} c.instanceId, c.id, {ready_at} AS at, c.slot, c.tag, c.session, c.pinned FROM c \
             WHERE {} ORDER BY {ready_at}",
            self.condition
        );
        self.bind(Query::new(operation, text))
    }

    /// Whether either search would find anything. Their parameters have different names.
    fn probe(turns: &Self, work: &Self) -> Query {
        let text =
            format!("SELECT TOP 1 VALUE c.id FROM c WHERE ({}) OR ({})", turns.condition, work.condition);
        work.bind(turns.bind(Query::new("probe", text)))
    }

    fn bind(&self, query: Query) -> Query {
        self.parameters.iter().fold(query, |query, (name, value)| query.bind(name, value.clone()))
    }
}

/// The tags of a filter in a stable order, so that the query text is stable too.
fn sorted(tags: &TagFilter) -> Vec<&String> {
    let (TagFilter::Tags(set) | TagFilter::DefaultAnd(set)) = tags else {
        return Vec::new();
    };
    let mut sorted: Vec<&String> = set.iter().collect();
    sorted.sort();
    sorted
}

/// What becomes ready at a time this process knows.
#[derive(Debug)]
pub(crate) enum Due {
    Turn(Candidate),
    /// Some work item: a look tells which.
    Work,
}

/// When to look next.
#[derive(Debug)]
pub(crate) struct Discovery {
    rouse: Notify,
    pace: Mutex<Pace>,
    /// Longest pause.
    longest: Duration,
}

#[derive(Debug)]
struct Pace {
    next: Instant,
    pause: Duration,
    /// Looks at one queue alone that will not wait for that.
    turns: Option<Instant>,
    work: Option<Instant>,
    due: BTreeMap<(Instant, u64), Due>,
    numbered: u64,
}

impl Pace {
    fn special(&mut self, kind: Kind) -> &mut Option<Instant> {
        match kind {
            Kind::Turns => &mut self.turns,
            Kind::Work => &mut self.work,
        }
    }
}

impl Discovery {
    pub(crate) fn new(longest: Duration) -> Self {
        let pace = Pace {
            next: Instant::now(),
            pause: FIRST_PAUSE * 2,
            turns: None,
            work: None,
            due: BTreeMap::new(),
            numbered: 0,
        };
        Self {
            rouse: Notify::new(),
            pace: Mutex::new(pace),
            longest: longest.clamp(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits: the loop sees what is to be done.
    pub(crate) fn rouse(&self) {
        self.rouse.notify_one();
    }

    /// Looks at a queue as soon as somebody waits.
    pub(crate) fn look_now(&self, kind: Kind) {
        *self.pace().special(kind) = Some(Instant::now());
        self.rouse();
    }

    /// Something becomes ready after `delay`.
    pub(crate) fn remember(&self, delay: Duration, due: Due) {
        let Some(at) = Instant::now().checked_add(delay) else {
            return;
        };
        let mut pace = self.pace();
        if pace.due.len() < MAX_DUE {
            pace.numbered += 1;
            let number = pace.numbered;
            pace.due.insert((at, number), due);
        }
        drop(pace);
        self.rouse();
    }

    fn take_due(&self, now: Instant) -> Vec<Due> {
        let mut pace = self.pace();
        let later = pace.due.split_off(&(now, u64::MAX));
        std::mem::replace(&mut pace.due, later).into_values().collect()
    }

    fn next_due(&self) -> Option<Instant> {
        self.pace().due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Which of the wanted searches to make now; if none, when.
    fn plan(&self, now: Instant, turns: Vec<Search>, work: Vec<Search>) -> Result<Plan, Option<Instant>> {
        let mut pace = self.pace();
        if now >= pace.next && !(turns.is_empty() && work.is_empty()) {
            // What nobody wants now is looked for when somebody does.
            pace.turns = pace.turns.filter(|_| turns.is_empty());
            pace.work = pace.work.filter(|_| work.is_empty());
            return Ok(Plan { idle: pace.pause > FIRST_PAUSE, turns, work });
        }
        let mut plan = Plan { idle: false, turns: Vec::new(), work: Vec::new() };
        let mut soonest: Option<Instant> = None;
        for (kind, searches) in [(Kind::Turns, turns), (Kind::Work, work)] {
            if searches.is_empty() {
                continue;
            }
            let next = pace.next;
            let special = pace.special(kind);
            let at = special.map_or(next, |special| special.min(next));
            if at <= now {
                *special = None;
                match kind {
                    Kind::Turns => plan.turns = searches,
                    Kind::Work => plan.work = searches,
                }
            } else {
                soonest = Some(soonest.map_or(at, |soonest| soonest.min(at)));
            }
        }
        if plan.turns.is_empty() && plan.work.is_empty() { Err(soonest) } else { Ok(plan) }
    }

    /// A look is over.
    fn looked(&self, found: bool, full: &[Kind]) {
        let now = Instant::now();
        let mut pace = self.pace();
        for kind in full {
            *pace.special(*kind) = Some(now + PAUSE_BETWEEN_PAGES);
        }
        pace.pause = if found { FIRST_PAUSE } else { pace.pause };
        pace.next = now + pace.pause;
        if !found {
            pace.pause = (pace.pause * 2).min(self.longest);
        }
    }

    fn failed(&self) {
        let mut pace = self.pace();
        pace.pause = self.longest;
        pace.next = Instant::now() + self.longest;
    }
}

/// Searches to make now.
#[derive(Debug)]
struct Plan {
    /// The last look found nothing: one probe for both queues replaces a search for each.
    idle: bool,
    turns: Vec<Search>,
    work: Vec<Search>,
}

impl Inner {
    /// Asks all physical partitions; without `patience` for as long as any request is repeated.
    pub(crate) async fn search(
        &self,
        search: &Search,
        patience: Option<Duration>,
    ) -> Result<Answers<Candidate>, Failure> {
        let mut answers: Answers<Candidate> = self.client.query_each(&search.query(), patience).await?;
        answers.rows.sort_by(|a, b| a.ready_at.total_cmp(&b.ready_at));
        spread(&mut answers.rows, self.start_slot);
        Ok(answers)
    }

    /// Wakes dispatchers for what is due.
    fn see_to_due(&self, now: Instant) {
        for due in self.discovery.take_due(now) {
            match due {
                Due::Turn(candidate) => {
                    self.turns.candidates.push(candidate);
                    self.turns.wake();
                }
                Due::Work => *self.discovery.pace().special(Kind::Work) = Some(now),
            }
        }
    }

    /// One round of the loop: looks if it is time to. Answers when the next is due.
    async fn discover(&self) -> Option<Instant> {
        let now = Instant::now();
        self.see_to_due(now);
        let plan = match self.discovery.plan(now, self.turns.wanted(), self.work.wanted()) {
            Ok(plan) => plan,
            Err(later) => {
                let due = self.discovery.next_due();
                return [later, due].into_iter().flatten().min();
            }
        };
        let started = Instant::now();
        let mut look = std::pin::pin!(self.look(&plan));
        let outcome = loop {
            // What is due does not wait for a partition that is slow to answer.
            let due = self.discovery.next_due().unwrap_or_else(|| started + DISPATCH_BUDGET);
            tokio::select! {
                outcome = &mut look => break outcome,
                () = tokio::time::sleep_until(due) => self.see_to_due(Instant::now()),
            }
        };
        match outcome {
            Ok((found, full)) => self.discovery.looked(found, &full),
            Err(failure) => {
                tracing::warn!(error = %failure, "looking for work failed");
                self.discovery.failed();
                let error = ProviderError::from(failure);
                self.turns.fail(error.clone());
                self.work.fail(error);
            }
        }
        self.counters.looked(started.elapsed());
        Some(Instant::now())
    }

    /// Answers whether anything was found, and which queues have more. Fails if no physical partition answers.
    async fn look(&self, plan: &Plan) -> Result<(bool, Vec<Kind>), Failure> {
        let patience = Some(DISPATCH_BUDGET);
        if let (true, [turns], [work]) = (plan.idle, plan.turns.as_slice(), plan.work.as_slice()) {
            let probe = Search::probe(turns, work);
            let probed: Vec<Value> = some(self.client.query_each(&probe, patience).await?)?;
            if probed.is_empty() {
                return Ok((false, Vec::new()));
            }
        }
        let (mut any, mut full) = (false, Vec::new());
        let searches = plan.turns.iter().chain(&plan.work);
        let looks = searches.map(|search| async move { (search.kind, self.search(search, patience).await) });
        for (kind, answers) in futures_util::future::join_all(looks).await {
            let found = some(answers?)?;
            any |= !found.is_empty();
            if found.len() >= PAGE {
                full.push(kind);
            }
            self.found(kind, found);
        }
        Ok((any, full))
    }

    fn found(&self, kind: Kind, found: Vec<Candidate>) {
        if found.is_empty() {
            return;
        }
        match kind {
            Kind::Turns => {
                self.turns.candidates.merge(found);
                self.turns.wake();
            }
            Kind::Work => {
                self.work.candidates.merge(found);
                self.work.wake();
            }
        }
    }
}

/// What was answered, unless nothing was.
fn some<T>(answers: Answers<T>) -> Result<Vec<T>, Failure> {
    match answers.failure {
        Some(failure) if answers.answered == 0 => Err(failure),
        Some(failure) => {
            tracing::warn!(error = %failure, "looking for work failed in a physical partition");
            Ok(answers.rows)
        }
        None => Ok(answers.rows),
    }
}

/// The background task that looks for work while dispatchers wait.
#[derive(Debug)]
pub(crate) struct Loop(tokio::task::JoinHandle<()>);

impl Loop {
    pub(crate) fn start(inner: &Arc<Inner>) -> Self {
        let inner: Weak<Inner> = Arc::downgrade(inner);
        Self(tokio::spawn(async move {
            // The state of the loop outlives a pause; the provider need not.
            let Some(discovery) = inner.upgrade().map(|inner| Arc::clone(&inner.discovery)) else {
                return;
            };
            loop {
                let next = match inner.upgrade() {
                    Some(inner) => inner.discover().await,
                    None => return,
                };
                let pause = async {
                    match next {
                        Some(next) => tokio::time::sleep_until(next).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = discovery.rouse.notified() => {}
                    () = pause => {}
                }
            }
        }))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
