//! Start-up: the database and container exist, have our layout, and our procedures are deployed.
//!
//! When nothing is to be done this costs three requests: account, container, record.

pub(crate) mod migrations;
pub(crate) mod procedures;

use std::time::Duration;

use bytes::Bytes;
use duroxide::providers::ProviderError;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::Deployment;
use crate::cosmos::client::{Target, encode};
use crate::cosmos::{Client, Failure, retry};
use crate::model::keys::SYSTEM_PARTITION;
use migrations::{Applied, MIGRATIONS, Record};

/// Transient failures at start-up are absorbed for this long; then the caller wants to know.
const START_BUDGET: Duration = Duration::from_secs(8);

const RECORD_ID: &str = "schema";

/// Bundles remembered in the record; older ones are redeployed should they ever return.
const REMEMBERED_BUNDLES: usize = 16;

/// Brings the container to this crate's layout, or checks that somebody has. Safe in any number of processes at
/// once.
pub(crate) async fn prepare(client: &Client, deployment: Deployment) -> Result<(), ProviderError> {
    check_account(client).await?;
    let mut container = ensure_container(client, deployment).await?;
    check_partition_key(client, &container)?;
    // A lost race for the record means that somebody else made progress: look again.
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let record: Option<Record> = client.read(SYSTEM_PARTITION, RECORD_ID).await?;
        let layout = record.as_ref().map_or(0, |record| record.layout);
        if layout > migrations::latest() {
            return Err(permanent(format!(
                "container {:?} has layout {layout}, this version of duroxide-cosmos knows {}; use a newer version, or another container",
                client.container,
                migrations::latest()
            )));
        }
        let deployed = record.as_ref().is_some_and(|record| record.bundles.contains(&procedures::BUNDLE));
        if layout == migrations::latest() && deployed {
            return Ok(());
        }
        if deployment == Deployment::Verify {
            return Err(permanent(format!(
                "container {:?} has layout {layout} of {} and {} the procedures of this version; start once with Deployment::Deploy, which brings it up to date",
                client.container,
                migrations::latest(),
                if deployed { "has" } else { "lacks" }
            )));
        }
        migrate(client, &mut container, layout).await?;
        if !deployed {
            for procedure in procedures::PROCEDURES.iter() {
                procedures::deploy(client, procedure).await?;
            }
        }
        if write_record(client, record).await? {
            return Ok(());
        }
    }
    Err(ProviderError::retryable("start", "other processes keep changing the container's schema record"))
}

fn permanent(message: impl Into<String>) -> ProviderError {
    ProviderError::permanent("start", message)
}

/// Sends a start-up request; passing failures are absorbed for a short while.
async fn send(
    client: &Client,
    operation: &'static str,
    target: Target,
    body: Bytes,
) -> Result<Bytes, Failure> {
    let answer = retry::until(START_BUDGET, || client.send(operation, &target, &[], body.clone())).await?;
    Ok(answer.into_body())
}

async fn check_account(client: &Client) -> Result<(), ProviderError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        #[serde(default)]
        enable_multiple_write_locations: bool,
        user_consistency_policy: Option<Consistency>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Consistency {
        default_consistency_level: String,
    }
    let body = send(client, "account", client.account(Method::GET), Bytes::new()).await.map_err(|failure| {
        if failure.is(401) || failure.is(403) {
            permanent(format!("the account refuses the key: check the setting `key` (COSMOS_KEY), and this machine's clock: {failure}"))
        } else {
            permanent(format!("cannot reach the account: check the setting `endpoint` (COSMOS_ENDPOINT): {failure}"))
        }
    })?;
    let account: Account = serde_json::from_slice(&body).map_err(|_| {
        permanent("the endpoint answers, but not as a Cosmos DB account: check the setting `endpoint` (COSMOS_ENDPOINT)")
    })?;
    if account.enable_multiple_write_locations {
        return Err(permanent(
            "the account has several write regions, where two regions could both win a lock: use an account with one",
        ));
    }
    if let Some(Consistency { default_consistency_level: level }) = account.user_consistency_policy
        && matches!(level.as_str(), "Eventual" | "ConsistentPrefix")
    {
        return Err(permanent(format!(
            "the account's default consistency is {level}, with which a process may not see what it wrote itself: set it to Session or stronger"
        )));
    }
    Ok(())
}

/// The container's properties; creates database and container when they are missing.
async fn ensure_container(
    client: &Client,
    deployment: Deployment,
) -> Result<Map<String, Value>, ProviderError> {
    let read = || send(client, "readContainer", client.container(Method::GET), Bytes::new());
    let body = match read().await {
        Err(failure) if failure.is(404) && deployment == Deployment::Deploy => {
            create_container(client).await?;
            read().await
        }
        other => other,
    };
    let body = body.map_err(|failure| {
        let (database, container) = (&client.database, &client.container);
        permanent(format!("cannot read container {container:?} of database {database:?}: {failure}"))
    })?;
    serde_json::from_slice(&body).map_err(|error| permanent(format!("container properties: {error}")))
}

async fn create_container(client: &Client) -> Result<(), ProviderError> {
    let database = json!({ "id": client.database });
    let body = encode("createDatabase", &database)?;
    match send(client, "createDatabase", client.databases(Method::POST), body).await {
        Err(failure) if !failure.is(409) => {
            return Err(permanent(format!(
                "database {:?} does not exist and cannot be created; create it, or name another one in the setting `database` (COSMOS_DATABASE): {failure}",
                client.database
            )));
        }
        _ => {}
    }
    let mut container = Map::new();
    container.insert("id".into(), json!(client.container));
    container
        .insert("partitionKey".into(), json!({ "paths": ["/instanceId"], "kind": "Hash", "version": 2 }));
    for migration in MIGRATIONS.iter() {
        container.extend(migration.container.clone());
    }
    let body = encode("createContainer", &container)?;
    match send(client, "createContainer", client.containers(Method::POST), body).await {
        Err(failure) if !failure.is(409) => Err(permanent(format!(
            "container {:?} does not exist and cannot be created; create it with partition key /instanceId, or name another one in the setting `container` (COSMOS_CONTAINER): {failure}",
            client.container
        ))),
        _ => Ok(()),
    }
}

fn check_partition_key(client: &Client, container: &Map<String, Value>) -> Result<(), ProviderError> {
    let paths = &container.get("partitionKey").unwrap_or(&Value::Null)["paths"];
    if *paths == json!(["/instanceId"]) {
        return Ok(());
    }
    Err(permanent(format!(
        "container {:?} has the partition key {paths}, duroxide-cosmos needs [\"/instanceId\"]; name another container in the setting `container` (COSMOS_CONTAINER)",
        client.container
    )))
}

/// Applies the migrations after `layout`. A container that has their properties already is left alone.
async fn migrate(
    client: &Client,
    container: &mut Map<String, Value>,
    layout: u32,
) -> Result<(), ProviderError> {
    // The last word on each property: one change of the container, whose index is rebuilt once.
    let mut wanted = Map::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > layout) {
        wanted.extend(migration.container.clone());
    }
    if wanted.iter().all(|(name, value)| container.get(name).is_some_and(|found| includes(found, value))) {
        return Ok(());
    }
    container.extend(wanted);
    let body = encode("migrate", container)?;
    send(client, "migrate", client.container(Method::PUT), body).await.map_err(|failure| {
        let latest = migrations::latest();
        permanent(format!("migration of the container from layout {layout} to {latest} failed: {failure}"))
    })?;
    Ok(())
}

/// Whether `found` says all that `wanted` says: the service adds defaults and entries of its own.
fn includes(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| includes(found, value)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            wanted.iter().all(|value| found.iter().any(|found| includes(found, value)))
        }
        _ => found == wanted,
    }
}

/// Records layout and bundle. `false`: another process wrote the record meanwhile.
async fn write_record(client: &Client, old: Option<Record>) -> Result<bool, ProviderError> {
    let mut record = old.clone().unwrap_or_else(|| Record {
        id: RECORD_ID.to_owned(),
        instance_id: SYSTEM_PARTITION.to_owned(),
        kind: "schema".to_owned(),
        layout: 0,
        applied: Vec::new(),
        bundles: Vec::new(),
        etag: None,
    });
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > record.layout) {
        record.applied.push(Applied { number: migration.number, name: migration.name.clone() });
    }
    record.layout = migrations::latest();
    if !record.bundles.contains(&procedures::BUNDLE) {
        record.bundles.push(procedures::BUNDLE.clone());
    }
    let surplus = record.bundles.len().saturating_sub(REMEMBERED_BUNDLES);
    record.bundles.drain(..surplus);
    let written = match old.and_then(|record| record.etag) {
        None => client.create(SYSTEM_PARTITION, &record).await,
        Some(etag) => client.replace(SYSTEM_PARTITION, RECORD_ID, &etag, &record).await,
    };
    match written {
        Ok(()) => Ok(true),
        Err(failure) if failure.is(409) || failure.is(412) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_with_the_services_additions_needs_no_migration() {
        let wanted = json!({ "includedPaths": [{ "path": "/a/?" }], "excludedPaths": [{ "path": "/*" }] });
        let found = json!({
            "indexingMode": "consistent",
            "includedPaths": [{ "path": "/b/?" }, { "path": "/a/?" }],
            "excludedPaths": [{ "path": "/*" }, { "path": "/\"_etag\"/?" }]
        });
        assert!(includes(&found, &wanted));
        assert!(!includes(&wanted, &found));
    }
}
