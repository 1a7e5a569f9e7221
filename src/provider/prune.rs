//! Pruning: deleting earlier executions of an instance, all or none.
//!
//! The head names the executions to remove; with that they are gone for readers, whatever their number. Then their
//! documents are removed in bounded steps. What a crash leaves goes with the next prune, or with the instance.

use std::sync::Arc;

use duroxide::Event;
use duroxide::providers::{InstanceFilter, ProviderError, PruneOptions, PruneResult};
use serde::Deserialize;
use serde_json::json;

use super::admin::not_found;
use super::{Inner, unique};
use crate::model::documents::Head;
use crate::model::keys;

const OPERATION: &str = "prune_executions";

/// An execution before the current one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Earlier {
    execution: u64,
    status: Option<String>,
    completed_at: Option<f64>,
}

impl Earlier {
    fn is_prunable(&self, options: &PruneOptions) -> bool {
        let ended_in_time = options.completed_before.is_none_or(|before| {
            // Stored times are whole numbers far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            self.completed_at.is_some_and(|at| at < before as f64)
        });
        self.status.as_deref() != Some("Running") && ended_in_time
    }
}

/// What has been removed so far.
#[derive(Debug, Deserialize)]
struct Pruned {
    status: String,
    executions: u64,
    events: u64,
}

/// Ranges of executions to remove, first and last one of each; `earlier` are in order. Ranges reach from one execution
/// that stays to the next, so that they also cover what was left without a record.
fn ranges(earlier: &[Earlier], options: &PruneOptions) -> Vec<(u64, u64)> {
    // The current execution is the first of those to keep.
    let keep = options.keep_last.unwrap_or(1).max(1) as usize - 1;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut first = 1;
    for record in &earlier[..earlier.len().saturating_sub(keep)] {
        if !record.is_prunable(options) {
            first = record.execution + 1;
            continue;
        }
        match ranges.last_mut() {
            Some(range) if range.0 == first => range.1 = record.execution,
            _ => ranges.push((first, record.execution)),
        }
    }
    ranges
}

impl Inner {
    /// Prunes in a task of its own: a caller that goes away leaves nothing behind.
    pub(super) async fn prune(
        self: &Arc<Self>,
        instance: &str,
        options: &PruneOptions,
    ) -> Result<PruneResult, ProviderError> {
        let (this, instance, options) = (Arc::clone(self), instance.to_owned(), options.clone());
        super::detached(OPERATION, async move { this.prune_one(&instance, &options).await }).await
    }

    async fn prune_one(&self, instance: &str, options: &PruneOptions) -> Result<PruneResult, ProviderError> {
        let partition = keys::instance_partition(OPERATION, instance)?;
        let Some(head) = self.head(&partition).await?.filter(|head| head.name.is_some()) else {
            return Err(not_found(OPERATION, instance));
        };
        let mut earlier: Vec<Earlier> =
            self.executions(&partition, "c.execution, c.status, c.completedAt").await?;
        earlier.retain(|record| record.execution < head.execution && !head.pruning.hides(record.execution));
        let ranges = ranges(&earlier, options);
        let mut result = PruneResult { instances_processed: 1, ..PruneResult::default() };
        if ranges.is_empty() && head.pruning.ranges.is_empty() {
            return Ok(result);
        }
        let argument = json!({ "pruneId": unique(), "ranges": ranges });
        loop {
            let pruned: Pruned = self.procedure("pruneExecutions", &partition, &argument).await?;
            if pruned.status == "pruned" {
                result.executions_deleted = pruned.executions;
                result.events_deleted = pruned.events;
                return Ok(result);
            }
        }
    }

    pub(super) async fn prune_bulk(
        self: &Arc<Self>,
        filter: &InstanceFilter,
        options: &PruneOptions,
    ) -> Result<PruneResult, ProviderError> {
        let mut total = PruneResult::default();
        for id in self.filtered("prune_executions_bulk", filter, "").await? {
            let pruned = self.prune(&id, options).await?;
            total.instances_processed += pruned.instances_processed;
            total.executions_deleted += pruned.executions_deleted;
            total.events_deleted += pruned.events_deleted;
        }
        Ok(total)
    }

    /// Events of one execution, unless it is going or gone.
    pub(super) async fn read_kept(
        &self,
        instance: &str,
        execution: u64,
    ) -> Result<Vec<Event>, ProviderError> {
        let events = self.read_execution(instance, execution).await;
        // Asked afterwards: had anything been removed while the events were read, the head says so.
        let partition = keys::instance_partition("read_with_execution", instance)?;
        match self.head(&partition).await? {
            Some(head) if !is_gone(&head, execution) => events,
            _ => Ok(Vec::new()),
        }
    }
}

/// Whether an execution is not, or no longer, part of an instance; the head of a deleted one has no executions.
fn is_gone(head: &Head, execution: u64) -> bool {
    execution > head.execution || head.pruning.hides(execution)
}
