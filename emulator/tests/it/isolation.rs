use cosmos_emulator::{Emulator, Isolation};
use serde_json::json;

use crate::support::{Client, container, start_with};

/// Reads a counter, spends some time, and writes it back.
const INCREMENT: &str = r"
    function (useEtag, milliseconds) {
        var collection = getContext().getCollection();
        collection.readDocument(collection.getAltLink() + '/docs/counter', function (err, doc) {
            if (err) throw err;
            var until = Date.now() + milliseconds;
            while (Date.now() < until) {}
            doc.n++;
            collection.replaceDocument(doc._self, doc, useEtag ? { etag: doc._etag } : {}, function (err) {
                if (err) throw err;
            });
        });
    }";

async fn increments(client: &Client, count: usize, use_etag: bool) -> Vec<u16> {
    client.create(json!({"id": "counter", "pk": "a", "n": 0})).await.expect(201);
    client.procedure("increment", INCREMENT).await;
    let mut tasks = Vec::new();
    for _ in 0..count {
        let client = Client::to(&client.endpoint, &client.key);
        tasks.push(tokio::spawn(async move {
            client.execute("increment", "a", json!([use_etag, 50])).await.status
        }));
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses
}

async fn counter(client: &Client) -> u64 {
    client.read("a", "counter").await.expect(200).json()["n"].as_u64().unwrap()
}

#[tokio::test]
async fn serial_runs_never_conflict() {
    let (_emulator, client) = container().await;
    assert_eq!(increments(&client, 4, false).await, [200; 4]);
    assert_eq!(counter(&client).await, 4);
}

#[tokio::test]
async fn weak_runs_conflict_on_explicit_etags() {
    let (_emulator, client) = start_with(Emulator::builder().isolation(Isolation::Weak)).await;
    client.setup().await;
    let statuses = increments(&client, 4, true).await;
    let succeeded = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 449)), "{statuses:?}");
    assert!(succeeded < 4, "all four ran one after another");
    assert_eq!(counter(&client).await, succeeded as u64);
}

#[tokio::test]
async fn weak_runs_without_etags_lose_updates() {
    let (_emulator, client) = start_with(Emulator::builder().isolation(Isolation::Weak)).await;
    client.setup().await;
    assert_eq!(increments(&client, 4, false).await, [200; 4]);
    assert!(counter(&client).await < 4);
}

#[tokio::test]
async fn reads_do_not_wait_for_scripts() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "counter", "pk": "a", "n": 0})).await.expect(201);
    client.procedure("increment", INCREMENT).await;
    let other = Client::to(&client.endpoint, &client.key);
    let slow = tokio::spawn(async move { other.execute("increment", "a", json!([true, 2000])).await.status });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let started = std::time::Instant::now();
    assert_eq!(counter(&client).await, 0);
    client.query("SELECT * FROM c", &[("x-ms-documentdb-partitionkey", "[\"a\"]")]).await.expect(200);
    assert!(started.elapsed().as_millis() < 1000);
    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(counter(&client).await, 1);
}
