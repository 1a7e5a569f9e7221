//! Account, containers, items, queries, batches, change feed and throughput as the SDK uses them, unchanged and with
//! its defaults (documents in binary JSON).

mod support;

use azure_data_cosmos::models::ThroughputProperties;
use azure_data_cosmos::options::{
    ChangeFeedOptions, ChangeFeedStartFrom, CreateContainerOptions, ItemWriteOptions, Precondition,
};
use azure_data_cosmos::{ContainerClient, FeedScope, Query, TransactionalBatch};
use futures::StreamExt;
use support::{Item, account, client_of, new_container, new_database};

async fn container() -> (azure_data_cosmos::DatabaseClient, ContainerClient) {
    let (endpoint, key) = account();
    let database = new_database(&client_of(&endpoint, &key).await).await;
    let container = new_container(&database, "/pk".into(), None).await;
    (database, container)
}

async fn rows(container: &ContainerClient, query: impl Into<Query>, scope: FeedScope) -> Vec<Item> {
    let found = container.query_items::<Item>(query, scope, None).await.unwrap();
    found.map(|row| row.unwrap()).collect().await
}

#[tokio::test]
async fn databases_and_containers() {
    let (database, container) = container().await;
    let properties = container.read(None).await.unwrap().into_model().unwrap();
    let read = database.read(None).await.unwrap().into_model().unwrap();
    assert_eq!(read.id.as_deref(), database.name());
    container.replace(properties, None).await.unwrap();
    container.delete(None).await.unwrap();
    database.delete(None).await.unwrap();
}

#[tokio::test]
async fn items_and_etags() {
    let (database, container) = container().await;
    let mut item = Item::new("x", "ä", 1);
    item.text = Some("long ".repeat(100));
    let created = container.create_item("ä", "x", &item, None).await.unwrap();
    let etag = created.headers().etag().unwrap().clone();
    assert!(created.headers().request_charge().unwrap().value() > 0.0);
    let conflict = container.create_item("ä", "x", &item, None).await.unwrap_err();
    assert_eq!(u16::from(conflict.status().status_code()), 409);
    let read: Item = container.read_item("ä", "x", None).await.unwrap().into_model().unwrap();
    assert_eq!(read, item);
    item.n = -7;
    let matching =
        || Some(ItemWriteOptions::default().with_precondition(Precondition::if_match(etag.clone())));
    container.replace_item("ä", "x", &item, matching()).await.unwrap();
    let stale = container.replace_item("ä", "x", &item, matching()).await.unwrap_err();
    assert_eq!(u16::from(stale.status().status_code()), 412);
    container.upsert_item("ä", "x", &item, None).await.unwrap();
    container.delete_item("ä", "x", None).await.unwrap();
    let missing = container.read_item("ä", "x", None).await.unwrap_err();
    assert_eq!(u16::from(missing.status().status_code()), 404);
    database.delete(None).await.unwrap();
}

#[tokio::test]
async fn queries_of_a_partition_and_of_all() {
    let (database, container) = container().await;
    for n in 0..30 {
        let item = Item::new(n, n % 7, n);
        container.create_item(item.pk.clone(), &item.id, &item, None).await.unwrap();
    }
    let one = rows(&container, "SELECT * FROM c WHERE c.n > 5", FeedScope::partition("3")).await;
    assert_eq!(one.iter().map(|row| row.n).collect::<Vec<_>>(), [10, 17, 24]);
    let query = Query::from("SELECT * FROM c WHERE c.n < @most").with_parameter("@most", 10).unwrap();
    assert_eq!(rows(&container, query, FeedScope::full_container()).await.len(), 10);
    let ordered = rows(&container, "SELECT * FROM c ORDER BY c.n DESC", FeedScope::full_container()).await;
    assert_eq!(ordered.iter().map(|row| row.n).collect::<Vec<_>>(), (0..30).rev().collect::<Vec<_>>());
    database.delete(None).await.unwrap();
}

#[tokio::test]
async fn batches_are_all_or_nothing() {
    let (database, container) = container().await;
    let batch = TransactionalBatch::new("a")
        .create_item(Item::new("1", "a", 1))
        .unwrap()
        .upsert_item(Item::new("2", "a", 2), None)
        .unwrap()
        .read_item("1", None)
        .delete_item("2", None);
    let done = container.execute_transactional_batch(batch, None).await.unwrap().into_model().unwrap();
    let statuses: Vec<u16> = done.results().iter().map(|result| result.status_code()).collect();
    assert_eq!(statuses, [201, 201, 200, 204]);
    assert_eq!(done.results()[2].into_model::<Item>().unwrap().unwrap().n, 1);
    let batch = TransactionalBatch::new("a")
        .create_item(Item::new("3", "a", 3))
        .unwrap()
        .create_item(Item::new("1", "a", 1))
        .unwrap();
    if let Ok(failed) = container.execute_transactional_batch(batch, None).await {
        let failed = failed.into_model().unwrap();
        let statuses: Vec<u16> = failed.results().iter().map(|result| result.status_code()).collect();
        assert_eq!(statuses, [424, 409]);
    }
    assert!(container.read_item("a", "3", None).await.is_err());
    database.delete(None).await.unwrap();
}

/// Reads until there is nothing new; the numbers, and where to go on.
async fn changes(
    container: &ContainerClient,
    scope: FeedScope,
    start: ChangeFeedStartFrom,
    options: Option<ChangeFeedOptions>,
) -> (Vec<i64>, azure_data_cosmos::feed::ContinuationToken) {
    let mut pages = container.query_change_feed::<Item>(scope, start, options).await.unwrap();
    let mut found = Vec::new();
    // Pages without items are those of physical partitions with nothing new.
    let mut idle = 0;
    while idle < 8 {
        let Some(page) = pages.next().await else { break };
        let page = page.unwrap();
        idle = if page.items().is_empty() { idle + 1 } else { 0 };
        for change in page.items() {
            assert!(change.metadata().is_some());
            found.push(change.current().unwrap().n);
        }
    }
    (found, pages.to_continuation_token().unwrap())
}

#[tokio::test]
async fn change_feed() {
    let (database, container) = container().await;
    for n in 0..20 {
        let item = Item::new(n, n % 5, n);
        container.create_item(item.pk.clone(), &item.id, &item, None).await.unwrap();
    }
    let all = FeedScope::full_container;
    let (mut found, token) = changes(&container, all(), ChangeFeedStartFrom::Beginning, None).await;
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
    let item = Item::new(3, 3, 300);
    container.upsert_item(item.pk.clone(), &item.id, &item, None).await.unwrap();
    let options = ChangeFeedOptions::default().with_continuation_token(token);
    let (found, _) = changes(&container, all(), ChangeFeedStartFrom::Beginning, Some(options)).await;
    assert_eq!(found, [300]);
    let (found, _) =
        changes(&container, FeedScope::partition("1"), ChangeFeedStartFrom::Beginning, None).await;
    assert_eq!(found, [1, 6, 11, 16]);
    database.delete(None).await.unwrap();
}

#[tokio::test]
async fn throughput() {
    let (database, _) = container().await;
    let options = CreateContainerOptions::default().with_throughput(ThroughputProperties::manual(600));
    let container = new_container(&database, "/pk".into(), Some(options)).await;
    let read = container.read_throughput(None).await.unwrap().unwrap();
    assert_eq!(read.throughput(), Some(600));
    container.begin_replace_throughput(ThroughputProperties::manual(900), None).await.unwrap().await.unwrap();
    assert_eq!(container.read_throughput(None).await.unwrap().unwrap().throughput(), Some(900));
    database.delete(None).await.unwrap();
}
