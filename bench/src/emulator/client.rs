//! A minimal client of the service: HTTP/1.1 with keep-alive, master-key signatures, nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::Error;
use crate::load::Answered;

use super::workload::PROCEDURE;

/// The database everything happens in.
pub(super) const DATABASE: &str = "bench";

/// Where a server is, and its key.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// `host:port`.
    address: String,
    key: Vec<u8>,
}

/// A request before it is signed.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: &'static str,
    /// Its path without the leading slash; of characters that need no encoding.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Call {
    pub(super) fn new(verb: &'static str, path: String, body: String) -> Self {
        Self { verb, path, headers: Vec::new(), body }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The resource type and link that the signature covers.
    fn signed(&self) -> (&str, &str) {
        let Some((owner, last)) = self.path.rsplit_once('/') else { return (&self.path, "") };
        if self.path.split('/').count().is_multiple_of(2) {
            (owner.rsplit('/').next().unwrap_or(owner), &self.path)
        } else {
            (last, owner)
        }
    }
}

/// One connection; one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    client: Client,
}

impl Client {
    /// A client of `endpoint`, which must be plain HTTP.
    pub(super) fn new(endpoint: &str, key: &str) -> Result<Self, Error> {
        let address = endpoint
            .strip_prefix("http://")
            .ok_or_else(|| Error::Other(format!("'{endpoint}' is not an http:// endpoint")))?;
        let key = STANDARD.decode(key).map_err(|error| Error::Other(format!("key: {error}")))?;
        Ok(Self { address: address.trim_end_matches('/').to_owned(), key })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|error| Error::Io(self.address.clone(), error))?;
        stream.set_nodelay(true).map_err(|error| Error::Io(self.address.clone(), error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Connection { sender, client: self.clone() })
    }

    /// Database, containers and the procedure. What is there already stays.
    pub(super) async fn setup(&self) -> Result<(), Error> {
        let mut connection = self.connect().await?;
        connection.ensure("dbs".into(), &json!({ "id": DATABASE })).await?;
        for id in ["large", "small"] {
            let partition_key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
            let container = json!({"id": id, "partitionKey": partition_key});
            connection.ensure(format!("dbs/{DATABASE}/colls"), &container).await?;
            let procedure = json!({"id": "ten", "body": PROCEDURE});
            let path = format!("dbs/{DATABASE}/colls/{id}/sprocs");
            // A server without procedures shows that in the table.
            let _ = connection.ensure(path, &procedure).await;
        }
        Ok(())
    }

    fn authorization(&self, call: &Call, date: &str) -> String {
        let (kind, link) = call.signed();
        let payload = format!("{}\n{kind}\n{link}\n{}\n\n", call.verb.to_lowercase(), date.to_lowercase());
        // HMAC takes keys of any length.
        let signature = Hmac::<Sha256>::new_from_slice(&self.key).map(|mut mac| {
            mac.update(payload.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        });
        let token = format!("type=master&ver=1.0&sig={}", signature.unwrap_or_default());
        utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string()
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, call: &Call) -> Result<Answered, Error> {
        let (status, headers) = self.exchange(call).await?;
        let units = headers.get("x-ms-request-charge").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answered { status, units: units.unwrap_or(0.0) })
    }

    async fn exchange(&mut self, call: &Call) -> Result<(u16, HeaderMap), Error> {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let mut request = Request::builder()
            .method(call.verb)
            .uri(format!("/{}", call.path))
            .header("host", &self.client.address)
            .header("x-ms-version", "2018-12-31")
            .header("authorization", self.client.authorization(call, &date))
            .header("x-ms-date", date);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        // Some servers close a connection now and then.
        if self.sender.ready().await.is_err() {
            self.sender = self.client.connect().await?.sender;
        }
        let request = request.body(Full::new(Bytes::from(call.body.clone())))?;
        let response = self.sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        body.collect().await?;
        Ok((parts.status.as_u16(), parts.headers))
    }

    /// Creates a resource unless it is there.
    async fn ensure(&mut self, path: String, body: &Value) -> Result<(), Error> {
        let call = Call::new("POST", path, body.to_string()).header("content-type", "application/json");
        match self.send(&call).await?.status {
            201 | 409 => Ok(()),
            status => Err(Error::Other(format!("POST {}: status {status}", call.path))),
        }
    }
}
