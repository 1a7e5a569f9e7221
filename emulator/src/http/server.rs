//! The socket: HTTP/1.1 and HTTP/2 connections, their limits and the orderly stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::error::ServiceError;
use crate::faults::Dropped;
use crate::limits::MAX_REQUEST_BYTES;

use super::Service;
use super::reply::Failure;

/// A client must have sent the headers of a request within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// And the body within this.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Request line and headers; above it the answer is 431.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The same for HTTP/2.
const MAX_HTTP2_HEADER_BYTES: u32 = 64 * 1024;
/// Running requests have this long to end when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come from.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    /// Plain HTTP without.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<super::Tls>>,
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Server {
    /// Serves connections of `listener` from now on.
    pub(crate) fn start(listener: Listener, service: Arc<Service>) -> Self {
        let (stop, stop_asked) = watch::channel(false);
        let (report, stopped) = watch::channel(false);
        // Detached: ends by itself when `stop` is dropped.
        tokio::spawn(async move {
            accept(listener, service, stop_asked).await;
            let _ = report.send(true);
        });
        Self { stop, stopped }
    }

    /// Stops accepting, and waits for running requests.
    pub(crate) async fn stop(&self) {
        let _ = self.stop.send(true);
        let mut stopped = self.stopped.clone();
        // An error means that the task is gone with its runtime: stopped as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

async fn accept(listener: Listener, service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and complete: waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let (service, watcher) = (Arc::clone(&service), graceful.watcher());
        #[cfg(feature = "tls")]
        if let Some(tls) = &listener.tls {
            let handshake = tls.acceptor.accept(stream);
            tokio::spawn(async move {
                match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => {
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
                        connection(stream, protocol, service, watcher, peer).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                    Err(_) => tracing::debug!(%peer, "the TLS handshake did not end in time"),
                }
            });
            continue;
        }
        tokio::spawn(async move {
            let protocol = plain_protocol(&stream).await;
            connection(stream, protocol, service, watcher, peer).await;
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped with requests still running");
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// What the client of a connection without TLS speaks. Those that know of HTTP/2 begin with its preface, which they
/// send at once.
async fn plain_protocol(stream: &TcpStream) -> Protocol {
    let mut start = [0; 3];
    match tokio::time::timeout(HEADER_TIMEOUT, stream.peek(&mut start)).await {
        Ok(Ok(3)) if start == *b"PRI" => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// Serves a connection until it ends.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    protocol: Protocol,
    service: Arc<Service>,
    watcher: Watcher,
    peer: SocketAddr,
) {
    let stream = TokioIo::new(stream);
    let handler = service_fn(move |request| serve(Arc::clone(&service), request));
    let ended = match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES);
            watcher.watch(builder.serve_connection(stream, handler)).await
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(HEADER_TIMEOUT)
                .max_header_list_size(MAX_HTTP2_HEADER_BYTES);
            watcher.watch(builder.serve_connection(stream, handler)).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn serve(
    service: Arc<Service>,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let response =
        match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_REQUEST_BYTES).collect()).await {
            Ok(Ok(body)) => detached(service, http::Request::from_parts(parts, body.to_bytes())).await,
            Ok(Err(error)) if error.is::<LengthLimitError>() => refuse(ServiceError::too_large()),
            Ok(Err(error)) => {
                refuse(ServiceError::bad_request(format!("The request body cannot be read: {error}")))
            }
            Err(_) => refuse(ServiceError::new(408, 0, "The request body did not arrive in time.")),
        };
    // The connection ends with an error of its handler, without a byte of an answer.
    match response.extensions().get::<Dropped>() {
        Some(dropped) => Err(*dropped),
        None => Ok(response.map(Full::new)),
    }
}

/// Answers a request to its end even when the client goes away meanwhile, as the service does.
pub(crate) async fn detached(service: Arc<Service>, request: http::Request<Bytes>) -> Response<Bytes> {
    match tokio::spawn(async move { service.handle(request).await }).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request failed unexpectedly");
            let mut response =
                refuse(ServiceError::new(500, 0, "The emulator failed to process the request."));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

fn refuse(error: ServiceError) -> Response<Bytes> {
    let activity_id = uuid::Uuid::new_v4().to_string();
    let mut response = Failure::from(error).into_reply(&activity_id, "").into_response(&activity_id);
    // The rest of the body was not read.
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}
