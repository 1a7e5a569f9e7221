//! Deleting instances, all or none, over any number of partitions.
//!
//! A deletion is a document of the system partition. Each instance is marked first: a marked one locks and
//! commits no turn, so nothing new can come of it. If all could be marked, writing "committed" into the
//! document decides; then each is purged. Whoever crashes in between, the reconciler of some process finishes:
//! a committed deletion is purged, one that was not is undone.
//!
//! Nobody waits for a mark: of two deletions that overlap, each may find the other's marks, and both are refused.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::{DeleteInstanceResult, InstanceFilter, ProviderAdmin, ProviderError};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin::{EXISTS, IN_VALUES};
use super::discovery::Kind;
use super::{CosmosDBProvider, Inner, unique};
use crate::cosmos::client::Query;
use crate::model::documents::Changed;
use crate::model::keys::{self, SYSTEM_PARTITION};
use crate::model::sizes;

const OPERATION: &str = "delete_instances_atomic";

/// Instances a bulk operation takes on when the filter names no limit, as in duroxide's own providers.
const BULK_LIMIT: u32 = 1000;

/// A deletion belongs to the process that works on it for so long, by the server's clock; then others finish or undo
/// it. Renewed several times in that time.
const LEASE: Duration = Duration::from_secs(60);

/// Instances that are marked, or purged, at the same time.
const AT_ONCE: usize = 16;

/// A deletion under way; `stepDeletion` writes it.
#[derive(Debug, Deserialize)]
struct Deletion {
    id: String,
    partitions: Vec<String>,
    committed: bool,
    /// It can no longer be committed.
    #[serde(default)]
    undone: bool,
}

/// What becomes of a deletion next.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    Begin,
    Hold,
    Commit,
    Undo,
    End,
}

/// An instance that a filter selects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selected {
    instance_id: String,
    completed_at: Option<f64>,
}

/// What one call of `purgeInstance` removed.
#[derive(Debug, Default, Deserialize)]
struct Removed {
    status: String,
    executions: u64,
    events: u64,
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
    /// Deletes in a task of its own: a caller that goes away must not leave marked instances behind.
    pub(super) async fn delete_instances(
        self: &Arc<Self>,
        ids: &[String],
        force: bool,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        if ids.is_empty() {
            return Ok(DeleteInstanceResult::default());
        }
        let partitions =
            ids.iter().map(|id| keys::instance_partition(OPERATION, id)).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = partitions.iter().map(|partition| sizes::escaped(partition) + 1).sum();
        if bytes > sizes::TEXT_BYTES {
            let what = format!(
                "the ids of {} instances to delete together take {bytes} bytes, Cosmos DB takes {} in one document; delete fewer at a time, children before parents",
                ids.len(),
                sizes::TEXT_BYTES
            );
            return Err(ProviderError::permanent(OPERATION, what));
        }
        let deletion =
            Deletion { id: format!("d:{}", unique()), partitions, committed: false, undone: false };
        let (this, ids) = (Arc::clone(self), ids.to_vec());
        super::detached(OPERATION, async move { this.run_deletion(&deletion, &ids, force).await }).await
    }

    async fn run_deletion(
        self: &Arc<Self>,
        deletion: &Deletion,
        ids: &[String],
        force: bool,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        self.step(deletion, Step::Begin).await?;
        if let Err(refusal) = self.held(deletion, self.mark_all(deletion, ids, force)).await {
            // A mark without an answer may still be on its way: a reconciler unmarks once more after the lease.
            self.take_back(deletion, !refusal.is_retryable()).await;
            return Err(refusal);
        }
        if self.step(deletion, Step::Commit).await? != "committed" {
            // Some of the marks may have come after those who undid it.
            self.take_back(deletion, true).await;
            return Err(ProviderError::retryable(OPERATION, "the deletion took so long that it was undone"));
        }
        let removed = self.held(deletion, self.purge_all(deletion)).await?;
        Ok(DeleteInstanceResult {
            instances_deleted: ids.len() as u64,
            executions_deleted: removed.executions,
            events_deleted: removed.events,
            queue_messages_deleted: removed.messages,
        })
    }

    /// Moves the deletion on; answers what it is then.
    async fn step(&self, deletion: &Deletion, step: Step) -> Result<String, ProviderError> {
        let mut argument = json!({
            "instanceId": SYSTEM_PARTITION,
            "id": deletion.id,
            "step": step,
            "leaseMs": super::millis(LEASE),
        });
        if matches!(step, Step::Begin) {
            argument["partitions"] = json!(deletion.partitions);
        }
        let changed: Changed = self.procedure("stepDeletion", SYSTEM_PARTITION, &argument).await?;
        Ok(changed.status)
    }

    /// Renews the lease while `work` goes on.
    async fn held<T>(&self, deletion: &Deletion, work: impl Future<Output = T>) -> T {
        tokio::select! {
            result = work => result,
            never = self.hold(deletion) => match never {},
        }
    }

    async fn hold(&self, deletion: &Deletion) -> Infallible {
        loop {
            tokio::time::sleep(LEASE / 4).await;
            if let Err(error) = self.step(deletion, Step::Hold).await {
                tracing::warn!(deletion = deletion.id, %error, "the lease of a deletion could not be renewed");
            }
        }
    }

    /// Marks every instance, then makes sure that no child is left behind: a marked parent starts no more.
    async fn mark_all(&self, deletion: &Deletion, ids: &[String], force: bool) -> Result<(), ProviderError> {
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
                    OPERATION,
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
        let argument = json!({ "deletionId": deletion.id, "force": force });
        let changed: Changed = self.procedure("markDeletion", partition, &argument).await?;
        match changed.status.as_str() {
            "marked" | "absent" => Ok(()),
            "running" => {
                let what = format!(
                    "Instance {id} is still running. Use force=true to delete anyway, or cancel first."
                );
                Err(ProviderError::permanent(OPERATION, what))
            }
            _ => {
                let what = format!("Instance {id} is being deleted by somebody else");
                Err(ProviderError::retryable(OPERATION, what))
            }
        }
    }

    /// Undoes a deletion of this process; what fails is left to the reconcilers.
    async fn take_back(&self, deletion: &Deletion, end: bool) {
        if let Err(error) = self.undo(deletion, end).await {
            tracing::warn!(deletion = deletion.id, %error, "undoing a deletion is left to the reconciler");
        }
    }

    /// Unmarks all instances, and ends the deletion if no mark can come any more; unless it is committed.
    async fn undo(&self, deletion: &Deletion, end: bool) -> Result<(), ProviderError> {
        if self.step(deletion, Step::Undo).await? == "committed" {
            return Ok(());
        }
        let argument = json!({ "deletionId": deletion.id, "undo": true });
        for some in deletion.partitions.chunks(AT_ONCE) {
            let undone = some.iter().map(|partition| self.procedure("markDeletion", partition, &argument));
            for changed in join_all(undone).await {
                let _: Changed = changed?;
            }
            self.discovery.look_now(Kind::Turns);
        }
        if end {
            self.step(deletion, Step::End).await?;
        }
        Ok(())
    }

    async fn purge_all(self: &Arc<Self>, deletion: &Deletion) -> Result<Removed, ProviderError> {
        let mut total = Removed::default();
        for some in deletion.partitions.chunks(AT_ONCE) {
            let purges = some.iter().map(|partition| self.purge(deletion, partition));
            for removed in join_all(purges).await {
                total.add(&removed?);
            }
        }
        self.step(deletion, Step::End).await?;
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
        if self.empty_outbox(partition, None).await? {
            return Ok(());
        }
        let what = "messages of an instance to delete cannot be delivered now; the deletion goes on later";
        Err(ProviderError::retryable(OPERATION, what))
    }

    /// Finishes a deletion that somebody began and left.
    pub(super) async fn finish_deletion(self: &Arc<Self>, id: &str) -> Result<(), ProviderError> {
        let Some(deletion) = self.client.read::<Deletion>(SYSTEM_PARTITION, id).await? else {
            return Ok(());
        };
        tracing::info!(deletion = id, committed = deletion.committed, "finishing a deletion that was left");
        if deletion.committed {
            // From now on it is this process's.
            self.step(&deletion, Step::Hold).await?;
            return self.held(&deletion, self.purge_all(&deletion)).await.map(drop);
        }
        // Who began it may be slow, not dead, and mark more: the deletion ends when it is found undone.
        self.held(&deletion, self.undo(&deletion, deletion.undone)).await
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
    pub(super) async fn filtered(
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
}
