//! The collection that a stored procedure works on: a transaction, addressed as scripts address it.

use crate::charge;
use crate::error::ServiceError;
use crate::limits::{DEFAULT_PAGE_ROWS, MAX_QUERY_BYTES};
use crate::query::{Context, Query};
use crate::rid::Leaf;
use crate::script::{Collection, DocRef, Page, PageOptions, ReadResult};
use crate::value::Value;

use super::functions::ContainerFunctions;
use super::search::{Continuation, Found, Search, Source};
use super::transaction::Transaction;

/// Stands for the text of a query in the continuation of a feed.
const FEED: &str = "";

impl Transaction {
    /// The id that a script's link leads to.
    fn resolve(&self, doc: &DocRef) -> Result<String, ServiceError> {
        match doc {
            DocRef::Id(id) => Ok(id.clone()),
            DocRef::Rid(rid) => self
                .container()
                .rid
                .ordinal(Leaf::Document, rid)
                .and_then(|ordinal| self.id_of(ordinal))
                .map(|id| id.to_string())
                .ok_or_else(ServiceError::not_found),
        }
    }

    fn page(
        &mut self,
        text: &str,
        options: &PageOptions,
        find: impl FnOnce(&Search<'_>) -> Result<Found, ServiceError>,
    ) -> Result<Page, ServiceError> {
        let start = match options.continuation.as_deref() {
            None | Some("") => None,
            Some(token) => Continuation::decode(token, text)?.position,
        };
        let partition = self.view();
        let found = find(&Search {
            source: Source::Snapshot { container: &self.container, key: &self.key, partition: &partition },
            now: self.now,
            page_rows: options.page_size.unwrap_or(DEFAULT_PAGE_ROWS).max(1),
            start,
        })?;
        self.add_charge(charge::query(found.work));
        let continuation =
            found.next.clone().map(|next| Continuation { range: None, position: Some(next) }.encode(text));
        Ok(Page { rows: found.array(), continuation })
    }
}

impl Collection for Transaction {
    fn self_link(&self) -> &str {
        self.container.self_link()
    }

    fn alt_link(&self) -> &str {
        self.container.alt_link()
    }

    fn partition_key_definition(&self) -> String {
        self.partition_key_text().to_owned()
    }

    fn read(&mut self, doc: &DocRef, if_none_match: Option<&str>) -> Result<ReadResult, ServiceError> {
        let id = self.resolve(doc)?;
        let document = Transaction::read(self, &id)?;
        if if_none_match.is_some_and(|etag| document.matches(etag)) {
            return Ok(ReadResult::NotModified);
        }
        Ok(ReadResult::Document(document.to_json()))
    }

    fn read_feed(&mut self, page: &PageOptions) -> Result<Page, ServiceError> {
        self.page(FEED, page, |search| search.feed())
    }

    fn query(
        &mut self,
        text: &str,
        parameters: Vec<(String, Value)>,
        page: &PageOptions,
    ) -> Result<Page, ServiceError> {
        if text.len() > MAX_QUERY_BYTES {
            return Err(ServiceError::bad_request(format!(
                "The query text exceeds {MAX_QUERY_BYTES} bytes."
            )));
        }
        let query = Query::parse(text)?;
        let functions = ContainerFunctions::new(&self.container);
        // Exact: milliseconds of this era are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let context = Context {
            parameters,
            now_ms: self.container.shared().clock.now_ms() as f64,
            udfs: Some(&functions),
        };
        self.page(text, page, |search| search.query(&query, &context))
    }

    fn create(&mut self, body: &str) -> Result<String, ServiceError> {
        Ok(Transaction::create(self, &parse(body)?)?.to_json())
    }

    fn upsert(&mut self, body: &str, etag: Option<&str>) -> Result<String, ServiceError> {
        Ok(Transaction::upsert(self, &parse(body)?, etag)?.0.to_json())
    }

    fn replace(&mut self, doc: &DocRef, body: &str, etag: Option<&str>) -> Result<String, ServiceError> {
        let id = self.resolve(doc)?;
        Ok(Transaction::replace(self, &id, &parse(body)?, etag)?.to_json())
    }

    fn delete(&mut self, doc: &DocRef, etag: Option<&str>) -> Result<(), ServiceError> {
        let id = self.resolve(doc)?;
        Transaction::delete(self, &id, etag)
    }
}

fn parse(body: &str) -> Result<Value, ServiceError> {
    Value::parse(body.as_bytes())
        .map_err(|error| ServiceError::bad_request(format!("The document is not valid JSON: {error}")))
}
