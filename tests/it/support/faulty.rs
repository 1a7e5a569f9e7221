//! A transport that loses requests or their answers, as a test wishes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use duroxide::providers::ProviderError;
use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing special.
    Pass,
    /// It never arrives.
    Lost,
    /// It takes effect, but the answer never arrives.
    AnswerLost,
    /// It never arrives, and nobody says so.
    Hangs,
    /// It is sent twice; the second answer counts.
    Twice,
    /// The service refuses it with this status and sub-status.
    Refused(u16, u32),
    /// It takes effect, but the answer is this status.
    Failed(u16),
    /// This is the answer.
    Answered(&'static str),
}

/// An answer the service gives when something is wrong.
fn refusal(status: u16, sub_status: u32) -> Response {
    http::Response::builder()
        .status(status)
        .header("x-ms-substatus", sub_status.to_string())
        .header("x-ms-retry-after-ms", if status == 429 { "30" } else { "0" })
        .body(r#"{"code":"Refused","message":"by the test"}"#.into())
        .expect("a response")
}

type Decide = Box<dyn FnMut(&str) -> Fate + Send>;

/// Decides the fate of each request by the stored procedure (or path) it is for.
pub struct Faulty {
    inner: HttpTransport,
    decide: Mutex<Decide>,
    /// A partition that refuses everything.
    cut_off: Option<&'static str>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    /// A provider whose requests `decide` judges; called with the name of the procedure, else the path.
    pub async fn provider(
        config: &CosmosDBProviderConfig,
        decide: impl FnMut(&str) -> Fate + Send + 'static,
    ) -> Arc<CosmosDBProvider> {
        Arc::new(Self::start(config, decide).await.expect("a provider"))
    }

    /// The same where the start itself may fail.
    pub async fn start(
        config: &CosmosDBProviderConfig,
        decide: impl FnMut(&str) -> Fate + Send + 'static,
    ) -> Result<CosmosDBProvider, ProviderError> {
        Self::launch(config, decide, None).await
    }

    /// The same where one partition refuses everything.
    pub async fn cut_off(
        config: &CosmosDBProviderConfig,
        partition: &'static str,
        decide: impl FnMut(&str) -> Fate + Send + 'static,
    ) -> Arc<CosmosDBProvider> {
        Arc::new(Self::launch(config, decide, Some(partition)).await.expect("a provider"))
    }

    async fn launch(
        config: &CosmosDBProviderConfig,
        decide: impl FnMut(&str) -> Fate + Send + 'static,
        cut_off: Option<&'static str>,
    ) -> Result<CosmosDBProvider, ProviderError> {
        let inner = HttpTransport::new(&config.endpoint, false).expect("an endpoint");
        let transport = Self { inner, decide: Mutex::new(Box::new(decide)), cut_off };
        CosmosDBProvider::new_with_transport(config.clone(), Arc::new(transport)).await
    }
}

#[async_trait::async_trait]
impl Transport for Faulty {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let path = request.uri().path().to_owned();
        let key = request.headers().get("x-ms-documentdb-partitionkey");
        if let (Some(key), Some(partition)) = (key, self.cut_off)
            && key.as_bytes() == format!("[{partition:?}]").as_bytes()
        {
            return Ok(refusal(403, 0));
        }
        let procedure = path.split("/sprocs/").nth(1).and_then(|id| id.split('_').next());
        let fate = (self.decide.lock().expect("no panic"))(procedure.unwrap_or(&path));
        match fate {
            Fate::Pass => self.inner.call(request, timeout).await,
            Fate::Lost => Err(TransportError::NotSent("lost by the test".into())),
            Fate::Hangs => std::future::pending().await,
            Fate::AnswerLost => {
                self.inner.call(request, timeout).await?;
                Err(TransportError::OutcomeUnknown("answer lost by the test".into()))
            }
            Fate::Answered(body) => Ok(http::Response::new(body.into())),
            Fate::Refused(status, sub_status) => Ok(refusal(status, sub_status)),
            Fate::Failed(status) => {
                self.inner.call(request, timeout).await?;
                Ok(refusal(status, 0))
            }
            Fate::Twice => {
                self.inner.call(request.clone(), timeout).await?;
                self.inner.call(request, timeout).await
            }
        }
    }
}
