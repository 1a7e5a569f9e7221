use serde_json::json;

use crate::support::{PK, SPROCS, container};

const A: (&str, &str) = (PK, "[\"a\"]");

#[tokio::test]
async fn create_read_list_query_replace_delete() {
    let (_emulator, client) = container().await;
    let body = json!({"id": "p", "body": "function(){ syntax error"});
    let created = client.post(SPROCS, &[], body.clone()).await.expect(201).json();
    assert_eq!(created["body"], body["body"]);
    client.post(SPROCS, &[], body).await.expect(409);
    let missing = client.post(SPROCS, &[], json!({"id": "q"})).await.expect(400);
    assert!(missing.text.contains("required properties - 'body; ' - are missing"));
    client
        .post(SPROCS, &[("x-ms-documentdb-is-upsert", "True")], json!({"id": "q", "body": ""}))
        .await
        .expect(400);

    let link = created["_self"].as_str().unwrap().trim_end_matches('/').to_owned();
    assert_eq!(client.get(&link, &[]).await.expect(200).json()["id"], "p");
    let list = client.get(SPROCS, &[]).await.expect(200).json();
    assert_eq!((&list["_count"], &list["StoredProcedures"][0]["id"]), (&json!(1), &json!("p")));
    let query = json!({"query": "SELECT VALUE s.id FROM s"});
    let found = client.post(SPROCS, &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    assert_eq!(found["StoredProcedures"], json!(["p"]));

    let new = json!({"id": "p", "body": "function(){ getContext().getResponse().setBody(1) }"});
    client.put(&format!("{SPROCS}/p"), &[], new.clone()).await.expect(200);
    assert_eq!(client.execute("p", "a", json!([])).await.expect(200).text, "1");
    client.put(&format!("{SPROCS}/none"), &[], json!({"id": "none", "body": ""})).await.expect(404);
    client.delete(&format!("{SPROCS}/p"), &[]).await.expect(204);
    client.execute("p", "a", json!([])).await.expect_sub(404, 0);
}

#[tokio::test]
async fn a_run_commits_or_rolls_back_as_a_whole() {
    let (emulator, client) = container().await;
    client.procedure("write", r"
        function (id, fail) {
            var collection = getContext().getCollection();
            var accepted = collection.createDocument(collection.getSelfLink(), { id: id, pk: 'a', n: 1 }, function (err, doc) {
                if (err) throw err;
                doc.n = 2;
                collection.replaceDocument(doc._self, doc, { etag: doc._etag }, function (err, doc) {
                    if (err) throw err;
                    collection.readDocument(collection.getAltLink() + '/docs/' + id, function (err, read) {
                        if (err) throw err;
                        if (fail) throw new Error(4321, 'no');
                        getContext().getResponse().setBody({ n: read.n, ts: read._ts === undefined });
                    });
                });
            });
            if (!accepted) throw new Error('not accepted');
        }").await;
    let done = client.execute("write", "a", json!(["x", false])).await.expect(200);
    assert_eq!(done.json(), json!({"n": 2, "ts": true}));
    assert!(done.charge() > 10.0);
    assert!(done.header("x-ms-session-token").is_some());
    let stored = client.read("a", "x").await.expect(200).json();
    assert_eq!(stored["n"], 2);
    assert!(stored["_ts"].as_i64().unwrap() > 1_600_000_000);

    let failed = client.execute("write", "a", json!(["y", true])).await.expect_sub(400, 4321);
    assert!(failed.charge() > 10.0);
    client.read("a", "y").await.expect(404);
    // The id is taken: the error arrives in the callback, which rethrows it.
    client.execute("write", "a", json!(["x", false])).await.expect_sub(400, 409);

    let stats = emulator.stats();
    assert_eq!(stats.procedures["write"].requests, 3);
    assert_eq!(stats.operations["sproc.execute"].requests, 3);
    assert!(stats.total().request_units > 30.0);
}

#[tokio::test]
async fn queries_and_feeds_inside_a_run() {
    let (_emulator, client) = container().await;
    for at in 0..30 {
        client.create(json!({"id": format!("{at:02}"), "pk": "a", "n": at})).await.expect(201);
    }
    client.create(json!({"id": "other", "pk": "b", "n": 1})).await.expect(201);
    client.procedure("sum", r"
        function () {
            var collection = getContext().getCollection(), sum = 0, pages = 0;
            next(undefined);
            function next(continuation) {
                var query = { query: 'SELECT * FROM c WHERE c.n >= @least', parameters: [{ name: '@least', value: 10 }] };
                var accepted = collection.queryDocuments(collection.getSelfLink(), query,
                    { pageSize: 7, continuation: continuation }, function (err, docs, options) {
                        if (err) throw err;
                        pages++;
                        docs.forEach(function (doc) { sum += doc.n; });
                        if (options.continuation) next(options.continuation);
                        else getContext().getResponse().setBody({ sum: sum, pages: pages });
                    });
                if (!accepted) throw new Error('not accepted');
            }
        }").await;
    let result = client.execute("sum", "a", json!([])).await.expect(200).json();
    assert_eq!(result, json!({"sum": (10..30).sum::<i32>(), "pages": 3}));
    client
        .procedure(
            "feed",
            r"
        function () {
            var collection = getContext().getCollection();
            collection.readDocuments(collection.getSelfLink(), { pageSize: -1 }, function (err, docs) {
                if (err) throw err;
                getContext().getResponse().setBody(docs.length);
            });
        }",
        )
        .await;
    assert_eq!(client.execute("feed", "a", json!([])).await.expect(200).text, "30");
}

#[tokio::test]
async fn headers_and_errors() {
    let (_emulator, client) = container().await;
    client
        .procedure(
            "log",
            "function (x) { console.log('a b: %s', x); if (x === 'bad') throw new Error('no'); }",
        )
        .await;
    let path = format!("{SPROCS}/log");
    client.post(&path, &[], json!([])).await.expect(400);
    let logging = ("x-ms-documentdb-script-enable-logging", "true");
    let reply = client.post(&path, &[A, logging], json!(["ü"])).await.expect(200);
    let logs = reply.header("x-ms-documentdb-script-log-results").unwrap();
    assert_eq!(percent_encoding::percent_decode_str(logs).decode_utf8().unwrap(), "a b: ü");
    let reply = client.post(&path, &[A, logging], json!(["bad"])).await.expect(400);
    assert!(reply.header("x-ms-documentdb-script-log-results").is_some());
    assert!(
        client.post(&path, &[A], json!(["x"])).await.header("x-ms-documentdb-script-log-results").is_none()
    );

    client.procedure("broken", "function () { syntax error").await;
    client.execute("broken", "a", json!([])).await.expect_sub(400, 65535);
    client
        .procedure(
            "elsewhere",
            r"
        function () {
            var collection = getContext().getCollection();
            collection.createDocument(collection.getSelfLink(), { id: 'x', pk: 'b' });
        }",
        )
        .await;
    client.execute("elsewhere", "a", json!([])).await.expect(400);
    client.read("b", "x").await.expect(404);
}

#[tokio::test]
async fn endless_scripts_are_stopped() {
    let (_emulator, client) = container().await;
    client.procedure("loop", "function () { while (true) {} }").await;
    client.execute("loop", "a", json!([])).await.expect(408);
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
}

/// Clears a partition page by page without a continuation, as Microsoft's sample of it does.
#[tokio::test]
async fn queries_see_what_the_run_wrote() {
    let (_emulator, client) = container().await;
    for at in 0..25 {
        client.create(json!({"id": format!("{at:02}"), "pk": "a", "n": at})).await.expect(201);
    }
    client
        .procedure(
            "clear",
            r"
        function (least) {
            var deleted = 0, link = __.getSelfLink();
            page();
            function page() {
                __.queryDocuments(link, 'SELECT * FROM c WHERE c.n >= ' + least, { pageSize: 10 }, function (err, docs) {
                    if (err) throw err;
                    if (docs.length) next(docs);
                    else __.readDocuments(link, function (err, left) {
                        if (err) throw err;
                        getContext().getResponse().setBody({ deleted: deleted, left: left.length });
                    });
                });
            }
            function next(docs) {
                if (!docs.length) return page();
                __.deleteDocument(docs.shift()._self, {}, function (err) {
                    if (err) throw err;
                    deleted++;
                    next(docs);
                });
            }
        }",
        )
        .await;
    let result = client.execute("clear", "a", json!([5])).await.expect(200).json();
    assert_eq!(result, json!({"deleted": 20, "left": 5}));
    assert_eq!(client.query_all("SELECT VALUE c.n FROM c", &[A]).await.len(), 5);
    client
        .procedure(
            "rename",
            r"
        function () {
            var link = __.getAltLink() + '/docs/00';
            __.readDocument(link, function (err, doc) {
                if (err) throw err;
                doc.id = 'first';
                doc.n = 100;
                __.replaceDocument(link, doc, function (err) {
                    if (err) throw err;
                    __.queryDocuments(__.getSelfLink(), 'SELECT c.id, c._ts FROM c WHERE c.n IN (0, 100)', function (err, rows) {
                        if (err) throw err;
                        getContext().getResponse().setBody(rows);
                    });
                });
            });
        }",
        )
        .await;
    assert_eq!(client.execute("rename", "a", json!([])).await.expect(200).json(), json!([{"id": "first"}]));
    client.read("a", "00").await.expect(404);
    client.read("a", "first").await.expect(200);
}
