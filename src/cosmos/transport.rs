//! How requests reach the service: the one seam between the provider and the network.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// A request to the service: the URI holds path and query only, the transport knows the host.
pub type Request = http::Request<Bytes>;

/// The service's answer.
pub type Response = http::Response<Bytes>;

/// Carries signed requests to a Cosmos DB endpoint.
///
/// Implementations send each request once; retries are the caller's business, because only it knows whether
/// repeating is safe. Tests wrap a transport to delay, drop or count requests.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends `request` and waits for the whole answer, at most `timeout`.
    ///
    /// # Errors
    /// [`TransportError`] tells whether the service may have seen the request.
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError>;
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: the service has not seen the request.
    #[error("no connection: {0}")]
    NotSent(String),
    /// The connection broke or the time ran out: the service may have executed the request.
    #[error("no answer: {0}")]
    OutcomeUnknown(String),
}
