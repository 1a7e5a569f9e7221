//! `/dbs/{db}/colls/{coll}/` `sprocs`, `triggers` and `udfs`: scripts, and the execution of stored procedures.

use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::charge;
use crate::error::ServiceError;
use crate::limits::MAX_OPERATION_TIME;
use crate::script::{Call, Outcome, Role, ScriptSyntax, failure};
use crate::store::{
    Container, Script, ScriptKind, ScriptRecord, Transaction, TriggerOptions, missing, new_etag, resource_id,
};
use crate::value::Value;

use super::databases::METADATA_WRITE;
use super::documents::{begin, commit, failed};
use super::headers;
use super::reply::{Failure, Reply};
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

/// A procedure that every container has: it answers its first argument.
const ECHO: &str = "__.sys.echo";
const ECHO_BODY: &str = "function (value) { getContext().getResponse().setBody(value); }";

impl Service {
    pub(super) async fn create_script(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        if request.flag(headers::IS_UPSERT) {
            return Err(ServiceError::bad_request(
                "Upserts for scripts in collections with multiple partitions are not supported.",
            )
            .into());
        }
        let (script, durable) = container.create_script(kind, self.record(kind, &request.json()?)?)?;
        self.warn_of_newer_syntax(&script);
        durable.wait().await?;
        Ok(Reply::resource(201, &script.to_value(&container)).charge(METADATA_WRITE))
    }

    pub(super) fn list_scripts(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        self.list_feed(request, kind.feed_name(), &container.rid.text(), &values(&container, kind))
    }

    pub(super) fn query_scripts(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        self.query_feed(request, kind.feed_name(), &container.rid.text(), &values(&container, kind))
    }

    pub(super) fn read_script(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let script = find(&container, kind, id)?;
        if request.if_none_match() == Some(&*script.record.etag) {
            return Ok(Reply::empty(304).header("etag", &script.record.etag));
        }
        Ok(Reply::resource(200, &script.to_value(&container)))
    }

    pub(super) async fn replace_script(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let old = find(&container, kind, id)?;
        let record = self.record(kind, &request.json()?)?;
        if record.id != old.record.id {
            return Err(ServiceError::bad_request("The id of a script cannot be changed.").into());
        }
        let (script, durable) = container.replace_script(&old, record, request.if_match())?;
        self.warn_of_newer_syntax(&script);
        durable.wait().await?;
        Ok(Reply::resource(200, &script.to_value(&container)).charge(METADATA_WRITE))
    }

    pub(super) async fn delete_script(
        &self,
        kind: ScriptKind,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        let script = find(&container, kind, id)?;
        container.delete_script(&script, request.if_match())?.wait().await?;
        Ok(Reply::empty(204).charge(METADATA_WRITE))
    }

    pub(super) async fn execute_procedure(
        &self,
        path: ContainerPath<'_>,
        id: &str,
        request: &Request,
    ) -> Answer {
        let container = self.owner(path)?;
        if [headers::PRE_TRIGGER_INCLUDE, headers::POST_TRIGGER_INCLUDE]
            .iter()
            .any(|name| request.header(name).is_some())
        {
            return Err(ServiceError::bad_request("One of the input values is invalid.").into());
        }
        let procedure = match container.script(ScriptKind::Procedure, id) {
            Some(procedure) => procedure,
            None if id == ECHO => Arc::new(Script::built_in(ECHO, ECHO_BODY)),
            None => return Err(ServiceError::not_found().into()),
        };
        procedure.check_blocked()?;
        let txn = begin(&container, request).await?.stamped_at_commit();
        let call = Call {
            role: Role::Procedure,
            arguments: request.body.clone(),
            enable_logging: request.flag(headers::SCRIPT_ENABLE_LOGGING),
            refuse_after: request.refuse_after,
            ..self.call(&procedure)
        };
        let outcome = self.run(&procedure, call, txn).await;
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

    /// A call of `script` as a procedure without arguments.
    pub(super) fn call(&self, script: &Script) -> Call {
        Call {
            role: Role::Procedure,
            script_id: script.record.id.clone(),
            body: Arc::clone(&script.body),
            arguments: Bytes::new(),
            enable_logging: false,
            time_limit: MAX_OPERATION_TIME,
            refuse_after: None,
            clock_offset_ms: self.account.shared().clock.offset_ms(),
            syntax: self.account.shared().scripts.syntax,
        }
    }

    /// Runs a script that is not blocked, and counts what it used.
    pub(super) async fn run(&self, script: &Script, call: Call, txn: Transaction) -> Outcome<Transaction> {
        let settings = &self.account.shared().scripts;
        if settings.syntax == ScriptSyntax::Refuse
            && let Some(newer) = script.newer_syntax
        {
            return Outcome::refused(txn, failure::newer_syntax(newer));
        }
        let outcome = self.engine.run(call, txn).await;
        script.used(outcome.cpu, settings.charge);
        outcome
    }

    /// Reads the body of a create or replace. The script is not compiled before it runs.
    fn record(&self, kind: ScriptKind, body: &Value) -> Result<ScriptRecord, ServiceError> {
        let id = resource_id(body)?;
        let script = body.get("body").as_str().ok_or_else(|| missing("body"))?;
        let trigger = match kind {
            ScriptKind::Trigger => Some(TriggerOptions::parse(body)?),
            ScriptKind::Procedure | ScriptKind::Function => None,
        };
        Ok(ScriptRecord {
            id,
            body: script.to_owned(),
            etag: new_etag(),
            ts: self.account.shared().clock.now_s(),
            trigger,
        })
    }

    fn warn_of_newer_syntax(&self, script: &Script) {
        if self.account.shared().scripts.syntax != ScriptSyntax::Any
            && let Some(newer) = script.newer_syntax
        {
            tracing::warn!(
                id = script.record.id,
                line = newer.line,
                "the script uses {}, which the service's engine does not understand",
                newer.feature
            );
        }
    }
}

fn find(container: &Container, kind: ScriptKind, id: &str) -> Result<Arc<Script>, ServiceError> {
    container.script(kind, id).ok_or_else(ServiceError::not_found)
}

fn values(container: &Container, kind: ScriptKind) -> Vec<Value> {
    container.scripts(kind).iter().map(|script| script.to_value(container)).collect()
}
