use cosmos_emulator::Emulator;
use serde_json::{Value, json};

use crate::support::{Client, DOCS, Reply, container, start_with};

const RANGE: &str = "x-ms-documentdb-partitionkeyrangeid";
const BULK: [(&str, &str); 3] = [
    ("x-ms-cosmos-is-batch-request", "true"),
    ("x-ms-cosmos-batch-atomic", "false"),
    ("x-ms-cosmos-batch-continue-on-error", "true"),
];

async fn bulk(client: &Client, range: &str, operations: Value) -> Reply {
    let mut headers = vec![(RANGE, range)];
    headers.extend(BULK);
    client.post(DOCS, &headers, operations).await
}

fn statuses(reply: &Reply) -> Vec<u64> {
    reply.json().as_array().unwrap().iter().map(|result| result["statusCode"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn operations_stand_for_themselves() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "taken", "pk": "a"})).await.expect(201);
    let reply = bulk(
        &client,
        "0",
        json!([
            {"operationType": "Create", "partitionKey": "[\"a\"]", "resourceBody": {"id": "x", "pk": "a"}},
            {"operationType": "Create", "partitionKey": "[\"a\"]", "resourceBody": {"id": "taken", "pk": "a"}},
            {"operationType": "Upsert", "partitionKey": "[\"b\"]", "resourceBody": {"id": "x", "pk": "b"}},
            {"operationType": "Replace", "partitionKey": "[\"b\"]", "id": "x", "resourceBody": {"id": "x", "pk": "b", "n": 1}},
            {"operationType": "Patch", "partitionKey": "[\"b\"]", "id": "x",
                "resourceBody": {"operations": [{"op": "incr", "path": "/n", "value": 1}]}},
            {"operationType": "Read", "partitionKey": "[\"b\"]", "id": "x"},
            {"operationType": "Read", "partitionKey": "[\"b\"]", "id": "none"},
            {"operationType": "Delete", "partitionKey": "[\"a\"]", "id": "x"},
            {"operationType": "Replace", "partitionKey": "[\"b\"]", "id": "x", "ifMatch": "\"old\"",
                "resourceBody": {"id": "x", "pk": "b"}},
        ]),
    )
    .await
    .expect(207);
    assert_eq!(statuses(&reply), [201, 409, 201, 200, 200, 200, 404, 204, 412]);
    let results = reply.json();
    assert_eq!(results[5]["resourceBody"]["n"], 2);
    assert!(results[1]["message"].as_str().unwrap().contains("already exists"));
    let sum: f64 =
        results.as_array().unwrap().iter().map(|result| result["requestCharge"].as_f64().unwrap()).sum();
    assert!((sum - reply.charge()).abs() < 0.1);
    assert!(reply.header("x-ms-session-token").is_some());
    client.read("b", "x").await.expect(200);
}

#[tokio::test]
async fn a_failure_ends_it_where_the_client_says_so() {
    let (_emulator, client) = container().await;
    let headers = [(RANGE, "0"), BULK[0], BULK[1], (BULK[2].0, "false")];
    let operations = json!([
        {"operationType": "Create", "partitionKey": "[\"a\"]", "resourceBody": {"id": "x", "pk": "a"}},
        {"operationType": "Read", "partitionKey": "[\"a\"]", "id": "none"},
        {"operationType": "Create", "partitionKey": "[\"a\"]", "resourceBody": {"id": "y", "pk": "a"}},
    ]);
    let reply = client.post(DOCS, &headers, operations).await.expect(207);
    assert_eq!(statuses(&reply), [201, 404, 424]);
    client.read("a", "x").await.expect(200);
    client.read("a", "y").await.expect(404);
}

#[tokio::test]
async fn operations_of_another_physical_partition_are_sent_back() {
    let (_emulator, client) = start_with(Emulator::builder().partitions(2)).await;
    client.setup().await;
    let operations: Vec<Value> = (0..20)
        .map(|at| {
            json!({"operationType": "Create", "partitionKey": json!([format!("{at}")]).to_string(),
                "resourceBody": {"id": "x", "pk": format!("{at}")}})
        })
        .collect();
    let mut created = 0;
    for range in ["0", "1"] {
        let reply = bulk(&client, range, json!(operations)).await.expect(207);
        for result in reply.json().as_array().unwrap() {
            match result["statusCode"].as_u64().unwrap() {
                201 => created += 1,
                status => assert_eq!((status, &result["subStatusCode"]), (410, &json!(1002))),
            }
        }
    }
    assert_eq!(created, 20);
    bulk(&client, "9", json!(operations)).await.expect_sub(410, 1002);
}

#[tokio::test]
async fn limits_and_malformed_operations() {
    let (_emulator, client) = container().await;
    let read = json!({"operationType": "Read", "partitionKey": "[\"a\"]", "id": "x"});
    bulk(&client, "0", json!(vec![read.clone(); 101])).await.expect(400);
    bulk(&client, "0", json!([])).await.expect(400);
    let reply = bulk(
        &client,
        "0",
        json!([
            {"operationType": "Read", "id": "x"},
            {"operationType": "Read", "partitionKey": "[", "id": "x"},
            {"operationType": "Frobnicate", "partitionKey": "[\"a\"]", "id": "x"},
            {"operationType": "Create", "partitionKey": "[\"a\"]", "resourceBody": {"id": "x", "pk": "b"}},
            7,
        ]),
    )
    .await
    .expect(207);
    assert_eq!(statuses(&reply), [400, 400, 400, 400, 400]);
    let mut headers = vec![(RANGE, "0")];
    headers.extend(BULK);
    let binary = client.send("POST", DOCS, &headers, vec![0x81, 0, 0, 0]).await.expect(501);
    assert!(binary.text.contains("HybridRow"));
}
