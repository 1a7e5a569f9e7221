//! A provider reads its own writes: reads and queries carry the session tokens of what it has written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use duroxide::providers::{Provider, WorkItem};
use duroxide_cosmos::{
    CosmosDBProvider, CosmosDBProviderConfig, HttpTransport, Request, Response, Transport, TransportError,
};

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

/// Notes the tokens of answers, and those that requests carry.
#[derive(Debug)]
struct Tokens {
    inner: HttpTransport,
    given: Mutex<BTreeMap<String, u64>>,
    /// Reads that carried less than had been given, or nothing.
    behind: Mutex<Vec<String>>,
    checked: Mutex<usize>,
}

fn lsns(header: Option<&http::HeaderValue>) -> BTreeMap<String, u64> {
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = |token: &str| {
        let (range, rest) = token.split_once(':')?;
        Some((range.to_owned(), rest.rsplit('#').next()?.parse().ok()?))
    };
    text.split(',').filter_map(token).collect()
}

#[async_trait::async_trait]
impl Transport for Tokens {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let path = request.uri().path().to_owned();
        let reads = path.contains("/docs")
            && (request.method() == http::Method::GET
                || request.headers().contains_key("x-ms-documentdb-isquery"));
        if reads {
            let carried = lsns(request.headers().get("x-ms-session-token"));
            let given = self.given.lock().expect("no panic").clone();
            if given.iter().any(|(range, lsn)| carried.get(range).is_none_or(|carried| carried < lsn)) {
                self.behind.lock().expect("no panic").push(format!("{path}: {carried:?} of {given:?}"));
            }
            *self.checked.lock().expect("no panic") += usize::from(!given.is_empty());
        }
        let response = self.inner.call(request, timeout).await?;
        if path.contains("/docs") || path.contains("/sprocs/") {
            self.given.lock().expect("no panic").extend(lsns(response.headers().get("x-ms-session-token")));
        }
        Ok(response)
    }
}

#[tokio::test]
async fn reads_carry_the_tokens_of_earlier_answers() {
    // Every read asks.
    let config = CosmosDBProviderConfig { cache_max_age: Duration::ZERO, ..support::config() };
    let transport = Arc::new(Tokens {
        inner: HttpTransport::new(&config.endpoint, false).expect("an endpoint"),
        given: Mutex::default(),
        behind: Mutex::default(),
        checked: Mutex::default(),
    });
    let provider =
        CosmosDBProvider::new_with_transport(config.clone(), Arc::clone(&transport) as Arc<dyn Transport>)
            .await
            .expect("a provider");
    for instance in ["a", "b", "c"] {
        let event =
            WorkItem::ExternalRaised { instance: instance.into(), name: "n".into(), data: String::new() };
        provider.enqueue_for_orchestrator(event, None).await.expect("queued");
        provider.read(instance).await.expect("history");
        provider.get_kv_all_values(instance).await.expect("values");
    }
    provider.fetch_orchestration_item(Duration::from_secs(5), Duration::ZERO, None).await.expect("no error");
    assert!(*transport.checked.lock().expect("no panic") >= 7);
    assert_eq!(*transport.behind.lock().expect("no panic"), Vec::<String>::new());
    Container::of(&config).delete().await;
}

/// A replica that stays behind the session token has not said that an instance is not there.
#[tokio::test]
async fn a_replica_that_stays_behind_is_an_error() {
    let config = support::config();
    let behind =
        |what: &str| if what.ends_with("/docs/head") { Fate::Refused(404, 1002) } else { Fate::Pass };
    let provider = Faulty::provider(&config, behind).await;
    let error = provider.read("i").await.expect_err("nothing is known");
    assert!(error.is_retryable(), "{error}");
    Container::of(&config).delete().await;
}
