//! Scripts against a small collection in memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Call, Collection, DocRef, Engine, Outcome, Page, PageOptions, ReadResult, Role, ScriptSyntax};
use crate::error::ServiceError;
use crate::value::Value;

mod api;
mod errors;
mod isolation;
mod limits;
mod operations;
mod query_api;

/// A partition of documents. Etags count the writes.
#[derive(Debug, Default, Clone)]
pub(super) struct Documents {
    by_id: BTreeMap<String, Value>,
    writes: u32,
}

impl Documents {
    fn with(ids: &[&str]) -> Self {
        let mut documents = Self::default();
        for id in ids {
            documents.create(&format!(r#"{{"id":"{id}","n":{}}}"#, documents.writes)).unwrap();
        }
        documents
    }

    fn ids(&self) -> Vec<&str> {
        self.by_id.keys().map(String::as_str).collect()
    }

    fn id_of(&self, doc: &DocRef) -> Result<String, ServiceError> {
        let id = match doc {
            DocRef::Id(id) => id,
            DocRef::Rid(rid) => rid.strip_prefix("rid-").unwrap_or_default(),
        };
        if self.by_id.contains_key(id) { Ok(id.to_owned()) } else { Err(ServiceError::not_found()) }
    }

    fn check(&self, id: &str, etag: Option<&str>) -> Result<(), ServiceError> {
        match etag {
            Some(etag) if self.by_id[id].get("_etag").as_str() != Some(etag) => {
                Err(ServiceError::precondition_failed())
            }
            _ => Ok(()),
        }
    }

    fn store(&mut self, body: &str) -> Result<String, ServiceError> {
        let parsed = Value::parse(body.as_bytes()).map_err(|_| ServiceError::bad_request("not JSON"))?;
        let Some(object) = parsed.as_object() else { return Err(ServiceError::bad_request("not an object")) };
        let Some(id) = parsed.get("id").as_str() else { return Err(ServiceError::bad_request("no id")) };
        assert_ne!(id, "panic", "a bug in the store");
        self.writes += 1;
        let mut stored = object.clone();
        stored.insert("_rid", format!("rid-{id}").into());
        stored.insert("_self", format!("dbs/d1/colls/c1/docs/rid-{id}/").into());
        stored.insert("_etag", format!("e{}", self.writes).into());
        stored.insert("_ts", 1000.0.into());
        let stored = Value::from(stored);
        let text = stored.to_json();
        self.by_id.insert(id.to_owned(), stored);
        Ok(text)
    }

    fn page(&self, page: &PageOptions) -> Page {
        let start: usize = page.continuation.as_deref().unwrap_or("0").parse().unwrap();
        let end = page.page_size.map_or(usize::MAX, |size| start + size);
        let rows: Vec<Value> = self.by_id.values().cloned().collect();
        let end = end.min(rows.len());
        Page {
            rows: Value::from(rows[start.min(end)..end].to_vec()).to_json(),
            continuation: (end < rows.len()).then(|| end.to_string()),
        }
    }
}

impl Collection for Documents {
    fn self_link(&self) -> &str {
        "dbs/d1/colls/c1/"
    }

    fn alt_link(&self) -> &str {
        "dbs/db/colls/coll"
    }

    fn partition_key_definition(&self) -> String {
        r#"[["instanceId"]]"#.to_owned()
    }

    fn read(&mut self, doc: &DocRef, if_none_match: Option<&str>) -> Result<ReadResult, ServiceError> {
        let id = self.id_of(doc)?;
        if if_none_match.is_some() && self.check(&id, if_none_match).is_ok() {
            return Ok(ReadResult::NotModified);
        }
        Ok(ReadResult::Document(self.by_id[&id].to_json()))
    }

    fn read_feed(&mut self, page: &PageOptions) -> Result<Page, ServiceError> {
        Ok(self.page(page))
    }

    /// `ECHO` answers with the parameters, anything else with all documents.
    fn query(
        &mut self,
        text: &str,
        parameters: Vec<(String, Value)>,
        page: &PageOptions,
    ) -> Result<Page, ServiceError> {
        match text {
            "ECHO" => {
                let rows = parameters.into_iter().map(|(name, value)| vec![name.into(), value].into());
                Ok(Page { rows: Value::from(rows.collect::<Vec<Value>>()).to_json(), continuation: None })
            }
            "BAD" => {
                Err(ServiceError::bad_request("Message: {\"Errors\":[\"Syntax error\"]}\r\nActivityId: x"))
            }
            _ => Ok(self.page(page)),
        }
    }

    fn create(&mut self, body: &str) -> Result<String, ServiceError> {
        let parsed = Value::parse(body.as_bytes()).map_err(|_| ServiceError::bad_request("not JSON"))?;
        match parsed.get("id").as_str() {
            Some(id) if self.by_id.contains_key(id) => Err(ServiceError::conflict()),
            _ => self.store(body),
        }
    }

    fn upsert(&mut self, body: &str, etag: Option<&str>) -> Result<String, ServiceError> {
        let parsed = Value::parse(body.as_bytes()).map_err(|_| ServiceError::bad_request("not JSON"))?;
        let id = parsed.get("id").as_str().unwrap_or_default();
        if self.by_id.contains_key(id) {
            self.check(id, etag)?;
        }
        self.store(body)
    }

    fn replace(&mut self, doc: &DocRef, body: &str, etag: Option<&str>) -> Result<String, ServiceError> {
        let id = self.id_of(doc)?;
        self.check(&id, etag)?;
        self.store(body)
    }

    fn delete(&mut self, doc: &DocRef, etag: Option<&str>) -> Result<(), ServiceError> {
        let id = self.id_of(doc)?;
        self.check(&id, etag)?;
        self.by_id.remove(&id);
        Ok(())
    }
}

/// A call of `body` without arguments.
pub(super) fn call(body: &str) -> Call {
    Call {
        role: Role::Procedure,
        script_id: "proc".to_owned(),
        body: Arc::from(body),
        arguments: Bytes::new(),
        enable_logging: true,
        time_limit: Duration::from_secs(5),
        refuse_after: None,
        clock_offset_ms: 0,
        syntax: ScriptSyntax::Any,
    }
}

/// Runs one call on the engine of its own.
pub(super) fn run_on(engine: &Engine, call: Call, documents: Documents) -> Outcome<Documents> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.run(call, documents))
}

/// Runs one call in the documents `a` and `b`.
pub(super) fn run(call: Call) -> Outcome<Documents> {
    run_on(&Engine::new(1), call, Documents::with(&["a", "b"]))
}

/// What must come of a script: its body, or the status, sub-status and a part of the message.
pub(super) enum Expect {
    Body(&'static str),
    Fails(u16, u32, &'static str),
}

/// The whole table is run before it fails, so that one look shows every difference.
pub(super) fn check(cases: &[(&str, Expect)]) {
    let engine = Engine::new(1);
    let mut wrong = Vec::new();
    for (body, expected) in cases {
        let outcome = run_on(&engine, call(body), Documents::with(&["a", "b"]));
        let right = match (&outcome.result, expected) {
            (Ok(text), Expect::Body(expected)) => text == expected,
            (Err(error), Expect::Fails(status, sub_status, part)) => {
                error.status == *status && error.sub_status == *sub_status && error.message.contains(part)
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{body}\n  => {:?}", outcome.result));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
