use serde_json::json;

use crate::support::{container, start};

#[tokio::test]
async fn create_fills_in_what_the_service_does() {
    let (_emulator, client) = start().await;
    client
        .post("dbs/none/colls", &[], json!({"id": "c", "partitionKey": {"paths": ["/pk"]}}))
        .await
        .expect_sub(404, 1003);
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    let body = json!({"id": "c", "partitionKey": {"paths": ["/pk"]}});
    let created = client.post("dbs/d/colls", &[], body.clone()).await.expect(201).json();
    assert_eq!(created["partitionKey"], json!({"paths": ["/pk"], "kind": "Hash", "version": 1}));
    assert_eq!(created["indexingPolicy"]["indexingMode"], "consistent");
    assert_eq!(created["indexingPolicy"]["includedPaths"], json!([{"path": "/*"}]));
    assert_eq!(created["indexingPolicy"]["excludedPaths"], json!([{"path": "/\"_etag\"/?"}]));
    assert_eq!(created["conflictResolutionPolicy"]["conflictResolutionPath"], "/_ts");
    assert_eq!(created["_docs"], "docs/");
    assert!(created.get("defaultTtl").is_none());
    client.post("dbs/d/colls", &[], body).await.expect(409);
    client.post("dbs/d/colls", &[], json!({"id": "x"})).await.expect(400);
}

#[tokio::test]
async fn read_list_query_replace_delete() {
    let (_emulator, client) = container().await;
    let read = client.get("dbs/d/colls/c", &[]).await.expect(200);
    let etag = read.header("etag").unwrap().to_owned();
    let mut body = read.json();
    let by_rid = body["_self"].as_str().unwrap().trim_end_matches('/').to_owned();
    assert_eq!(client.get(&by_rid, &[]).await.expect(200).json()["id"], "c");
    client.get("dbs/d/colls/c", &[("if-none-match", &etag)]).await.expect(304);
    client.get("dbs/d/colls/none", &[]).await.expect_sub(404, 0);
    assert_eq!(client.get("dbs/d/colls", &[]).await.expect(200).json()["DocumentCollections"][0]["id"], "c");
    let query = json!({"query": "SELECT VALUE c.id FROM c"});
    let found =
        client.post("dbs/d/colls", &[("content-type", "application/query+json")], query).await.expect(200);
    assert_eq!(found.json()["DocumentCollections"], json!(["c"]));

    body["defaultTtl"] = json!(60);
    let replaced = client.put("dbs/d/colls/c", &[("if-match", &etag)], body.clone()).await.expect(200);
    assert_eq!(replaced.json()["defaultTtl"], 60);
    client.put("dbs/d/colls/c", &[("if-match", &etag)], body.clone()).await.expect(412);
    body["partitionKey"]["paths"] = json!(["/other"]);
    client.put("dbs/d/colls/c", &[], body.clone()).await.expect(400);

    client.delete("dbs/d/colls/c", &[]).await.expect(204);
    client.get("dbs/d/colls/c", &[]).await.expect(404);
    client.create(json!({"id": "x", "pk": "a"})).await.expect_sub(404, 1003);
}

#[tokio::test]
async fn a_container_created_again_is_another_one() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    let old = client.get("dbs/d/colls/c", &[]).await.expect(200).json();
    client.delete("dbs/d/colls/c", &[]).await.expect(204);
    let body = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "version": 2}});
    let new = client.post("dbs/d/colls", &[], body).await.expect(201).json();
    assert_ne!(old["_rid"], new["_rid"]);
    client.read("a", "x").await.expect(404);
}

#[tokio::test]
async fn offers_report_the_throughput() {
    let (_emulator, client) = start().await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    let body = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "version": 2}});
    let container =
        client.post("dbs/d/colls", &[("x-ms-offer-throughput", "1200")], body).await.expect(201).json();
    let rid = container["_rid"].as_str().unwrap();
    let query = json!({"query": "SELECT * FROM o WHERE o.offerResourceId = @rid",
        "parameters": [{"name": "@rid", "value": rid}]});
    let found = client.post("offers", &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    assert_eq!(found["Offers"][0]["content"]["offerThroughput"], 1200);
    let id = found["Offers"][0]["id"].as_str().unwrap();
    client.get(&format!("offers/{id}"), &[]).await.expect(200);
}

#[tokio::test]
async fn policies_are_kept_or_refused() {
    let (_emulator, client) = start().await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    let body = |extra: serde_json::Value| {
        let mut body = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "version": 2}});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for bad in [
        json!({"analyticalStorageTtl": -1}),
        json!({"conflictResolutionPolicy": {"mode": "Random"}}),
        json!({"uniqueKeyPolicy": {"uniqueKeys": (0..11).map(|at| json!({"paths": [format!("/p{at}")]})).collect::<Vec<_>>()}}),
        json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["email"]}]}}),
        json!({"defaultTtl": 0}),
        json!({"id": "x".repeat(256)}),
    ] {
        client.post("dbs/d/colls", &[], body(bad)).await.expect(400);
    }
    let kept = json!({
        "conflictResolutionPolicy": {"mode": "Custom", "conflictResolutionProcedure": "dbs/d/colls/c/sprocs/merge"},
        "computedProperties": [{"name": "lower", "query": "SELECT VALUE LOWER(c.name) FROM c"}],
        "vectorEmbeddingPolicy": {"vectorEmbeddings": [
            {"path": "/v", "dataType": "float32", "distanceFunction": "cosine", "dimensions": 3}]},
    });
    client.post("dbs/d/colls", &[], body(kept.clone())).await.expect(201);
    let read =
        client.get("dbs/d/colls/c", &[("x-ms-documentdb-populatequotainfo", "True")]).await.expect(200);
    for (name, value) in kept.as_object().unwrap() {
        assert_eq!(read.json()[name], *value);
    }
    assert_eq!(read.header("x-ms-documentdb-collection-index-transformation-progress"), Some("100"));
    assert!(read.header("x-ms-resource-usage").is_some());
}

#[tokio::test]
async fn names_that_lead_to_another_container_now() {
    let (_emulator, client) = container().await;
    let rid = client.get("dbs/d/colls/c", &[]).await.json()["_rid"].as_str().unwrap().to_owned();
    let query = |rid: String| {
        let client = &client;
        async move {
            client
                .query(
                    "SELECT * FROM c",
                    &[crate::support::CROSS, ("x-ms-cosmos-intended-collection-rid", &rid)],
                )
                .await
        }
    };
    query(rid.clone()).await.expect(200);
    client.delete("dbs/d/colls/c", &[]).await.expect(204);
    client.post("dbs/d/colls", &[], json!({"id": "c", "partitionKey": {"paths": ["/pk"]}})).await.expect(201);
    query(rid).await.expect_sub(400, 1024);
}

#[tokio::test]
async fn feeds_are_paged() {
    let (_emulator, client) = start().await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    for at in 0..5 {
        let body = json!({"id": format!("c{at}"), "partitionKey": {"paths": ["/pk"]}});
        client.post("dbs/d/colls", &[], body).await.expect(201);
    }
    let mut found = Vec::new();
    let mut continuation = String::new();
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        if !continuation.is_empty() {
            headers.push(("x-ms-continuation", &continuation));
        }
        let page = client.get("dbs/d/colls", &headers).await.expect(200);
        for one in page.json()["DocumentCollections"].as_array().unwrap() {
            found.push(one["id"].as_str().unwrap().to_owned());
        }
        match page.header("x-ms-continuation") {
            Some(next) => continuation = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["c0", "c1", "c2", "c3", "c4"]);
    client.get("dbs/d/colls", &[("x-ms-continuation", "nonsense")]).await.expect(400);
}
