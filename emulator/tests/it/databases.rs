use serde_json::json;

use crate::support::start;

#[tokio::test]
async fn the_account_names_its_endpoint() {
    let (emulator, client) = start().await;
    let account = client.get("", &[]).await.expect(200).json();
    let location = &account["writableLocations"][0]["databaseAccountEndpoint"];
    assert_eq!(location.as_str().unwrap(), format!("{}/", emulator.endpoint()));
    assert_eq!(account["enableMultipleWriteLocations"], false);
    assert_eq!(account["userConsistencyPolicy"]["defaultConsistencyLevel"], "Session");
    serde_json::from_str::<serde_json::Value>(account["queryEngineConfiguration"].as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn create_read_list_query_delete() {
    let (_emulator, client) = start().await;
    let created = client.post("dbs", &[], json!({"id": "a b"})).await.expect(201);
    let etag = created.header("etag").unwrap().to_owned();
    let rid = created.json()["_rid"].as_str().unwrap().to_owned();
    client.post("dbs", &[], json!({"id": "a b"})).await.expect(409);
    client.post("dbs", &[], json!({"id": "other"})).await.expect(201);

    assert_eq!(client.get("dbs/a b", &[]).await.expect(200).json()["_rid"], rid);
    client.get("dbs/a b", &[("if-none-match", &etag)]).await.expect(304);
    assert_eq!(client.get(&format!("dbs/{rid}"), &[]).await.expect(200).json()["id"], "a b");
    let list = client.get("dbs", &[]).await.expect(200).json();
    assert_eq!(list["_count"], 2);
    assert_eq!(list["Databases"][0]["id"], "a b");

    let query = json!({"query": "SELECT * FROM r WHERE r.id = @id", "parameters": [{"name": "@id", "value": "other"}]});
    let found = client.post("dbs", &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    assert_eq!(found["_count"], 1);
    assert_eq!(found["Databases"][0]["id"], "other");

    client.delete("dbs/a b", &[("if-match", "\"wrong\"")]).await.expect(412);
    client.delete("dbs/a b", &[]).await.expect(204);
    client.get("dbs/a b", &[]).await.expect(404);
    client.delete("dbs/a b", &[]).await.expect(404);
}

#[tokio::test]
async fn feeds_are_paged() {
    let (_emulator, client) = start().await;
    for id in ["a", "b", "c"] {
        client.post("dbs", &[], json!({"id": id})).await.expect(201);
    }
    let first = client.get("dbs", &[("x-ms-max-item-count", "2")]).await.expect(200);
    assert_eq!(first.json()["_count"], 2);
    let token = first.header("x-ms-continuation").unwrap();
    let second =
        client.get("dbs", &[("x-ms-max-item-count", "2"), ("x-ms-continuation", token)]).await.expect(200);
    assert_eq!(second.json()["Databases"][0]["id"], "c");
    assert!(second.header("x-ms-continuation").is_none());
    client.get("dbs", &[("x-ms-max-item-count", "-2")]).await.expect(400);
    client.get("dbs", &[("x-ms-continuation", "nonsense")]).await.expect(400);
}

#[tokio::test]
async fn bad_bodies_and_ids() {
    let (_emulator, client) = start().await;
    client.send("POST", "dbs", &[], "{").await.expect(400);
    client.post("dbs", &[], json!({})).await.expect(400);
    client.post("dbs", &[], json!({"id": 5})).await.expect(400);
    client.post("dbs", &[], json!({"id": ""})).await.expect(400);
    for id in ["a/b", "a\\b", "a?b", "a#b", "a "] {
        client.post("dbs", &[], json!({"id": id})).await.expect(400);
    }
    client.post("dbs", &[], json!({"id": "x".repeat(256)})).await.expect(400);
    client.send("PATCH", "dbs", &[], "").await.expect(405);
    client.get("nonsense", &[]).await.expect(405);
}

#[tokio::test]
async fn what_is_missing_says_so() {
    let (_emulator, client) = start().await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    for path in ["dbs/d/users", "dbs/d/colls/c/conflicts"] {
        let reply = client.get(path, &[]).await.expect(501);
        assert!(reply.text.contains("does not support"), "{}", reply.text);
    }
}
