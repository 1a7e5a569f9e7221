//! Stored procedures of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ServiceError;

use super::codec::{self, Key, ProcedureRecord};
use super::container::Container;
use super::journal::Durable;
use super::sync;

/// A stored procedure.
#[derive(Debug)]
pub(crate) struct Procedure {
    pub(crate) ordinal: u64,
    pub(crate) record: ProcedureRecord,
    /// Shared with the runs.
    pub(crate) body: Arc<str>,
}

impl Procedure {
    pub(super) fn new(ordinal: u64, record: ProcedureRecord) -> Self {
        Self { ordinal, body: record.body.as_str().into(), record }
    }
}

impl Container {
    /// The procedure `id`.
    pub(crate) fn procedure(&self, id: &str) -> Option<Arc<Procedure>> {
        sync::read(&self.procedures).get(id).cloned()
    }

    /// All procedures by id.
    pub(crate) fn procedures(&self) -> Vec<Arc<Procedure>> {
        sync::read(&self.procedures).values().cloned().collect()
    }

    /// Stores a procedure under a counter of its own.
    ///
    /// # Errors
    /// 409 when the id is taken, 400 when there are too many.
    pub(crate) fn create_procedure(
        &self,
        record: ProcedureRecord,
    ) -> Result<(Arc<Procedure>, Durable), ServiceError> {
        let mut procedures = sync::write(&self.procedures);
        if procedures.contains_key(&record.id) {
            return Err(ServiceError::conflict());
        }
        if procedures.len() >= crate::limits::MAX_PROCEDURES {
            return Err(ServiceError::bad_request(format!(
                "The container has {} stored procedures already, the most there can be.",
                crate::limits::MAX_PROCEDURES
            )));
        }
        self.check_there()?;
        self.shared.journal.check()?;
        Ok(self.store_procedure(&mut procedures, Procedure::new(self.next_ordinal(), record)))
    }

    /// Replaces a procedure.
    ///
    /// # Errors
    /// 404 when there is none, 412 when `if_match` names another version.
    pub(crate) fn replace_procedure(
        &self,
        record: ProcedureRecord,
        if_match: Option<&str>,
    ) -> Result<(Arc<Procedure>, Durable), ServiceError> {
        let mut procedures = sync::write(&self.procedures);
        let old = procedures.get(&record.id).ok_or_else(ServiceError::not_found)?;
        if if_match.is_some_and(|etag| etag != "*" && etag != old.record.etag) {
            return Err(ServiceError::precondition_failed());
        }
        self.check_there()?;
        self.shared.journal.check()?;
        let new = Procedure::new(old.ordinal, record);
        Ok(self.store_procedure(&mut procedures, new))
    }

    fn store_procedure(
        &self,
        procedures: &mut BTreeMap<String, Arc<Procedure>>,
        procedure: Procedure,
    ) -> (Arc<Procedure>, Durable) {
        let key = Key::Procedure(self.rid, procedure.ordinal).encode();
        let durable = self.shared.journal.append(vec![(key, Some(codec::encode(&procedure.record)))]);
        let procedure = Arc::new(procedure);
        procedures.insert(procedure.record.id.clone(), Arc::clone(&procedure));
        (procedure, durable)
    }

    /// Deletes a procedure.
    ///
    /// # Errors
    /// 404 when there is none, 412 when `if_match` names another version.
    pub(crate) fn delete_procedure(&self, id: &str, if_match: Option<&str>) -> Result<Durable, ServiceError> {
        let mut procedures = sync::write(&self.procedures);
        let old = procedures.get(id).ok_or_else(ServiceError::not_found)?;
        if if_match.is_some_and(|etag| etag != "*" && etag != old.record.etag) {
            return Err(ServiceError::precondition_failed());
        }
        self.shared.journal.check()?;
        let key = Key::Procedure(self.rid, old.ordinal).encode();
        procedures.remove(id);
        Ok(self.shared.journal.append(vec![(key, None)]))
    }
}
