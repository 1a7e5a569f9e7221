//! A proxy between a provider and the emulator that counts requests and makes them slower. It knows no provider.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::Error;

use super::counts::{ByOperation, Counts};

/// A listening proxy; it stops accepting when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    endpoint: String,
    meter: Meter,
    accepting: tokio::task::JoinHandle<()>,
}

/// What a proxy has counted, readable from everywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<ByOperation>,
    /// Added to each request, in microseconds.
    delay: AtomicU64,
}

type Upstream = Client<HttpConnector, Full<Bytes>>;

impl Proxy {
    /// Listens on a free port and passes everything on to `upstream`, a plain HTTP endpoint.
    pub(super) async fn start(upstream: &str) -> Result<Self, Error> {
        let failed = |error| Error::Io("proxy".to_owned(), error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address: SocketAddr = listener.local_addr().map_err(failed)?;
        let meter = Meter::default();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
        let route =
            Route { client, upstream: upstream.trim_end_matches('/').to_owned(), meter: meter.clone() };
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, route.clone()));
            }
        });
        Ok(Self { endpoint: format!("http://{address}"), meter, accepting })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Meter {
    /// What has been counted so far.
    pub(super) fn by_operation(&self) -> ByOperation {
        self.counts().clone()
    }

    /// Delays each request from now on by so much more than it takes anyway.
    pub(super) fn set_delay(&self, delay: Duration) {
        self.0.delay.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.0.delay.load(Ordering::Relaxed))
    }

    fn add(&self, operation: &str, counts: Counts) {
        *self.counts().entry(operation.to_owned()).or_default() += counts;
    }

    fn counts(&self) -> MutexGuard<'_, ByOperation> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where requests go, and where they are counted.
#[derive(Debug, Clone)]
struct Route {
    client: Upstream,
    upstream: String,
    meter: Meter,
}

async fn serve(stream: TcpStream, route: Route) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let route = route.clone();
        async move {
            // A task of its own: a request whose sender hangs up has been sent, and costs.
            let answered = tokio::spawn(route.pass(request)).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(bad_gateway))
        }
    });
    // Ends when the provider closes the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl Route {
    async fn pass(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.try_pass(request).await {
            Ok(response) => response,
            Err(error) => bad_gateway(error),
        }
    }

    async fn try_pass(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Error> {
        let (mut head, body) = request.into_parts();
        let operation = operation(&head.method, head.uri.path(), &head.headers);
        let body = body.collect().await?.to_bytes();
        let sent = head_bytes(&head.headers) + head.uri.path().len() + body.len();
        self.meter.add(&operation, Counts { requests: 1, units: 0.0, bytes: sent as u64 });
        let delay = self.meter.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{}{path}", self.upstream).parse::<Uri>().map_err(Error::other)?;
        let answer =
            self.client.request(Request::from_parts(head, Full::new(body))).await.map_err(Error::other)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let units =
            head.headers.get("x-ms-request-charge").and_then(|value| value.to_str().ok()?.parse().ok());
        let received = head_bytes(&head.headers) + body.len();
        let counts = Counts { requests: 0, units: units.unwrap_or(0.0), bytes: received as u64 };
        self.meter.add(&operation, counts);
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

fn bad_gateway(error: impl std::fmt::Display) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Length of header lines as they are sent.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

/// A name for what a request does.
fn operation(method: &Method, path: &str, headers: &HeaderMap) -> String {
    let has = |name: &str| headers.contains_key(name);
    let mut segments = path.trim_matches('/').split('/').skip(4);
    match (segments.next(), segments.next()) {
        (Some("sprocs"), Some(name)) if method == Method::POST => {
            // Ours carry the hash of their text behind the name.
            format!("procedure {}", name.rsplit_once('_').map_or(name, |(name, _)| name))
        }
        (Some("docs"), None) if has("x-ms-documentdb-isquery") => "query".to_owned(),
        (Some("docs"), None) if has("x-ms-cosmos-is-batch-request") => "batch".to_owned(),
        (Some("docs"), None) if has("x-ms-documentdb-is-upsert") => "upsert".to_owned(),
        (Some("docs"), None) if method == Method::POST => "create".to_owned(),
        (Some("docs"), Some(_)) => match method.as_str() {
            "GET" => "read".to_owned(),
            "PUT" => "replace".to_owned(),
            other => other.to_lowercase(),
        },
        (Some(kind), _) => kind.to_owned(),
        (None, _) => "account, database, container".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use cosmos_emulator::Emulator;
    use serde_json::json;

    use super::*;
    use crate::client::{Call, Client as Direct};

    #[tokio::test]
    async fn counts_what_the_emulator_counts_and_adds_the_delay() {
        let emulator = Emulator::builder().start().await.unwrap();
        let proxy = Proxy::start(emulator.endpoint()).await.unwrap();
        let client = Direct::new(proxy.endpoint(), emulator.key()).unwrap();
        let mut connection = client.connect().await.unwrap();
        connection.ensure("dbs".into(), &json!({"id": "d"})).await.unwrap();
        let container = json!({"id": "c", "partitionKey": {"paths": ["/p"], "kind": "Hash", "version": 2}});
        connection.ensure("dbs/d/colls".into(), &container).await.unwrap();
        proxy.meter().set_delay(Duration::from_millis(20));
        let create = Call::new("POST", "dbs/d/colls/c/docs".into(), json!({"id": "1", "p": "x"}).to_string())
            .header("x-ms-documentdb-partitionkey", r#"["x"]"#);
        let started = Instant::now();
        let created = connection.send(&create).await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(20));
        assert_eq!(created.status, 201);

        let (counted, stats) = (proxy.meter().by_operation(), emulator.stats());
        assert_eq!(counted["create"].requests, 1);
        assert!((counted["create"].units - created.units).abs() < 1e-9);
        let total = crate::provider::counts::total(&counted);
        assert_eq!(total.requests, stats.total().requests);
        // Headers have two decimals, the emulator's own sum has all of them.
        let rounding = 0.005 * f64::from(u32::try_from(total.requests).unwrap());
        assert!((total.units - stats.total().request_units).abs() <= rounding);
    }
}
