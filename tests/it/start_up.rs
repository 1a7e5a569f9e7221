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
    assert_eq!((records.len(), &records[0]["layout"]), (1, &json!(2)));
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

/// Where nothing may be changed, a procedure that has gone missing is an error that says what to do.
#[tokio::test]
async fn missing_procedures_are_named_where_they_may_not_be_deployed() {
    let config = support::config();
    let container = Container::of(&config);
    CosmosDBProvider::new_with_config(config.clone()).await.expect("deployed");
    let verify = CosmosDBProviderConfig { deployment: Deployment::Verify, ..config };
    let provider = CosmosDBProvider::new_with_config(verify).await.expect("nothing is missing");
    for id in container.procedures().await {
        container.delete_procedure(&id).await;
    }
    let error = provider.enqueue_for_orchestrator(support::start("i"), None).await.expect_err("missing");
    assert!(!error.is_retryable(), "{error}");
    for part in ["enqueueMessages_", "Deployment::Deploy"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(container.procedures().await, Vec::<String>::new());
    container.delete().await;
}

/// A procedure of ours whose body somebody has changed is not trusted.
#[tokio::test]
async fn a_foreign_procedure_is_refused() {
    let config = support::config();
    let container = Container::of(&config);
    container.create(properties(&container)).await;
    let (id, _) = duroxide_cosmos::procedures().next().expect("a procedure");
    container.create_procedure(id, "function () {}").await;
    let error = CosmosDBProvider::new_with_config(config).await.expect_err("must be refused");
    assert!(!error.is_retryable() && error.message.contains(id), "{error}");
    container.delete().await;
}

/// The same where it is changed while it is in use.
#[tokio::test]
async fn a_procedure_that_is_replaced_is_noticed() {
    let (provider, container) = support::provider().await;
    let (id, ours) =
        duroxide_cosmos::procedures().find(|(id, _)| id.starts_with("enqueueMessages_")).expect("one");
    let enqueue = || provider.enqueue_for_orchestrator(support::start("i"), None);
    for body in
        ["function () { getContext().getResponse().setBody(1); }", "function () { throw new Error('no'); }"]
    {
        container.delete_procedure(id).await;
        container.create_procedure(id, body).await;
        let error = enqueue().await.expect_err("must be refused");
        assert!(!error.is_retryable() && error.message.contains(id), "{error}");
        assert!(error.message.contains("not ours"), "{error}");
    }
    container.delete_procedure(id).await;
    container.create_procedure(id, ours).await;
    enqueue().await.expect("queued");
    container.delete().await;
}

/// Another version of this crate, which is to say: another set of procedures, is at home in the same container.
#[tokio::test]
async fn two_versions_share_a_container() {
    let config = support::config();
    let container = Container::of(&config);
    let provider = CosmosDBProvider::new_with_config(config.clone()).await.expect("this version");
    // What a start of the other version leaves.
    container.create_procedure("ackTurn_0123456789ab", "function () {}").await;
    let mut record = container.documents("$system", "c.type = 'schema'").await.remove(0);
    let bundles = record["bundles"].as_array_mut().expect("bundles");
    bundles.push(json!("0123456789ab"));
    container.upsert("$system", &record).await;
    provider.enqueue_for_orchestrator(support::start("i"), None).await.expect("this version goes on");
    let again = CosmosDBProvider::new_with_config(config.clone()).await.expect("and starts");
    let requests: u64 = again.stats().values().map(|operation| operation.requests).sum();
    assert_eq!(requests, 3, "{:?}", again.stats());
    let mut record = container.documents("$system", "c.type = 'schema'").await.remove(0);
    assert_eq!(record["bundles"].as_array().map(Vec::len), Some(2));
    // Forgotten, this version deploys itself again, and forgets nobody.
    record["bundles"] = json!(["0123456789ab"]);
    container.upsert("$system", &record).await;
    CosmosDBProvider::new_with_config(config).await.expect("deployed again");
    let record = container.documents("$system", "c.type = 'schema'").await.remove(0);
    assert_eq!(record["bundles"].as_array().map(Vec::len), Some(2));
    assert!(container.procedures().await.contains(&"ackTurn_0123456789ab".to_owned()), "it is left alone");
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

/// A container of the first layout gets what later ones added, once.
#[tokio::test]
async fn an_earlier_layout_is_migrated() {
    let config = support::config();
    let container = Container::of(&config);
    let first: serde_json::Value =
        serde_json::from_str(include_str!("../../migrations/0001_container.json")).expect("JSON");
    let mut properties = properties(&container);
    for (name, value) in first["container"].as_object().expect("properties") {
        properties[name] = value.clone();
    }
    container.create(properties).await;
    let record = json!({
        "id": "schema", "instanceId": "$system", "type": "schema", "layout": 1,
        "applied": [{ "number": 1, "name": first["name"] }], "bundles": [],
    });
    container.upsert("$system", &record).await;
    let provider = CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider");
    assert_eq!(provider.stats()["migrate"].requests, 1);
    let record = container.documents("$system", "c.type = 'schema'").await.remove(0);
    assert_eq!((&record["layout"], record["applied"].as_array().map(Vec::len)), (&json!(2), Some(2)));
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    assert!(!provider.stats().contains_key("migrate"), "nothing is left to do");
    container.delete().await;
}
