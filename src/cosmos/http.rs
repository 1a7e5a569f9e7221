//! The transport for real endpoints: HTTP/1.1 by reqwest, certificates verified.

use std::time::Duration;

use super::transport::{Request, Response, Transport, TransportError};

/// Cosmos DB gateways close idle connections after about four minutes; ours go first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// A gateway that does not accept within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Each dispatcher's request in flight holds one connection; idle ones beyond this are closed.
const POOL_MAX_IDLE: usize = 64;

/// HTTP to one endpoint: what [`CosmosDBProvider::new`](crate::CosmosDBProvider::new) uses, to be wrapped by
/// transports that inject faults.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    /// Scheme and authority, without a trailing slash.
    base: String,
}

impl HttpTransport {
    /// A transport for `endpoint`, such as `https://account.documents.azure.com:443/`.
    ///
    /// # Errors
    /// A text that says what is wrong with the endpoint.
    pub fn new(endpoint: &str, accept_invalid_certificates: bool) -> Result<Self, String> {
        let url = reqwest::Url::parse(endpoint.trim()).map_err(|error| {
            format!("endpoint {endpoint:?} is not a URL ({error}); it looks like https://<account>.documents.azure.com:443/")
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(format!(
                "endpoint {endpoint:?} must start with https:// (or http:// for an emulator) and name a host"
            ));
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || !matches!(url.path(), "" | "/")
            || url.query().is_some()
        {
            return Err(
                "the endpoint must be scheme, host and port only; the key belongs into the setting `key`"
                    .into(),
            );
        }
        let builder = reqwest::Client::builder()
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        #[cfg(any(feature = "rustls", feature = "native-tls"))]
        let builder = builder.tls_danger_accept_invalid_certs(accept_invalid_certificates);
        #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
        if url.scheme() == "https" || accept_invalid_certificates {
            return Err(format!(
                "endpoint {endpoint:?} needs TLS: build duroxide-cosmos with the feature `rustls` or `native-tls`"
            ));
        }
        let client = builder.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned() })
    }
}

#[async_trait::async_trait]
impl Transport for HttpTransport {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let (parts, body) = request.into_parts();
        let answer = self
            .client
            .request(parts.method, format!("{}{}", self.base, parts.uri))
            .headers(parts.headers)
            .body(body)
            .timeout(timeout)
            .send()
            .await
            .map_err(classify)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let body = answer.bytes().await.map_err(classify)?;
        response.body(body).map_err(|error| TransportError::OutcomeUnknown(error.to_string()))
    }
}

fn classify(error: reqwest::Error) -> TransportError {
    let text = with_causes(&error);
    if error.is_connect() || error.is_builder() {
        TransportError::NotSent(text)
    } else {
        TransportError::OutcomeUnknown(text)
    }
}

/// reqwest's own text says only "error sending request"; the reason is in the chain of sources.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
