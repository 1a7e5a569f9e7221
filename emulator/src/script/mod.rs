//! STAND-IN: replaced by the real module at the merge of `emu-script`.
use std::{sync::Arc, time::Duration};
use crate::{error::ServiceError, value::Value};
pub(crate) trait Collection: Send {
    fn self_link(&self) -> &str;
    fn alt_link(&self) -> &str;
    fn partition_key_definition(&self) -> String;
    fn read(&mut self, doc: &DocRef, if_none_match: Option<&str>) -> Result<ReadResult, ServiceError>;
    fn read_feed(&mut self, page: &PageOptions) -> Result<Page, ServiceError>;
    fn query(&mut self, text: &str, parameters: Vec<(String, Value)>, page: &PageOptions) -> Result<Page, ServiceError>;
    fn create(&mut self, body: &str) -> Result<String, ServiceError>;
    fn upsert(&mut self, body: &str, etag: Option<&str>) -> Result<String, ServiceError>;
    fn replace(&mut self, doc: &DocRef, body: &str, etag: Option<&str>) -> Result<String, ServiceError>;
    fn delete(&mut self, doc: &DocRef, etag: Option<&str>) -> Result<(), ServiceError>;
}
#[derive(Debug)] pub(crate) enum DocRef { Id(String), Rid(String) }
#[derive(Debug, Default)] pub(crate) struct PageOptions { pub(crate) page_size: Option<usize>, pub(crate) continuation: Option<String> }
#[derive(Debug)] pub(crate) struct Page { pub(crate) rows: String, pub(crate) continuation: Option<String> }
#[derive(Debug)] pub(crate) enum ReadResult { Document(String), NotModified }
#[derive(Debug)] pub(crate) struct Call { pub(crate) script_id: String, pub(crate) body: Arc<str>, pub(crate) arguments: Vec<u8>, pub(crate) enable_logging: bool, pub(crate) time_limit: Duration, pub(crate) refuse_after: Option<u64>, pub(crate) clock_offset_ms: i64 }
#[derive(Debug)] pub(crate) struct Outcome<C> { pub(crate) collection: C, pub(crate) result: Result<String, ServiceError>, pub(crate) logs: Option<String>, pub(crate) operations: u64, pub(crate) cpu: Duration }
#[derive(Debug)] pub(crate) struct Engine;
impl Engine {
    pub(crate) fn new(_threads: usize) -> Engine { Engine }
    pub(crate) async fn run<C: Collection + 'static>(&self, _call: Call, collection: C) -> Outcome<C> {
        Outcome { collection, result: Err(ServiceError::new(501, 0, "stand-in")), logs: None, operations: 0, cpu: Duration::ZERO }
    }
}
