//! Documents: validation of what clients write, and the system properties.

use std::sync::{Arc, OnceLock};

use crate::error::ServiceError;
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_DOCUMENT_ID_BYTES};
use crate::names;
use crate::rid::{ContainerRid, Leaf};
use crate::value::{Object, Value};

use super::definition::missing;
use super::ttl;

/// System properties; a client's values for them are replaced.
const SYSTEM: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// A stored version of a document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) id: Arc<str>,
    /// The counter in its `_rid`.
    pub(crate) ordinal: u64,
    /// With its quotes.
    pub(crate) etag: Arc<str>,
    /// Second of the commit; `None` until then.
    pub(crate) ts: Option<i64>,
    pub(crate) ttl: Option<i64>,
    /// The whole document, system properties included.
    pub(crate) value: Value,
    /// Its length as JSON.
    pub(crate) size: usize,
    /// Number of its commit in the log of the physical partition; set by the commit.
    pub(crate) lsn: OnceLock<u64>,
}

impl Document {
    /// Checks `body` and gives it system properties.
    ///
    /// # Errors
    /// 400 for a body that is no document, 413 for one above the limit.
    pub(crate) fn new(
        body: &Value,
        container: ContainerRid,
        container_link: &str,
        ordinal: u64,
        ts: Option<i64>,
    ) -> Result<Self, ServiceError> {
        let members = body
            .as_object()
            .ok_or_else(|| ServiceError::bad_request("The document must be a JSON object."))?;
        let id = document_id(body)?;
        let ttl = ttl::parse(body.get("ttl"), "ttl")?;
        let rid = container.leaf(Leaf::Document, ordinal);
        let etag: Arc<str> = new_etag().into();
        let own = members.iter().filter(|(name, _)| !SYSTEM.contains(&&***name));
        let system = [
            ("_rid", Value::from(&*rid)),
            ("_self", Value::from(format!("{container_link}docs/{rid}/"))),
            ("_etag", Value::String(Arc::clone(&etag))),
            ("_attachments", Value::from("attachments/")),
        ];
        let value: Object = own
            .map(|(name, value)| (Arc::clone(name), value.clone()))
            .chain(system.into_iter().map(|(name, value)| (names::shared(name), value)))
            .collect();
        let mut document =
            Self { id, ordinal, etag, ts: None, ttl, value: value.into(), size: 0, lsn: OnceLock::new() };
        document.size = document.value.json_len();
        if document.size > MAX_DOCUMENT_BYTES {
            return Err(ServiceError::too_large());
        }
        Ok(match ts {
            Some(seconds) => document.stamped(seconds),
            None => document,
        })
    }

    /// The document with the time of its commit.
    #[must_use]
    pub(crate) fn stamped(mut self, seconds: i64) -> Self {
        if let Value::Object(members) = &mut self.value {
            // Exact: seconds stay far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            Arc::make_mut(members).insert(names::shared("_ts"), Value::Number(seconds as f64));
        }
        self.size += ",\"_ts\":1700000000".len();
        self.ts = Some(seconds);
        self
    }

    /// The JSON text of the whole document.
    pub(crate) fn to_json(&self) -> String {
        self.value.to_json_of(self.size)
    }

    /// Number of its commit; 0 before it.
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn.get().copied().unwrap_or_default()
    }

    /// Whether `etag` from an `If-Match` or `If-None-Match` names this version.
    pub(crate) fn matches(&self, etag: &str) -> bool {
        etag == "*" || etag == &*self.etag || etag.trim_matches('"') == self.etag.trim_matches('"')
    }
}

/// The `id` of a document body.
///
/// # Errors
/// 400 when it is missing or not allowed.
pub(crate) fn document_id(body: &Value) -> Result<Arc<str>, ServiceError> {
    let Value::String(id) = body.get("id") else {
        return Err(match body.get("id") {
            Value::Undefined => missing("id"),
            other => ServiceError::bad_request(format!("The document id must be a string, not {other}.")),
        });
    };
    if id.is_empty() {
        return Err(missing("id"));
    }
    if id.len() > MAX_DOCUMENT_ID_BYTES {
        return Err(ServiceError::bad_request(format!(
            "The document id exceeds {MAX_DOCUMENT_ID_BYTES} bytes."
        )));
    }
    if id.contains(['/', '\\', '?', '#']) || id.ends_with(' ') {
        return Err(ServiceError::bad_request(format!(
            "Id '{id}' is not allowed: it contains '/', '\\', '?' or '#', or ends with a space."
        )));
    }
    Ok(Arc::clone(id))
}

/// A fresh etag, quotes included.
pub(crate) fn new_etag() -> String {
    format!("\"{}\"", uuid::Uuid::new_v4())
}
