use serde_json::json;

use crate::support::{Client, container, start, token};

#[tokio::test]
async fn every_request_is_verified() {
    let (emulator, client) = start().await;
    client.get("", &[]).await.expect(200);
    client.send_as_is("GET", "", &[], "").await.expect(401);

    let wrong = Client::to(emulator.endpoint(), "d3Jvbmc=");
    let reply = wrong.get("dbs", &[]).await.expect(401);
    assert_eq!(reply.json()["code"], "Unauthorized");
    assert!(reply.text.contains("The input authorization token can't serve the request"));
    wrong.get("", &[]).await.expect(401);
    assert!(reply.header("x-ms-activity-id").is_some());
}

#[tokio::test]
async fn raw_tokens_and_the_date_header_are_accepted() {
    let (emulator, client) = start().await;
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let encoded = token(emulator.key(), "GET", "dbs", "", &date);
    let raw = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap().into_owned();
    client.send_as_is("GET", "dbs", &[("x-ms-date", &date), ("authorization", &raw)], "").await.expect(200);
}

#[tokio::test]
async fn old_signatures_and_other_tokens_are_refused() {
    let (emulator, client) = start().await;
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(20 * 60);
    let date = httpdate::fmt_http_date(old);
    let signed = token(emulator.key(), "GET", "dbs", "", &date);
    client
        .send_as_is("GET", "dbs", &[("x-ms-date", &date), ("authorization", &signed)], "")
        .await
        .expect(403);

    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    for kind in ["aad", "resource"] {
        let other = format!("type%3D{kind}%26ver%3D1.0%26sig%3Dabc");
        let headers = [("x-ms-date", &*date), ("authorization", &*other)];
        client.send_as_is("GET", "dbs", &headers, "").await.expect(401);
    }
}

#[tokio::test]
async fn self_links_are_signed_by_rid() {
    let (emulator, client) = container().await;
    let created = client.create(json!({"id": "x", "pk": "a"})).await.expect(201).json();
    let link = created["_self"].as_str().unwrap().trim_end_matches('/').to_owned();
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    client.get(&link, &[pk]).await.expect(200);

    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let rid = created["_rid"].as_str().unwrap().to_lowercase();
    let signed = token(emulator.key(), "GET", "docs", &rid, &date);
    let headers = [("x-ms-date", &*date), ("authorization", &*signed), pk];
    let read = client.send_as_is("GET", &link, &headers, "").await.expect(200);
    assert_eq!(read.json()["id"], "x");
}
