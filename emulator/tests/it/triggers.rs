//! Triggers: stored, checked, and run in the transaction of the write they belong to.

use cosmos_emulator::Emulator;
use serde_json::{Value, json};

use crate::support::{Client, DOCS, PK, container, start_with};

const TRIGGERS: &str = "dbs/d/colls/c/triggers";
const A: (&str, &str) = (PK, "[\"a\"]");
const PRE: &str = "x-ms-documentdb-pre-trigger-include";
const POST: &str = "x-ms-documentdb-post-trigger-include";

async fn trigger(client: &Client, id: &str, kind: &str, operation: &str, body: &str) {
    let trigger = json!({"id": id, "triggerType": kind, "triggerOperation": operation, "body": body});
    client.post(TRIGGERS, &[], trigger).await.expect(201);
}

#[tokio::test]
async fn create_read_list_query_replace_delete() {
    let (_emulator, client) = container().await;
    let body = json!({"id": "t", "body": "function () {}", "triggerType": "Pre", "triggerOperation": "All"});
    let created = client.post(TRIGGERS, &[], body.clone()).await.expect(201).json();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(created[name], *value);
    }
    let link = created["_self"].as_str().unwrap();
    assert!(link.contains("/triggers/"), "{link}");
    client.get(link.trim_end_matches('/'), &[]).await.expect(200);
    client.post(TRIGGERS, &[], body.clone()).await.expect(409);
    for name in ["body", "triggerType", "triggerOperation"] {
        let mut incomplete = json!({"id": "u", "body": "", "triggerType": "Pre", "triggerOperation": "All"});
        incomplete.as_object_mut().unwrap().remove(name);
        let reply = client.post(TRIGGERS, &[], incomplete).await.expect(400);
        assert!(
            reply.text.contains(&format!("required properties - '{name}; ' - are missing")),
            "{}",
            reply.text
        );
    }
    let mut unknown = body.clone();
    unknown["triggerType"] = json!("During");
    client.post(TRIGGERS, &[], unknown).await.expect(400);
    // A procedure may have the same id.
    client.procedure("t", "function () {}").await;

    let list = client.get(TRIGGERS, &[]).await.expect(200).json();
    assert_eq!((&list["_count"], &list["Triggers"][0]["id"]), (&json!(1), &json!("t")));
    let query = json!({"query": "SELECT VALUE t.triggerType FROM t"});
    let found = client.post(TRIGGERS, &[("x-ms-documentdb-isquery", "True")], query).await.expect(200).json();
    assert_eq!(found["Triggers"], json!(["Pre"]));
    let mut new = body.clone();
    new["triggerOperation"] = json!("Delete");
    let path = format!("{TRIGGERS}/t");
    client.put(&path, &[("if-match", "other")], new.clone()).await.expect(412);
    let replaced = client.put(&path, &[], new).await.expect(200).json();
    assert_eq!((&replaced["triggerOperation"], &replaced["_rid"]), (&json!("Delete"), &created["_rid"]));
    client.delete(&path, &[]).await.expect(204);
    client.get(&path, &[]).await.expect(404);
    for at in 0..25 {
        trigger(&client, &format!("t{at}"), "Post", "Create", "").await;
    }
    let mut one_more = body;
    one_more["id"] = json!("more");
    client.post(TRIGGERS, &[], one_more).await.expect(400);
}

#[tokio::test]
async fn pre_triggers_change_what_is_written() {
    let (_emulator, client) = container().await;
    trigger(
        &client,
        "upper",
        "Pre",
        "All",
        r"function () {
        var request = getContext().getRequest(), item = request.getBody();
        if (getContext().getResponse !== undefined) throw new Error('there is a response');
        var refused = 0;
        try { request.setValue('Test', 1); } catch (err) { refused++; }
        try { request.setValue('OperationType', 'x'); } catch (err) { refused++; }
        if (refused !== 2) throw new Error('a header was set');
        item.id = item.id.toUpperCase();
        item.by = __.request.getOperationType();
        request.setBody(item);
    }",
    )
    .await;
    let upper = [A, (PRE, "upper")];
    let created = client.post(DOCS, &upper, json!({"id": "x", "pk": "a"})).await.expect(201).json();
    assert_eq!((&created["id"], &created["by"]), (&json!("X"), &json!("Create")));
    let upserted = client
        .post(
            DOCS,
            &[A, (PRE, "upper"), ("x-ms-documentdb-is-upsert", "True")],
            json!({"id": "x", "pk": "a"}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(upserted["by"], "Upsert");
    let replaced =
        client.put(&format!("{DOCS}/X"), &upper, json!({"id": "x", "pk": "a"})).await.expect(200).json();
    assert_eq!(replaced["by"], "Replace");
    assert_eq!(client.read("a", "X").await.expect(200).json()["by"], "Replace");

    // The object that was set may still change, as the service takes it at the end of the run.
    trigger(
        &client,
        "count",
        "Pre",
        "Create",
        r"function () {
        var request = getContext().getRequest(), item = request.getBody();
        __.queryDocuments(__.getSelfLink(), 'SELECT VALUE COUNT(1) FROM c', function (err, rows) {
            if (err) throw err;
            item.number = rows[0] + 1;
        });
        request.setBody(item);
    }",
    )
    .await;
    for number in [2, 3] {
        let body = json!({"id": format!("n{number}"), "pk": "a"});
        let created = client.post(DOCS, &[A, (PRE, "count")], body).await.expect(201).json();
        assert_eq!(created["number"], number);
    }
    // Any number of times, also by the general setter.
    trigger(
        &client,
        "longer",
        "Pre",
        "All",
        r"function () {
        for (var i = 0; i < 200; i++) {
            var item = __.request.getBody();
            item.id += 'a';
            __.request.setValue('Body', item);
        }
    }",
    )
    .await;
    let longer = client.post(DOCS, &[A, (PRE, "longer")], json!({"id": "doc", "pk": "a"})).await.expect(201);
    assert_eq!(longer.json()["id"].as_str().map(str::len), Some(203));
    // What a trigger makes of the partition key must still fit the request.
    trigger(&client, "move", "Pre", "All", "function () { getContext().getRequest().getBody().pk = 'b'; }")
        .await;
    client.post(DOCS, &[A, (PRE, "move")], json!({"id": "m", "pk": "a"})).await.expect_sub(400, 1001);
}

#[tokio::test]
async fn post_triggers_see_and_change_the_answer() {
    let (_emulator, client) = container().await;
    trigger(
        &client,
        "post",
        "Post",
        "All",
        r"function () {
        var request = getContext().getRequest(), response = getContext().getResponse(), refused = 0;
        try { request.setBody('x'); } catch (err) { refused++; }
        try { request.setValue('Body', 'x'); } catch (err) { refused++; }
        try { response.setValue('Test', 'x'); } catch (err) { refused++; }
        var item = response.getBody();
        item.refused = refused;
        item.asked = request.getBody().id;
        item.quota = response.getMaxResourceQuota();
        item.usage = response.getResourceQuotaCurrentUsage();
        response.setBody(item);
    };",
    )
    .await;
    let created = client.post(DOCS, &[A, (POST, "post")], json!({"id": "x", "pk": "a"})).await.expect(201);
    let answer = created.json();
    assert_eq!((&answer["refused"], &answer["asked"]), (&json!(3), &json!("x")));
    assert!(answer["quota"].as_str().unwrap().contains("collectionSize"));
    assert!(answer["usage"].as_str().unwrap().contains("collectionSize"));
    assert!(answer["_etag"].is_string() && answer["_ts"].is_number());
    assert_eq!(created.header("etag"), answer["_etag"].as_str());
    // Only the answer was changed.
    assert_eq!(client.read("a", "x").await.expect(200).json().get("refused"), None);

    // The same, by the general setter; and a document may be gone when its creator hears of it.
    trigger(
        &client,
        "gone",
        "Post",
        "Create",
        r"function () {
        var response = getContext().getResponse(), item = response.getBody();
        response.setValue('Body', { was: item.id });
        __.readDocuments(__.getSelfLink(), { pageSize: 1, continuation: '' }, function next(err, docs, options) {
            if (err) throw err;
            docs.filter(function (doc) { return doc.id === item.id; }).forEach(function (doc) {
                __.deleteDocument(doc._self, function (err) { if (err) throw err; });
            });
            if (options.continuation) {
                __.readDocuments(__.getSelfLink(), { pageSize: 1, continuation: options.continuation }, next);
            }
        });
    }",
    )
    .await;
    let gone =
        client.post(DOCS, &[A, (POST, "gone")], json!({"id": "z", "pk": "a"})).await.expect(201).json();
    assert_eq!(gone, json!({"was": "z"}));
    client.read("a", "z").await.expect(404);

    trigger(&client, "log", "Post", "Delete", r"function () {
        var gone = getContext().getRequest().getBody();
        __.createDocument(__.getSelfLink(), { id: 'deleted-' + gone.id, pk: 'a', n: gone.n }, function (err) { if (err) throw err; });
    }").await;
    client.create(json!({"id": "y", "pk": "a", "n": 7})).await.expect(201);
    client.delete(&format!("{DOCS}/y"), &[A, (POST, "log")]).await.expect(204);
    client.read("a", "y").await.expect(404);
    assert_eq!(client.read("a", "deleted-y").await.expect(200).json()["n"], 7);
}

#[tokio::test]
async fn what_a_trigger_throws_undoes_everything() {
    let (_emulator, client) = container().await;
    trigger(&client, "pre", "Pre", "All", r"function () {
        __.createDocument(__.getAltLink(), { id: 'side', pk: 'a' }, function (err) { if (err) throw err; throw new Error(409, 'no'); });
    }").await;
    trigger(&client, "post", "Post", "All", r"function () {
        __.createDocument(__.getAltLink(), { id: 'side', pk: 'a' }, function (err) { if (err) throw err; throw new Error(4444, 'no'); });
    }").await;
    trigger(&client, "text", "Post", "All", "function () { throw 'always'; }").await;
    for (header, status) in [((PRE, "pre"), 409), ((POST, "post"), 4444), ((POST, "text"), 0)] {
        client.post(DOCS, &[A, header], json!({"id": "x", "pk": "a"})).await.expect_sub(400, status);
        client.read("a", "x").await.expect(404);
        client.read("a", "side").await.expect(404);
    }
    // An operation that fails by itself undoes what its pre-trigger wrote.
    trigger(
        &client,
        "side",
        "Pre",
        "All",
        "function () { __.createDocument(__.getAltLink(), { id: 'side', pk: 'a' }); }",
    )
    .await;
    client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
    client.post(DOCS, &[A, (PRE, "side")], json!({"id": "x", "pk": "a"})).await.expect(409);
    client.read("a", "side").await.expect(404);
    client.post(DOCS, &[A, (PRE, "side"), (POST, "text")], json!({"id": "z", "pk": "a"})).await.expect(400);
    client.read("a", "side").await.expect(404);
    trigger(&client, "broken", "Pre", "All", "function () { syntax error").await;
    client.post(DOCS, &[A, (PRE, "broken")], json!({"id": "z", "pk": "a"})).await.expect_sub(400, 65535);
}

#[tokio::test]
async fn triggers_run_only_where_they_are_meant_to() {
    let (_emulator, client) = container().await;
    trigger(&client, "pre", "Pre", "Update", "function () {}").await;
    trigger(&client, "post", "Post", "Delete", "function () {}").await;
    trigger(&client, "any", "Pre", "All", "function () {}").await;
    let refused = async |headers: &[(&str, &str)], part: &str| {
        let mut all = vec![A];
        all.extend_from_slice(headers);
        let reply = client.post(DOCS, &all, json!({"id": "x", "pk": "a"})).await.expect(400);
        assert!(reply.text.contains(part), "{}", reply.text);
    };
    refused(&[(PRE, "none")], "does not exist").await;
    refused(&[(PRE, "post")], "invalid for 'Pre'").await;
    refused(&[(POST, "any")], "invalid for 'Post'").await;
    refused(&[(POST, "post")], "operation type 'Delete', and therefore is invalid for 'Create'").await;
    let upsert = ("x-ms-documentdb-is-upsert", "True");
    refused(&[(PRE, "pre"), upsert], "operation type 'Update', and therefore is invalid for 'Upsert'").await;
    refused(&[(PRE, "any,pre")], "Only one").await;
    refused(&[(POST, "post,post")], "Only one").await;
    client.post(DOCS, &[A, (PRE, " any ")], json!({"id": "x", "pk": "a"})).await.expect(201);

    let batch = json!([{"operationType": "Read", "id": "x"}]);
    let headers =
        [A, ("x-ms-cosmos-is-batch-request", "True"), ("x-ms-cosmos-batch-atomic", "True"), (PRE, "any")];
    client.post(DOCS, &headers, batch).await.expect(400);
    let patch = json!({"operations": [{"op": "set", "path": "/n", "value": 1}]});
    client.send("PATCH", &format!("{DOCS}/x"), &[A, (PRE, "any")], patch.to_string()).await.expect(400);
    client.procedure("p", "function () {}").await;
    let reply = client.post("dbs/d/colls/c/sprocs/p", &[A, (PRE, "any")], json!([])).await.expect(400);
    assert!(reply.text.contains("One of the input values is invalid"));
    // Reads do not look at the header.
    client.get(&format!("{DOCS}/x"), &[A, (PRE, "none")]).await.expect(200);
}

/// A constraint kept by documents of its own, which change their ids with what they stand for.
#[tokio::test]
async fn a_unique_constraint_by_trigger() {
    let (_emulator, client) = container().await;
    trigger(
        &client,
        "unique",
        "Pre",
        "All",
        r"function unique() {
        const item = __.request.getBody(), link = __.getAltLink() + '/docs/';
        const keyOf = (doc) => 'unique-' + doc.mail;
        const rethrow = (err) => { if (err) throw err; };
        switch (__.request.getOperationType()) {
            case 'Create': __.createDocument(__.getSelfLink(), { id: keyOf(item), pk: 'a' }, rethrow); break;
            case 'Delete': __.deleteDocument(link + keyOf(item), rethrow); break;
            case 'Replace':
                __.readDocument(item._self, (err, old) => {
                    if (err) throw err;
                    if (old.mail === item.mail) return;
                    __.replaceDocument(link + keyOf(old), { id: keyOf(item), pk: 'a' }, rethrow);
                });
        }
    }",
    )
    .await;
    let with = [A, (PRE, "unique")];
    let mut item =
        client.post(DOCS, &with, json!({"id": "1", "pk": "a", "mail": "x"})).await.expect(201).json();
    client.post(DOCS, &with, json!({"id": "2", "pk": "a", "mail": "x"})).await.expect_sub(400, 409);
    let path = item["_self"].as_str().unwrap().trim_end_matches('/').to_owned();
    item["mail"] = json!("y");
    // Also under another id, which keeps the `_rid`.
    item["id"] = json!("one");
    let renamed = client.put(&path, &with, item.clone()).await.expect(200).json();
    assert_eq!((&renamed["_rid"], &renamed["id"]), (&item["_rid"], &json!("one")));
    client.read("a", "1").await.expect(404);
    client.read("a", "unique-x").await.expect(404);
    client.post(DOCS, &with, json!({"id": "2", "pk": "a", "mail": "y"})).await.expect_sub(400, 409);
    client.post(DOCS, &with, json!({"id": "2", "pk": "a", "mail": "x"})).await.expect(201);
    // A taken id is a conflict.
    client.put(&format!("{DOCS}/one"), &[A], json!({"id": "2", "pk": "a"})).await.expect(409);
    client.delete(&format!("{DOCS}/one"), &with).await.expect(204);
    client.read("a", "unique-y").await.expect(404);
    let ids: Value = client.query_all("SELECT VALUE c.id FROM c ORDER BY c.id", &[A]).await.into();
    assert_eq!(ids, json!(["2", "unique-x"]));
}

#[tokio::test]
async fn a_trigger_that_uses_too_much_is_blocked() {
    let builder = Emulator::builder().script_charge_limit(std::time::Duration::ZERO);
    let (_emulator, client) = start_with(builder).await;
    client.setup().await;
    trigger(&client, "slow", "Pre", "All", "function () {}").await;
    for at in 0..6 {
        let body = json!({"id": format!("{at}"), "pk": "a"});
        client.post(DOCS, &[A, (PRE, "slow")], body).await.expect(201);
    }
    let reply = client.post(DOCS, &[A, (PRE, "slow")], json!({"id": "x", "pk": "a"})).await.expect(403);
    assert!(reply.text.contains("is blocked for execution"), "{}", reply.text);
}
