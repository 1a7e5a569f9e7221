//! Faults on request, through the library and through the control endpoint.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cosmos_emulator::{Dropped, Emulator, Fault, FaultRule, Isolation, StartError};
use serde_json::{Value, json};

use crate::support::{Client, DOCS, PK, SPROCS, container, signed_resource, start_with, token};

const A: (&str, &str) = (PK, "[\"a\"]");

/// Whether the connection was closed without an answer.
async fn is_dropped(client: &Client, verb: &str, path: &str, body: &str) -> bool {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let (kind, link) = signed_resource(path);
    let token = token(&client.key, verb, kind, &link, &date);
    let http = reqwest::Client::new();
    let request = http.request(verb.parse().unwrap(), format!("{}/{path}", client.endpoint));
    let request = request.header("x-ms-date", date).header("authorization", token).header(A.0, A.1);
    request.body(body.to_owned()).send().await.is_err()
}

#[tokio::test]
async fn statuses_befall_what_the_rule_names() {
    let (emulator, client) = container().await;
    client.procedure("p", "function () { getContext().getResponse().setBody(1); }").await;
    client.procedure("q", "function () {}").await;
    let faults = emulator.faults();
    let throttled =
        Fault::Status { status: 429, sub_status: 3200, retry_after: Some(Duration::from_millis(7)) };
    let rule =
        faults.add(FaultRule::new(throttled).operation("sproc.execute").procedure("p").skip(1).count(2));
    client.execute("p", "a", json!([])).await.expect(200);
    client.execute("q", "a", json!([])).await.expect(200);
    for _ in 0..2 {
        let reply = client.execute("p", "a", json!([])).await.expect_sub(429, 3200);
        assert_eq!(reply.header("x-ms-retry-after-ms"), Some("7"));
    }
    client.execute("p", "a", json!([])).await.expect(200);
    assert_eq!(faults.applied(rule), Some(2));
    assert!(faults.remove(rule) && !faults.remove(rule));

    let gone = Fault::Status { status: 410, sub_status: 1002, retry_after: None };
    faults.add(FaultRule::new(gone).path("/dbs/*/docs/x*"));
    client.read("a", "x1").await.expect_sub(410, 1002);
    client.read("a", "y1").await.expect(404);
    client.create(json!({"id": "x1", "pk": "a"})).await.expect(201);
    faults.clear();
    client.read("a", "x1").await.expect(200);
    assert!(emulator.stats().operations["sproc.execute"].requests >= 5);
}

#[tokio::test]
async fn connections_drop_before_or_after_the_effect() {
    let (emulator, client) = container().await;
    let faults = emulator.faults();
    faults.add(FaultRule::new(Fault::DropBefore).operation("document.create").count(1));
    // The rule is used up by the first attempt: a client that retries by itself would succeed.
    assert!(is_dropped(&client, "POST", DOCS, r#"{"id":"before","pk":"a"}"#).await);
    client.read("a", "before").await.expect(404);
    faults.add(FaultRule::new(Fault::DropAfter).operation("document.*").count(1));
    assert!(is_dropped(&client, "POST", DOCS, r#"{"id":"after","pk":"a"}"#).await);
    client.read("a", "after").await.expect(200);
}

#[tokio::test]
async fn in_process_a_dropped_connection_is_an_extension() {
    let emulator = Emulator::builder().build().unwrap();
    emulator.faults().add(FaultRule::new(Fault::DropBefore).count(1));
    let request = || {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let token = token(emulator.key(), "GET", "", "", &date);
        let request = http::Request::get("/").header("x-ms-date", date).header("authorization", token);
        request.body(Bytes::new()).unwrap()
    };
    let dropped = emulator.call(request()).await;
    assert_eq!(dropped.status(), 599);
    assert_eq!(dropped.extensions().get::<Dropped>(), Some(&Dropped));
    assert!(dropped.body().is_empty());
    let answered = emulator.call(request()).await;
    assert_eq!((answered.status().as_u16(), answered.extensions().get::<Dropped>()), (200, None));
}

#[tokio::test]
async fn latency_and_clock() {
    let (emulator, client) = container().await;
    let faults = emulator.faults();
    faults.add(FaultRule::new(Fault::Latency(Duration::from_millis(60))).operation("document.read"));
    let started = Instant::now();
    client.read("a", "x").await.expect(404);
    assert!(started.elapsed() >= Duration::from_millis(60));
    faults.clear();
    let before = client.create(json!({"id": "x", "pk": "a"})).await.expect(201).json();
    faults.add(
        FaultRule::new(Fault::ClockOffset { milliseconds: 3_600_000 }).operation("document.create").count(1),
    );
    let after = client.create(json!({"id": "y", "pk": "a"})).await.expect(201).json();
    let ahead = after["_ts"].as_i64().unwrap() - before["_ts"].as_i64().unwrap();
    assert!((3600..3700).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn operations_of_a_procedure_are_refused() {
    let (emulator, client) = container().await;
    client
        .procedure(
            "import",
            r"function (count) {
                var done = 0;
                next();
                function next() {
                    getContext().getResponse().setBody(done);
                    if (done === count) return;
                    __.createDocument(__.getSelfLink(), { id: 'd' + done, pk: 'a' }, function (err) {
                        if (err) throw err;
                        done++;
                        next();
                    });
                }
            }",
        )
        .await;
    emulator.faults().add(FaultRule::new(Fault::RefuseOperations { after: 3 }).procedure("import").count(1));
    assert_eq!(client.execute("import", "a", json!([5])).await.expect(200).text, "3");
    client.read("a", "d2").await.expect(200);
    client.read("a", "d3").await.expect(404);
}

#[tokio::test]
async fn the_control_endpoint() {
    let (_emulator, client) = start_with(Emulator::builder().control(true)).await;
    client.setup().await;
    client.procedure("p", "function () {}").await;
    let call = async |verb: &str, path: &str, body: Value| {
        client.send_as_is(verb, &format!("_emulator/{path}"), &[], body.to_string()).await
    };
    let rule = json!({"fault": "status", "status": 449, "procedure": "p", "count": 1});
    let id = call("POST", "faults", rule).await.expect(201).json()["id"].clone();
    client.execute("p", "a", json!([])).await.expect(449);
    client.execute("p", "a", json!([])).await.expect(200);
    let rules = call("GET", "faults", json!(null)).await.expect(200).json();
    assert_eq!((&rules["faults"][0]["id"], &rules["faults"][0]["applied"]), (&id, &json!(1)));
    let stats = call("GET", "stats", json!(null)).await.expect(200).json();
    assert_eq!(stats["procedures"]["p"]["requests"], 2);
    assert_eq!(stats["operations"]["sproc.execute"]["requests"], 2);
    assert!(stats["total"]["request_units"].as_f64().unwrap() > 4.0);
    let requests = call("GET", "requests", json!(null)).await.expect(200).json()["requests"].clone();
    let requests = requests.as_array().unwrap();
    let [.., faulted, last] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&faulted["status"], &faulted["faulted"]), (&json!(449), &json!(true)));
    assert_eq!((&last["status"], &last["faulted"]), (&json!(200), &json!(false)));
    assert_eq!((&last["method"], &last["procedure"]), (&json!("POST"), &json!("p")));

    call("DELETE", &format!("faults/{id}"), json!(null)).await.expect(204);
    call("DELETE", &format!("faults/{id}"), json!(null)).await.expect(404);
    call("DELETE", "faults", json!(null)).await.expect(204);
    for wrong in [
        json!([]),
        json!({"fault": "none"}),
        json!({"fault": "status", "status": 200}),
        json!({"fault": "drop_after", "procedur": "p"}),
        json!({"fault": "latency", "milliseconds": -1}),
    ] {
        call("POST", "faults", wrong).await.expect(400);
    }
    assert_eq!(call("PUT", "clock", json!({"offset_ms": 5000})).await.expect(200).json()["offset_ms"], 5000);
    assert_eq!(call("GET", "clock", json!(null)).await.expect(200).json()["offset_ms"], 5000);
    call("PUT", "isolation", json!({"isolation": "weak"})).await.expect(204);
    call("PUT", "isolation", json!({"isolation": "none"})).await.expect(400);
    let split = json!({"database": "d", "container": "c", "range": "0"});
    assert_eq!(call("POST", "split", split.clone()).await.expect(200).json()["ranges"], json!(["1", "2"]));
    call("POST", "split", split).await.expect(404);
    call("POST", "split", json!({"database": "d", "container": "none", "range": "0"})).await.expect(404);
    call("POST", "split", json!({"database": "d", "container": "c", "range": 1})).await.expect(400);
    call("GET", "nothing", json!(null)).await.expect(404);
}

#[tokio::test]
async fn the_control_endpoint_is_off_unless_asked_for() {
    let (emulator, client) = container().await;
    let refused = client.send_as_is("GET", "_emulator/stats", &[], "").await;
    assert!(refused.status == 401 || refused.status == 400, "{}", refused.text);
    assert!(emulator.faults().requests().is_empty());
    let everywhere = Emulator::builder().control(true).address("0.0.0.0".parse().unwrap());
    assert!(matches!(everywhere.start().await, Err(StartError::ControlAddress(_))));
}

/// Two runs of one partition that must meet: possible only when they do not wait for each other.
#[tokio::test]
async fn isolation_changes_at_run_time() {
    let (emulator, client) = start_with(Emulator::builder().request_log(5)).await;
    client.setup().await;
    client.create(json!({"id": "x", "pk": "a", "n": 0})).await.expect(201);
    client
        .procedure(
            "slow",
            r"function () {
                __.readDocument(__.getAltLink() + '/docs/x', function (err, doc) {
                    if (err) throw err;
                    var end = Date.now() + 150;
                    while (Date.now() < end) { }
                    doc.n++;
                    __.replaceDocument(doc._self, doc, { etag: doc._etag }, function (err) { if (err) throw err; });
                });
            }",
        )
        .await;
    let both = async || {
        let (one, two) =
            tokio::join!(client.execute("slow", "a", json!([])), client.execute("slow", "a", json!([])));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        statuses
    };
    assert_eq!(both().await, [200, 200]);
    emulator.set_isolation(Isolation::Weak);
    assert_eq!(both().await, [200, 449]);
    emulator.set_isolation(Isolation::Serial);
    assert_eq!(both().await, [200, 200]);
    let log = emulator.faults().requests();
    assert_eq!(log.len(), 5);
    assert_eq!(log[4].operation, "sproc.execute");
    assert_eq!(log[4].path, format!("/{SPROCS}/slow"));
}
