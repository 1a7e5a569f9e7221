//! Document operations: callbacks, links, options, order.

use super::Expect::{Body, Fails};
use super::{Documents, call, check, run, run_on};
use crate::script::Engine;

/// Shortens the scripts below.
fn with(script: &str) -> String {
    format!(
        "function main() {{
            var c = getContext().getCollection(), r = getContext().getResponse();
            var self = c.getSelfLink(), alt = c.getAltLink();
            function show(v) {{ r.setBody(v); }}
            {script}
        }}"
    )
}

fn check_with(cases: Vec<(&str, super::Expect)>) {
    let cases: Vec<(String, super::Expect)> = cases.into_iter().map(|(s, e)| (with(s), e)).collect();
    let cases: Vec<(&str, super::Expect)> = cases
        .iter()
        .map(|(s, e)| {
            let e = match e {
                Body(text) => Body(text),
                Fails(a, b, c) => Fails(*a, *b, c),
            };
            (s.as_str(), e)
        })
        .collect();
    check(&cases);
}

#[test]
fn reads_and_writes() {
    check_with(vec![
        ("c.readDocument(alt + '/docs/a', function (e, d) { show(d.id); })", Body(r#""a""#)),
        ("c.readDocument(alt + '/docs/a/', function (e, d) { show(d.id); })", Body(r#""a""#)),
        ("c.readDocument(self + 'docs/rid-a', function (e, d) { show(d.id); })", Body(r#""a""#)),
        ("c.readDocument(self + 'docs/rid-a/', function (e, d) { show(d.id); })", Body(r#""a""#)),
        // An etag the script knows.
        (
            "c.readDocument(alt + '/docs/a', {ifNoneMatch: 'e1'}, function (e, d, o) { show([e === undefined, d === undefined, o.notModified]); })",
            Body("[true,true,true]"),
        ),
        ("c.readDocument(alt + '/docs/a', {ifNoneMatch: 'e0'}, function (e, d) { show(d.n); })", Body("0")),
        // No `_ts` on what the script itself wrote, in whatever way it sees it.
        (
            "c.createDocument(self, {id: 'x', v: 1}, function (e, d, o) {
                c.readDocument(d._self, function (e, again) {
                    c.queryDocuments(alt, 'SELECT * FROM c', function (e, rows) {
                        show([d._ts, d._etag, again._ts, rows.map(function (row) { return row._ts; })]);
                    });
                });
            })",
            Body(r#"[null,"e3",null,[1000,1000,null]]"#),
        ),
        ("c.createDocument(alt, '{\"id\":\"x\",\"v\":1}', function (e, d) { show(d.v); })", Body("1")),
        // Serialized when it is called, not when it runs.
        (
            "var d = {id: 'x', v: 1}; c.createDocument(self, d, function (e, d) { show(d.v); }); d.v = 2;",
            Body("1"),
        ),
        (
            "c.upsertDocument(self, {id: 'a', v: 7}, function (e, d) { show([d.v, d._ts]); })",
            Body("[7,null]"),
        ),
        ("c.upsertDocument(self, {id: 'a'}, {etag: 'e9'}, function (e) { show(e.number); })", Body("412")),
        (
            "c.replaceDocument(alt + '/docs/a', {id: 'a', v: 3}, {etag: 'e1'}, function (e, d) { show(d.v); })",
            Body("3"),
        ),
        (
            "c.replaceDocument(alt + '/docs/a', {id: 'a'}, {etag: 'e2'}, function (e) { show(e.number); })",
            Body("412"),
        ),
        // delete has no resource argument.
        (
            "c.deleteDocument(alt + '/docs/a', function (e, o) { show([e === undefined, typeof o, arguments.length]); })",
            Body(r#"[true,"object",2]"#),
        ),
        (
            "c.deleteDocument(alt + '/docs/a', {etag: 'no'}, function (e) { show([e.number, arguments.length]); })",
            Body("[412,1]"),
        ),
        // Lone surrogates are escaped in JSON, and replaced in names.
        (r"c.readDocument(alt + '/docs/\ud800', function (e) { show(e.number); })", Body("404")),
        (r"show('\ud800')", Body(r#""\ud800""#)),
    ]);
}

#[test]
fn ids_are_made_up() {
    check_with(vec![
        (
            "c.createDocument(self, '5', function (e) { show([e.number, e.body]); })",
            Body(r#"[400,"{\"Errors\":[\"not an object\"]}"]"#),
        ),
        ("c.createDocument(self, 'oops', function (e) { show(e.number); })", Fails(400, 0, "SyntaxError")),
        (
            "var d = {v: 1}; c.createDocument(self, d, function (e, made) { show([made.id.length, d.id]); })",
            Body("[36,null]"),
        ),
        ("c.createDocument(self, '{\"v\":1}', function (e, made) { show(made.id.length); })", Body("36")),
        ("c.upsertDocument(self, {id: ''}, function (e, made) { show(made.id.length); })", Body("36")),
        (
            "c.createDocument(self, {v: 1}, {disableAutomaticIdGeneration: true}, function (e) { show([e.number, e.body]); })",
            Body(r#"[400,"{\"Errors\":[\"no id\"]}"]"#),
        ),
        (
            "c.createDocument(self, {v: 1}, {disableAutomaticIdGeneration: 'true'}, function (e, d) { show(d.id.length); })",
            Body("36"),
        ),
    ]);
}

#[test]
fn feeds_and_queries() {
    check_with(vec![
        (
            "c.readDocuments(self, function (e, rows, o) { show([rows.length, o.continuation]); })",
            Body(r#"[2,""]"#),
        ),
        (
            "c.readDocuments(alt, {pageSize: 1}, function (e, rows, o) {
                c.readDocuments(alt, {pageSize: 1, continuation: o.continuation}, function (e, next, last) {
                    show([rows[0].id, o.continuation, next[0].id, last.continuation]);
                });
            })",
            Body(r#"["a","1","b",""]"#),
        ),
        ("c.readDocuments(self, {pageSize: -1}, function (e, rows) { show(rows.length); })", Body("2")),
        ("c.readDocuments(self, {pageSize: -2}, function () {})", Fails(400, 400, "pageSize")),
        (
            "c.queryDocuments(self, 'SELECT * FROM c', {pageSize: 1}, function (e, rows, o) { show([rows.length, o.continuation]); })",
            Body(r#"[1,"1"]"#),
        ),
        (
            "c.queryDocuments(self, {query: 'ECHO', parameters: [{name: '@a', value: {x: [1, null]}}, {name: '@b', value: 'é'}]}, function (e, rows) { show(rows); })",
            Body(r#"[["@a",{"x":[1,null]}],["@b","é"]]"#),
        ),
        ("c.queryDocuments(self, {query: 'ECHO'}, function (e, rows) { show(rows); })", Body("[]")),
        (
            "c.queryDocuments(self, {query: 'ECHO', parameters: [{value: 1}]}, function (e) { show(e.number); })",
            Body("400"),
        ),
        (
            "c.queryDocuments(self, 'BAD', function (e) { show([e.number, e.body]); })",
            Body(r#"[400,"{\"Errors\":[\"Syntax error\"]}"]"#),
        ),
        ("c.queryDocuments(self, 7, function () {})", Fails(400, 400, "filterQuery")),
    ]);
}

#[test]
fn links_are_checked() {
    check_with(vec![
        ("c.readDocuments('x', function () {})", Fails(400, 400, r#"Invalid collection link: \"x\"."#)),
        ("c.readDocuments(7, function () {})", Fails(400, 400, "Invalid collection link")),
        (
            "c.readDocuments('dbs/db/colls/coll/', function () {})",
            Fails(400, 400, "outside current collection"),
        ),
        (
            "c.readDocuments('dbs/db/colls/other', function () {})",
            Fails(400, 400, "outside current collection"),
        ),
        ("c.readDocument('dbs/db/colls/coll', function () {})", Fails(400, 400, "Invalid document link")),
        (
            "c.readDocument('dbs/db/colls/coll2/docs/a', function () {})",
            Fails(400, 400, "outside current collection"),
        ),
        ("c.readDocument(alt + '/docs/a/b', function () {})", Fails(400, 400, "Invalid document link")),
        ("c.readDocument(alt + '/sprocs/a', function () {})", Fails(400, 400, "Invalid document link")),
        ("c.readDocument(undefined)", Fails(400, 400, "Invalid document link")),
        (
            "show([self, alt, c.getPartitionKeyDefinition()])",
            Body(r#"["dbs/d1/colls/c1/","dbs/db/colls/coll",[["instanceId"]]]"#),
        ),
    ]);
}

#[test]
fn arguments_are_checked() {
    check_with(vec![
        (
            "c.readDocument()",
            Fails(400, 400, "requires at least 1 argument(s) but was called with 0 argument(s)."),
        ),
        ("c.readDocuments()", Fails(400, 400, "requires at least 1 argument(s)")),
        (
            "c.queryDocuments(self)",
            Fails(400, 400, "requires at least 2 argument(s) but was called with 1 argument(s)."),
        ),
        ("c.createDocument(self)", Fails(400, 400, "requires at least 2")),
        ("c.upsertDocument(self)", Fails(400, 400, "requires at least 2")),
        ("c.replaceDocument(alt + '/docs/a')", Fails(400, 400, "requires at least 2")),
        ("c.deleteDocument()", Fails(400, 400, "requires at least 1")),
        ("c.createDocument(self, null)", Fails(400, 400, "must be an object or a string")),
        ("c.createDocument(self, 7)", Fails(400, 400, "must be an object or a string")),
        ("c.readDocuments(self, 7)", Fails(400, 400, r#"\"options\" parameter must be of type"#)),
        ("c.readDocuments(self, {}, 7)", Fails(400, 400, r#"\"callback\" parameter must be of type"#)),
        ("c.readDocuments(self, {}, null)", Fails(400, 400, "Actual type is")),
        ("c.createAttachment(alt + '/docs/a', {})", Fails(400, 400, "not supported by this emulator")),
        ("c.readAttachments(alt + '/docs/a')", Fails(400, 400, "not supported by this emulator")),
        // Errors of arguments can be caught like any other.
        (
            "try { c.createDocument(self); } catch (e) { show([e.number, e instanceof Error]); }",
            Body("[400,true]"),
        ),
    ]);
}

#[test]
fn callbacks_wait_for_the_turn_to_end() {
    check_with(vec![
        (
            "var log = [];
            c.readDocument(alt + '/docs/a', function () { log.push('a'); });
            c.readDocument(alt + '/docs/b', function () {
                log.push('b');
                Promise.resolve().then(function () { log.push('b1'); });
                c.readDocument(alt + '/docs/a', function () { log.push('c'); show(log.join()); });
                log.push('b0');
            });
            Promise.resolve().then(function () { log.push('job'); });
            log.push('main');",
            Body(r#""main,job,a,b,b0,b1,c""#),
        ),
        // A failed operation with a callback that does not mind changes nothing else.
        (
            "c.createDocument(self, {id: 'a'}, function (e) {
                show([e.number, e.message === e.body, e instanceof Error, Object.keys(e)]);
            }); c.createDocument(self, {id: 'x'});",
            Body(r#"[409,true,true,["body"]]"#),
        ),
        // Without a callback the error ends the script.
        (
            "c.createDocument(self, {id: 'a'});",
            Fails(400, 409, "Resource with specified id or name already exists."),
        ),
        (
            "c.readDocument(alt + '/docs/none');",
            Fails(400, 404, r#"Exception = Error: {\"Errors\":[\"Resource Not Found."#),
        ),
        (
            "c.readDocument(alt + '/docs/none', function (e) { throw e; });",
            Fails(400, 404, "Resource Not Found"),
        ),
        (
            "c.readDocument(alt + '/docs/a', function () { throw new Error(4444, 'later'); });",
            Fails(400, 4444, "Error: later"),
        ),
        // Operations queued before a throw never run.
        ("c.deleteDocument(alt + '/docs/a'); throw new Error('x');", Fails(400, 0, "Error: x")),
    ]);
}

#[test]
fn promises_work() {
    check_with(vec![
        (
            "function read(id) {
                return new Promise(function (resolve, reject) {
                    c.readDocument(alt + '/docs/' + id, function (e, d) { e ? reject(e) : resolve(d.id); });
                });
            }
            async function go() { show([await read('a'), await read('b')]); }
            go().catch(function (e) { getContext().abort(e); });",
            Body(r#"["a","b"]"#),
        ),
        // A lost rejection is nobody's error: the transaction commits.
        ("(async function () { throw new Error('lost'); })();", Body(r#""""#)),
        ("Promise.reject(new Error('lost'));", Body(r#""""#)),
        (
            "(async function () { throw new Error(409, 'x'); })().catch(function (e) { getContext().abort(e); });",
            Fails(400, 409, "Error: x"),
        ),
    ]);
}

#[test]
fn operations_are_refused_after_a_number() {
    let script = with(
        "var seen = [];
        for (var i = 0; i < 4; i++) {
            seen.push(c.createDocument(self, {id: 'n' + i}, function (e, d) { seen.push(d.id); show(seen); }));
        }",
    );
    let mut refusing = call(&script);
    refusing.refuse_after = Some(2);
    let outcome = run(refusing);
    assert_eq!(outcome.result.unwrap(), r#"[true,true,false,false,"n0","n1"]"#);
    assert_eq!(outcome.collection.ids(), ["a", "b", "n0", "n1"]);
}

#[test]
fn a_panic_of_the_store_fails_the_call_only() {
    let engine = Engine::new(1);
    let script = with("c.createDocument(self, {id: 'panic'}, function () {}); try { show(1); } catch (e) {}");
    let outcome = run_on(&engine, call(&script), Documents::default());
    assert_eq!(outcome.result.unwrap_err().status, 500);
    let outcome = run_on(&engine, call(&with("show(2)")), Documents::default());
    assert_eq!(outcome.result.unwrap(), "2");
}
