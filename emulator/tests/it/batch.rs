use serde_json::{Value, json};

use crate::support::{Client, DOCS, PK, Reply, container};

const A: (&str, &str) = (PK, "[\"a\"]");
const BATCH: [(&str, &str); 3] = [
    ("x-ms-cosmos-is-batch-request", "True"),
    ("x-ms-cosmos-batch-atomic", "True"),
    ("x-ms-cosmos-batch-continue-on-error", "False"),
];

async fn batch(client: &Client, operations: Value) -> Reply {
    let mut headers = vec![A];
    headers.extend(BATCH);
    client.post(DOCS, &headers, operations).await
}

fn statuses(reply: &Reply) -> Vec<u64> {
    reply.json().as_array().unwrap().iter().map(|result| result["statusCode"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn all_operations_take_effect() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "old", "pk": "a"})).await.expect(201);
    client.create(json!({"id": "gone", "pk": "a"})).await.expect(201);
    let reply = batch(
        &client,
        json!([
            {"operationType": "Create", "resourceBody": {"id": "new", "pk": "a"}},
            {"operationType": "Upsert", "resourceBody": {"id": "up", "pk": "a"}},
            {"operationType": "Replace", "id": "old", "resourceBody": {"id": "old", "pk": "a", "n": 1}},
            {"operationType": "Patch", "id": "old", "resourceBody": {"operations": [{"op": "incr", "path": "/n", "value": 2}]}},
            {"operationType": "Read", "id": "new"},
            {"operationType": "Delete", "id": "gone"},
        ]),
    )
    .await
    .expect(200);
    assert_eq!(statuses(&reply), [201, 201, 200, 200, 200, 204]);
    let results = reply.json();
    assert_eq!(results[3]["resourceBody"]["n"], 3);
    assert_eq!(results[0]["eTag"], results[4]["resourceBody"]["_etag"]);
    let sum: f64 =
        results.as_array().unwrap().iter().map(|result| result["requestCharge"].as_f64().unwrap()).sum();
    assert!((sum - reply.charge()).abs() < 0.1);
    assert_eq!(client.read("a", "old").await.expect(200).json()["n"], 3);
    client.read("a", "gone").await.expect(404);
}

#[tokio::test]
async fn one_failure_undoes_everything() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "taken", "pk": "a"})).await.expect(201);
    let reply = batch(
        &client,
        json!([
            {"operationType": "Create", "resourceBody": {"id": "new", "pk": "a"}},
            {"operationType": "Create", "resourceBody": {"id": "taken", "pk": "a"}},
            {"operationType": "Delete", "id": "taken"},
        ]),
    )
    .await
    .expect(207);
    assert_eq!(statuses(&reply), [424, 409, 424]);
    client.read("a", "new").await.expect(404);
    client.read("a", "taken").await.expect(200);

    let reply = batch(
        &client,
        json!([
            {"operationType": "Upsert", "resourceBody": {"id": "new", "pk": "a"}},
            {"operationType": "Replace", "id": "taken", "ifMatch": "\"old\"", "resourceBody": {"id": "taken", "pk": "a"}},
        ]),
    )
    .await
    .expect(207);
    assert_eq!(statuses(&reply), [424, 412]);
    let reply =
        batch(&client, json!([{"operationType": "Create", "resourceBody": {"id": "n", "pk": "b"}}])).await;
    assert_eq!(statuses(&reply.expect(207)), [400]);
    client.read("a", "new").await.expect(404);
}

#[tokio::test]
async fn minimal_answers_keep_what_was_read() {
    let (_emulator, client) = container().await;
    let operations = json!([
        {"operationType": "Create", "resourceBody": {"id": "x", "pk": "a"}},
        {"operationType": "Read", "id": "x"},
    ]);
    let mut headers = vec![A, ("prefer", "return=minimal")];
    headers.extend(BATCH);
    let results = client.post(DOCS, &headers, operations).await.expect(200).json();
    assert!(results[0].get("resourceBody").is_none());
    assert_eq!(results[1]["resourceBody"]["id"], "x");
}

#[tokio::test]
async fn limits() {
    let (_emulator, client) = container().await;
    let many: Vec<Value> =
        (0..101).map(|at| json!({"operationType": "Read", "id": format!("{at}")})).collect();
    batch(&client, json!(many)).await.expect(400);
    batch(&client, json!([])).await.expect(400);
    batch(&client, json!({})).await.expect(400);
    let reply = batch(&client, json!([{"operationType": "Frobnicate", "id": "x"}])).await.expect(207);
    assert_eq!(statuses(&reply), [400]);
    client.post(DOCS, &BATCH, json!([{"operationType": "Read", "id": "x"}])).await.expect(400);
}
