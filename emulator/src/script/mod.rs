//! Stored procedures, triggers and user-defined functions: the server-side JavaScript API on QuickJS.
//!
//! A run is one transaction over one logical partition. The caller hands the transaction in as a
//! [`Collection`]; it moves to a script thread, and comes back with the [`Outcome`] to be committed or rolled
//! back. Scripts see JSON text only, so no JavaScript value ever leaves its thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::ServiceError;
use crate::value::Value;

mod bytecode;
mod engine;
pub(crate) mod failure;
mod functions;
mod heap;
mod host;
mod session;
mod syntax;
#[cfg(test)]
mod tests;

pub(crate) use bytecode::Cache;
pub(crate) use engine::Engine;
pub(crate) use functions::Functions;
pub use syntax::ScriptSyntax;
pub(crate) use syntax::{Newer, newer_syntax};

/// What a script may do to the documents of its logical partition; implemented by the store's transaction.
///
/// Documents cross this boundary as JSON text.
pub(crate) trait Collection: Send {
    /// The link by resource ids: `dbs/<rid>/colls/<rid>/`.
    fn self_link(&self) -> &str;
    /// The link by names: `dbs/<db>/colls/<coll>`.
    fn alt_link(&self) -> &str;
    /// The partition key paths as JSON, such as `[["instanceId"]]`.
    fn partition_key_definition(&self) -> String;
    /// One document, unless its etag is `if_none_match`.
    fn read(&mut self, doc: &DocRef, if_none_match: Option<&str>) -> Result<ReadResult, ServiceError>;
    /// One page of all documents.
    fn read_feed(&mut self, page: &PageOptions) -> Result<Page, ServiceError>;
    /// One page of a SQL query.
    fn query(
        &mut self,
        text: &str,
        parameters: Vec<(String, Value)>,
        page: &PageOptions,
    ) -> Result<Page, ServiceError>;
    /// Creates a document and returns it as stored.
    fn create(&mut self, body: &str) -> Result<String, ServiceError>;
    /// Creates or replaces a document and returns it as stored.
    fn upsert(&mut self, body: &str, etag: Option<&str>) -> Result<String, ServiceError>;
    /// Replaces a document and returns it as stored.
    fn replace(&mut self, doc: &DocRef, body: &str, etag: Option<&str>) -> Result<String, ServiceError>;
    /// Deletes a document.
    fn delete(&mut self, doc: &DocRef, etag: Option<&str>) -> Result<(), ServiceError>;
}

/// What `read` found.
#[derive(Debug)]
pub(crate) enum ReadResult {
    /// The document's JSON.
    Document(String),
    /// The document has the etag the script already knows.
    NotModified,
}

/// The last segment of a document link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DocRef {
    /// An id, from an alt link.
    Id(String),
    /// A `_rid`, from a self link.
    Rid(String),
}

/// Which part of a feed a script asks for.
#[derive(Debug, Clone)]
pub(crate) struct PageOptions {
    /// The most rows to return; `None` leaves it to the server (`pageSize: -1`).
    pub page_size: Option<usize>,
    /// Where the previous page ended.
    pub continuation: Option<String>,
}

/// A page of a feed or query.
#[derive(Debug)]
pub(crate) struct Page {
    /// A JSON array.
    pub rows: String,
    /// Where the next page begins, if there is one.
    pub continuation: Option<String>,
}

/// What a script runs as.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Applied to the arguments in the request's body; the response's body is the result.
    Procedure,
    /// Before the operation named; the request's body is a document, and what is left of it the result.
    PreTrigger { operation: &'static str },
    /// After the operation named; the request's body is a document, and the response's body the result.
    PostTrigger {
        operation: &'static str,
        /// JSON of the document as stored, empty for a deletion.
        response: String,
        /// `getMaxResourceQuota()`
        quota: String,
        /// `getResourceQuotaCurrentUsage()`
        usage: String,
    },
}

/// One execution of a stored procedure or trigger.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the script runs as.
    pub role: Role,
    /// The script's id, for stack traces.
    pub script_id: String,
    /// The script's source.
    pub body: Arc<str>,
    /// The HTTP body.
    pub arguments: Bytes,
    /// Whether `console.log` is captured.
    pub enable_logging: bool,
    /// How long the run may take.
    pub time_limit: Duration,
    /// Refuse every operation after this many (`isAccepted === false`): a fault for tests.
    pub refuse_after: Option<u64>,
    /// How far the server's clock is ahead of this machine's.
    pub clock_offset_ms: i64,
    /// Whether newer library functions are there.
    pub syntax: ScriptSyntax,
}

/// How an execution ended. `Err` means the transaction must be rolled back.
#[derive(Debug)]
pub(crate) struct Outcome<C> {
    /// The transaction that was handed in.
    pub collection: C,
    /// The JSON text of the response body.
    pub result: Result<String, ServiceError>,
    /// What the script logged, if logging was enabled.
    pub logs: Option<String>,
    /// How long the run kept its script thread busy.
    pub cpu: Duration,
}

impl<C> Outcome<C> {
    /// Of a script that was not run at all.
    pub(crate) fn refused(collection: C, error: ServiceError) -> Self {
        Self { collection, result: Err(error), logs: None, cpu: Duration::ZERO }
    }
}
