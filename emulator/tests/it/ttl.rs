use serde_json::json;

use crate::support::{DOCS, PK, start};

const A: (&str, &str) = (PK, "[\"a\"]");

#[tokio::test]
async fn expired_documents_vanish() {
    let (emulator, client) = start().await;
    client.setup_with(json!({"defaultTtl": 100})).await;
    client.create(json!({"id": "default", "pk": "a"})).await.expect(201);
    client.create(json!({"id": "short", "pk": "a", "ttl": 10})).await.expect(201);
    client.create(json!({"id": "never", "pk": "a", "ttl": -1})).await.expect(201);
    client.create(json!({"id": "bad", "pk": "a", "ttl": 0})).await.expect(400);

    emulator.set_clock_offset_ms(20_000);
    client.read("a", "short").await.expect(404);
    client.read("a", "default").await.expect(200);
    assert_eq!(client.query_all("SELECT * FROM c", &[A]).await.len(), 2);
    client.put(&format!("{DOCS}/short"), &[A], json!({"id": "short", "pk": "a"})).await.expect(404);
    client.delete(&format!("{DOCS}/short"), &[A]).await.expect(404);
    // The id is free again.
    client.create(json!({"id": "short", "pk": "a", "ttl": 10})).await.expect(201);

    emulator.set_clock_offset_ms(200_000);
    let rows = client.query_all("SELECT VALUE c.id FROM c", &[A]).await;
    assert_eq!(rows, [json!("never")]);
    assert_eq!(client.query_all("SELECT VALUE c.id FROM c WHERE c.id = 'default'", &[A]).await.len(), 0);
}

#[tokio::test]
async fn without_a_default_nothing_expires() {
    let (emulator, client) = start().await;
    client.setup().await;
    client.create(json!({"id": "x", "pk": "a", "ttl": 10})).await.expect(201);
    emulator.set_clock_offset_ms(20_000);
    client.read("a", "x").await.expect(200);

    // Switching TTL on counts for what is there.
    let mut body = client.get("dbs/d/colls/c", &[]).await.expect(200).json();
    body["defaultTtl"] = json!(-1);
    client.put("dbs/d/colls/c", &[], body).await.expect(200);
    client.read("a", "x").await.expect(404);
}
