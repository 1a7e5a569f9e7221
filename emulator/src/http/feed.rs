//! Feeds of resources other than documents: lists and queries over their JSON.

use std::collections::HashSet;

use crate::charge::{self, QueryWork};
use crate::error::ServiceError;
use crate::limits::MAX_QUERY_BYTES;
use crate::query::{Context, Query};
use crate::store::{Continuation, Position};
use crate::value::{Object, Value};

use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::{Answer, Service};

/// The body of a query.
pub(super) struct QueryBody {
    pub(super) text: String,
    pub(super) parameters: Vec<(String, Value)>,
}

impl QueryBody {
    /// Reads `{"query": …, "parameters": […]}`.
    ///
    /// # Errors
    /// 400 when it is malformed or too long.
    pub(super) fn parse(request: &Request) -> Result<Self, ServiceError> {
        let body = request.json()?;
        let text = body
            .get("query")
            .as_str()
            .ok_or_else(|| ServiceError::bad_request("The query body needs a 'query' of text."))?;
        if text.len() > MAX_QUERY_BYTES {
            return Err(ServiceError::bad_request(format!(
                "The SQL query text exceeded the maximum limit of {MAX_QUERY_BYTES} bytes."
            )));
        }
        let parameters = match body.get("parameters") {
            Value::Array(items) => parameters(items)?,
            Value::Undefined | Value::Null => Vec::new(),
            _ => return Err(ServiceError::bad_request("The query 'parameters' must be an array.")),
        };
        Ok(Self { text: text.to_owned(), parameters })
    }

    /// What a continuation belongs to: the text with the values it ran with.
    pub(super) fn identity(&self) -> String {
        let mut identity = self.text.clone();
        for (name, value) in &self.parameters {
            identity.push_str(name);
            identity.push_str(&value.to_json());
        }
        identity
    }
}

fn parameters(items: &[Value]) -> Result<Vec<(String, Value)>, ServiceError> {
    let refused = |message| Err(ServiceError::bad_request(message));
    let mut parameters: Vec<(String, Value)> = Vec::with_capacity(items.len());
    let mut names = HashSet::new();
    for item in items {
        let name = item.get("name").as_str().unwrap_or_default();
        let identifier = name.strip_prefix('@').unwrap_or_default();
        let part = |c: char| c == '_' || c.is_alphanumeric();
        if identifier.is_empty() || !identifier.chars().all(part) {
            return refused(
                "Message: {\"Errors\":[\"Parameter names should be in the format of symbol '@' followed by a valid \
                 identifier.\"]}",
            );
        }
        if !names.insert(name) {
            return refused("Message: {\"Errors\":[\"Specified duplicate parameter name.\"]}");
        }
        parameters.push((name.to_owned(), item.get("value").clone()));
    }
    Ok(parameters)
}

impl Service {
    /// What queries see besides documents.
    pub(super) fn query_context(&self, parameters: Vec<(String, Value)>) -> Context<'static> {
        // Exact: milliseconds of this era are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let now_ms = self.account.shared().clock.now_ms() as f64;
        Context { parameters, now_ms, ..Context::default() }
    }

    /// A page of all `resources`.
    pub(super) fn list_feed(&self, request: &Request, name: &str, rid: &str, resources: &[Value]) -> Answer {
        page(request, name, rid, resources, "")
    }

    /// A page of a query over `resources`.
    pub(super) fn query_feed(&self, request: &Request, name: &str, rid: &str, resources: &[Value]) -> Answer {
        let body = QueryBody::parse(request)?;
        let identity = body.identity();
        let rows = Query::parse(&body.text)?.run(resources.iter(), &self.query_context(body.parameters))?;
        page(request, name, rid, &rows, &identity)
    }
}

fn page(request: &Request, name: &str, rid: &str, rows: &[Value], identity: &str) -> Answer {
    let offset = match request.continuation() {
        None => 0,
        Some(token) => match Continuation::decode(token, identity)?.position {
            Some(Position::Offset(offset)) => offset,
            _ => return Err(ServiceError::bad_request("Invalid Continuation Token").into()),
        },
    };
    let end = offset.saturating_add(request.page_rows()?).min(rows.len());
    let page = rows.get(offset..end).unwrap_or_default();
    let mut body = Object::new();
    body.insert("_rid", rid.into());
    body.insert(name, page.to_vec().into());
    // At most a page's rows: exact.
    #[allow(clippy::cast_precision_loss)]
    body.insert("_count", Value::Number(page.len() as f64));
    let body = Value::from(body).to_json();
    let work = QueryWork { bytes_returned: body.len(), ..QueryWork::default() };
    let reply = Reply::json(200, body)
        .charge(charge::query(work))
        .header(headers::ITEM_COUNT, &page.len().to_string());
    if end == rows.len() {
        return Ok(reply);
    }
    let next = Continuation { range: None, position: Some(Position::Offset(end)) };
    Ok(reply.header(headers::CONTINUATION, &next.encode(identity)))
}
