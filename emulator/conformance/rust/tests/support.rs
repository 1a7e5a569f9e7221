//! Shared by the tests.
#![allow(dead_code)]

use azure_core::credentials::Secret;
use azure_data_cosmos::models::{ContainerProperties, PartitionKeyDefinition};
use azure_data_cosmos::options::{CreateContainerOptions, Region};
use azure_data_cosmos::{
    AccountEndpoint, AccountReference, ContainerClient, CosmosClient, DatabaseClient, RoutingStrategy,
};
use serde::{Deserialize, Serialize};

/// What the tests store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: String,
    pub pk: String,
    pub n: i64,
    pub text: Option<String>,
}

impl Item {
    pub fn new(id: impl ToString, pk: impl ToString, n: i64) -> Self {
        Self { id: id.to_string(), pk: pk.to_string(), n, text: None }
    }
}

/// The account that the environment names.
pub fn account() -> (String, String) {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set"));
    (variable("COSMOS_ENDPOINT"), variable("COSMOS_KEY"))
}

pub async fn client_of(endpoint: &str, key: &str) -> CosmosClient {
    let endpoint: AccountEndpoint = endpoint.parse().unwrap();
    let account = AccountReference::with_authentication_key(endpoint, Secret::from(key.to_owned()));
    let strategy = RoutingStrategy::ProximityTo(Region::from("East US"));
    CosmosClient::builder().build(account, strategy).await.unwrap()
}

pub async fn new_database(client: &CosmosClient) -> DatabaseClient {
    let id = format!("rust-{}", uuid::Uuid::new_v4());
    client.create_database(&id, None).await.unwrap();
    client.database_client(id)
}

pub async fn new_container(
    database: &DatabaseClient,
    key: PartitionKeyDefinition,
    options: Option<CreateContainerOptions>,
) -> ContainerClient {
    let id = format!("c-{}", uuid::Uuid::new_v4());
    database.create_container(ContainerProperties::new(id.clone(), key), options).await.unwrap();
    database.container_client(id, None).await.unwrap()
}
