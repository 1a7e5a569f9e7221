//! The JavaScript query API, over five documents.

use super::{Documents, call, run_on};
use crate::script::Engine;

/// Runs `script` with `show` to set the body, and answers with the body or the error.
fn answer(script: &str) -> String {
    let mut documents = Documents::default();
    for body in [
        r#"{"id":"a","n":3,"tags":["x","y"]}"#,
        r#"{"id":"b","n":1,"tags":[]}"#,
        r#"{"id":"c","n":2,"tags":["z",["w"]]}"#,
        r#"{"id":"d","n":"text","tags":[]}"#,
        r#"{"id":"e","tags":["x"]}"#,
    ] {
        super::Collection::create(&mut documents, body).unwrap();
    }
    let script = format!("function main() {{ function show(v) {{ __.response.setBody(v); }} {script} }}");
    match run_on(&Engine::new(1), call(&script), documents).result {
        Ok(text) => text,
        Err(error) => format!("{}/{} {}", error.status, error.sub_status, error.message),
    }
}

/// The methods, in the order in which scripts see them.
const FILTER_TO_SPATIAL: &str = r#""filter,map,sortBy,sortByDescending,pluck,flatten,unwind,chain,spatial""#;

#[test]
fn results() {
    let ids = "function (e, rows, o) { if (e) throw e; show(rows.map(function (r) { return r.id || r; })); }";
    let cases = [
        ("__.filter(function (d) { return d.n > 1; }, CB)", r#"["a","c"]"#),
        ("__.filter(__, function (d) { return d.n > 1; }, CB)", r#"["a","c"]"#),
        ("__.filter(getContext().getCollection(), function (d) { return d.n > 1; }, {}, CB)", r#"["a","c"]"#),
        ("__.map(function (d) { return d.id + 1; }, CB)", r#"["a1","b1","c1","d1","e1"]"#),
        ("__.pluck('n', function (e, rows) { show(rows); })", r#"[3,1,2,"text",null]"#),
        // Types first, as in ORDER BY.
        ("__.sortBy(function (d) { return d.n; }, CB)", r#"["e","b","c","a","d"]"#),
        ("__.sortByDescending(function (d) { return d.n; }, CB)", r#"["d","a","c","b","e"]"#),
        ("__.chain().pluck('tags').flatten().value(CB)", r#"["x","y","z","w","x"]"#),
        ("__.chain().pluck('tags').flatten(true).value(CB)", r#"["x","y","z",["w"],"x"]"#),
        ("__.unwind(function (d) { return d.tags; }, {}, CB)", r#"["x","y","z",["w"],"x"]"#),
        (
            "__.unwind(function (d) { return d.tags; }, function (d, t) { return d.id + t; }, CB)",
            r#"["ax","ay","cz","cw","ex"]"#,
        ),
        (
            "__.chain().filter(function (d) { return typeof d.n === 'number'; })
                .sortBy(function (d) { return d.n; }).map(function (d) { return d.id + d.n; }).value(CB)",
            r#"["b1","c2","a3"]"#,
        ),
        ("show(__.chain().filter(function () { return true; }).isAccepted)", "true"),
        ("show(__.filter(function () { return true; }, function () {}))", r#"{"isAccepted":true}"#),
        // Without a callback the rows are appended to the response, as text.
        (
            "__.filter(function (d) { return d.id === 'b'; })",
            r#""[{\"id\":\"b\",\"n\":1,\"tags\":[],\"_rid\":"#,
        ),
        // An error of a function goes to the callback.
        ("__.map(function (d) { return d.none.x; }, function (e) { show(e instanceof TypeError); })", "true"),
        ("__.map(function (d) { return d.none.x; })", "400/0"),
        // What the script replaces before it first uses the API is not what the API works with.
        (
            "JSON.parse = JSON.stringify = Object.keys = Object.freeze = null;
                __.chain().map(function (d) { return d.id; }).value({ pageSize: 2 }, CB)",
            r#"["a","b"]"#,
        ),
        ("show(Object.keys(getContext().getCollection()).slice(-9).join())", FILTER_TO_SPATIAL),
        ("__.filter()", "400/400"),
        ("__.pluck('')", "400/400"),
        ("__.unwind(function () {})", "400/400"),
        ("__.unwind(7)", "400/400"),
        ("__.chain().filter(function () {}, {})", "400/400"),
        ("__.chain().filter(function () {}, function () {})", "400/400"),
        ("__.spatial.distance({}, {})", "400/400"),
    ];
    for (script, expected) in cases {
        let got = answer(&script.replace("CB", ids));
        assert!(got.starts_with(expected), "{script}: {got}");
    }
}

/// Pages are full while there are rows, and together they are everything.
#[test]
fn pages() {
    let walk = "var pages = [];
        function next(token) {
            QUERY.value({pageSize: 2, continuation: token}, function (e, rows, o) {
                if (e) throw e;
                pages.push(rows.map(function (r) { return r.id; }).join(''));
                if (o.continuation) next(o.continuation); else show(pages);
            });
        }
        next();";
    let cases = [
        ("__.chain()", r#"["ab","cd","e"]"#),
        ("__.chain().filter(function (d) { return d.id !== 'b' && d.id !== 'c'; })", r#"["ad","e"]"#),
        ("__.chain().filter(function (d) { return d.id > 'd'; })", r#"["e"]"#),
        ("__.chain().filter(function () { return false; })", r#"[""]"#),
        ("__.chain().sortByDescending(function (d) { return d.id; })", r#"["ed","cb","a"]"#),
    ];
    for (query, expected) in cases {
        assert_eq!(answer(&walk.replace("QUERY", query)), expected, "{query}");
    }
}

#[test]
fn refused_queries_say_so() {
    let mut refused = call(
        "function () { var r = __.chain().filter(function () { return true; }).value(function () {});
            __.response.setBody(r); }",
    );
    refused.refuse_after = Some(0);
    assert_eq!(super::run(refused).result.unwrap(), r#"{"isAccepted":false}"#);
}
