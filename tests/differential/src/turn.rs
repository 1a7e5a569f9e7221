//! A turn's commit, made as the runtime makes it: numbered events, and the work and messages that go with them.

use duroxide::providers::{ExecutionMetadata, OrchestrationItem, ScheduledActivityIdentifier, WorkItem};
use duroxide::{AppErrorKind, ErrorDetails, Event, EventKind};
use semver::Version;

use crate::ops::{Change, End, Plan};

/// The arguments of `ack_orchestration_item`.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub execution: u64,
    pub events: Vec<Event>,
    pub work: Vec<WorkItem>,
    pub messages: Vec<WorkItem>,
    pub metadata: ExecutionMetadata,
    pub cancelled: Vec<ScheduledActivityIdentifier>,
}

pub fn external(instance: &str, execution: u64, id: u64, data: String) -> Event {
    let kind = EventKind::ExternalEvent { name: "event".to_owned(), data };
    Event::with_event_id(id, instance, execution, None, kind)
}

/// Puts a commit together.
pub struct Builder {
    instance: String,
    name: String,
    version: String,
    next: u64,
    commit: Commit,
    to_others: Vec<WorkItem>,
}

impl Builder {
    /// `known` is the history of the execution so far.
    pub fn new(instance: &str, execution: u64, item: &OrchestrationItem, known: &[Event]) -> Self {
        Self {
            instance: instance.to_owned(),
            name: item.orchestration_name.clone(),
            version: if item.version == "unknown" { "0.9.0".to_owned() } else { item.version.clone() },
            next: known.last().map_or(1, |event| event.event_id() + 1),
            commit: Commit { execution, ..Commit::default() },
            to_others: Vec::new(),
        }
    }

    fn event(&mut self, kind: EventKind) -> u64 {
        let id = self.next;
        self.next += 1;
        self.commit.events.push(Event::with_event_id(id, &*self.instance, self.commit.execution, None, kind));
        id
    }

    /// The first event, and what is said of an execution in its first turn only.
    pub fn first_turn(
        &mut self,
        carried: Option<Vec<(String, String)>>,
        parent: Option<String>,
        pinned: Option<u8>,
    ) {
        if self.next > 1 {
            return;
        }
        if carried.is_some() {
            // A new execution may run a newer version.
            self.version.push('1');
        }
        self.event(EventKind::OrchestrationStarted {
            name: self.name.clone(),
            version: self.version.clone(),
            input: String::new(),
            parent_instance: parent.clone(),
            parent_id: None,
            parent_execution_id: None,
            carry_forward_events: carried,
            initial_custom_status: None,
        });
        self.commit.metadata = ExecutionMetadata {
            orchestration_name: Some(self.name.clone()),
            orchestration_version: Some(self.version.clone()),
            parent_instance_id: parent,
            pinned_duroxide_version: pinned.map(|minor| Version::new(0, u64::from(minor), 5)),
            ..ExecutionMetadata::default()
        };
    }

    pub fn external(&mut self, data: String) {
        self.event(EventKind::ExternalEvent { name: "event".to_owned(), data });
    }

    pub fn change(&mut self, change: &Change, value: String) {
        let key = |key: &u8| format!("key{key}");
        let kind = match change {
            Change::Set { key: n, .. } => {
                EventKind::KeyValueSet { key: key(n), value, last_updated_at_ms: 1_000 + self.next }
            }
            Change::Clear { key: n } => EventKind::KeyValueCleared { key: key(n) },
            Change::ClearAll => EventKind::KeyValuesCleared,
        };
        self.event(kind);
    }

    pub fn custom_status(&mut self, status: Option<String>) {
        self.event(EventKind::CustomStatusUpdated { status });
    }

    pub fn activity(&mut self, tag: Option<String>, session_id: Option<String>) {
        let (name, input) = ("activity".to_owned(), self.next.to_string());
        let id = self.event(EventKind::ActivityScheduled {
            name: name.clone(),
            input: input.clone(),
            session_id: session_id.clone(),
            tag: tag.clone(),
        });
        self.commit.work.push(WorkItem::ActivityExecute {
            instance: self.instance.clone(),
            execution_id: self.commit.execution,
            id,
            name,
            input,
            session_id,
            tag,
        });
    }

    pub fn cancel(&mut self, activity: ScheduledActivityIdentifier) {
        self.commit.cancelled.push(activity);
    }

    /// Cancels the first activity that this very turn schedules.
    pub fn cancel_new(&mut self) {
        if let Some(WorkItem::ActivityExecute { instance, execution_id, id, .. }) = self.commit.work.first() {
            let (instance, execution_id, activity_id) = (instance.clone(), *execution_id, *id);
            self.cancel(ScheduledActivityIdentifier { instance, execution_id, activity_id });
        }
    }

    pub fn message_to_self(&mut self, message: WorkItem) {
        self.commit.messages.push(message);
    }

    pub fn message(&mut self, message: WorkItem) {
        self.to_others.push(message);
    }

    pub fn finish(mut self, plan: &Plan, unique: u64) -> Commit {
        if let Some(end) = &plan.end {
            self.end(end, plan.carried, format!("output {unique}"));
        }
        // In this order: what goes to others is delivered after the commit.
        self.commit.messages.append(&mut self.to_others);
        if plan.duplicate
            && let Some(first) = self.commit.events.first_mut()
            && first.event_id > 1
        {
            first.event_id -= 1;
        }
        self.commit
    }

    fn end(&mut self, end: &End, carried: u8, output: String) {
        let status = match end {
            End::Completed => {
                self.event(EventKind::OrchestrationCompleted { output: output.clone() });
                "Completed"
            }
            End::Failed => {
                let details = ErrorDetails::Application {
                    kind: AppErrorKind::OrchestrationFailed,
                    message: output.clone(),
                    retryable: false,
                };
                self.event(EventKind::OrchestrationFailed { details });
                "Failed"
            }
            End::ContinuedAsNew => {
                self.event(EventKind::OrchestrationContinuedAsNew { input: output.clone() });
                self.commit.messages.push(WorkItem::ContinueAsNew {
                    instance: self.instance.clone(),
                    orchestration: self.name.clone(),
                    input: output.clone(),
                    version: None,
                    parent_instance: None,
                    parent_id: None,
                    parent_execution_id: None,
                    carry_forward_events: (0..carried).map(|n| ("queue".to_owned(), n.to_string())).collect(),
                    initial_custom_status: None,
                });
                "ContinuedAsNew"
            }
        };
        self.commit.metadata.status = Some(status.to_owned());
        self.commit.metadata.output = Some(output);
    }
}
