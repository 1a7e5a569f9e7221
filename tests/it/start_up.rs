//! Start-up: creates what is missing, safe in many processes at once, cheap when nothing is to be done.

use std::collections::BTreeSet;

use duroxide::providers::{Provider, WorkItem};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig, Deployment};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{self, Container};

/// A container as a user makes it.
fn properties(container: &Container) -> serde_json::Value {
    json!({ "id": container.name, "partitionKey": { "paths": ["/instanceId"], "kind": "Hash", "version": 2 } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_at_once_on_nothing_all_succeed() {
    let config = support::config();
    let container = Container::of(&config);
    let starts = join_all((0..10).map(|_| CosmosDBProvider::new_with_config(config.clone()))).await;
    for start in starts {
        start.expect("every process starts");
    }
    let procedures = container.procedures().await;
    let names: BTreeSet<&str> = procedures.iter().filter_map(|id| id.split('_').next()).collect();
    assert_eq!(names.len(), procedures.len(), "each procedure is deployed once: {procedures:?}");
    for name in ["ackTurn", "ackWork", "enqueueMessages", "lockTurn", "lockWork"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    let records = container.documents("$system", "c.type = 'schema'").await;
    assert_eq!((records.len(), &records[0]["layout"]), (1, &json!(1)));
    container.delete().await;
}

#[tokio::test]
async fn a_start_with_nothing_to_do_costs_three_requests() {
    let config = support::config();
    CosmosDBProvider::new_with_config(config.clone()).await.expect("the first start");
    let provider = CosmosDBProvider::new_with_config(config.clone()).await.expect("the second start");
    let requests: u64 = provider.stats().values().map(|operation| operation.requests).sum();
    assert_eq!(requests, 3, "{:?}", provider.stats());
    Container::of(&config).delete().await;
}

#[tokio::test]
async fn a_container_from_the_future_is_refused() {
    let (_, container) = support::provider().await;
    let mut record = container.documents("$system", "c.type = 'schema'").await.remove(0);
    record["layout"] = json!(4711);
    container.upsert("$system", &record).await;
    let mut config = support::config();
    config.container.clone_from(&container.name);
    let error = CosmosDBProvider::new_with_config(config).await.expect_err("must be refused");
    assert!(
        !error.is_retryable() && error.message.contains("4711") && error.message.contains("newer"),
        "{error}"
    );
    container.delete().await;
}

/// A start that may change nothing names what is missing, and is content when nothing is.
#[tokio::test]
async fn verifying_changes_nothing() {
    let config = support::config();
    let verify = CosmosDBProviderConfig { deployment: Deployment::Verify, ..config.clone() };
    let container = Container::of(&config);
    let error = CosmosDBProvider::new_with_config(verify.clone()).await.expect_err("no container");
    assert!(!error.is_retryable() && error.message.contains(&container.name), "{error}");
    container.create(properties(&container)).await;
    let error = CosmosDBProvider::new_with_config(verify.clone()).await.expect_err("an empty container");
    assert!(!error.is_retryable() && error.message.contains("Deployment::Deploy"), "{error}");
    assert_eq!(container.procedures().await, Vec::<String>::new());
    CosmosDBProvider::new_with_config(config).await.expect("deployed");
    CosmosDBProvider::new_with_config(verify).await.expect("nothing is missing");
    container.delete().await;
}

/// Procedures are exported as they are deployed; one that goes missing at run time comes back.
#[tokio::test]
async fn procedures_are_what_is_exported_and_come_back() {
    let (provider, container) = support::provider().await;
    let mut deployed = container.procedures().await;
    deployed.sort();
    let exported: Vec<&str> = duroxide_cosmos::procedures().map(|(id, _)| id).collect();
    assert_eq!(deployed, exported);
    let enqueue = deployed.iter().find(|id| id.starts_with("enqueueMessages")).expect("it is there");
    container.delete_procedure(enqueue).await;
    let event = WorkItem::ExternalRaised { instance: "i".into(), name: "n".into(), data: String::new() };
    provider.enqueue_for_orchestrator(event, None).await.expect("queued");
    assert_eq!(container.procedures().await.len(), deployed.len());
    container.delete().await;
}

/// A container somebody made by hand gets the indexing policy and TTL it needs.
#[tokio::test]
async fn an_empty_container_is_migrated() {
    let config = support::config();
    let container = Container::of(&config);
    container.create(properties(&container)).await;
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    assert_eq!(provider.stats()["migrate"].requests, 1);
    container.delete().await;
}
