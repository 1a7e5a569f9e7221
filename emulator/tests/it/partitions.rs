use serde_json::json;

use crate::support::{DOCS, PK, start, start_with};

#[tokio::test]
async fn ranges_cover_the_key_space() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(4)).await;
    client.setup().await;
    let reply = client.get("dbs/d/colls/c/pkranges", &[("a-im", "Incremental Feed")]).await.expect(200);
    let body = reply.json();
    let ranges = body["PartitionKeyRanges"].as_array().unwrap();
    assert_eq!((ranges.len(), &body["_count"]), (4, &json!(4)));
    assert_eq!(ranges[0]["minInclusive"], "");
    assert_eq!(ranges[3]["maxExclusive"], "FF");
    for pair in ranges.windows(2) {
        assert_eq!(pair[0]["maxExclusive"], pair[1]["minInclusive"]);
    }
    let etag = reply.header("etag").unwrap();
    client
        .get("dbs/d/colls/c/pkranges", &[("a-im", "Incremental Feed"), ("if-none-match", etag)])
        .await
        .expect(304);
    client.get("dbs/d/colls/none/pkranges", &[]).await.expect(404);
}

#[tokio::test]
async fn every_range_has_a_log_of_its_own() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(2)).await;
    client.setup().await;
    let mut last = std::collections::HashMap::new();
    for at in 0..20 {
        let reply = client.create(json!({"id": "x", "pk": format!("{at}")})).await.expect(201);
        let token = reply.header("x-ms-session-token").unwrap().to_owned();
        let (range, lsn) = token.split_once(":-1#").unwrap();
        let lsn: u64 = lsn.parse().unwrap();
        assert_eq!(reply.header("lsn").unwrap(), lsn.to_string());
        assert_eq!(last.insert(range.to_owned(), lsn).unwrap_or(0) + 1, lsn);
    }
    assert_eq!(last.len(), 2);
    assert_eq!(last.values().sum::<u64>(), 20);
}

#[tokio::test]
async fn bounds_narrow_a_range() {
    let (_emulator, client) = start().await;
    client.setup().await;
    for at in 0..40 {
        client.create(json!({"id": "x", "pk": format!("{at}")})).await.expect(201);
    }
    let range = ("x-ms-documentdb-partitionkeyrangeid", "0");
    let kind = ("x-ms-read-key-type", "EffectivePartitionKeyRange");
    let low = client.query_all("SELECT * FROM c", &[range, kind, ("x-ms-end-epk", "20")]).await.len();
    let high = client.query_all("SELECT * FROM c", &[range, kind, ("x-ms-start-epk", "20")]).await.len();
    assert_eq!(low + high, 40);
    assert!(low > 5 && high > 5);
    let point = [range, ("x-ms-read-key-type", "EffectivePartitionKey"), ("x-ms-end-epk", "20")];
    client.query("SELECT * FROM c", &point).await.expect(400);
    client.query("SELECT * FROM c", &[range, ("x-ms-end-epk", "xyz")]).await.expect(400);
}

#[tokio::test]
async fn hierarchical_keys() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(3)).await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    let body = json!({"id": "c", "partitionKey": {"paths": ["/t", "/u"], "kind": "MultiHash", "version": 2}});
    client.post("dbs/d/colls", &[], body).await.expect(201);
    for tenant in ["a", "b"] {
        for user in ["1", "2", "3"] {
            let key = json!([tenant, user]).to_string();
            client.post(DOCS, &[(PK, &key)], json!({"id": "x", "t": tenant, "u": user})).await.expect(201);
        }
    }
    assert_eq!(client.query_all("SELECT * FROM c", &[(PK, "[\"a\"]")]).await.len(), 3);
    assert_eq!(client.query_all("SELECT * FROM c", &[(PK, "[\"a\",\"2\"]")]).await.len(), 1);
    client.get(&format!("{DOCS}/x"), &[(PK, "[\"a\"]")]).await.expect(400);
}

#[tokio::test]
async fn version_one_keys_are_spread_too() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(4)).await;
    client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
    client.post("dbs/d/colls", &[], json!({"id": "c", "partitionKey": {"paths": ["/pk"]}})).await.expect(201);
    for at in 0..80 {
        client.create(json!({"id": "x", "pk": format!("{at}")})).await.expect(201);
    }
    for range in ["0", "1", "2", "3"] {
        let rows =
            client.query_all("SELECT * FROM c", &[("x-ms-documentdb-partitionkeyrangeid", range)]).await;
        assert!((5..40).contains(&rows.len()), "{range}: {}", rows.len());
    }
}

#[tokio::test]
async fn sessions_from_the_future_are_refused() {
    let (_emulator, client) = start().await;
    client.setup().await;
    let created = client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    let token = created.header("x-ms-session-token").unwrap();
    let path = format!("{DOCS}/x");
    let key = (PK, "[\"a\"]");
    client.get(&path, &[key, ("x-ms-session-token", token)]).await.expect(200);
    for ahead in ["0:-1#99", "0:1#99#0=98", "0:99", "7:-1#5, 0:-1#99"] {
        client.get(&path, &[key, ("x-ms-session-token", ahead)]).await.expect_sub(404, 1002);
        client.query("SELECT * FROM c", &[key, ("x-ms-session-token", ahead)]).await.expect_sub(404, 1002);
    }
    client.get(&path, &[key, ("x-ms-session-token", "nonsense")]).await.expect(200);
}
