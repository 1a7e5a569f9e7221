//! The handle of an emulator.

use std::sync::Arc;

use bytes::Bytes;

use crate::builder::Builder;
use crate::faults::{FaultRule, RequestRecord};
use crate::http::{Server, Service, detached};
use crate::stats::Stats;
use crate::store::{Isolation, SplitError};

/// A Cosmos DB for NoSQL account in this process.
///
/// Clones share one account. It stops when the last clone is dropped; [`Self::shutdown`] lets running requests
/// end first.
#[derive(Clone)]
pub struct Emulator {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<Service>,
    key: String,
    endpoint: String,
    server: Option<Server>,
    /// PEM; with TLS only.
    certificate: Option<String>,
}

/// The endpoint of an emulator without a socket: requests for it go through [`Emulator::call`].
const IN_PROCESS: &str = "http://cosmos-emulator.invalid";

impl Emulator {
    /// Configures a new emulator.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        service: Arc<Service>,
        key: String,
        server: Option<Server>,
        certificate: Option<String>,
    ) -> Self {
        let endpoint = service.endpoint.get_or_init(|| IN_PROCESS.to_owned()).clone();
        Self { inner: Arc::new(Inner { service, key, endpoint, server, certificate }) }
    }

    /// Where to reach it, such as `http://127.0.0.1:8081`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// The certificate of an emulator that serves HTTPS, as PEM text for clients to trust; `None` with HTTP.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<&str> {
        self.inner.certificate.as_deref()
    }

    /// The account's key, as base64 text.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.inner.key
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn account(&self) -> &crate::store::Account {
        &self.inner.service.account
    }

    /// Requests and request units so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.service.stats.snapshot()
    }

    /// Sets how many milliseconds the server's clock is ahead of the machine's, to let leases and TTLs run out in
    /// tests. Seen by `_ts`, TTL, queries and stored procedures; not by the check of a request's date.
    pub fn set_clock_offset_ms(&self, offset: i64) {
        self.inner.service.account.shared().clock.set_offset_ms(offset);
    }

    /// Changes how transactions that begin from now on see each other.
    pub fn set_isolation(&self, isolation: Isolation) {
        self.inner.service.account.shared().isolation.set(isolation);
    }

    /// Faults for tests, and the log of requests.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { service: Arc::clone(&self.inner.service) }
    }

    /// Splits a physical partition of a container in two, as the service does when one grows; returns the ids of
    /// the new ones.
    ///
    /// Requests that name the old one answer 410/1002 from now on, until the client has looked the ranges up again.
    ///
    /// # Errors
    /// When the container or the partition is not there, or the partition covers a single hash.
    pub async fn split(&self, database: &str, container: &str, range: u32) -> Result<(u32, u32), SplitError> {
        self.inner.service.account.split(database, container, range).await
    }

    /// Answers a request as if it had come through the socket, authorization included. Needs a Tokio runtime.
    ///
    /// Faults befall it as well; the answer of a dropped connection has the extension [`Dropped`](crate::Dropped).
    /// The request is carried out even when the returned future is dropped, as in the service.
    pub async fn call(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        detached(Arc::clone(&self.inner.service), request).await
    }

    /// Stops listening, and waits up to ten seconds for running requests.
    pub async fn shutdown(&self) {
        if let Some(server) = &self.inner.server {
            server.stop().await;
        }
    }
}

/// Faults that are asked for, and the log of requests.
#[derive(Clone)]
pub struct Faults {
    service: Arc<Service>,
}

impl Faults {
    /// Adds a rule; its number is for [`Self::remove`]. All rules that match a request act together.
    pub fn add(&self, rule: FaultRule) -> u64 {
        self.service.faults.add(rule)
    }

    /// Removes a rule; false when there is none of this number.
    pub fn remove(&self, id: u64) -> bool {
        self.service.faults.remove(id)
    }

    /// Removes all rules. A clock that a rule has set stays as it is.
    pub fn clear(&self) {
        self.service.faults.clear();
    }

    /// How many requests a rule has befallen so far; `None` when there is none of this number.
    #[must_use]
    pub fn applied(&self, id: u64) -> Option<u64> {
        self.service.faults.list().into_iter().find(|(own, ..)| *own == id).map(|(.., applied)| applied)
    }

    /// The last requests, the oldest first; as many as [`Builder::request_log`] says.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.service.requests.list()
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("Emulator").field("endpoint", &self.inner.endpoint).finish_non_exhaustive()
    }
}
