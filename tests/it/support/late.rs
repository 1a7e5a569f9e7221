//! A transport on which one request is repeated late: its first answer is lost, and the repetition waits for the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Late {
    inner: HttpTransport,
    procedure: &'static str,
    calls: AtomicUsize,
    repeated: Notify,
    go: Notify,
}

impl Late {
    /// A provider whose first call of `procedure` is the one.
    pub async fn provider(
        config: &CosmosDBProviderConfig,
        procedure: &'static str,
    ) -> (Arc<CosmosDBProvider>, Arc<Self>) {
        let late = Arc::new(Self {
            inner: HttpTransport::new(&config.endpoint, false).expect("an endpoint"),
            procedure,
            calls: AtomicUsize::new(0),
            repeated: Notify::new(),
            go: Notify::new(),
        });
        let transport = Arc::clone(&late) as Arc<dyn Transport>;
        let provider = CosmosDBProvider::new_with_transport(config.clone(), transport).await;
        (Arc::new(provider.expect("a provider")), late)
    }

    /// The first call has had its effect, the repetition waits.
    pub async fn repeated(&self) {
        self.repeated.notified().await;
    }

    pub fn let_go(&self) {
        self.go.notify_one();
    }
}

#[async_trait::async_trait]
impl Transport for Late {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        if !request.uri().path().contains(&format!("/sprocs/{}_", self.procedure)) {
            return self.inner.call(request, timeout).await;
        }
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => {
                self.inner.call(request, timeout).await?;
                return Err(TransportError::OutcomeUnknown("answer lost by the test".into()));
            }
            1 => {
                self.repeated.notify_one();
                self.go.notified().await;
            }
            _ => {}
        }
        self.inner.call(request, timeout).await
    }
}
