use serde_json::json;

use crate::support::{DOCS, PK, container};

const A: (&str, &str) = (PK, "[\"a\"]");

#[tokio::test]
async fn documents_are_patched() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a", "n": 1, "list": [1]})).await.expect(201);
    let path = format!("{DOCS}/x");
    let patch = json!({"operations": [
        {"op": "incr", "path": "/n", "value": 4},
        {"op": "add", "path": "/list/-", "value": 2},
        {"op": "set", "path": "/new", "value": {"a": null}},
        {"op": "remove", "path": "/new/a"},
    ]});
    let patched = client.send("PATCH", &path, &[A], patch.to_string()).await.expect(200).json();
    assert_eq!((&patched["n"], &patched["list"], &patched["new"]), (&json!(5), &json!([1, 2]), &json!({})));

    let wrong =
        json!({"operations": [{"op": "set", "path": "/n", "value": 9}, {"op": "remove", "path": "/none"}]});
    client.send("PATCH", &path, &[A], wrong.to_string()).await.expect(400);
    assert_eq!(client.read("a", "x").await.json()["n"], 5);

    let conditional = |condition: &str| {
        json!({"condition": condition, "operations": [{"op": "incr", "path": "/n", "value": 1}]}).to_string()
    };
    client.send("PATCH", &path, &[A], conditional("from c where c.n > 100")).await.expect_sub(412, 1110);
    client.send("PATCH", &path, &[A], conditional("from c where c.n = 5")).await.expect(200);
    client.send("PATCH", &path, &[A, ("if-match", "\"old\"")], conditional("from c")).await.expect(412);
    client.send("PATCH", &format!("{DOCS}/none"), &[A], conditional("from c")).await.expect(404);
    let id = json!({"operations": [{"op": "set", "path": "/id", "value": "y"}]});
    client.send("PATCH", &path, &[A], id.to_string()).await.expect(400);
    let key = json!({"operations": [{"op": "set", "path": "/pk", "value": "b"}]});
    client.send("PATCH", &path, &[A], key.to_string()).await.expect(400);
}

#[tokio::test]
async fn operations_without_an_envelope() {
    let (_emulator, client) = container().await;
    client.create(json!({"id": "x", "pk": "a", "n": 1})).await.expect(201);
    let body = json!([{"op": "incr", "path": "/n", "value": 1}]).to_string();
    let patched = client.send("PATCH", &format!("{DOCS}/x"), &[(PK, "[\"a\"]")], body).await.expect(200);
    assert_eq!(patched.json()["n"], 2);
}
