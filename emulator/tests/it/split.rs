use std::collections::BTreeSet;

use cosmos_emulator::{Emulator, SplitError};
use serde_json::{Value, json};

use crate::support::{CROSS, Client, DOCS, PK, container, start_with};

const RANGE: &str = "x-ms-documentdb-partitionkeyrangeid";
const RANGES: &str = "dbs/d/colls/c/pkranges";
const INCREMENTAL: (&str, &str) = ("a-im", "Incremental Feed");

async fn fill(client: &Client, from: usize, to: usize) {
    for at in from..to {
        client.create(json!({"id": "x", "pk": format!("{at}"), "n": at})).await.expect(201);
    }
}

fn numbers(rows: &[Value]) -> BTreeSet<u64> {
    rows.iter().map(|row| row["n"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn children_take_over() {
    let (emulator, client) = container().await;
    fill(&client, 0, 40).await;
    let before = client.get(RANGES, &[INCREMENTAL]).await.expect(200);
    let etag = before.header("etag").unwrap();
    assert_eq!(emulator.split("d", "c", 0).await, Ok((1, 2)));

    let changed = client.get(RANGES, &[INCREMENTAL, ("if-none-match", etag)]).await.expect(200).json();
    let ranges = changed["PartitionKeyRanges"].as_array().unwrap();
    assert_eq!((ranges.len(), &ranges[0]["id"], &ranges[1]["id"]), (2, &json!("1"), &json!("2")));
    assert_eq!(ranges[0]["parents"], json!(["0"]));
    assert_eq!((&ranges[0]["minInclusive"], &ranges[1]["maxExclusive"]), (&json!(""), &json!("FF")));
    assert_eq!(ranges[0]["maxExclusive"], ranges[1]["minInclusive"]);

    client.query("SELECT * FROM c", &[(RANGE, "0")]).await.expect_sub(410, 1002);
    let mut rows = Vec::new();
    for range in ["1", "2"] {
        let found = client.query_all("SELECT * FROM c", &[(RANGE, range)]).await;
        assert!((10..31).contains(&found.len()), "{}", found.len());
        rows.extend(found);
    }
    assert_eq!(numbers(&rows).len(), 40);
    fill(&client, 40, 60).await;
    assert_eq!(client.query_all("SELECT * FROM c", &[CROSS]).await.len(), 60);

    // Only what is new since the last look.
    let etag = client.get(RANGES, &[INCREMENTAL]).await.header("etag").unwrap().to_owned();
    assert_eq!(emulator.split("d", "c", 1).await, Ok((3, 4)));
    let changed = client.get(RANGES, &[INCREMENTAL, ("if-none-match", &etag)]).await.expect(200).json();
    let ranges = changed["PartitionKeyRanges"].as_array().unwrap();
    assert_eq!(ranges.len(), 2);
    assert_eq!(ranges[0]["parents"], json!(["0", "1"]));
    assert_eq!(client.get(RANGES, &[]).await.json()["_count"], 3);
    assert_eq!(client.query_all("SELECT * FROM c", &[CROSS]).await.len(), 60);
}

#[tokio::test]
async fn what_cannot_be_split() {
    let (emulator, client) = container().await;
    assert_eq!(emulator.split("d", "none", 0).await, Err(SplitError::NoSuchContainer));
    assert_eq!(emulator.split("d", "c", 7).await, Err(SplitError::NoSuchRange(7)));
    emulator.split("d", "c", 0).await.unwrap();
    assert_eq!(emulator.split("d", "c", 0).await, Err(SplitError::NoSuchRange(0)));
    drop(client);
}

#[tokio::test]
async fn walks_go_on_across_a_split() {
    for version in [1, 2] {
        let (emulator, client) = start_with(Emulator::builder().partitions(2)).await;
        client
            .setup_with(json!({"partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": version}}))
            .await;
        fill(&client, 0, 50).await;
        let mut rows = Vec::new();
        let mut continuation: Option<String> = None;
        for page in 0.. {
            let mut headers = vec![CROSS, ("x-ms-max-item-count", "7")];
            if let Some(token) = &continuation {
                headers.push(("x-ms-continuation", token));
            }
            let reply = client.query("SELECT * FROM c", &headers).await.expect(200);
            rows.extend(reply.documents());
            continuation = reply.header("x-ms-continuation").map(str::to_owned);
            if continuation.is_none() {
                break;
            }
            match page {
                // In the middle of the first range, then before and within its second half.
                1 => drop(emulator.split("d", "c", 0).await.unwrap()),
                2 => drop(emulator.split("d", "c", 3).await.unwrap()),
                3 => drop(emulator.split("d", "c", 1).await.unwrap()),
                _ => {}
            }
        }
        assert_eq!((rows.len(), numbers(&rows).len()), (50, 50), "version {version}");
    }
}

#[tokio::test]
async fn a_range_s_continuation_serves_its_children() {
    let (emulator, client) = container().await;
    fill(&client, 0, 40).await;
    for after_pages in [1, 3] {
        let range = client.get(RANGES, &[]).await.json()["PartitionKeyRanges"][0]["id"].clone();
        let range: u32 = range.as_str().unwrap().parse().unwrap();
        let all = client.query_all("SELECT * FROM c", &[(RANGE, &range.to_string())]).await;
        let mut rows = Vec::new();
        let mut token = String::new();
        for _ in 0..after_pages {
            let name = range.to_string();
            let mut headers = vec![(RANGE, &*name), ("x-ms-max-item-count", "5")];
            if !token.is_empty() {
                headers.push(("x-ms-continuation", &token));
            }
            let reply = client.query("SELECT * FROM c", &headers).await.expect(200);
            rows.extend(reply.documents());
            token = reply.header("x-ms-continuation").unwrap().to_owned();
        }
        let (low, high) = emulator.split("d", "c", range).await.unwrap();
        for child in [low, high] {
            let name = child.to_string();
            let headers = [(RANGE, &*name), ("x-ms-continuation", &*token)];
            rows.extend(client.query("SELECT * FROM c", &headers).await.expect(200).documents());
        }
        assert_eq!((rows.len(), numbers(&rows)), (all.len(), numbers(&all)));
    }
}

#[tokio::test]
async fn logs_and_sessions_go_on() {
    let (emulator, client) = container().await;
    fill(&client, 0, 20).await;
    let first =
        client.get(DOCS, &[INCREMENTAL, (RANGE, "0"), ("x-ms-max-item-count", "8")]).await.expect(200);
    let etag = first.header("etag").unwrap().to_owned();
    let session = first.header("x-ms-session-token").unwrap().to_owned();
    emulator.split("d", "c", 0).await.unwrap();
    client.get(DOCS, &[INCREMENTAL, (RANGE, "0"), ("if-none-match", &etag)]).await.expect_sub(410, 1002);
    let path = format!("{DOCS}/x");
    client.get(&path, &[(PK, "[\"3\"]"), ("x-ms-session-token", &session)]).await.expect(200);
    fill(&client, 20, 25).await;
    let mut rows = first.documents();
    for range in ["1", "2"] {
        let mut at = etag.clone();
        loop {
            let headers =
                [INCREMENTAL, (RANGE, range), ("if-none-match", &*at), ("x-ms-max-item-count", "3")];
            let reply = client.get(DOCS, &headers).await;
            at = reply.header("etag").unwrap().to_owned();
            if reply.status == 304 {
                break;
            }
            rows.extend(reply.documents());
        }
    }
    assert_eq!((rows.len(), numbers(&rows).len()), (25, 25));
}

#[cfg(feature = "persist")]
#[tokio::test]
async fn splits_and_logs_survive_a_restart() {
    let directory = std::env::temp_dir().join(format!("cosmos-split-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let (emulator, client) = start_with(Emulator::builder().data_dir(&directory)).await;
    client.setup().await;
    fill(&client, 0, 20).await;
    emulator.split("d", "c", 0).await.unwrap();
    fill(&client, 20, 30).await;
    let ranges = client.get(RANGES, &[]).await.json();
    let mut feeds = Vec::new();
    for range in ["1", "2"] {
        feeds.push(client.get(DOCS, &[INCREMENTAL, (RANGE, range)]).await.expect(200).json());
    }
    emulator.shutdown().await;
    drop((emulator, client));
    let (emulator, client) = start_with(Emulator::builder().data_dir(&directory)).await;
    assert_eq!(client.get(RANGES, &[]).await.json(), ranges);
    for (range, before) in ["1", "2"].into_iter().zip(feeds) {
        assert_eq!(client.get(DOCS, &[INCREMENTAL, (RANGE, range)]).await.expect(200).json(), before);
    }
    drop(emulator);
    let _ = std::fs::remove_dir_all(&directory);
}
