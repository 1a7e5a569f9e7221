//! A transport that loses requests or their answers, as a test wishes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// It is sent twice; the second answer counts.
    Twice,
}

type Decide = Box<dyn FnMut(&str) -> Fate + Send>;

/// Decides the fate of each request by the stored procedure (or path) it is for.
pub struct Faulty {
    inner: HttpTransport,
    decide: Mutex<Decide>,
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
        let inner = HttpTransport::new(&config.endpoint, false).expect("an endpoint");
        let transport = Self { inner, decide: Mutex::new(Box::new(decide)) };
        let provider = CosmosDBProvider::new_with_transport(config.clone(), Arc::new(transport)).await;
        Arc::new(provider.expect("a provider"))
    }
}

#[async_trait::async_trait]
impl Transport for Faulty {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let path = request.uri().path().to_owned();
        let procedure = path.split("/sprocs/").nth(1).and_then(|id| id.split('_').next());
        let fate = (self.decide.lock().expect("no panic"))(procedure.unwrap_or(&path));
        match fate {
            Fate::Pass => self.inner.call(request, timeout).await,
            Fate::Lost => Err(TransportError::NotSent("lost by the test".into())),
            Fate::AnswerLost => {
                self.inner.call(request, timeout).await?;
                Err(TransportError::OutcomeUnknown("answer lost by the test".into()))
            }
            Fate::Twice => {
                self.inner.call(request.clone(), timeout).await?;
                self.inner.call(request, timeout).await
            }
        }
    }
}
