//! Deleting instances, all or none, over any number of partitions; pruning executions of one.
//!
//! A deletion is a document of the system partition. Each instance is marked first: a marked one locks and
//! commits no turn, so nothing new can come of it. If all could be marked, writing "committed" into the
//! document decides; then each is purged. Whoever crashes in between, the reconciler of some process finishes:
//! a committed deletion is purged, one that was not is undone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{
    DeleteInstanceResult, InstanceFilter, ProviderAdmin, ProviderError, PruneOptions, PruneResult,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin::{EXISTS, IN_VALUES, not_found};
use super::discovery::Kind;
use super::{CosmosDBProvider, Inner, unique};
use crate::cosmos::client::Query;
use crate::model::documents::{Changed, Outbox};
use crate::model::keys::{self, SYSTEM_PARTITION};
use crate::model::sizes;

/// Instances a bulk operation takes on when the filter names no limit, as in duroxide's own providers.
const BULK_LIMIT: u32 = 1000;

/// A deletion belongs to the process that began it for so long; then others finish or undo it.
const LEASE: Duration = Duration::from_secs(300);

/// Instances that are marked, or purged, at the same time.
const AT_ONCE: usize = 16;

/// A deletion under way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deletion {
    id: String,
    instance_id: String,
    #[serde(rename = "type")]
    kind: String,
    /// When it is given to the reconciler, in ms. By the client's clock, which does no harm: undoing and
    /// committing exclude each other by the document's etag.
    outbox_at: u64,
    partitions: Vec<String>,
    committed: bool,
    /// Somebody has taken it upon himself to undo it: it can no longer be committed.
    #[serde(default)]
    undone: bool,
    #[serde(rename = "_etag", skip_serializing)]
    etag: Option<String>,
}

impl Deletion {
    /// Whether the same has been decided of both.
    fn agrees(&self, other: &Self) -> bool {
        (self.committed, self.undone) == (other.committed, other.undone)
    }
}

/// An instance that a filter selects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selected {
    instance_id: String,
    completed_at: Option<f64>,
}

/// What one call of `purgeInstance` or `pruneExecutions` removed.
#[derive(Debug, Default, Deserialize)]
struct Removed {
    status: String,
    executions: u64,
    events: u64,
    #[serde(default)]
    messages: u64,
}

impl Removed {
    fn add(&mut self, more: &Self) {
        self.executions += more.executions;
        self.events += more.events;
        self.messages += more.messages;
    }
}

impl Inner {
    pub(super) async fn delete_instances(
        self: &Arc<Self>,
        ids: &[String],
        force: bool,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        let operation = "delete_instances_atomic";
        if ids.is_empty() {
            return Ok(DeleteInstanceResult::default());
        }
        let partitions =
            ids.iter().map(|id| keys::instance_partition(operation, id)).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = partitions.iter().map(|partition| sizes::escaped(partition) + 1).sum();
        if bytes > sizes::TEXT_BYTES {
            let what = format!(
                "the ids of {} instances to delete together take {bytes} bytes, Cosmos DB takes {} in one document; delete fewer at a time, children before parents",
                ids.len(),
                sizes::TEXT_BYTES
            );
            return Err(ProviderError::permanent(operation, what));
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut deletion = Deletion {
            id: format!("d:{}", unique()),
            instance_id: SYSTEM_PARTITION.to_owned(),
            kind: "deletion".to_owned(),
            outbox_at: super::millis(now + LEASE),
            partitions,
            committed: false,
            undone: false,
            etag: None,
        };
        match self.client.create(SYSTEM_PARTITION, &deletion).await {
            // Nobody else knows the id: a first attempt took effect, and its answer was lost.
            Err(failure) if failure.is(409) => {}
            created => created?,
        }
        if let Err(refusal) = self.mark_all(&deletion, ids, force).await {
            self.undo(&deletion).await?;
            return Err(refusal);
        }
        deletion.committed = true;
        if !self.decide(&deletion).await? {
            return Err(ProviderError::retryable(operation, "the deletion took so long that it was undone"));
        }
        let removed = self.purge_all(&deletion).await?;
        Ok(DeleteInstanceResult {
            instances_deleted: ids.len() as u64,
            executions_deleted: removed.executions,
            events_deleted: removed.events,
            queue_messages_deleted: removed.messages,
        })
    }

    /// Marks every instance, then makes sure that no child is left behind: a marked parent starts no more.
    async fn mark_all(&self, deletion: &Deletion, ids: &[String], force: bool) -> Result<(), ProviderError> {
        let operation = "delete_instances_atomic";
        let pairs: Vec<(&String, &String)> = deletion.partitions.iter().zip(ids).collect();
        for some in pairs.chunks(AT_ONCE) {
            let marks = some.iter().map(|(partition, id)| self.mark(deletion, partition, id, force));
            // All of them: a mark still on its way must not arrive after it has been undone.
            for marked in join_all(marks).await {
                marked?;
            }
        }
        let marked: HashSet<&str> = deletion.partitions.iter().map(String::as_str).collect();
        for (partition, parent) in self.children(ids).await? {
            if !marked.contains(partition.as_str()) {
                let child = keys::partition_instance(&partition);
                return Err(ProviderError::permanent(
                    operation,
                    format!(
                        "Cannot delete: instance {parent} has child {child} that is not among those to delete. Re-fetch the tree and retry."
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn mark(
        &self,
        deletion: &Deletion,
        partition: &str,
        id: &str,
        force: bool,
    ) -> Result<(), ProviderError> {
        let operation = "delete_instances_atomic";
        let argument = json!({ "deletionId": deletion.id, "force": force });
        let changed: Changed = self.procedure("markDeletion", partition, &argument).await?;
        match changed.status.as_str() {
            "marked" | "absent" => Ok(()),
            "running" => {
                let what = format!(
                    "Instance {id} is still running. Use force=true to delete anyway, or cancel first."
                );
                Err(ProviderError::permanent(operation, what))
            }
            _ => {
                let what = format!("Instance {id} is being deleted by somebody else");
                Err(ProviderError::retryable(operation, what))
            }
        }
    }

    async fn undo(&self, deletion: &Deletion) -> Result<(), ProviderError> {
        let argument = json!({ "deletionId": deletion.id, "undo": true });
        for some in deletion.partitions.chunks(AT_ONCE) {
            let undone = some.iter().map(|partition| self.procedure("markDeletion", partition, &argument));
            for changed in join_all(undone).await {
                let _: Changed = changed?;
            }
            self.discovery.look_now(Kind::Turns);
        }
        self.forget(deletion).await
    }

    async fn purge_all(self: &Arc<Self>, deletion: &Deletion) -> Result<Removed, ProviderError> {
        let mut total = Removed::default();
        for some in deletion.partitions.chunks(AT_ONCE) {
            let purges = some.iter().map(|partition| self.purge(deletion, partition));
            for removed in join_all(purges).await {
                total.add(&removed?);
            }
        }
        self.forget(deletion).await?;
        Ok(total)
    }

    async fn purge(self: &Arc<Self>, deletion: &Deletion, partition: &str) -> Result<Removed, ProviderError> {
        let mut total = Removed::default();
        loop {
            let argument = json!({ "deletionId": deletion.id, "incarnation": unique() });
            let removed: Removed = self.procedure("purgeInstance", partition, &argument).await?;
            total.add(&removed);
            self.known.forget(partition);
            match removed.status.as_str() {
                "purged" => return Ok(total),
                "owes" => self.deliver_owed(partition).await?,
                _ => {}
            }
        }
    }

    /// Delivers what an instance still owes others; its deletion must not lose it.
    async fn deliver_owed(self: &Arc<Self>, partition: &str) -> Result<(), ProviderError> {
        let query = Query::new(
            "listOutbox",
            "SELECT c.id, c.instanceId, c[\"to\"], c.message FROM c WHERE c.type = 'outbox'",
        );
        let owed: Vec<Outbox> = self.client.query_partition(partition, &query).await?;
        let count = owed.len();
        if self.deliver_owned(partition, owed).await == 0 && count > 0 {
            let what = format!("{count} messages of an instance to delete cannot be delivered now");
            return Err(ProviderError::retryable("delete_instances_atomic", what));
        }
        Ok(())
    }

    async fn forget(&self, deletion: &Deletion) -> Result<(), ProviderError> {
        let stored: Option<Deletion> = self.client.read(SYSTEM_PARTITION, &deletion.id).await?;
        if let Some(etag) = stored.and_then(|stored| stored.etag) {
            self.client.delete(SYSTEM_PARTITION, &deletion.id, &etag).await?;
        }
        Ok(())
    }

    /// Finishes a deletion that somebody began and left.
    pub(super) async fn finish_deletion(self: &Arc<Self>, id: &str) -> Result<(), ProviderError> {
        let Some(deletion) = self.client.read::<Deletion>(SYSTEM_PARTITION, id).await? else {
            return Ok(());
        };
        tracing::info!(deletion = id, committed = deletion.committed, "finishing a deletion that was left");
        if deletion.committed {
            self.purge_all(&deletion).await.map(drop)
        } else {
            self.abort(deletion).await
        }
    }

    /// Undoes a deletion of somebody else, unless that one commits at this very moment.
    async fn abort(&self, deletion: Deletion) -> Result<(), ProviderError> {
        let undone = Deletion { undone: true, ..deletion };
        if self.decide(&undone).await? { self.undo(&undone).await } else { Ok(()) }
    }

    /// Writes the decision to commit or to undo. The document's etag lets only one of the two be written.
    async fn decide(&self, deletion: &Deletion) -> Result<bool, ProviderError> {
        let stored: Option<Deletion> = self.client.read(SYSTEM_PARTITION, &deletion.id).await?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        if stored.committed || stored.undone {
            return Ok(stored.agrees(deletion));
        }
        let etag = stored.etag.unwrap_or_default();
        match self.client.replace(SYSTEM_PARTITION, &deletion.id, &etag, deletion).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.is(412) || failure.is(404) => {
                // Somebody was faster, or this very write took effect and its answer was lost.
                let stored: Option<Deletion> = self.client.read(SYSTEM_PARTITION, &deletion.id).await?;
                Ok(stored.is_some_and(|stored| stored.agrees(deletion)))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn delete_bulk(
        self: &Arc<Self>,
        provider: &CosmosDBProvider,
        filter: InstanceFilter,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        let condition =
            "AND NOT IS_DEFINED(c.parent) AND c.status IN ('Completed', 'Failed', 'ContinuedAsNew')";
        let mut total = DeleteInstanceResult::default();
        for id in self.filtered("delete_instance_bulk", &filter, condition).await? {
            let tree = provider.get_instance_tree(&id).await?;
            let deleted = self.delete_instances(&tree.all_ids, true).await?;
            total.instances_deleted += deleted.instances_deleted;
            total.executions_deleted += deleted.executions_deleted;
            total.events_deleted += deleted.events_deleted;
            total.queue_messages_deleted += deleted.queue_messages_deleted;
        }
        Ok(total)
    }

    /// Instances a filter selects, as many as it allows, those that ended first first.
    async fn filtered(
        &self,
        operation: &str,
        filter: &InstanceFilter,
        condition: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let limit = filter.limit.unwrap_or(BULK_LIMIT);
        let mut text =
            format!("SELECT TOP @limit c.instanceId, c.completedAt FROM c WHERE {EXISTS} {condition}");
        // Without one of these, running instances are selected too: they have no such time to be ordered by.
        let ended = filter.completed_before.is_some() || !condition.is_empty();
        if ended {
            // With a bound the oldest are read off the index of the order, however many there are.
            text.push_str(" AND c.completedAt > 0");
        }
        if filter.completed_before.is_some() {
            text.push_str(" AND c.completedAt < @before");
        }
        let mut query = Query::new("selectInstances", text).bind("@limit", limit);
        if let Some(before) = filter.completed_before {
            query = query.bind("@before", before);
        }
        let finish = |query: Query| if ended { query.order_by("c.completedAt") } else { query };
        let mut rows: Vec<Selected> = Vec::new();
        match &filter.instance_ids {
            None => rows = self.client.query_all(&finish(query)).await?,
            Some(ids) => {
                let partitions = ids
                    .iter()
                    .map(|id| keys::instance_partition(operation, id))
                    .collect::<Result<Vec<_>, _>>()?;
                for some in partitions.chunks(IN_VALUES) {
                    let query = finish(query.clone().and_in("c.instanceId", some));
                    rows.extend(self.client.query_all(&query).await?);
                }
            }
        }
        rows.sort_by(|a, b| {
            a.completed_at.unwrap_or(f64::MAX).total_cmp(&b.completed_at.unwrap_or(f64::MAX))
        });
        rows.truncate(limit as usize);
        Ok(rows.iter().map(|row| keys::partition_instance(&row.instance_id).to_owned()).collect())
    }

    pub(super) async fn prune(
        &self,
        instance: &str,
        options: &PruneOptions,
    ) -> Result<PruneResult, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Earlier {
            execution: u64,
            status: Option<String>,
            completed_at: Option<f64>,
        }
        let operation = "prune_executions";
        let partition = keys::instance_partition(operation, instance)?;
        let Some(head) = self.head(&partition).await?.filter(|head| head.name.is_some()) else {
            return Err(not_found(operation, instance));
        };
        let earlier: Vec<Earlier> =
            self.executions(&partition, "c.execution, c.status, c.completedAt").await?;
        // The current execution is the first of those to keep.
        let keep = options.keep_last.unwrap_or(1).max(1) as usize - 1;
        let kept = earlier.len().saturating_sub(keep);
        let prunable = |record: &&Earlier| {
            let ended_in_time = options.completed_before.is_none_or(|before| {
                // Stored times are whole numbers far below 2^53.
                #[allow(clippy::cast_precision_loss)]
                record.completed_at.is_some_and(|at| at < before as f64)
            });
            record.execution < head.execution && record.status.as_deref() != Some("Running") && ended_in_time
        };
        let executions: Vec<u64> =
            earlier[..kept].iter().filter(prunable).map(|record| record.execution).collect();
        let mut result = PruneResult { instances_processed: 1, ..PruneResult::default() };
        if executions.is_empty() {
            return Ok(result);
        }
        loop {
            let argument = json!({ "executions": executions });
            let removed: Removed = self.procedure("pruneExecutions", &partition, &argument).await?;
            result.executions_deleted += removed.executions;
            result.events_deleted += removed.events;
            if removed.status == "pruned" {
                return Ok(result);
            }
        }
    }

    pub(super) async fn prune_bulk(
        &self,
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
}
