//! Triggers around single document writes, in the transaction of the write.

use std::sync::Arc;

use bytes::Bytes;

use crate::charge;
use crate::error::ServiceError;
use crate::script::{Call, Role};
use crate::store::{Container, Document, Script, ScriptKind, Transaction};
use crate::value::Value;

use super::Service;
use super::documents::failed;
use super::headers;
use super::reply::Failure;
use super::request::Request;

/// `collectionSize` of the quota that post-triggers see, in KB: a logical partition holds 20 GB.
const QUOTA_KB: u64 = 20 * 1024 * 1024;

/// The triggers that a request names.
#[derive(Debug)]
pub(super) struct Triggers {
    operation: &'static str,
    pre: Option<Arc<Script>>,
    post: Option<Arc<Script>>,
}

impl Triggers {
    /// Finds the triggers for an operation: `Create`, `Replace`, `Upsert` or `Delete`.
    ///
    /// # Errors
    /// 400 when there is more than one of a type, or one that does not exist or is for something else; 403 for one
    /// that is blocked.
    pub(super) fn of(
        container: &Container,
        request: &Request,
        operation: &'static str,
    ) -> Result<Self, ServiceError> {
        let find = |header: &str, kind: &str| {
            let Some(name) = single(request, header)? else { return Ok(None) };
            let trigger = container.script(ScriptKind::Trigger, name).ok_or_else(|| {
                ServiceError::bad_request(format!(
                    "Message: {{\"Errors\":[\"Trigger '{name}' does not exist.\"]}}"
                ))
            })?;
            check(&trigger, kind, operation)?;
            trigger.check_blocked()?;
            Ok(Some(trigger))
        };
        let pre = find(headers::PRE_TRIGGER_INCLUDE, "Pre")?;
        let post = find(headers::POST_TRIGGER_INCLUDE, "Post")?;
        Ok(Self { operation, pre, post })
    }

    /// Refuses triggers for operations that have none.
    ///
    /// # Errors
    /// 400 when the request names one.
    pub(super) fn refuse(request: &Request, what: &str) -> Result<(), ServiceError> {
        for header in [headers::PRE_TRIGGER_INCLUDE, headers::POST_TRIGGER_INCLUDE] {
            if request.header(header).is_some_and(|value| !value.trim().is_empty()) {
                return Err(ServiceError::bad_request(format!(
                    "Message: {{\"Errors\":[\"Triggers are not supported for {what}.\"]}}"
                )));
            }
        }
        Ok(())
    }

    /// Whether a trigger runs at all.
    pub(super) fn any(&self) -> bool {
        self.pre.is_some() || self.post.is_some()
    }
}

impl Service {
    /// Runs the pre-trigger: gives back the transaction, and the body to go on with.
    pub(super) async fn before(
        &self,
        triggers: &Triggers,
        txn: Transaction,
        body: Value,
    ) -> Result<(Transaction, Value), Failure> {
        // Without an object the operation fails by itself.
        let (Some(trigger), Value::Object(_)) = (&triggers.pre, &body) else { return Ok((txn, body)) };
        let call = Call {
            role: Role::PreTrigger { operation: triggers.operation },
            arguments: Bytes::from(body.to_json()),
            ..self.call(trigger)
        };
        let (txn, text) = self.run_trigger(trigger, call, txn).await?;
        let changed = match Value::parse(text.as_bytes()) {
            // The documentation has the body as text.
            Ok(Value::String(inner)) => Value::parse(inner.as_bytes()).unwrap_or_default(),
            Ok(value) => value,
            Err(_) => Value::Undefined,
        };
        Ok((txn, changed))
    }

    /// Runs the post-trigger: gives back the transaction, and the response body in place of the document.
    pub(super) async fn after(
        &self,
        triggers: &Triggers,
        txn: Transaction,
        body: &Value,
        document: Option<&Document>,
    ) -> Result<(Transaction, Option<String>), Failure> {
        let Some(trigger) = &triggers.post else { return Ok((txn, None)) };
        let used = txn.container().document_count() as u64;
        let role = Role::PostTrigger {
            operation: triggers.operation,
            response: document.map(|document| document.value.to_json()).unwrap_or_default(),
            quota: quota(QUOTA_KB, QUOTA_KB),
            usage: quota(used, used),
        };
        let call = Call { role, arguments: Bytes::from(body.to_json()), ..self.call(trigger) };
        let (txn, text) = self.run_trigger(trigger, call, txn).await?;
        Ok((txn, document.is_some().then_some(text)))
    }

    async fn run_trigger(
        &self,
        trigger: &Script,
        call: Call,
        txn: Transaction,
    ) -> Result<(Transaction, String), Failure> {
        let outcome = self.run(trigger, call, txn).await;
        let mut txn = outcome.collection;
        txn.add_charge(charge::TRIGGER);
        match outcome.result {
            Ok(text) => Ok((txn, text)),
            Err(error) => Err(failed(error, &txn)),
        }
    }
}

/// The one trigger that a header names.
fn single<'a>(request: &'a Request, header: &str) -> Result<Option<&'a str>, ServiceError> {
    let names = request.header(header).unwrap_or_default().split(',').map(str::trim);
    let mut names = names.filter(|name| !name.is_empty());
    let first = names.next();
    if names.next().is_some() {
        return Err(ServiceError::bad_request(
            "Message: {\"Errors\":[\"Only one trigger of a type is permitted for an operation.\"]}",
        ));
    }
    Ok(first)
}

/// Whether a trigger may run here.
fn check(trigger: &Script, kind: &str, operation: &str) -> Result<(), ServiceError> {
    let id = &trigger.record.id;
    let Some(options) = &trigger.record.trigger else { return Ok(()) };
    let refuse = |what: &str, is: &str, wanted: &str| {
        Err(ServiceError::bad_request(format!(
            "Message: {{\"Errors\":[\"Trigger '{id}' was defined with {what} type '{is}', and therefore is invalid for \
             '{wanted}'.\"]}}"
        )))
    };
    if !options.kind.eq_ignore_ascii_case(kind) {
        return refuse("trigger", &options.kind, kind);
    }
    let allowed = ["All", operation].iter().any(|name| options.operation.eq_ignore_ascii_case(name));
    if !allowed {
        return refuse("operation", &options.operation, operation);
    }
    Ok(())
}

/// As the headers `x-ms-resource-quota` and `x-ms-resource-usage` have it.
fn quota(documents_kb: u64, collection_kb: u64) -> String {
    format!(
        "functions=50;storedProcedures=100;triggers=25;documentSize={documents_kb};documentsSize={documents_kb};\
         documentsCount=-1;collectionSize={collection_kb};"
    )
}
