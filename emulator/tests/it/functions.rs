//! User-defined functions: stored, and called by queries.

use cosmos_emulator::Emulator;
use serde_json::json;

use crate::support::{CROSS, Client, PK, container, start_with};

const UDFS: &str = "dbs/d/colls/c/udfs";
const A: (&str, &str) = (PK, "[\"a\"]");

async fn function(client: &Client, id: &str, body: &str) {
    client.post(UDFS, &[], json!({"id": id, "body": body})).await.expect(201);
}

#[tokio::test]
async fn create_read_list_query_replace_delete() {
    let (_emulator, client) = container().await;
    let body = json!({"id": "f", "body": "function () { return 1; }"});
    let created = client.post(UDFS, &[], body.clone()).await.expect(201).json();
    assert!(created["_self"].as_str().unwrap().contains("/udfs/"));
    client.post(UDFS, &[], body).await.expect(409);
    let missing = client.post(UDFS, &[], json!({"id": "g"})).await.expect(400);
    assert!(missing.text.contains("required properties - 'body; ' - are missing"));
    let list = client.get(UDFS, &[]).await.expect(200).json();
    assert_eq!(list["UserDefinedFunctions"][0]["id"], "f");
    let query = json!({"query": "SELECT VALUE f.id FROM f"});
    let found = client.post(UDFS, &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    assert_eq!(found["UserDefinedFunctions"], json!(["f"]));
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    assert_eq!(client.query_all("SELECT VALUE udf.f() FROM c", &[A]).await, [json!(1)]);
    let path = format!("{UDFS}/f");
    client.put(&path, &[], json!({"id": "f", "body": "function () { return 2; }"})).await.expect(200);
    assert_eq!(client.query_all("SELECT VALUE udf.f() FROM c", &[A]).await, [json!(2)]);
    client.delete(&path, &[]).await.expect(204);
    client.get(&path, &[]).await.expect(404);
    client.query("SELECT VALUE udf.f() FROM c", &[A]).await.expect(400);
    for at in 0..50 {
        function(&client, &format!("f{at}"), "").await;
    }
    client.post(UDFS, &[], json!({"id": "more", "body": ""})).await.expect(400);
}

#[tokio::test]
async fn queries_call_functions() {
    let (_emulator, client) = container().await;
    for (id, n) in [("x", json!(1)), ("y", json!(2)), ("z", json!("three"))] {
        client.create(json!({"id": id, "pk": "a", "n": n, "tags": [id]})).await.expect(201);
    }
    function(&client, "twice", "function twice(n) { return typeof n === 'number' ? n * 2 : undefined; }")
        .await;
    function(&client, "same", "function (a, b) { if (a.toLowerCase() == b.toLowerCase()) return true; };")
        .await;
    function(
        &client,
        "wrap",
        "(doc, x) => ({ id: doc.id, missing: x === undefined, count: doc.tags.length })",
    )
    .await;
    let rows = client.query_all("SELECT VALUE udf.twice(c.n) FROM c", &[A]).await;
    assert_eq!(rows, [json!(2), json!(4)]);
    let rows = client.query_all("SELECT VALUE c.id FROM c WHERE udf.same(c.id, 'Y') = true", &[CROSS]).await;
    assert_eq!(rows, [json!("y")]);
    let rows = client.query_all("SELECT VALUE udf.wrap(c, c.none) FROM c WHERE c.id = 'x'", &[A]).await;
    assert_eq!(rows, [json!({"id": "x", "missing": true, "count": 1})]);
    // Inside a procedure as well.
    client
        .procedure(
            "p",
            r"function () {
                __.queryDocuments(__.getSelfLink(), 'SELECT VALUE udf.twice(c.n) FROM c', function (err, rows) {
                    if (err) throw err;
                    getContext().getResponse().setBody(rows);
                });
            }",
        )
        .await;
    assert_eq!(client.execute("p", "a", json!([])).await.expect(200).json(), json!([2, 4]));
}

#[tokio::test]
async fn what_functions_throw_fails_the_query() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    function(&client, "throws", "function () { throw new Error(32766, 'Error'); };").await;
    function(&client, "plain", "function () { throw 'text'; }").await;
    function(&client, "broken", "function () { syntax error").await;
    function(&client, "outside", "function () { return getContext().getCollection(); }").await;
    for (name, sub_status) in [("throws", 32766), ("plain", 0), ("broken", 65535), ("outside", 0)] {
        let sql = format!("SELECT * FROM c WHERE udf.{name}() = true");
        client.query(&sql, &[A]).await.expect_sub(400, sub_status);
    }
    // Without a row there is no call.
    client.query("SELECT VALUE udf.throws() FROM c", &[(PK, "[\"empty\"]")]).await.expect(200);
    client.query("SELECT VALUE udf.none() FROM c", &[A]).await.expect(400);
}

#[tokio::test]
async fn an_endless_function_is_stopped() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    function(
        &client,
        "endless",
        "function () { while (true) { try { while (1 == 1) { a = 5; } } catch (e) { } } }",
    )
    .await;
    client.query("SELECT udf.endless() FROM c", &[A]).await.expect(408);
}

#[tokio::test]
async fn a_function_that_uses_too_much_is_blocked() {
    let builder = Emulator::builder().script_charge_limit(std::time::Duration::ZERO);
    let (_emulator, client) = start_with(builder).await;
    client.setup().await;
    function(&client, "slow", "function (id) { return id; }").await;
    for _ in 0..10 {
        client.query("SELECT VALUE udf.slow(c.id) FROM c", &[A]).await.expect(200);
    }
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    for _ in 0..6 {
        client.query("SELECT VALUE udf.slow(c.id) FROM c", &[A]).await.expect(200);
    }
    let reply = client.query("SELECT VALUE udf.slow(c.id) FROM c", &[A]).await.expect(403);
    assert!(
        reply.text.contains("is blocked for execution because it has violated its allowed resources limit")
    );
    client
        .put(&format!("{UDFS}/slow"), &[], json!({"id": "slow", "body": "function () { return 1; }"}))
        .await
        .expect(200);
    client.query("SELECT VALUE udf.slow(c.id) FROM c", &[A]).await.expect(200);
}
