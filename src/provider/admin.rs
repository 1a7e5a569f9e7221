//! Administration: lists, infos and counts.

use duroxide::Event;
use duroxide::INITIAL_EXECUTION_ID;
use duroxide::providers::{
    DeleteInstanceResult, ExecutionInfo, InstanceFilter, InstanceInfo, InstanceTree, ProviderAdmin,
    ProviderError, PruneOptions, PruneResult, QueueDepths, SystemMetrics,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{CosmosDBProvider, Inner};
use crate::cosmos::client::Query;
use crate::model::documents::{HEAD, Payload, Pruning};
use crate::model::keys;

/// What administration needs of a head, or of the document of an earlier execution.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    execution: u64,
    events: u64,
    status: Option<String>,
    output: Option<Payload>,
    started_at: Option<f64>,
    completed_at: Option<f64>,
    name: Option<String>,
    version: Option<String>,
    parent: Option<String>,
    created_at: Option<f64>,
    updated_at: Option<f64>,
    #[serde(default)]
    pruning: Pruning,
}

/// An instance that exists has been acknowledged once; before that its head is only a queue.
pub(super) const EXISTS: &str = "c.type = 'head' AND IS_DEFINED(c.createdAt)";

/// Values that one query compares a property with: far below the service's limit for the text of a query.
pub(super) const IN_VALUES: usize = 200;

impl Inner {
    /// Partitions of all children of `parents`, each with its parent.
    pub(super) async fn children(&self, parents: &[String]) -> Result<Vec<(String, String)>, ProviderError> {
        #[derive(Deserialize)]
        struct Child {
            #[serde(rename = "instanceId")]
            partition: String,
            parent: String,
        }
        let mut children = Vec::new();
        for some in parents.chunks(IN_VALUES) {
            let text = format!("SELECT c.instanceId, c.parent FROM c WHERE {EXISTS}");
            let query = Query::new("listChildren", text).and_in("c.parent", some);
            let found: Vec<Child> = self.client.query_all(&query).await?;
            children.extend(found.into_iter().map(|child| (child.partition, child.parent)));
        }
        Ok(children)
    }

    /// The head of an instance that exists.
    async fn record(&self, operation: &str, instance: &str) -> Result<Option<Record>, ProviderError> {
        let partition = keys::instance_partition(operation, instance)?;
        let record: Option<Record> = self.client.read(&partition, HEAD).await?;
        Ok(record.filter(|record| record.created_at.is_some()))
    }

    /// Instances that meet a condition, the newest first.
    async fn instances(&self, query: Query) -> Result<Vec<String>, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            instance_id: String,
            created_at: f64,
        }
        let mut rows: Vec<Row> = self.client.query_all(&query).await?;
        rows.sort_by(|a, b| b.created_at.total_cmp(&a.created_at));
        Ok(rows.into_iter().map(|row| keys::partition_instance(&row.instance_id).to_owned()).collect())
    }

    /// The sum of a one-number query over all physical partitions. Documents are not loaded for it if the properties
    /// in it are indexed, and nothing is done with them but comparing and adding up.
    async fn total(&self, expression: &str, condition: &str) -> Result<u64, ProviderError> {
        let query = Query::new("count", format!("SELECT VALUE {expression} FROM c WHERE {condition}"));
        let parts: Vec<f64> = self.client.query_all(&query).await?;
        // Counts of documents are far below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(parts.iter().sum::<f64>().max(0.0) as u64)
    }

    async fn output(
        &self,
        partition: &str,
        output: Option<Payload>,
    ) -> Result<Option<String>, ProviderError> {
        match output {
            Some(text) => self.text(partition, text).await,
            None => Ok(None),
        }
    }

    pub(super) async fn executions<T: DeserializeOwned>(
        &self,
        partition: &str,
        select: &str,
    ) -> Result<Vec<T>, ProviderError> {
        let text = format!("SELECT {select} FROM c WHERE c.type = 'execution' ORDER BY c.execution");
        Ok(self.client.query_partition(partition, &Query::new("listExecutions", text)).await?)
    }
}

/// Stored times are whole milliseconds of the server's clock.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(millis: f64) -> u64 {
    millis.max(0.0) as u64
}

pub(super) fn not_found(operation: &str, instance: &str) -> ProviderError {
    ProviderError::permanent(operation, format!("Instance {instance} not found"))
}

#[async_trait::async_trait]
impl ProviderAdmin for CosmosDBProvider {
    async fn list_instances(&self) -> Result<Vec<String>, ProviderError> {
        let text = format!("SELECT c.instanceId, c.createdAt FROM c WHERE {EXISTS}");
        self.inner.instances(Query::new("listInstances", text)).await
    }

    async fn list_instances_by_status(&self, status: &str) -> Result<Vec<String>, ProviderError> {
        let text = format!("SELECT c.instanceId, c.createdAt FROM c WHERE {EXISTS} AND c.status = @status");
        self.inner.instances(Query::new("listInstances", text).bind("@status", status)).await
    }

    async fn list_executions(&self, instance: &str) -> Result<Vec<u64>, ProviderError> {
        let partition = keys::instance_partition("list_executions", instance)?;
        let Some(head) = self.inner.head(&partition).await?.filter(|head| head.execution > 0) else {
            return Ok(Vec::new());
        };
        let mut executions: Vec<u64> = self.inner.executions(&partition, "VALUE c.execution").await?;
        executions.retain(|execution| !head.pruning.hides(*execution));
        executions.push(head.execution);
        Ok(executions)
    }

    async fn read_history_with_execution_id(
        &self,
        instance: &str,
        execution_id: u64,
    ) -> Result<Vec<Event>, ProviderError> {
        self.inner.read_kept(instance, execution_id).await
    }

    async fn read_history(&self, instance: &str) -> Result<Vec<Event>, ProviderError> {
        self.inner.read_current(instance).await
    }

    async fn latest_execution_id(&self, instance: &str) -> Result<u64, ProviderError> {
        let partition = keys::instance_partition("latest_execution_id", instance)?;
        let head = self.inner.head(&partition).await?;
        Ok(head.map_or(INITIAL_EXECUTION_ID, |head| head.execution.max(INITIAL_EXECUTION_ID)))
    }

    async fn get_instance_info(&self, instance: &str) -> Result<InstanceInfo, ProviderError> {
        let operation = "get_instance_info";
        let partition = keys::instance_partition(operation, instance)?;
        let record =
            self.inner.record(operation, instance).await?.ok_or_else(|| not_found(operation, instance))?;
        Ok(InstanceInfo {
            instance_id: instance.to_owned(),
            orchestration_name: record.name.unwrap_or_default(),
            orchestration_version: record.version.unwrap_or_else(|| "unknown".to_owned()),
            current_execution_id: record.execution,
            status: record.status.unwrap_or_else(|| "Unknown".to_owned()),
            output: self.inner.output(&partition, record.output).await?,
            created_at: whole(record.created_at.unwrap_or_default()),
            updated_at: whole(record.updated_at.unwrap_or_default()),
            parent_instance_id: record.parent,
        })
    }

    async fn get_execution_info(
        &self,
        instance: &str,
        execution_id: u64,
    ) -> Result<ExecutionInfo, ProviderError> {
        let operation = "get_execution_info";
        let partition = keys::instance_partition(operation, instance)?;
        let current: Option<Record> = self.inner.client.read(&partition, HEAD).await?;
        let record = match current {
            Some(current) if current.execution == execution_id => Some(current),
            Some(current) if current.execution > execution_id && !current.pruning.hides(execution_id) => {
                self.inner.client.read(&partition, &format!("x:{execution_id}")).await?
            }
            _ => None,
        };
        let record = record.ok_or_else(|| {
            let what = format!("Execution {execution_id} not found for instance {instance}");
            ProviderError::permanent(operation, what)
        })?;
        Ok(ExecutionInfo {
            execution_id,
            status: record.status.unwrap_or_else(|| "Unknown".to_owned()),
            output: self.inner.output(&partition, record.output).await?,
            started_at: whole(record.started_at.unwrap_or_default()),
            completed_at: record.completed_at.map(whole),
            event_count: usize::try_from(record.events).unwrap_or(usize::MAX),
        })
    }

    /// Counts and a sum of indexed properties: the service answers these from its indexes. Runtimes ask for them
    /// once a minute.
    async fn get_system_metrics(&self) -> Result<SystemMetrics, ProviderError> {
        let with = |status: &str| format!("{EXISTS} AND c.status = '{status}'");
        let earlier = "c.type = 'execution'";
        let total_instances = self.inner.total("COUNT(1)", EXISTS).await?;
        Ok(SystemMetrics {
            total_instances,
            total_executions: total_instances + self.inner.total("COUNT(1)", earlier).await?,
            running_instances: self.inner.total("COUNT(1)", &with("Running")).await?,
            completed_instances: self.inner.total("COUNT(1)", &with("Completed")).await?,
            failed_instances: self.inner.total("COUNT(1)", &with("Failed")).await?,
            // Of heads and earlier executions; pages of history have events of that name, not a number of them.
            total_events: self.inner.total("SUM(c.events)", "c.events > 0").await?,
        })
    }

    /// Answered from indexes, too: no waiting message or activity is loaded for it.
    async fn get_queue_depths(&self) -> Result<QueueDepths, ProviderError> {
        let count = |total: u64| usize::try_from(total).unwrap_or(usize::MAX);
        let (messages, work) = ("c.type = 'head' AND c.waiting > 0", "c.type = 'work' AND c.waiting > 0");
        Ok(QueueDepths {
            orchestrator_queue: count(self.inner.total("SUM(c.waiting)", messages).await?),
            worker_queue: count(self.inner.total("COUNT(1)", work).await?),
            // Timers are hidden messages of the orchestrator queue.
            timer_queue: 0,
        })
    }

    async fn list_children(&self, instance_id: &str) -> Result<Vec<String>, ProviderError> {
        let text = format!("SELECT c.instanceId, c.createdAt FROM c WHERE {EXISTS} AND c.parent = @parent");
        self.inner.instances(Query::new("listChildren", text).bind("@parent", instance_id)).await
    }

    /// Level by level: a query for each of them, whatever its width, or a few.
    async fn get_instance_tree(&self, instance_id: &str) -> Result<InstanceTree, ProviderError> {
        let mut all_ids = vec![instance_id.to_owned()];
        let mut level = 0;
        while level < all_ids.len() {
            let children = self.inner.children(&all_ids[level..]).await?;
            level = all_ids.len();
            let ids = children.iter().map(|(partition, _)| keys::partition_instance(partition).to_owned());
            all_ids.extend(ids);
        }
        Ok(InstanceTree { root_id: instance_id.to_owned(), all_ids })
    }

    async fn get_parent_id(&self, instance_id: &str) -> Result<Option<String>, ProviderError> {
        let operation = "get_parent_id";
        let record = self.inner.record(operation, instance_id).await?;
        Ok(record.ok_or_else(|| not_found(operation, instance_id))?.parent)
    }

    async fn delete_instances_atomic(
        &self,
        ids: &[String],
        force: bool,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        self.inner.delete_instances(ids, force).await
    }

    async fn delete_instance_bulk(
        &self,
        filter: InstanceFilter,
    ) -> Result<DeleteInstanceResult, ProviderError> {
        self.inner.delete_bulk(self, filter).await
    }

    async fn prune_executions(
        &self,
        instance_id: &str,
        options: PruneOptions,
    ) -> Result<PruneResult, ProviderError> {
        self.inner.prune(instance_id, &options).await
    }

    async fn prune_executions_bulk(
        &self,
        filter: InstanceFilter,
        options: PruneOptions,
    ) -> Result<PruneResult, ProviderError> {
        self.inner.prune_bulk(&filter, &options).await
    }
}
