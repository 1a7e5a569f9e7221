use cosmos_emulator::Emulator;
use serde_json::{Value, json};

use crate::support::{CROSS, Client, DOCS, PK, start, start_with};

async fn offer_of(client: &Client, rid: &str) -> Option<Value> {
    let query = json!({"query": "SELECT * FROM o WHERE o.offerResourceId = @rid",
        "parameters": [{"name": "@rid", "value": rid}]});
    let found = client.post("offers", &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    found["Offers"].as_array().unwrap().first().cloned()
}

async fn database(client: &Client, id: &str, headers: &[(&str, &str)]) -> String {
    client.post("dbs", headers, json!({"id": id})).await.expect(201).json()["_rid"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn collection(client: &Client, database: &str, headers: &[(&str, &str)]) -> String {
    let body = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "version": 2}});
    let created = client.post(&format!("dbs/{database}/colls"), headers, body).await.expect(201).json();
    created["_rid"].as_str().unwrap().to_owned()
}

const AUTOSCALE: &str = "x-ms-cosmos-offer-autopilot-settings";
const MANUAL: &str = "x-ms-offer-throughput";

#[tokio::test]
async fn manual_throughput_is_read_and_replaced() {
    let (_emulator, client) = start().await;
    database(&client, "d", &[]).await;
    let rid = collection(&client, "d", &[(MANUAL, "1200")]).await;
    let mut offer = offer_of(&client, &rid).await.unwrap();
    assert_eq!(offer["content"]["offerThroughput"], 1200);
    assert_eq!(offer["offerVersion"], "V2");
    let path = format!("offers/{}", offer["id"].as_str().unwrap());
    let read = client.get(&path, &[]).await.expect(200);
    assert_eq!(read.header("x-ms-cosmos-min-throughput"), Some("400"));
    assert_eq!(read.header("x-ms-offer-replace-pending"), Some("false"));
    let before = client.get("dbs/d/colls/c", &[]).await.json();
    offer["content"]["offerThroughput"] = json!(2000);
    let replaced = client.put(&path, &[], offer.clone()).await.expect(200).json();
    assert_eq!(replaced["content"]["offerThroughput"], 2000);
    assert_ne!(replaced["_etag"], offer["_etag"]);
    assert_eq!(client.get("dbs/d/colls/c", &[]).await.json(), before);
    let stale = offer["_etag"].as_str().unwrap();
    client.put(&path, &[("if-match", stale)], offer.clone()).await.expect(412);
    for bad in [json!(300), json!(450), json!("x"), json!(-1), json!(null)] {
        offer["content"]["offerThroughput"] = bad;
        client.put(&path, &[], offer.clone()).await.expect(400);
    }
    client.put("offers/none", &[], offer).await.expect(404);
}

#[tokio::test]
async fn autoscale_and_migrations() {
    let (_emulator, client) = start().await;
    database(&client, "d", &[]).await;
    let rid = collection(&client, "d", &[(AUTOSCALE, r#"{"maxThroughput":4000}"#)]).await;
    let mut offer = offer_of(&client, &rid).await.unwrap();
    assert_eq!(offer["content"]["offerAutopilotSettings"]["maxThroughput"], 4000);
    assert_eq!(offer["content"]["offerThroughput"], 400);
    let path = format!("offers/{}", offer["id"].as_str().unwrap());
    offer["content"]["offerAutopilotSettings"]["maxThroughput"] = json!(6000);
    let replaced = client.put(&path, &[], offer.clone()).await.expect(200).json();
    assert_eq!(replaced["content"]["offerAutopilotSettings"]["maxThroughput"], 6000);
    let migrate = [("x-ms-cosmos-migrate-offer-to-manual-throughput", "true")];
    let manual = client.put(&path, &migrate, offer.clone()).await.expect(200).json();
    assert!(manual["content"].get("offerAutopilotSettings").is_none());
    let migrate = [("x-ms-cosmos-migrate-offer-to-autopilot", "true")];
    let auto = client.put(&path, &migrate, manual).await.expect(200).json();
    assert_eq!(auto["content"]["offerAutopilotSettings"]["maxThroughput"], 6000);
    for (name, value) in
        [(AUTOSCALE, "{}"), (AUTOSCALE, r#"{"maxThroughput":1500}"#), (MANUAL, "10"), (MANUAL, "x")]
    {
        client.post("dbs", &[(name, value)], json!({"id": "bad"})).await.expect(400);
    }
    let both = [(AUTOSCALE, r#"{"maxThroughput":4000}"#), (MANUAL, "400")];
    client.post("dbs", &both, json!({"id": "bad"})).await.expect(400);
}

#[tokio::test]
async fn containers_share_a_database_s_throughput() {
    let (_emulator, client) = start().await;
    let database_rid = database(&client, "d", &[(MANUAL, "500")]).await;
    let rid = collection(&client, "d", &[]).await;
    assert!(offer_of(&client, &rid).await.is_none());
    let mut offer = offer_of(&client, &database_rid).await.unwrap();
    assert_eq!(offer["resource"], format!("dbs/{database_rid}/"));
    offer["content"]["offerThroughput"] = json!(700);
    client.put(&format!("offers/{}", offer["id"].as_str().unwrap()), &[], offer).await.expect(200);
    assert_eq!(offer_of(&client, &database_rid).await.unwrap()["content"]["offerThroughput"], 700);
}

/// Reads until the first refusal; the number of reads that were served, and the refusal.
async fn reads_until_refused(client: &Client, pk: &str) -> (usize, crate::support::Reply) {
    let key = json!([pk]).to_string();
    for served in 0..5000 {
        let reply = client.get(&format!("{DOCS}/x"), &[(PK, &key)]).await;
        if reply.status == 429 {
            return (served, reply);
        }
        reply.expect(404);
    }
    panic!("never refused");
}

#[tokio::test]
async fn requests_beyond_the_throughput_are_refused() {
    let (_emulator, client) = start_with(Emulator::builder().enforce_throughput(true).partitions(2)).await;
    client.setup().await;
    let (served, refused) = reads_until_refused(&client, "a").await;
    // 200 RU/s for each of the partitions, with what comes in meanwhile.
    assert!((200..2000).contains(&served), "{served}");
    let refused = refused.expect_sub(429, 3200);
    let wait: u64 = refused.header("x-ms-retry-after-ms").unwrap().parse().unwrap();
    assert!((1..1000).contains(&wait), "{wait}");
    // The other physical partition has its own share, and metadata is not counted.
    let ranges = client.get("dbs/d/colls/c/pkranges", &[]).await.expect(200).json();
    assert_eq!(ranges["_count"], 2);
    let other = ["b", "c", "d", "e", "f", "g", "h"];
    let mut served = false;
    for pk in other {
        let key = json!([pk]).to_string();
        served |= client.get(&format!("{DOCS}/x"), &[(PK, &key)]).await.status == 404;
    }
    assert!(served);
    // Who waits as told is served. Some of the other keys share the partition and its budget: then it is told again.
    let key = json!(["a"]).to_string();
    let mut wait = wait;
    let mut reply = refused;
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        reply = client.get(&format!("{DOCS}/x"), &[(PK, &key)]).await;
        if reply.status != 429 {
            break;
        }
        wait = reply.header("x-ms-retry-after-ms").unwrap().parse().unwrap();
    }
    reply.expect(404);
}

/// A query over all partitions uses, page by page, the budget of the one that it has come to.
#[tokio::test]
async fn walks_use_the_budget_of_each_partition() {
    let (_emulator, client) = start_with(Emulator::builder().enforce_throughput(true).partitions(2)).await;
    client.setup().await;
    let to_the_second = client.query("SELECT * FROM c", &[CROSS]).await.expect(200);
    let token = to_the_second.header("x-ms-continuation").unwrap();
    let second = [CROSS, ("x-ms-continuation", token)];
    let mut refused = false;
    for _ in 0..2000 {
        refused = client.query("SELECT * FROM c", &second).await.status == 429;
        if refused {
            break;
        }
    }
    assert!(refused, "never refused");
    client.query("SELECT * FROM c", &[CROSS]).await.expect(200);
}

#[tokio::test]
async fn bulk_operations_are_refused_one_by_one() {
    let (_emulator, client) = start_with(Emulator::builder().enforce_throughput(true)).await;
    client.setup().await;
    let operations: Vec<Value> = (0..100)
        .map(|at| {
            json!({"operationType": "Upsert", "partitionKey": "[\"a\"]",
                "resourceBody": {"id": format!("{at}"), "pk": "a"}})
        })
        .collect();
    let headers = [
        ("x-ms-cosmos-is-batch-request", "true"),
        ("x-ms-cosmos-batch-atomic", "false"),
        ("x-ms-cosmos-batch-continue-on-error", "true"),
    ];
    let reply = client.post(DOCS, &headers, json!(operations)).await.expect(207);
    let results = reply.json();
    let results = results.as_array().unwrap();
    assert_eq!(results[0]["statusCode"], 201);
    let refused = results.iter().filter(|result| result["statusCode"] == 429).collect::<Vec<_>>();
    assert!((1..100).contains(&refused.len()));
    assert_eq!(refused[0]["subStatusCode"], 3200);
    assert!(refused[0]["retryAfterMilliseconds"].as_f64().unwrap() >= 1.0);
}
