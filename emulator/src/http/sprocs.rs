//! `/dbs/{db}/colls/{coll}/sprocs`: stored procedures and their execution.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::charge;
use crate::error::ServiceError;
use crate::limits::MAX_OPERATION_TIME;
use crate::rid::Leaf;
use crate::script::Call;
use crate::store::{Container, Procedure, ProcedureRecord, missing, new_etag, resource_id};
use crate::value::{Object, Value};

use super::databases::METADATA_WRITE;
use super::documents::{begin, commit, failed};
use super::headers;
use super::reply::{Failure, Reply};
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

impl Service {
    pub(super) async fn create_procedure(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        if request.flag(headers::IS_UPSERT) {
            return Err(ServiceError::bad_request(
                "Upserts for scripts in collections with multiple partitions are not supported.",
            )
            .into());
        }
        let (procedure, durable) = container.create_procedure(self.record(&request.json()?)?)?;
        durable.wait().await?;
        Ok(Reply::resource(201, &value(&container, &procedure)).charge(METADATA_WRITE))
    }

    pub(super) fn list_procedures(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        self.list_feed(request, "StoredProcedures", &container.rid.text(), &values(&container))
    }

    pub(super) fn query_procedures(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        self.query_feed(request, "StoredProcedures", &container.rid.text(), &values(&container))
    }

    pub(super) fn read_procedure(&self, path: ContainerPath<'_>, id: &str, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let procedure = find(&container, id)?;
        if request.if_none_match() == Some(&*procedure.record.etag) {
            return Ok(Reply::empty(304).header("etag", &procedure.record.etag));
        }
        Ok(Reply::resource(200, &value(&container, &procedure)))
    }

    pub(super) async fn replace_procedure(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let old = find(&container, id)?;
        let record = self.record(&request.json()?)?;
        if record.id != old.record.id {
            return Err(ServiceError::bad_request("The id of a stored procedure cannot be changed.").into());
        }
        let (procedure, durable) = container.replace_procedure(record, request.if_match())?;
        durable.wait().await?;
        Ok(Reply::resource(200, &value(&container, &procedure)).charge(METADATA_WRITE))
    }

    pub(super) async fn delete_procedure(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let procedure = find(&container, id)?;
        container.delete_procedure(&procedure.record.id, request.if_match())?.wait().await?;
        Ok(Reply::empty(204).charge(METADATA_WRITE))
    }

    pub(super) async fn execute_procedure(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let procedure = find(&container, id)?;
        let txn = begin(&container, request).await?.stamped_at_commit();
        let call = Call {
            script_id: procedure.record.id.clone(),
            body: std::sync::Arc::clone(&procedure.body),
            arguments: request.body.to_vec(),
            enable_logging: request.flag(headers::SCRIPT_ENABLE_LOGGING),
            time_limit: MAX_OPERATION_TIME,
            refuse_after: None,
            clock_offset_ms: self.account.shared().clock.offset_ms(),
        };
        let outcome = self.engine.run(call, txn).await;
        let txn = outcome.collection;
        let units = txn.charge() + charge::PROCEDURE;
        let logs = outcome.logs.map(|logs| utf8_percent_encode(&logs, NON_ALPHANUMERIC).to_string());
        let logged = |failure: Failure| match &logs {
            Some(logs) => failure.header(headers::SCRIPT_LOG_RESULTS, logs),
            None => failure,
        };
        let body = outcome.result.map_err(|error| logged(failed(error, &txn).charge(units)))?;
        let position = commit(txn).await.map_err(|failure| logged(failure.charge(units)))?;
        let reply = Reply::json(200, body)
            .charge(units)
            .at(position)
            .header(headers::OWNER_FULL_NAME, container.alt_link())
            .header(headers::OWNER_ID, &container.rid.text());
        Ok(match &logs {
            Some(logs) => reply.header(headers::SCRIPT_LOG_RESULTS, logs),
            None => reply,
        })
    }

    /// Reads the body of a create or replace. The script is not compiled before it runs.
    fn record(&self, body: &Value) -> Result<ProcedureRecord, ServiceError> {
        let id = resource_id(body)?;
        let script = body.get("body").as_str().ok_or_else(|| missing("body"))?;
        Ok(ProcedureRecord {
            id,
            body: script.to_owned(),
            etag: new_etag(),
            ts: self.account.shared().clock.now_s(),
        })
    }
}

/// The procedure with this name or, for a self link, `_rid`.
fn find(container: &Container, id: &str) -> Result<std::sync::Arc<Procedure>, ServiceError> {
    container
        .procedure(id)
        .or_else(|| {
            let ordinal = container.rid.ordinal(Leaf::Procedure, id)?;
            container.procedures().into_iter().find(|procedure| procedure.ordinal == ordinal)
        })
        .ok_or_else(ServiceError::not_found)
}

fn values(container: &Container) -> Vec<Value> {
    container.procedures().iter().map(|procedure| value(container, procedure)).collect()
}

fn value(container: &Container, procedure: &Procedure) -> Value {
    let rid = container.rid.leaf(Leaf::Procedure, procedure.ordinal);
    let record = &procedure.record;
    let mut json = Object::new();
    json.insert("body", Value::String(std::sync::Arc::clone(&procedure.body)));
    json.insert("id", Value::from(&*record.id));
    json.insert("_self", format!("{}sprocs/{rid}/", container.self_link()).into());
    json.insert("_rid", rid.into());
    json.insert("_etag", Value::from(&*record.etag));
    // Seconds stay far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    json.insert("_ts", Value::Number(record.ts as f64));
    json.into()
}
