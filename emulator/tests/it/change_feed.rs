use cosmos_emulator::Emulator;
use serde_json::{Value, json};

use crate::support::{Client, DOCS, Headers, PK, Reply, container, start_with};

const INCREMENTAL: (&str, &str) = ("a-im", "Incremental Feed");
const RANGE: &str = "x-ms-documentdb-partitionkeyrangeid";
const RANGE_0: (&str, &str) = (RANGE, "0");

async fn feed(client: &Client, headers: Headers<'_>) -> Reply {
    let mut all = vec![INCREMENTAL];
    all.extend_from_slice(headers);
    client.get(DOCS, &all).await
}

fn ids(reply: &Reply) -> Vec<String> {
    reply.documents().iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect()
}

fn etag(reply: &Reply) -> String {
    reply.header("etag").unwrap().to_owned()
}

#[tokio::test]
async fn changes_come_in_the_order_of_their_commits() {
    let (_emulator, client) = container().await;
    for id in ["b", "a", "c"] {
        client.create(json!({"id": id, "pk": id})).await.expect(201);
    }
    client
        .put(&format!("{DOCS}/b"), &[(PK, "[\"b\"]")], json!({"id": "b", "pk": "b", "n": 1}))
        .await
        .expect(200);
    let reply = feed(&client, &[RANGE_0]).await.expect(200);
    // Only the last version of `b` is there.
    assert_eq!(ids(&reply), ["a", "c", "b"]);
    let lsns: Vec<u64> =
        reply.documents().iter().map(|document| document["_lsn"].as_u64().unwrap()).collect();
    assert_eq!(lsns, [2, 3, 4]);
    assert_eq!(reply.header("x-ms-item-count"), Some("3"));

    let idle = feed(&client, &[RANGE_0, ("if-none-match", &etag(&reply))]).await.expect(304);
    assert_eq!(etag(&idle), etag(&reply));
    assert!(idle.text.is_empty());
    client.delete(&format!("{DOCS}/a"), &[(PK, "[\"a\"]")]).await.expect(204);
    // Deletes do not show, but the position moves on.
    let idle = feed(&client, &[RANGE_0, ("if-none-match", &etag(&idle))]).await.expect(304);
    assert_eq!(etag(&idle), "\"5\"");
    client.create(json!({"id": "d", "pk": "x"})).await.expect(201);
    let reply = feed(&client, &[RANGE_0, ("if-none-match", &etag(&idle))]).await.expect(200);
    assert_eq!(ids(&reply), ["d"]);
}

#[tokio::test]
async fn from_now_on() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "old", "pk": "a"})).await.expect(201);
    let now = feed(&client, &[RANGE_0, ("if-none-match", "*")]).await.expect(304);
    client.create(json!({"id": "new", "pk": "a"})).await.expect(201);
    let reply = feed(&client, &[RANGE_0, ("if-none-match", &etag(&now))]).await.expect(200);
    assert_eq!(ids(&reply), ["new"]);
}

#[tokio::test]
async fn since_a_time() {
    let (emulator, client) = container().await;
    client.create(json!({"id": "old", "pk": "a"})).await.expect(201);
    emulator.set_clock_offset_ms(3_600_000);
    client.create(json!({"id": "new", "pk": "a"})).await.expect(201);
    let half_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(1800);
    let date = httpdate::fmt_http_date(half_an_hour);
    let reply = feed(&client, &[RANGE_0, ("if-modified-since", &date)]).await.expect(200);
    assert_eq!(ids(&reply), ["new"]);
    let date = httpdate::fmt_http_date(half_an_hour + std::time::Duration::from_secs(7200));
    let none = feed(&client, &[RANGE_0, ("if-modified-since", &date)]).await.expect(304);
    assert_eq!(etag(&none), "\"2\"");
    feed(&client, &[RANGE_0, ("if-modified-since", "yesterday")]).await.expect(400);
}

#[tokio::test]
async fn pages_never_cut_a_transaction() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "first", "pk": "a"})).await.expect(201);
    let operations: Vec<Value> = (0..5)
        .map(|at| json!({"operationType": "Create", "resourceBody": {"id": format!("t{at}"), "pk": "a"}}))
        .collect();
    let batch =
        [(PK, "[\"a\"]"), ("x-ms-cosmos-is-batch-request", "True"), ("x-ms-cosmos-batch-atomic", "True")];
    client.post(DOCS, &batch, json!(operations)).await.expect(200);
    client.create(json!({"id": "last", "pk": "a"})).await.expect(201);
    let mut pages = Vec::new();
    let mut at: Option<String> = None;
    loop {
        let mut headers = vec![RANGE_0, ("x-ms-max-item-count", "2")];
        if let Some(at) = &at {
            headers.push(("if-none-match", at));
        }
        let page = feed(&client, &headers).await;
        if page.status == 304 {
            break;
        }
        at = Some(etag(&page));
        pages.push(ids(&page));
    }
    assert_eq!(pages, [vec!["first", "t0", "t1", "t2", "t3", "t4"], vec!["last"]]);
}

#[tokio::test]
async fn of_one_partition_and_of_a_part_of_the_hashes() {
    let (_emulator, client) = start_with(Emulator::builder().partitions(2)).await;
    client.setup().await;
    for at in 0..20 {
        client.create(json!({"id": format!("{at}"), "pk": format!("{}", at % 4)})).await.expect(201);
    }
    let reply = feed(&client, &[(PK, "[\"1\"]")]).await.expect(200);
    assert_eq!(ids(&reply), ["1", "5", "9", "13", "17"]);
    feed(&client, &[(PK, "[\"1\"]"), ("if-none-match", &etag(&reply))]).await.expect(304);
    // A container of several physical partitions needs an address.
    feed(&client, &[]).await.expect(400);
    let mut all = 0;
    for range in ["0", "1"] {
        let kind = ("x-ms-read-key-type", "EffectivePartitionKeyRange");
        for bounds in [("", "10"), ("10", "20"), ("20", "30"), ("30", "FF")] {
            let headers = [(RANGE, range), kind, ("x-ms-start-epk", bounds.0), ("x-ms-end-epk", bounds.1)];
            let reply = feed(&client, &headers).await;
            all += if reply.status == 304 { 0 } else { reply.documents().len() };
        }
    }
    assert_eq!(all, 20);
    feed(&client, &[(RANGE, "7")]).await.expect_sub(410, 1002);
}

#[tokio::test]
async fn formats_and_modes() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    let format = ("x-ms-cosmos-changefeed-wire-format-version", "2021-09-15");
    let reply = feed(&client, &[RANGE_0, format]).await.expect(200);
    let change = &reply.documents()[0];
    assert_eq!(change["current"]["id"], "x");
    assert_eq!(change["metadata"]["lsn"], 1);
    assert_eq!(change["metadata"]["crts"], change["current"]["_ts"]);
    feed(&client, &[RANGE_0, (format.0, "2030-01-01")]).await.expect(400);
    let full = [("a-im", "Full-Fidelity Feed"), RANGE_0, ("if-none-match", "*")];
    let refused = client.get(DOCS, &full).await.expect(501);
    assert!(refused.text.contains("all versions and deletes"), "{}", refused.text);
    client.get(DOCS, &[("a-im", "Other Feed"), RANGE_0]).await.expect(400);
    feed(&client, &[RANGE_0, ("if-none-match", "\"nonsense\"")]).await.expect(400);
}

#[tokio::test]
async fn expired_documents_are_not_there() {
    let (emulator, client) = crate::support::start().await;
    client.setup_with(json!({"defaultTtl": 60})).await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    client.create(json!({"id": "y", "pk": "a", "ttl": -1})).await.expect(201);
    emulator.set_clock_offset_ms(61_000);
    assert_eq!(ids(&feed(&client, &[RANGE_0]).await.expect(200)), ["y"]);
}
