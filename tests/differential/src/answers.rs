//! What of an answer must be the same: everything but times, lock tokens and orders the contract leaves open.

use std::collections::{BTreeMap, HashMap};

use duroxide::providers::{
    DeleteInstanceResult, ExecutionInfo, InstanceInfo, InstanceTree, OrchestrationItem, ProviderError,
    PruneResult, SystemMetrics, WorkItem,
};
use duroxide::{Event, SystemStats};

/// The answer if both gave the same; of errors, only whether repeating the call could help.
pub fn agree<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: Result<T, ProviderError>,
    theirs: Result<T, ProviderError>,
) -> Result<Option<T>, String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours == theirs => Ok(Some(ours)),
        (Err(ours), Err(theirs)) if ours.is_retryable() == theirs.is_retryable() => Ok(None),
        (ours, theirs) => Err(format!("{what}\n  here:   {ours:?}\n  SQLite: {theirs:?}")),
    }
}

pub fn events(events: Vec<Event>) -> Vec<String> {
    events.iter().map(|event| serde_json::to_string(event).expect("JSON")).collect()
}

pub fn item(item: &OrchestrationItem) -> String {
    let kv: BTreeMap<_, _> =
        item.kv_snapshot.iter().map(|(key, entry)| (key, (&entry.value, entry.last_updated_at_ms))).collect();
    format!(
        "{:?} {:?} {:?} execution {} history {:?} error {:?} kv {kv:?} messages {:?}",
        item.instance,
        item.orchestration_name,
        item.version,
        item.execution_id,
        events(item.history.clone()),
        item.history_error,
        item.messages
    )
}

pub fn work(item: &WorkItem) -> String {
    format!("{item:?}")
}

pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

pub fn values(values: HashMap<String, String>) -> BTreeMap<String, String> {
    values.into_iter().collect()
}

pub fn same<T>(value: T) -> T {
    value
}

/// SQLite reads a missing value as an empty one (a missing time as 0). "`completed_at`: None if still running",
/// says the contract; no output here is empty.
fn none_if_empty(output: Option<String>) -> Option<String> {
    output.filter(|output| !output.is_empty())
}

pub fn info(info: InstanceInfo) -> impl PartialEq + std::fmt::Debug {
    let InstanceInfo { instance_id, orchestration_name, orchestration_version, .. } = info;
    let output = none_if_empty(info.output);
    let now = (info.current_execution_id, info.status, output, info.parent_instance_id);
    (instance_id, orchestration_name, orchestration_version, now)
}

pub fn execution(info: ExecutionInfo) -> impl PartialEq + std::fmt::Debug {
    // See `none_if_empty`.
    let completed = info.completed_at.is_some_and(|time| time > 0);
    (info.execution_id, info.status, none_if_empty(info.output), completed, info.event_count)
}

/// Sizes are left out where `ascii` is false: they are in bytes, and SQLite counts characters.
pub fn stats(stats: Option<SystemStats>, ascii: bool) -> Option<[u64; 5]> {
    stats.map(|stats| {
        [
            stats.history_event_count,
            if ascii { stats.history_size_bytes } else { 0 },
            stats.queue_pending_count,
            stats.kv_user_key_count,
            stats.kv_total_value_bytes,
        ]
    })
}

pub fn metrics(metrics: SystemMetrics) -> [u64; 6] {
    [
        metrics.total_instances,
        metrics.total_executions,
        metrics.running_instances,
        metrics.completed_instances,
        metrics.failed_instances,
        metrics.total_events,
    ]
}

pub fn tree(tree: InstanceTree) -> (String, Vec<String>) {
    (tree.root_id, sorted(tree.all_ids))
}

pub fn deleted(result: DeleteInstanceResult) -> [u64; 4] {
    [
        result.instances_deleted,
        result.executions_deleted,
        result.events_deleted,
        result.queue_messages_deleted,
    ]
}

pub fn pruned(result: PruneResult) -> [u64; 3] {
    [result.instances_processed, result.executions_deleted, result.events_deleted]
}
