use serde_json::json;

use crate::support::{DOCS, PK, container};

const A: (&str, &str) = (PK, "[\"a\"]");

#[tokio::test]
async fn create_read_replace_upsert_delete() {
    let (_emulator, client) = container().await;
    let created = client.create(json!({"id": "x", "pk": "a", "n": 1, "_etag": "mine"})).await.expect(201);
    let document = created.json();
    for name in ["_rid", "_self", "_etag", "_attachments", "_ts"] {
        assert!(document.get(name).is_some(), "{name}");
    }
    let etag = document["_etag"].as_str().unwrap().to_owned();
    assert_ne!(etag, "mine");
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert_eq!(created.header("etag").unwrap(), etag);
    assert!(created.header("x-ms-session-token").unwrap().starts_with("0:-1#"));
    assert!(created.charge() > 4.0);
    client.create(json!({"id": "x", "pk": "a"})).await.expect(409);

    let read = client.read("a", "x").await.expect(200);
    assert_eq!(read.json(), document);
    assert!((read.charge() - 1.0).abs() < 0.01);
    client.read("b", "x").await.expect(404);

    let path = format!("{DOCS}/x");
    let replaced =
        client.put(&path, &[A, ("if-match", &etag)], json!({"id": "x", "pk": "a", "n": 2})).await.expect(200);
    assert_eq!(replaced.json()["_rid"], document["_rid"]);
    assert_eq!(replaced.json()["n"], 2);
    client.put(&path, &[A, ("if-match", &etag)], json!({"id": "x", "pk": "a"})).await.expect(412);
    client.put(&format!("{DOCS}/y"), &[A], json!({"id": "y", "pk": "a"})).await.expect(404);
    client.put(&path, &[A], json!({"id": "x", "pk": "b"})).await.expect_sub(400, 1001);

    let upsert = ("x-ms-documentdb-is-upsert", "True");
    client.post(DOCS, &[A, upsert], json!({"id": "x", "pk": "a", "n": 3})).await.expect(200);
    client.post(DOCS, &[A, upsert], json!({"id": "z", "pk": "a"})).await.expect(201);
    client.post(DOCS, &[A, upsert, ("if-match", &etag)], json!({"id": "x", "pk": "a"})).await.expect(412);

    client.delete(&path, &[A, ("if-match", &etag)]).await.expect(412);
    let deleted = client.delete(&path, &[A]).await.expect(204);
    assert!(deleted.text.is_empty());
    client.delete(&path, &[A]).await.expect(404);
    let missing = client.read("a", "x").await.expect_sub(404, 0);
    assert_eq!(missing.json()["code"], "NotFound");
    assert!(missing.text.contains("ActivityId: "));
    assert!((missing.charge() - 1.0).abs() < 0.01);
}

#[tokio::test]
async fn conditional_reads_cost_one_unit() {
    let (_emulator, client) = container().await;
    let big = "x".repeat(50_000);
    let created = client.create(json!({"id": "x", "pk": "a", "big": big})).await.expect(201);
    let etag = created.header("etag").unwrap();
    let path = format!("{DOCS}/x");
    let reply = client.get(&path, &[A, ("if-none-match", etag)]).await.expect(304);
    assert!((reply.charge() - 1.0).abs() < 0.01);
    assert!(reply.text.is_empty());
    let read = client.get(&path, &[A, ("if-none-match", "\"old\"")]).await.expect(200);
    assert!(read.charge() > 4.0);
}

#[tokio::test]
async fn minimal_answers_have_no_body() {
    let (_emulator, client) = container().await;
    let reply = client
        .post(DOCS, &[A, ("prefer", "return=minimal")], json!({"id": "x", "pk": "a"}))
        .await
        .expect(201);
    assert!(reply.text.is_empty());
    assert!(reply.header("etag").is_some());
}

#[tokio::test]
async fn partition_keys_are_checked() {
    let (_emulator, client) = container().await;
    let document = json!({"id": "x", "pk": "a"});
    client.post(DOCS, &[], document.clone()).await.expect(400);
    client.post(DOCS, &[(PK, "[\"b\"]")], document.clone()).await.expect_sub(400, 1001);
    client.post(DOCS, &[(PK, "nonsense")], document.clone()).await.expect(400);
    client.post(DOCS, &[(PK, "[\"a\",\"b\"]")], document).await.expect(400);
    client.get(&format!("{DOCS}/x"), &[]).await.expect(400);

    // Absent, null and other types are keys of their own.
    client.post(DOCS, &[(PK, "[{}]")], json!({"id": "x"})).await.expect(201);
    client.post(DOCS, &[(PK, "[null]")], json!({"id": "x", "pk": null})).await.expect(201);
    client.post(DOCS, &[(PK, "[1]")], json!({"id": "x", "pk": 1})).await.expect(201);
    client.post(DOCS, &[(PK, "[\"1\"]")], json!({"id": "x", "pk": "1"})).await.expect(201);
    client.post(DOCS, &[(PK, "[\"\\u00e9\"]")], json!({"id": "x", "pk": "é"})).await.expect(201);
    let read = client.get(&format!("{DOCS}/x"), &[(PK, "[1]")]).await.expect(200);
    assert_eq!(read.json()["pk"], 1);
    client.post(DOCS, &[(PK, "[{}]")], json!({"id": "y", "pk": {"a": 1}})).await.expect(400);
}

#[tokio::test]
async fn ids() {
    let (_emulator, client) = container().await;
    for id in ["plain", "with space in", "%41", "ü+ß", "a:b;c=d&e", "\u{1F600}", "[1]\"'"] {
        client.create(json!({"id": id, "pk": "a"})).await.expect(201);
        assert_eq!(client.read("a", id).await.expect(200).json()["id"], id);
    }
    for id in ["a/b", "a\\b", "a?b", "a#b", "a "] {
        client.create(json!({"id": id, "pk": "a"})).await.expect(400);
    }
    client.create(json!({"pk": "a"})).await.expect(400);
    client.create(json!({"id": 5, "pk": "a"})).await.expect(400);
    client.create(json!({"id": "x".repeat(1023), "pk": "a"})).await.expect(201);
    client.create(json!({"id": "x".repeat(1024), "pk": "a"})).await.expect(400);
}

#[tokio::test]
async fn self_links_lead_to_documents() {
    let (_emulator, client) = container().await;
    let created = client.create(json!({"id": "x", "pk": "a"})).await.expect(201).json();
    let link = created["_self"].as_str().unwrap().trim_end_matches('/').to_owned();
    client.get(&link, &[A]).await.expect(200);
    client.put(&link, &[A], json!({"id": "x", "pk": "a", "n": 1})).await.expect(200);
    client.delete(&link, &[A]).await.expect(204);
    client.get(&link, &[A]).await.expect(404);
}

#[tokio::test]
async fn the_feed_lists_all_partitions() {
    let (_emulator, client) = container().await;
    for at in 0..5 {
        client.create(json!({"id": format!("{at}"), "pk": format!("{}", at % 2)})).await.expect(201);
    }
    assert_eq!(client.get(DOCS, &[]).await.expect(200).documents().len(), 5);
    let one = client.get(DOCS, &[(PK, "[\"0\"]"), ("x-ms-max-item-count", "2")]).await.expect(200);
    let token = one.header("x-ms-continuation").unwrap();
    let two = client.get(DOCS, &[(PK, "[\"0\"]"), ("x-ms-continuation", token)]).await.expect(200);
    assert_eq!(one.documents().len() + two.documents().len(), 3);
}

#[tokio::test]
async fn unique_keys_hold_within_a_partition() {
    let (_emulator, client) = crate::support::start().await;
    client.setup_with(json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/mail"]}]}})).await;
    client.create(json!({"id": "1", "pk": "a", "mail": "m"})).await.expect(201);
    client.create(json!({"id": "2", "pk": "a", "mail": "m"})).await.expect_sub(409, 3301);
    client.create(json!({"id": "2", "pk": "b", "mail": "m"})).await.expect(201);
    client
        .put(&format!("{DOCS}/1"), &[A], json!({"id": "1", "pk": "a", "mail": "m", "n": 1}))
        .await
        .expect(200);
}

#[tokio::test]
async fn bodies_in_binary_json() {
    let (_emulator, client) = container().await;
    // {"id": "x", "pk": "a", "n": 1.5}
    let mut body = vec![0x80, 0xED, 0, 3];
    for (name, value) in [("id", &b"\x81x"[..]), ("pk", b"\x81a"), ("n", b"\xCC\0\0\0\0\0\0\xF8\x3F")] {
        body.push(0x80 | u8::try_from(name.len()).unwrap());
        body.extend(name.bytes());
        body.extend(value);
    }
    body[2] = u8::try_from(body.len() - 4).unwrap();
    client.send("POST", DOCS, &[(PK, "[\"a\"]")], body.clone()).await.expect(201);
    assert_eq!(client.read("a", "x").await.expect(200).json()["n"], 1.5);
    body.pop();
    client.send("POST", DOCS, &[(PK, "[\"a\"]")], body).await.expect(400);
}
