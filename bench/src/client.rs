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
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::Error;
use crate::load::Answered;

/// Where a server is, and its key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// `host:port`.
    address: String,
    key: Vec<u8>,
}

/// A request before it is signed.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    /// Its path without the leading slash; of characters that need no encoding.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn new(verb: &'static str, path: String, body: String) -> Self {
        Self { verb, path, headers: Vec::new(), body }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
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
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    client: Client,
}

impl Client {
    /// A client of `endpoint`, which must be plain HTTP.
    pub(crate) fn new(endpoint: &str, key: &str) -> Result<Self, Error> {
        let address = endpoint
            .strip_prefix("http://")
            .ok_or_else(|| Error::Other(format!("'{endpoint}' is not an http:// endpoint")))?;
        let key = STANDARD.decode(key).map_err(|error| Error::Other(format!("key: {error}")))?;
        Ok(Self { address: address.trim_end_matches('/').to_owned(), key })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|error| Error::Io(self.address.clone(), error))?;
        stream.set_nodelay(true).map_err(|error| Error::Io(self.address.clone(), error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Connection { sender, client: self.clone() })
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
    pub(crate) async fn send(&mut self, call: &Call) -> Result<Answered, Error> {
        let (status, headers, _) = self.exchange(call).await?;
        let units = headers.get("x-ms-request-charge").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answered { status, units: units.unwrap_or(0.0) })
    }

    /// Sends a request; gives the status, the headers and the body of the answer.
    pub(crate) async fn exchange(&mut self, call: &Call) -> Result<(u16, HeaderMap, Bytes), Error> {
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
        let body = body.collect().await?.to_bytes();
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    /// Creates a resource unless it is there.
    pub(crate) async fn ensure(&mut self, path: String, body: &Value) -> Result<(), Error> {
        let call = Call::new("POST", path, body.to_string()).header("content-type", "application/json");
        match self.send(&call).await?.status {
            201 | 409 => Ok(()),
            status => Err(Error::Other(format!("POST {}: status {status}", call.path))),
        }
    }
}
