use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{CROSS, Client, DOCS, PK, container, start, start_with};

const A: (&str, &str) = (PK, "[\"a\"]");
const PLAN: (&str, &str) = ("x-ms-cosmos-is-query-plan-request", "True");
const FEATURES: (&str, &str) =
    ("x-ms-cosmos-supported-query-features", "Aggregate,Distinct,OffsetAndLimit,OrderBy,Top,GroupBy");

async fn numbers(client: &Client, count: usize) {
    for at in 0..count {
        let body =
            json!({"id": format!("{at:03}"), "pk": "a", "n": at, "even": at % 2 == 0, "group": at % 7});
        client.create(body).await.expect(201);
    }
}

#[tokio::test]
async fn filters_parameters_and_headers() {
    let (_emulator, client) = container().await;
    numbers(&client, 10).await;
    let body = json!({"query": "SELECT * FROM c WHERE c.n >= @least", "parameters": [{"name": "@least", "value": 7}]});
    let reply =
        client.query_with(body, &[A, ("x-ms-documentdb-populatequerymetrics", "True")]).await.expect(200);
    assert_eq!(reply.json()["_count"], 3);
    assert_eq!(reply.header("x-ms-item-count"), Some("3"));
    assert!(reply.header("x-ms-session-token").is_some());
    assert!(reply.header("x-ms-documentdb-query-metrics").unwrap().contains("outputDocumentCount=3"));
    assert!(reply.charge() >= 2.3);
    let other = client.query("SELECT * FROM c", &[(PK, "[\"b\"]")]).await.expect(200);
    assert_eq!(other.documents().len(), 0);
}

#[tokio::test]
async fn errors() {
    let (_emulator, client) = container().await;
    assert!(client.query("SELEC * FROM c", &[A]).await.expect(400).text.contains("SC1001"));
    client.query_with(json!({"nothing": 1}), &[A]).await.expect(400);
    // Recorded from the service: what has no value is `undefined`.
    let missing = json!({"query": "SELECT * FROM c WHERE c.n = @x"});
    assert!(client.query_with(missing, &[A]).await.expect(200).documents().is_empty());
    let parameter = |name: &str| json!({"name": name, "value": 1});
    for (names, message) in
        [(vec!["x"], "followed by a valid identifier"), (vec!["@x", "@x"], "duplicate parameter")]
    {
        let parameters: Vec<Value> = names.into_iter().map(parameter).collect();
        let body = json!({"query": "SELECT * FROM c WHERE c.n = @x", "parameters": parameters});
        let refused = client.query_with(body, &[A]).await.expect(400);
        assert!(refused.text.contains(message), "{}", refused.text);
    }
    let refused = client.query("SELECT * FROM c", &[A, ("x-ms-max-item-count", "abc")]).await.expect(400);
    assert!(refused.text.contains("The input PageSize abc is invalid."), "{}", refused.text);
    client.query(&format!("SELECT * FROM c WHERE c.x = '{}'", "x".repeat(600_000)), &[A]).await.expect(400);
    client.query("SELECT * FROM c", &[A, ("x-ms-continuation", "nonsense")]).await.expect(400);
}

#[tokio::test]
async fn pages_survive_changes() {
    let (_emulator, client) = container().await;
    numbers(&client, 25).await;
    let size = ("x-ms-max-item-count", "10");
    let first = client.query("SELECT VALUE c.n FROM c", &[A, size]).await.expect(200);
    assert_eq!(first.documents().len(), 10);
    let token = first.header("x-ms-continuation").unwrap();
    // Before and at the place where the page ended.
    client.delete(&format!("{DOCS}/003"), &[A]).await.expect(204);
    client.delete(&format!("{DOCS}/009"), &[A]).await.expect(204);
    let second =
        client.query("SELECT VALUE c.n FROM c", &[A, size, ("x-ms-continuation", token)]).await.expect(200);
    assert_eq!(second.documents(), (10..20).map(|n| json!(n)).collect::<Vec<_>>());
    client.query("SELECT VALUE c.id FROM c", &[A, ("x-ms-continuation", token)]).await.expect(400);
}

#[tokio::test]
async fn ordered_queries_are_paged() {
    let (_emulator, client) = container().await;
    numbers(&client, 25).await;
    let headers = [A, ("x-ms-max-item-count", "4")];
    let rows = client.query_all("SELECT VALUE c.n FROM c ORDER BY c.n DESC", &headers).await;
    assert_eq!(rows, (0..25).rev().map(|n| json!(n)).collect::<Vec<_>>());
    let rows = client.query_all("SELECT TOP 6 VALUE c.n FROM c WHERE c.n >= 10 ORDER BY c.n", &headers).await;
    assert_eq!(rows, (10..16).map(|n| json!(n)).collect::<Vec<_>>());
    let rows = client.query_all("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 3 LIMIT 9", &headers).await;
    assert_eq!(rows, (3..12).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn joins_are_cut_within_a_document() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "1", "pk": "a", "list": [1, 2, 3, 4, 5]})).await.expect(201);
    client.create(json!({"id": "2", "pk": "a", "list": [6, 7]})).await.expect(201);
    let rows =
        client.query_all("SELECT VALUE l FROM c JOIN l IN c.list", &[A, ("x-ms-max-item-count", "2")]).await;
    assert_eq!(rows, (1..8).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_are_cut_at_four_megabytes() {
    let (_emulator, client) = container().await;
    let big = "x".repeat(1_500_000);
    for at in 0..4 {
        client.create(json!({"id": format!("{at}"), "pk": "a", "big": big})).await.expect(201);
    }
    let first = client.query("SELECT * FROM c", &[A]).await.expect(200);
    assert_eq!(first.documents().len(), 2);
    assert!(first.header("x-ms-continuation").is_some());
    assert_eq!(client.query_all("SELECT c.id, c.big FROM c ORDER BY c.id", &[A]).await.len(), 4);
}

#[tokio::test]
async fn what_the_gateway_serves_of_one_partition() {
    let (_emulator, client) = container().await;
    numbers(&client, 5).await;
    client.query("SELECT TOP 1 * FROM c", &[A]).await.expect(200);
    assert_eq!(client.query("SELECT DISTINCT c.pk FROM c", &[A]).await.expect(200).documents().len(), 1);
    assert_eq!(client.query("SELECT c.n FROM c GROUP BY c.n", &[A]).await.expect(200).documents().len(), 5);
    assert_eq!(
        client.query("SELECT VALUE c.n FROM c OFFSET 3 LIMIT 5", &[A]).await.expect(200).documents().len(),
        2
    );
    let count = "SELECT VALUE COUNT(1) FROM c";
    for expected in ["true", "false"] {
        let continues = ("x-ms-documentdb-query-iscontinuationexpected", expected);
        assert_eq!(client.query(count, &[A, continues]).await.expect(200).documents(), [json!(5)]);
    }
    assert_eq!(client.query(count, &[A]).await.expect(200).documents(), [json!(5)]);
    // Where only the filter names the partition, clients that do not continue merge themselves.
    let filtered = "SELECT VALUE COUNT(1) FROM c WHERE c.pk = 'a'";
    client.query(filtered, &[]).await.expect_sub(400, 1004);
    let continues = ("x-ms-documentdb-query-iscontinuationexpected", "true");
    assert_eq!(client.query(filtered, &[continues]).await.expect(200).documents(), [json!(5)]);
    client.query("SELECT DISTINCT c.n FROM c WHERE c.pk = 'a'", &[]).await.expect_sub(400, 1004);
}

#[tokio::test]
async fn what_the_gateway_serves_across_partitions() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(4)).await;
    client.setup().await;
    for at in 0..20 {
        client.create(json!({"id": format!("{at}"), "pk": format!("{at}"), "n": at})).await.expect(201);
    }
    let refused = client.query("SELECT * FROM c", &[]).await.expect(400);
    assert!(refused.text.contains("Cross partition query is required but disabled"));
    assert!(refused.json()["additionalErrorInfo"].is_string());
    // The filter names the partition.
    assert_eq!(client.query("SELECT * FROM c WHERE c.pk = '7'", &[]).await.expect(200).documents().len(), 1);

    let rows = client.query_all("SELECT VALUE c.n FROM c WHERE c.n >= 5", &[CROSS]).await;
    assert_eq!(rows.len(), 15);
    let page = client.query("SELECT VALUE c.n FROM c", &[CROSS]).await.expect(200);
    assert!(page.documents().len() < 20 && page.header("x-ms-continuation").is_some());

    for sql in [
        "SELECT TOP 1 * FROM c",
        "SELECT * FROM c ORDER BY c.n",
        "SELECT VALUE COUNT(1) FROM c",
        "SELECT DISTINCT c.n FROM c",
        "SELECT * FROM c OFFSET 0 LIMIT 1",
        "SELECT c.n FROM c GROUP BY c.n",
    ] {
        let reply = client.query(sql, &[CROSS]).await.expect_sub(400, 1004);
        // The refusal brings the plan.
        let info = reply.json()["additionalErrorInfo"].as_str().unwrap().to_owned();
        let plan = client.query(sql, &[PLAN, FEATURES]).await.expect(200);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&info).unwrap(), plan.json(), "{sql}");
    }
    let refused = client.query("SELECT COUNT(1) AS n FROM c", &[CROSS]).await.expect(400);
    assert!(
        refused.text.contains("Cross partition query only supports 'VALUE <AggregateFunc>'"),
        "{}",
        refused.text
    );
    assert!(refused.header("x-ms-substatus").is_none() && refused.json()["additionalErrorInfo"].is_null());
    // No document is asked for, so that one partition answers.
    assert_eq!(client.query("SELECT VALUE 1", &[]).await.expect(200).documents(), [json!(1)]);
    assert!(client.query("SELECT * FROM c WHERE false", &[]).await.expect(200).documents().is_empty());

    let mut all = BTreeSet::new();
    for range in ["0", "1", "2", "3"] {
        let headers = [("x-ms-documentdb-partitionkeyrangeid", range)];
        let rows = client.query_all("SELECT VALUE c.n FROM c ORDER BY c.n", &headers).await;
        assert!(rows.is_sorted_by_key(|row| row.as_i64()));
        all.extend(rows.iter().map(|row| row.as_i64().unwrap()));
    }
    assert_eq!(all, (0..20).collect());
    let gone = client.query("SELECT * FROM c", &[("x-ms-documentdb-partitionkeyrangeid", "9")]).await;
    gone.expect_sub(410, 1002);
}

#[tokio::test]
async fn order_needs_an_index() {
    let (_emulator, client) = start().await;
    let policy = json!({"indexingPolicy": {
        "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/no/*"}],
        "compositeIndexes": [[{"path": "/a", "order": "ascending"}, {"path": "/b", "order": "descending"}]],
    }});
    client.setup_with(policy).await;
    client.query("SELECT * FROM c ORDER BY c.no", &[A]).await.expect(400);
    client.query("SELECT * FROM c ORDER BY c.a, c.b", &[A]).await.expect(400);
    client.query("SELECT * FROM c ORDER BY c.a, c.b DESC", &[A]).await.expect(200);
    client.query("SELECT * FROM c ORDER BY c.a DESC, c.b", &[A]).await.expect(200);
}

/// Every query gives the same rows with and without an index on what it asks for.
#[tokio::test]
async fn index_and_scan_agree() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(3)).await;
    client.setup().await;
    let scan = json!({"id": "s", "partitionKey": {"paths": ["/pk"], "version": 2},
        "indexingPolicy": {"indexingMode": "none"}});
    client.post("dbs/d/colls", &[], scan).await.expect(201);
    let mut seed = 1u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let values = [
        json!(null),
        json!(true),
        json!(1),
        json!(-2.5),
        json!("a"),
        json!("b"),
        json!([1]),
        json!({"z": 1}),
    ];
    for at in 0..300 {
        let mut body = json!({"id": format!("{at:03}"), "pk": format!("{}", next(4))});
        for name in ["x", "y"] {
            match next(10) {
                0 => {}
                1..3 => body[name] = values[usize::try_from(next(8)).unwrap()].clone(),
                _ => body[name] = json!(next(20)),
            }
        }
        body["out"] = json!({"ner": next(5)});
        let key = json!([body["pk"]]).to_string();
        for container in ["c", "s"] {
            client
                .post(&format!("dbs/d/colls/{container}/docs"), &[(PK, &key)], body.clone())
                .await
                .expect(201);
        }
    }
    for at in (0..300).step_by(11) {
        for container in ["c", "s"] {
            for pk in ["0", "1", "2", "3"] {
                let path = format!("dbs/d/colls/{container}/docs/{at:03}");
                client.delete(&path, &[(PK, &json!([pk]).to_string())]).await;
            }
        }
    }
    let filters = [
        "c.x = 5",
        "c.x > 10",
        "c.x >= 3 AND c.x < 9",
        "c.x = 'a'",
        "c.x = null",
        "c.x = true",
        "c.x <= 'a'",
        "c.x IN (1, 2, 'b', null)",
        "c.out.ner = 2",
        "c.out.ner = 2 AND c.x > 4",
        "c.x > 4 OR c.y > 4",
        "c.x != 5",
        "NOT (c.x = 5)",
        "c.x BETWEEN 2 AND 6",
        "c.x = 5 AND c.y = 5",
        "c.id = '042'",
        "c.x = [1]",
        "IS_DEFINED(c.x)",
        "c.x < 100 AND c.y < 100",
        "STARTSWITH(c.id, '01')",
        "c.x = 100",
    ];
    for filter in filters {
        for order in ["", " ORDER BY c.x", " ORDER BY c.x DESC", " ORDER BY c.id DESC"] {
            for select in ["SELECT VALUE c.id", "SELECT TOP 7 VALUE c.id"] {
                let sql = format!("{select} FROM c WHERE {filter}{order}");
                for headers in [[(PK, "[\"1\"]")], [("x-ms-documentdb-partitionkeyrangeid", "1")]] {
                    let fast = rows(&client, "c", &sql, &headers).await;
                    let slow = rows(&client, "s", &sql, &headers).await;
                    match slow {
                        Some(slow) => assert_eq!(fast.unwrap(), slow, "{sql} {headers:?}"),
                        None => check_order(&client, &fast.unwrap(), &sql, &headers).await,
                    }
                }
            }
        }
    }
}

/// Without an index ORDER BY is refused: compare with the rows of the filter alone.
async fn check_order(client: &Client, fast: &[Value], sql: &str, headers: &[(&str, &str)]) {
    let plain = sql.replace("SELECT TOP 7", "SELECT").split(" ORDER BY").next().unwrap().to_owned();
    let all = rows(client, "s", &plain, headers).await.unwrap();
    let expected = if sql.contains("TOP 7") { all.len().min(7) } else { all.len() };
    assert_eq!(fast.len(), expected, "{sql} {headers:?}");
    assert!(fast.iter().all(|row| all.contains(row)), "{sql}");
    if sql.contains("ORDER BY c.id DESC") {
        assert!(fast.is_sorted_by(|a, b| a.as_str() >= b.as_str()), "{sql}");
    }
}

async fn rows(client: &Client, container: &str, sql: &str, headers: &[(&str, &str)]) -> Option<Vec<Value>> {
    let mut all = vec![("x-ms-documentdb-isquery", "True"), ("x-ms-max-item-count", "1000")];
    all.extend_from_slice(headers);
    let reply = client.post(&format!("dbs/d/colls/{container}/docs"), &all, json!({"query": sql})).await;
    if reply.status == 400 && reply.text.contains("order-by item is excluded") {
        return None;
    }
    Some(reply.expect(200).documents())
}

#[tokio::test]
async fn selective_queries_stay_cheap_as_the_container_grows() {
    let (_emulator, client) = container().await;
    let sql = "SELECT TOP 5 * FROM c WHERE c.n >= 0 AND c.n < 1000 ORDER BY c.n";
    numbers(&client, 20).await;
    let range = ("x-ms-documentdb-partitionkeyrangeid", "0");
    let before = client.query(sql, &[range]).await.expect(200).charge();
    for at in 0..400 {
        let body = json!({"id": format!("more{at}"), "pk": format!("{}", at % 50), "n": -1 - at});
        client.create(body).await.expect(201);
    }
    let after = client.query(sql, &[range]).await.expect(200).charge();
    assert!((before - after).abs() < 0.01, "{before} {after}");
    let empty = client.query("SELECT * FROM c WHERE c.n = 123456", &[range]).await.expect(200).charge();
    assert!((2.3..2.6).contains(&empty), "{empty}");
}

/// Counts and sums load no documents where indexes tell all that is asked.
#[tokio::test]
async fn aggregates_are_read_from_the_index() {
    let (_emulator, client) = start().await;
    client
        .setup_with(json!({"indexingPolicy": {
            "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/no/*"}, {"path": "/number/?"}],
        }}))
        .await;
    for at in 0..50 {
        let body = json!({"id": at.to_string(), "pk": "a", "n": 2, "number": 2, "even": at % 2 == 0});
        client.create(body).await.expect(201);
    }
    for (sql, result, loaded) in [
        ("SELECT VALUE COUNT(1) FROM c", 50, 0),
        ("SELECT VALUE COUNT(1) FROM c WHERE c.even = true", 25, 0),
        ("SELECT VALUE SUM(c.n) FROM c WHERE c.even = true AND IS_DEFINED(c.n)", 50, 0),
        ("SELECT VALUE SUM(c.number) FROM c WHERE c.even = true", 50, 25),
        ("SELECT VALUE COUNT(1) FROM c WHERE c.even = true AND c.number = 2", 25, 25),
        ("SELECT VALUE SUM(c.n + 1) FROM c WHERE c.even = true", 75, 25),
        ("SELECT VALUE COUNT(1) FROM c WHERE CONTAINS(c.id, '1')", 14, 50),
    ] {
        let metrics = ("x-ms-documentdb-populatequerymetrics", "True");
        let reply = client.query(sql, &[A, metrics]).await.expect(200);
        assert_eq!(reply.documents(), [json!(result)], "{sql}");
        let metrics = reply.header("x-ms-documentdb-query-metrics").unwrap();
        assert!(metrics.contains(&format!("retrievedDocumentCount={loaded};")), "{sql}: {metrics}");
        assert!((reply.charge() < 2.5) == (loaded == 0), "{sql}: {}", reply.charge());
    }
}

#[tokio::test]
async fn metrics_come_in_the_forms_clients_read() {
    let (_emulator, client) = start().await;
    client.setup_with(json!({"indexingPolicy": {
        "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/no/*"}],
        "compositeIndexes": [[{"path": "/a", "order": "ascending"}, {"path": "/b", "order": "descending"}]],
    }}))
    .await;
    client.create(json!({"id": "1", "pk": "a", "n": 1, "no": {"x": 1}})).await.expect(201);
    let sql = "SELECT * FROM c WHERE c.n = 1 AND c.no.x = 1 ORDER BY c.a, c.b DESC";
    let reply = client.query(sql, &[A, ("x-ms-documentdb-populatequerymetrics", "True")]).await.expect(200);
    for pair in reply.header("x-ms-documentdb-query-metrics").unwrap().split(';') {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(!name.is_empty() && value.parse::<f64>().is_ok(), "{pair}");
    }
    assert!(reply.header("x-ms-cosmos-index-utilization").is_none());

    let reply = client.query(sql, &[A, ("x-ms-cosmos-populateindexmetrics-V2", "True")]).await.expect(200);
    let text = percent_encoding::percent_decode_str(reply.header("x-ms-cosmos-index-utilization").unwrap());
    let metrics: Value = serde_json::from_str(&text.decode_utf8().unwrap()).unwrap();
    let expected = json!({
        "UtilizedIndexes": {
            "SingleIndexes": [{"IndexSpec": "/n/?"}], "CompositeIndexes": [{"IndexSpecs": ["/a ASC", "/b DESC"]}],
        },
        "PotentialIndexes": {"SingleIndexes": [{"IndexSpec": "/no/x/?"}], "CompositeIndexes": []},
    });
    assert_eq!(metrics, expected);

    let reply = client.query(sql, &[A, ("x-ms-cosmos-populateindexmetrics", "True")]).await.expect(200);
    let bytes = STANDARD.decode(reply.header("x-ms-cosmos-index-utilization").unwrap()).unwrap();
    let metrics: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(metrics["UtilizedSingleIndexes"][0]["IndexSpec"], "/n/?");
    assert_eq!(metrics["PotentialSingleIndexes"][0]["IndexSpec"], "/no/x/?");
    assert_eq!(metrics["UtilizedCompositeIndexes"][0]["IndexSpecs"], json!(["/a ASC", "/b DESC"]));
}
