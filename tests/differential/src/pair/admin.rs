//! Reading and administration, at both.

use std::collections::HashSet;

use duroxide::providers::{InstanceFilter, Provider, ProviderAdmin, PruneOptions};

use super::{INSTANCES, Known, Pair, completed_before, instance};
use crate::answers::{self, agree};
use crate::turn;

impl Pair {
    pub(super) async fn append(
        &mut self,
        instance: usize,
        events: u8,
        duplicate: bool,
    ) -> Result<(), String> {
        // Only to what exists: SQLite keeps history without an instance, and does not show it.
        if !self.exists(instance).await {
            return Ok(());
        }
        let id = INSTANCES[instance];
        let execution = self.theirs.latest_execution_id(id).await.expect("an execution");
        let known = self.theirs.read_with_execution(id, execution).await.expect("history");
        let mut next = known.last().map_or(0, duroxide::Event::event_id) + u64::from(!duplicate);
        let mut appended = Vec::new();
        for _ in 0..events {
            appended.push(turn::external(id, execution, next.max(1), self.text(false)));
            next = next.max(1) + 1;
        }
        both!(self, append_with_execution(id, execution, appended.clone()), answers::same).map(drop)
    }

    pub(super) async fn look(&self, instance: usize) -> Result<(), String> {
        let id = INSTANCES[instance];
        let events = both!(self, read(id), answers::events)?.unwrap_or_default();
        let ascii = events.iter().all(|event| event.is_ascii());
        both!(self, read_history(id), answers::events)?;
        let latest = both!(self, latest_execution_id(id), answers::same)?.unwrap_or(1);
        both!(self, list_executions(id), answers::same)?;
        for execution in 1..=latest + 1 {
            both!(self, read_with_execution(id, execution), answers::events)?;
            both!(self, read_history_with_execution_id(id, execution), answers::events)?;
            both!(self, get_execution_info(id, execution), answers::execution)?;
        }
        both!(self, get_instance_info(id), answers::info)?;
        let status = both!(self, get_custom_status(id, 0), answers::same)?.flatten();
        for seen in status.map_or(1, |(_, version)| version - 1)..=2 {
            both!(self, get_custom_status(id, seen), answers::same)?;
        }
        both!(self, get_kv_all_values(id), answers::values)?;
        for key in 0..5 {
            both!(self, get_kv_value(id, &format!("key{key}")), answers::same)?;
        }
        both!(self, get_instance_stats(id), |stats| answers::stats(stats, ascii))?;
        both!(self, list_children(id), answers::sorted)?;
        both!(self, get_parent_id(id), answers::same)?;
        both!(self, get_instance_tree(id), answers::tree).map(drop)
    }

    pub(super) async fn overview(&self) -> Result<(), String> {
        both!(self, list_instances(), answers::sorted)?;
        for status in ["Running", "Completed", "Failed", "ContinuedAsNew"] {
            both!(self, list_instances_by_status(status), answers::sorted)?;
        }
        both!(self, get_system_metrics(), answers::metrics)?;
        both!(self, get_queue_depths(), |depths| depths.worker_queue)?;
        // "Number of unlocked messages": of a locked instance, SQLite counts those that came after the lock.
        if self.turns.is_empty() && !self.gave_back {
            both!(self, get_queue_depths(), |depths| (depths.orchestrator_queue, depths.timer_queue))?;
        }
        Ok(())
    }

    pub(super) async fn existing(&self) -> Vec<bool> {
        let mut existing = Vec::new();
        for instance in 0..INSTANCES.len() {
            existing.push(self.exists(instance).await);
        }
        existing
    }

    /// Forgets what has been deleted since; its tokens must be worthless now.
    pub(super) async fn forget_deleted(&mut self, before: Vec<bool>) {
        for (instance, existed) in before.into_iter().enumerate() {
            if !existed || self.exists(instance).await {
                continue;
            }
            self.known[instance] = Known::default();
            let (gone, held) = self.turns.drain(..).partition::<Vec<_>, _>(|turn| turn.instance == instance);
            self.turns = held;
            self.old_turns.extend(gone.into_iter().map(|turn| turn.token));
        }
    }

    pub(super) async fn delete(&mut self, instance: usize, force: bool) -> Result<(), String> {
        let before = self.existing().await;
        both!(self, delete_instance(INSTANCES[instance], force), answers::deleted)?;
        self.forget_deleted(before).await;
        Ok(())
    }

    pub(super) async fn delete_alone(&mut self, instance: usize, force: bool) -> Result<(), String> {
        if !self.exists(instance).await {
            return Ok(());
        }
        let before = self.existing().await;
        let ids = [INSTANCES[instance].to_owned()];
        both!(self, delete_instances_atomic(&ids, force), answers::deleted)?;
        self.forget_deleted(before).await;
        Ok(())
    }

    pub(super) async fn delete_bulk(
        &mut self,
        instances: &[u8],
        completed: Option<bool>,
    ) -> Result<(), String> {
        let ids: HashSet<String> = instances.iter().map(|i| INSTANCES[instance(*i)].to_owned()).collect();
        let filter = InstanceFilter {
            instance_ids: Some(ids.into_iter().collect()),
            completed_before: completed_before(completed),
            limit: None,
        };
        let before = self.existing().await;
        both!(self, delete_instance_bulk(filter.clone()), answers::deleted)?;
        self.forget_deleted(before).await;
        Ok(())
    }

    pub(super) async fn prune(
        &self,
        instance: usize,
        keep_last: Option<u8>,
        completed: Option<bool>,
    ) -> Result<(), String> {
        let options = PruneOptions {
            keep_last: keep_last.map(u32::from),
            completed_before: completed_before(completed),
        };
        both!(self, prune_executions(INSTANCES[instance], options.clone()), answers::pruned).map(drop)
    }

    pub(super) async fn prune_bulk(
        &self,
        keep_last: Option<u8>,
        completed: Option<bool>,
    ) -> Result<(), String> {
        let options = PruneOptions { keep_last: keep_last.map(u32::from), completed_before: None };
        let filter =
            InstanceFilter { completed_before: completed_before(completed), ..InstanceFilter::default() };
        both!(self, prune_executions_bulk(filter.clone(), options.clone()), answers::pruned).map(drop)
    }
}
