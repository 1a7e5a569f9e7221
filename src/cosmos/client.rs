//! Requests to one container.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, header::HeaderName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::auth::MasterKey;
use super::failure::Failure;
use super::ranges::RangeCache;
use super::session::SessionTokens;
use super::stats::Stats;
use super::transport::{Request, Response, Transport};
use super::{encode_segment, partition_key_header, retry};

/// The REST version the headers and answers used here belong to.
const API_VERSION: &str = "2020-07-15";

const SESSION_TOKEN: &str = "x-ms-session-token";
/// The physical partition a query is for.
const RANGE: &str = "x-ms-documentdb-partitionkeyrangeid";
const IS_QUERY: &str = "x-ms-documentdb-isquery";

/// One request waits at most this long for its answer: the service itself gives up after 5 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Transient failures are absorbed for this long, well below the 30 s lease of a work item.
pub(crate) const RETRY_BUDGET: Duration = Duration::from_secs(20);

/// Where a dispatcher waits, transient failures are absorbed for this long: one unwell partition must not keep it
/// from the others.
pub(crate) const DISPATCH_BUDGET: Duration = Duration::from_secs(2);

/// A client of one container.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Arc<dyn Transport>,
    key: MasterKey,
    pub(crate) database: String,
    pub(crate) container: String,
    pub(crate) stats: Stats,
    pub(crate) ranges: RangeCache,
    pub(crate) session: SessionTokens,
}

/// What a request is about: the parts that signature and path are made of.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    verb: Method,
    resource_type: &'static str,
    /// Resource link the signature covers.
    link: String,
    /// Percent-encoded path.
    path: String,
}

/// An additional header of a request.
pub(crate) type Header = (&'static str, String);

impl Client {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        key: MasterKey,
        database: &str,
        container: &str,
    ) -> Self {
        Self {
            transport,
            key,
            database: database.to_owned(),
            container: container.to_owned(),
            stats: Stats::default(),
            ranges: RangeCache::default(),
            session: SessionTokens::default(),
        }
    }

    /// The account itself.
    pub(crate) fn account(&self, verb: Method) -> Target {
        Target { verb, resource_type: "", link: String::new(), path: "/".into() }
    }

    /// The feed of databases.
    pub(crate) fn databases(&self, verb: Method) -> Target {
        Target { verb, resource_type: "dbs", link: String::new(), path: "/dbs".into() }
    }

    /// The feed of containers of our database.
    pub(crate) fn containers(&self, verb: Method) -> Target {
        let path = format!("/dbs/{}/colls", encode_segment(&self.database));
        Target { verb, resource_type: "colls", link: format!("dbs/{}", self.database), path }
    }

    /// Our container.
    pub(crate) fn container(&self, verb: Method) -> Target {
        Target { verb, resource_type: "colls", link: self.link(), path: self.path() }
    }

    /// A feed of our container: `docs`, `sprocs` or `pkranges`.
    pub(crate) fn feed(&self, verb: Method, resource_type: &'static str) -> Target {
        Target { verb, resource_type, link: self.link(), path: format!("{}/{resource_type}", self.path()) }
    }

    /// One resource of our container.
    pub(crate) fn resource(&self, verb: Method, resource_type: &'static str, id: &str) -> Target {
        Target {
            verb,
            resource_type,
            link: format!("{}/{resource_type}/{id}", self.link()),
            path: format!("{}/{resource_type}/{}", self.path(), encode_segment(id)),
        }
    }

    fn link(&self) -> String {
        format!("dbs/{}/colls/{}", self.database, self.container)
    }

    fn path(&self) -> String {
        format!("/dbs/{}/colls/{}", encode_segment(&self.database), encode_segment(&self.container))
    }

    /// Sends one request, once. An answer of 400 and above is a failure.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        target: &Target,
        headers: &[Header],
        body: Bytes,
    ) -> Result<Response, Failure> {
        let partition = headers.iter().find(|(name, _)| name.starts_with("x-ms-documentdb-partitionkey"));
        let span = tracing::debug_span!(
            "cosmosdb",
            operation,
            partition = partition.map(|(_, value)| value.as_str()),
            status = Empty,
            request_charge = Empty,
            activity_id = Empty,
        );
        self.exchange(operation, target, headers, body).instrument(span).await
    }

    async fn exchange(
        &self,
        operation: &'static str,
        target: &Target,
        headers: &[Header],
        body: Bytes,
    ) -> Result<Response, Failure> {
        let request = self.sign(operation, target, headers, body)?;
        let sent = Instant::now();
        let answer = self.transport.call(request, REQUEST_TIMEOUT).await;
        let status = answer.as_ref().map_or(0, |response| response.status().as_u16());
        let charge = answer.as_ref().map_or(0.0, charge);
        self.stats.record(operation, status, charge, sent.elapsed());
        let span = tracing::Span::current();
        span.record("status", status).record("request_charge", charge);
        if let Ok(response) = &answer {
            span.record("activity_id", header(response, "x-ms-activity-id"));
        }
        if let Ok(response) = &answer
            && matches!(target.resource_type, "docs" | "sprocs")
            && let Some(token) = header(response, SESSION_TOKEN)
        {
            self.session.saw(token);
        }
        let result = match answer {
            Ok(response) if status < 400 => {
                tracing::debug!("answered");
                return Ok(response);
            }
            Ok(response) => Failure::of_answer(operation, &response),
            Err(error) => Failure::of_transport(operation, &error),
        };
        tracing::debug!(failure = %result, "failed");
        Err(result)
    }

    fn sign(
        &self,
        operation: &'static str,
        target: &Target,
        headers: &[Header],
        body: Bytes,
    ) -> Result<Request, Failure> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let authorization = self.key.authorize(&target.verb, target.resource_type, &target.link, &date);
        let malformed =
            |error: &dyn std::fmt::Display| Failure::unexpected(operation, format!("bad request: {error}"));
        let mut request = http::Request::builder()
            .method(target.verb.clone())
            .uri(&target.path)
            .body(body)
            .map_err(|error| malformed(&error))?;
        let all = request.headers_mut();
        all.insert("x-ms-version", HeaderValue::from_static(API_VERSION));
        all.insert("content-type", HeaderValue::from_static("application/json"));
        all.insert("x-ms-date", HeaderValue::from_str(&date).map_err(|error| malformed(&error))?);
        let mut authorization = HeaderValue::from_str(&authorization).map_err(|error| malformed(&error))?;
        authorization.set_sensitive(true);
        all.insert("authorization", authorization);
        let reads = target.verb == Method::GET || headers.iter().any(|(name, _)| *name == IS_QUERY);
        let session = self.session.header().filter(|_| target.resource_type == "docs" && reads);
        if let Some(tokens) = session {
            let value = HeaderValue::from_str(&tokens).map_err(|error| malformed(&error))?;
            all.insert(SESSION_TOKEN, value);
        }
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| malformed(&error))?;
            all.insert(HeaderName::from_static(name), value);
        }
        Ok(request)
    }

    /// Point read of a document; `None` if it does not exist.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        partition: &str,
        id: &str,
    ) -> Result<Option<T>, Failure> {
        let target = self.resource(Method::GET, "docs", id);
        let headers = vec![("x-ms-documentdb-partitionkey", partition_key_header(partition))];
        let answer = retry::until(RETRY_BUDGET, || self.send("read", &target, &headers, Bytes::new())).await;
        match answer {
            Ok(response) => parse("read", response.body()).map(Some),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Point read of a document unless it still has the etag `known` (a 304: 1 request unit).
    pub(crate) async fn read_if_changed<T: DeserializeOwned>(
        &self,
        partition: &str,
        id: &str,
        known: Option<&str>,
    ) -> Result<Fresh<T>, Failure> {
        let target = self.resource(Method::GET, "docs", id);
        let mut headers = vec![("x-ms-documentdb-partitionkey", partition_key_header(partition))];
        if let Some(etag) = known {
            headers.push(("if-none-match", etag.to_owned()));
        }
        match retry::until(RETRY_BUDGET, || self.send("read", &target, &headers, Bytes::new())).await {
            Ok(response) if response.status() == http::StatusCode::NOT_MODIFIED => Ok(Fresh::NotChanged),
            Ok(response) => parse("read", response.body()).map(Fresh::Changed),
            Err(failure) if failure.is_not_found() => Ok(Fresh::Absent),
            Err(failure) => Err(failure),
        }
    }

    /// Creates a document; the caller deals with a conflict.
    pub(crate) async fn create(&self, partition: &str, document: &impl Serialize) -> Result<(), Failure> {
        let target = self.feed(Method::POST, "docs");
        let headers = vec![("x-ms-documentdb-partitionkey", partition_key_header(partition)), minimal()];
        let body = encode("create", document)?;
        retry::until(RETRY_BUDGET, || self.send("create", &target, &headers, body.clone())).await.map(drop)
    }

    /// Replaces a document if its etag still matches; a mismatch is a failure with status 412.
    pub(crate) async fn replace(
        &self,
        partition: &str,
        id: &str,
        etag: &str,
        document: &impl Serialize,
    ) -> Result<(), Failure> {
        let target = self.resource(Method::PUT, "docs", id);
        let headers = vec![
            ("x-ms-documentdb-partitionkey", partition_key_header(partition)),
            ("if-match", etag.to_owned()),
            minimal(),
        ];
        let body = encode("replace", document)?;
        retry::until(RETRY_BUDGET, || self.send("replace", &target, &headers, body.clone())).await.map(drop)
    }

    /// Deletes a document if its etag still matches. `false`: somebody changed or deleted it.
    pub(crate) async fn delete(&self, partition: &str, id: &str, etag: &str) -> Result<bool, Failure> {
        let target = self.resource(Method::DELETE, "docs", id);
        let headers = vec![
            ("x-ms-documentdb-partitionkey", partition_key_header(partition)),
            ("if-match", etag.to_owned()),
        ];
        match retry::until(RETRY_BUDGET, || self.send("delete", &target, &headers, Bytes::new())).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() || failure.is(412) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Executes a stored procedure once. `name` is what statistics and errors call it, `id` its deployed id.
    pub(crate) async fn execute<T: DeserializeOwned>(
        &self,
        name: &'static str,
        id: &str,
        partition: &str,
        argument: &Bytes,
    ) -> Result<T, Failure> {
        let target = self.resource(Method::POST, "sprocs", id);
        let headers = vec![("x-ms-documentdb-partitionkey", partition_key_header(partition))];
        let response = self.send(name, &target, &headers, argument.clone()).await?;
        parse(name, response.body())
    }

    /// All rows of a query within one partition key.
    pub(crate) async fn query_partition<T: DeserializeOwned>(
        &self,
        partition: &str,
        query: &Query,
    ) -> Result<Vec<T>, Failure> {
        let scope = ("x-ms-documentdb-partitionkey", partition_key_header(partition));
        self.query(scope, query).await
    }

    /// All rows of a query within one physical partition, given by the id of its range.
    pub(crate) async fn query_range<T: DeserializeOwned>(
        &self,
        range: &str,
        query: &Query,
    ) -> Result<Vec<T>, Failure> {
        let scope = (RANGE, range.to_owned());
        self.query(scope, query).await
    }

    async fn query<T: DeserializeOwned>(&self, scope: Header, query: &Query) -> Result<Vec<T>, Failure> {
        #[derive(serde::Deserialize)]
        struct Page<T> {
            #[serde(rename = "Documents")]
            documents: Vec<T>,
        }
        let of_range = scope.0 == RANGE;
        let target = self.feed(Method::POST, "docs");
        let body = encode(query.operation, query)?;
        let mut headers = vec![
            scope,
            (IS_QUERY, "True".to_owned()),
            ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
            ("content-type", "application/query+json".to_owned()),
            ("x-ms-max-item-count", "1000".to_owned()),
        ];
        let mut rows = Vec::new();
        loop {
            let attempt = || async {
                match self.send(query.operation, &target, &headers, body.clone()).await {
                    // Repeating cannot help: the caller must look the ranges up again.
                    Err(failure) if of_range && failure.is_stale_range() => Ok(Err(failure)),
                    other => other.map(Ok),
                }
            };
            let response = retry::until(RETRY_BUDGET, attempt).await??;
            let page: Page<T> = parse(query.operation, response.body())?;
            rows.extend(page.documents);
            headers.retain(|(name, _)| *name != "x-ms-continuation");
            match header(&response, "x-ms-continuation") {
                Some(token) if !token.is_empty() => headers.push(("x-ms-continuation", token.to_owned())),
                _ => return Ok(rows),
            }
        }
    }
}

/// The answer to a conditional read.
#[derive(Debug)]
pub(crate) enum Fresh<T> {
    Changed(T),
    NotChanged,
    Absent,
}

/// Writes whose answer nobody reads need not carry the document back.
fn minimal() -> Header {
    ("prefer", "return=minimal".to_owned())
}

/// A parameterised query.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Query {
    /// What statistics and errors call it.
    #[serde(skip)]
    operation: &'static str,
    query: String,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, Serialize)]
struct Parameter {
    name: String,
    value: Value,
}

impl Query {
    pub(crate) fn new(operation: &'static str, query: impl Into<String>) -> Self {
        Self { operation, query: query.into(), parameters: Vec::new() }
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) fn bind(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parameters.push(Parameter { name: name.into(), value: value.into() });
        self
    }

    /// Adds the condition that `property` has one of `values`. Unlike ARRAY_CONTAINS, the index serves it.
    pub(crate) fn and_in(mut self, property: &str, values: &[impl AsRef<str>]) -> Self {
        let first = self.parameters.len();
        let names: Vec<String> = (first..first + values.len()).map(|i| format!("@in{i}")).collect();
        self.query.push_str(&format!(" AND {property} IN ({})", names.join(", ")));
        names.into_iter().zip(values).fold(self, |query, (name, value)| query.bind(name, value.as_ref()))
    }

    /// Adds the order of the rows; nothing may follow.
    pub(crate) fn order_by(mut self, property: &str) -> Self {
        self.query.push_str(&format!(" ORDER BY {property}"));
        self
    }
}

/// JSON text of a body we made ourselves.
pub(crate) fn encode(operation: &'static str, body: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Failure::unexpected(operation, format!("cannot write the request: {error}")))
}

fn parse<T: DeserializeOwned>(operation: &'static str, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::unexpected(operation, format!("the answer has an unexpected form: {error}"))
    })
}

fn charge(response: &Response) -> f64 {
    header(response, "x-ms-request-charge").and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}
