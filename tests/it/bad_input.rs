//! Wrong settings and strange ids: each works or gives one clear error that names the setting and the way
//! out. No panic, no hang, no key in any message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::providers::{Provider, ProviderError, WorkItem};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use serde_json::json;

use crate::support::faulty::{Fate, Faulty};
use crate::support::{self, Container};

const KEY: &str = "c2VjcmV0LWtleS1vZi10aGUtdGVzdA==";

async fn refusal(config: CosmosDBProviderConfig) -> ProviderError {
    let started = Instant::now();
    let key = config.key.clone();
    let error = CosmosDBProvider::new_with_config(config).await.expect_err("must be refused");
    assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
    assert!(key.is_empty() || !format!("{error} {error:?}").contains(&key), "prints the key");
    error
}

#[tokio::test]
async fn a_wrong_key_names_the_setting() {
    let error = refusal(CosmosDBProviderConfig { key: KEY.into(), ..support::config() }).await;
    assert!(!error.is_retryable() && error.message.contains("COSMOS_KEY"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_no_base64_is_refused_without_a_request() {
    for key in ["", "this is not base64!", "%%%"] {
        let error = refusal(CosmosDBProviderConfig { key: key.into(), ..support::config() }).await;
        assert!(!error.is_retryable() && error.message.contains("key"), "{error}");
    }
}

#[tokio::test]
async fn endpoints_that_are_none_are_refused() {
    for endpoint in [
        "",
        "not a url",
        "localhost:8081",
        "ftp://host/",
        "https://",
        "https://user:pw@host/",
        "http://host/path",
    ] {
        let error = refusal(CosmosDBProviderConfig { endpoint: endpoint.into(), ..support::config() }).await;
        assert!(!error.is_retryable() && error.message.contains("endpoint"), "{endpoint}: {error}");
        assert!(!error.message.contains("pw"), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_nobody_listens_at_is_an_error_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let error =
        refusal(CosmosDBProviderConfig { endpoint: format!("http://{free}"), ..support::config() }).await;
    assert!(error.message.contains("COSMOS_ENDPOINT"), "{error}");
}

#[tokio::test]
async fn something_that_is_no_account_is_recognised() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        }
    });
    let error =
        refusal(CosmosDBProviderConfig { endpoint: format!("http://{address}"), ..support::config() }).await;
    assert!(error.message.contains("COSMOS_ENDPOINT"), "{error}");
}

#[tokio::test]
async fn names_the_service_refuses_are_refused_by_setting() {
    for name in ["", "a/b", "a?b", "a#b", "a\\b", "trailing "] {
        let error = refusal(CosmosDBProviderConfig { database: name.into(), ..support::config() }).await;
        assert!(error.message.contains("`database`"), "{error}");
        let error = refusal(CosmosDBProviderConfig { container: name.into(), ..support::config() }).await;
        assert!(error.message.contains("`container`"), "{error}");
    }
}

#[tokio::test]
async fn a_container_with_another_partition_key_is_refused() {
    let config = support::config();
    let container = Container::of(&config);
    container
        .create(json!({ "id": container.name, "partitionKey": { "paths": ["/pk"], "kind": "Hash", "version": 2 } }))
        .await;
    let error = refusal(config).await;
    assert!(error.message.contains("/pk") && error.message.contains("COSMOS_CONTAINER"), "{error}");
    container.delete().await;
}

#[tokio::test]
async fn a_database_that_may_not_be_created_names_the_setting() {
    let config = support::config();
    let refused = Faulty::start(&config, |what| match what {
        "/dbs" => Fate::Refused(403, 0),
        path if path.contains("/colls/") => Fate::Refused(404, 1003),
        _ => Fate::Pass,
    })
    .await;
    let error = refused.expect_err("must be refused");
    assert!(!error.is_retryable() && error.message.contains("COSMOS_DATABASE"), "{error}");
}

#[tokio::test]
async fn an_account_that_breaks_promises_is_refused() {
    let config = support::config();
    for (account, reason) in [
        (r#"{"enableMultipleWriteLocations":true}"#, "write regions"),
        (r#"{"userConsistencyPolicy":{"defaultConsistencyLevel":"Eventual"}}"#, "consistency is Eventual"),
        (
            r#"{"userConsistencyPolicy":{"defaultConsistencyLevel":"ConsistentPrefix"}}"#,
            "Session or stronger",
        ),
    ] {
        let answer = move |what: &str| if what == "/" { Fate::Answered(account) } else { Fate::Pass };
        let error = Faulty::start(&config, answer).await.expect_err("must be refused");
        assert!(!error.is_retryable() && error.message.contains(reason), "{error}");
    }
}

/// Ids of any text run through enqueue, turn, activity and history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_ids_of_any_text_work() {
    let (provider, container) = support::provider().await;
    let long = "l".repeat(2048);
    for instance in [
        "",
        " ",
        "a/b\\c?d#e",
        "\"quoted\" 'single'",
        "tab\t nul\u{0} esc\u{1b}",
        "日本語 🦀 é",
        "$system",
        "head",
        &long,
    ] {
        full_circle(&*provider, instance).await;
    }
    container.delete().await;
}

async fn full_circle(provider: &dyn Provider, instance: &str) {
    let start = WorkItem::StartOrchestration {
        instance: instance.into(),
        orchestration: "o".into(),
        input: "in".into(),
        version: Some("1.0.0".into()),
        parent_instance: None,
        parent_id: None,
        parent_execution_id: None,
        execution_id: 1,
    };
    provider
        .enqueue_for_orchestrator(start, None)
        .await
        .unwrap_or_else(|error| panic!("{instance:?}: {error}"));
    let lock = Duration::from_secs(30);
    let (item, token, _) = provider
        .fetch_orchestration_item(lock, Duration::from_secs(5), None)
        .await
        .expect("no error")
        .expect("a turn");
    assert_eq!(item.instance, instance);
    let activity = support::activity(instance, 2);
    let metadata = duroxide::providers::ExecutionMetadata {
        orchestration_name: Some("o".into()),
        orchestration_version: Some("1.0.0".into()),
        ..Default::default()
    };
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), vec![activity], Vec::new(), metadata, Vec::new())
        .await
        .unwrap_or_else(|error| panic!("{instance:?}: {error}"));
    let (_, token, _) = provider
        .fetch_work_item(lock, Duration::from_secs(5), None, &duroxide::TagFilter::DefaultOnly)
        .await
        .expect("no error")
        .expect("an activity");
    let completion =
        WorkItem::ActivityCompleted { instance: instance.into(), execution_id: 1, id: 2, result: "r".into() };
    provider
        .ack_work_item(&token, Some(completion))
        .await
        .unwrap_or_else(|error| panic!("{instance:?}: {error}"));
    let (item, token, _) = provider
        .fetch_orchestration_item(lock, Duration::from_secs(5), None)
        .await
        .expect("no error")
        .expect("a turn");
    assert_eq!((item.instance.as_str(), item.messages.len()), (instance, 1));
    let done =
        duroxide::providers::ExecutionMetadata { status: Some("Completed".into()), ..Default::default() };
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), Vec::new(), Vec::new(), done, Vec::new())
        .await
        .expect("acknowledged");
}

#[tokio::test]
async fn an_instance_id_beyond_the_limit_is_a_permanent_error_naming_it() {
    let (provider, container) = support::provider().await;
    let event =
        WorkItem::ExternalRaised { instance: "x".repeat(3000), name: "n".into(), data: String::new() };
    let error = provider.enqueue_for_orchestrator(event, None).await.expect_err("too long");
    assert!(
        !error.is_retryable() && error.message.contains("3000") && error.message.contains("2048"),
        "{error}"
    );
    container.delete().await;
}

#[tokio::test]
async fn a_value_beyond_the_services_limit_is_a_permanent_error() {
    let (provider, container) = support::provider().await;
    let data = "x".repeat(3 << 20);
    let event = WorkItem::ExternalRaised { instance: "big".into(), name: "n".into(), data };
    let error = provider.enqueue_for_orchestrator(event, None).await.expect_err("too large");
    assert!(!error.is_retryable() && error.message.contains("413"), "{error}");
    container.delete().await;
}

#[tokio::test]
async fn tokens_of_others_are_permanent_errors() {
    let (provider, container) = support::provider().await;
    for token in ["", "x", "e30", "!!!"] {
        let error = provider.renew_work_item_lock(token, Duration::from_secs(1)).await.expect_err("refused");
        assert!(!error.is_retryable() && error.message.contains("Invalid lock token"), "{error}");
    }
    assert_eq!(provider.stats().get("renewWork"), None, "refused without a request");
    container.delete().await;
}

/// The longest durations there are mean "very long" everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_durations_work() {
    let endless = Duration::MAX;
    let config = CosmosDBProviderConfig { idle_poll_interval: endless, ..support::config() };
    let container = Container::of(&config);
    let provider = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a provider"));
    let worker = Arc::clone(&provider);
    let worker = tokio::spawn(async move {
        worker.fetch_work_item(endless, endless, None, &duroxide::TagFilter::DefaultOnly).await
    });
    provider.enqueue_for_orchestrator(support::start("e"), None).await.expect("queued");
    let fetched = provider.fetch_orchestration_item(endless, endless, None).await.expect("no error");
    let (_, token, _) = fetched.expect("a turn");
    provider.renew_orchestration_item_lock(&token, endless).await.expect("renewed");
    let work = vec![support::activity("e", 2)];
    let metadata = duroxide::providers::ExecutionMetadata::default();
    provider
        .ack_orchestration_item(&token, 1, Vec::new(), work, Vec::new(), metadata, Vec::new())
        .await
        .expect("acknowledged");
    let (_, token, _) = worker.await.expect("no panic").expect("no error").expect("an activity");
    provider.renew_work_item_lock(&token, endless).await.expect("renewed");
    provider.abandon_work_item(&token, Some(endless), false).await.expect("given back");
    container.delete().await;
}
