//! What becomes of scripts that the service's engine would not understand, and of those that use too much.

use std::time::Duration;

use cosmos_emulator::{Emulator, ScriptSyntax};
use serde_json::json;

use crate::support::{PK, SPROCS, container, start_with};

const NEWER: &str = "function (x) { getContext().getResponse().setBody(x?.y ?? 'none'); }";
const LIBRARY: &str = "function () {
    getContext().getResponse().setBody([typeof [].flat, typeof Object.fromEntries, typeof ''.matchAll, typeof structuredClone,
        typeof globalThis, typeof BigInt, typeof [].includes, typeof Object.entries, typeof ''.padStart]);
}";

#[tokio::test]
async fn newer_syntax_runs_unless_refused() {
    for (syntax, status) in [(ScriptSyntax::Any, 200), (ScriptSyntax::Warn, 200), (ScriptSyntax::Refuse, 400)]
    {
        let (_emulator, client) = start_with(Emulator::builder().script_syntax(syntax)).await;
        client.setup().await;
        // Stored in every case, as in the service.
        client.procedure("newer", NEWER).await;
        let reply = client.execute("newer", "a", json!([{"y": 1}])).await.expect(status);
        if syntax == ScriptSyntax::Refuse {
            assert_eq!(reply.sub_status(), 65535);
            assert!(reply.text.contains("optional chaining"), "{}", reply.text);
            client
                .post("dbs/d/colls/c/udfs", &[], json!({"id": "f", "body": "x => x ?? 1"}))
                .await
                .expect(201);
            client.create(json!({"id": "x", "pk": "a"})).await.expect(201);
            client.query("SELECT VALUE udf.f(1) FROM c", &[(PK, "[\"a\"]")]).await.expect_sub(400, 65535);
        }
    }
}

#[tokio::test]
async fn newer_library_functions_are_gone_when_refused() {
    let (_emulator, client) = start_with(Emulator::builder().script_syntax(ScriptSyntax::Refuse)).await;
    client.setup().await;
    client.procedure("library", LIBRARY).await;
    let kinds = client.execute("library", "a", json!([])).await.expect(200).json();
    let (none, function) = (json!("undefined"), json!("function"));
    let mut expected = vec![none; 6];
    expected.extend(vec![function; 3]);
    assert_eq!(kinds, json!(expected));
}

#[tokio::test]
async fn a_procedure_that_uses_too_much_is_blocked_until_replaced() {
    let (_emulator, client) = start_with(Emulator::builder().script_charge_limit(Duration::ZERO)).await;
    client.setup().await;
    let path = format!("{SPROCS}/slow");
    let body = json!({"id": "slow", "body": "function () {}"});
    client.procedure("slow", "function () {}").await;
    let exhaust = async || {
        for _ in 0..6 {
            client.execute("slow", "a", json!([])).await.expect(200);
        }
        let reply = client.execute("slow", "a", json!([])).await.expect(403);
        let part = "The script with id 'slow' is blocked for execution because it has violated its allowed resource limit several times.";
        assert!(reply.text.contains(part), "{}", reply.text);
    };
    exhaust().await;
    client.put(&path, &[], body.clone()).await.expect(200);
    exhaust().await;
    client.delete(&path, &[]).await.expect(204);
    client.post(SPROCS, &[], body).await.expect(201);
    client.execute("slow", "a", json!([])).await.expect(200);
}

#[tokio::test]
async fn every_container_can_echo() {
    let (_emulator, client) = container().await;
    assert_eq!(client.execute("__.sys.echo", "any", json!(["foobar"])).await.expect(200).text, "\"foobar\"");
    client.get(&format!("{SPROCS}/__.sys.echo"), &[]).await.expect(404);
}
