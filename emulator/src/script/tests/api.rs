//! Globals, request, response and console.

use super::Expect::{Body, Fails};
use super::{call, check, run};

#[test]
fn the_response_body() {
    check(&[
        ("function () {}", Body(r#""""#)),
        ("function () { return 5; }", Body(r#""""#)),
        ("function () { getContext().getResponse().setBody('abc'); }", Body(r#""abc""#)),
        (
            "function () { getContext().getResponse().setBody({a: [1, true, null]}); }",
            Body(r#"{"a":[1,true,null]}"#),
        ),
        ("function () { getContext().getResponse().setBody(7); }", Body("7")),
        ("function () { getContext().getResponse().setBody(null); }", Body("null")),
        ("function () { getContext().getResponse().setBody(undefined); }", Body(r#""""#)),
        (
            "function () { getContext().getResponse().setBody(JSON.stringify({a: 1})); }",
            Body(r#""{\"a\":1}""#),
        ),
        (
            "function () { for (var i = 0; i < 10; i++) getContext().getResponse().appendValue('Body', i); }",
            Body(r#""0123456789""#),
        ),
        ("function () { var r = getContext().getResponse(); r.setBody(1); r.appendBody(2); }", Body("3")),
        (
            "function () { var r = getContext().getResponse(); r.setBody({}); r.appendBody(2); }",
            Body(r#""[object Object]2""#),
        ),
        (
            "function () { var r = getContext().getResponse(); r.setValue('Body', 4); r.setBody(r.getValue('Body') + r.getBody()); }",
            Body("8"),
        ),
        (
            "function () { var o = {}; getContext().getResponse().setBody(o); o.late = 1; }",
            Body(r#"{"late":1}"#),
        ),
        ("function () { __.response.setBody(__.request.getBody() === undefined); }", Body("true")),
        (
            "function () { getContext().getResponse().setValue('x-new', 1); }",
            Fails(400, 400, "Cannot set new values: x-new"),
        ),
        ("function () { getContext().getRequest().setBody(1); }", Fails(400, 0, "TypeError")),
        // 4 MB by UTF-16 units.
        (
            "function () { getContext().getResponse().setBody('é'.repeat(4 << 20)); getContext().getResponse().setBody(1); }",
            Body("1"),
        ),
        (
            "function () { getContext().getResponse().setBody('x'.repeat((4 << 20) + 1)); }",
            Fails(400, 413, r#"Resulting message would be too large because of \"Body\"."#),
        ),
        (
            "function () { var r = getContext().getResponse(); r.setBody('x'.repeat(4 << 20)); r.appendBody('y'); }",
            Fails(400, 413, "too large"),
        ),
        (
            "function () { var r = getContext().getResponse(); try { r.setBody('x'.repeat(5 << 20)); } catch (e) { r.setBody(e.number); } }",
            Body("413"),
        ),
        (
            "function () { var o = {}; getContext().getResponse().setBody(o); o.s = 'x'.repeat(5 << 20); }",
            Fails(400, 413, "too large"),
        ),
        (
            "function () { var o = {}; o.o = o; getContext().getResponse().setBody(o); }",
            Fails(400, 0, "TypeError"),
        ),
    ]);
}

#[test]
fn globals() {
    let show = |expression: &str| format!("function () {{ __.response.setBody({expression}); }}");
    let cases = [
        ("[ErrorCodes.NotFound, ErrorCodes.RetryWith, Object.isFrozen(ErrorCodes)]", "[404,449,true]"),
        (
            "[getContext() === getContext(), __.getSelfLink(), Object.getPrototypeOf(__) === getContext().getCollection()]",
            r#"[true,"dbs/d1/colls/c1/",true]"#,
        ),
        (
            "[__.request === getContext().getRequest(), __.response === getContext().getResponse()]",
            "[true,true]",
        ),
        ("[typeof console, Object.keys(console)]", r#"["function",["log"]]"#),
        (
            "[typeof setTimeout, typeof require, typeof fetch, typeof process, typeof Atomics, typeof queueMicrotask, typeof performance]",
            r#"["undefined","undefined","undefined","undefined","undefined","undefined","undefined"]"#,
        ),
        (
            "Object.keys(globalThis).concat(Object.getOwnPropertyNames(globalThis).filter(function (n) { return /^__./.test(n); }))",
            "[]",
        ),
        ("Object.keys(getContext().getCollection()).indexOf('getPartitionKeyDefinition')", "-1"),
        ("[function () {} instanceof Function, (() => 1).constructor === Function]", "[true,true]"),
        (
            "['a-b'.replace(/-/g, ''), [3, 1].sort(), new Map([[1, 2]]).size, `t${1}`, 2 ** 3]",
            r#"["ab",[1,3],1,"t1",8]"#,
        ),
        // Sloppy mode, as the service splices it.
        ("(function () { return this === globalThis; })()", "true"),
    ];
    for (expression, expected) in cases {
        assert_eq!(run(call(&show(expression))).result.unwrap(), expected, "{expression}");
    }
    check(&[
        ("function () { eval('1'); }", Fails(400, 400, "not allowed in server side scripting")),
        (
            "function () { new Function('return 1')(); }",
            Fails(400, 400, "not allowed in server side scripting"),
        ),
        ("function () { (async function () {}).constructor('return 1')(); }", Fails(400, 400, "not allowed")),
        ("function () { (function* () {}).constructor('return 1')(); }", Fails(400, 400, "not allowed")),
        // Globals of one run are unknown to the next.
        (
            "function () { if (typeof leaked !== 'undefined') throw 1; leaked = 1; Array.prototype.push = 0; }",
            Body(r#""""#),
        ),
        (
            "function () { if (typeof leaked !== 'undefined') throw 1; __.response.setBody(typeof [].push); }",
            Body(r#""function""#),
        ),
    ]);
}

#[test]
fn the_clock_can_be_set_off() {
    let script = "function () {
        var d = new Date();
        __.response.setBody([Date.now(), d.getTime(), d instanceof Date, d.constructor === Date, Date.UTC(1970, 0, 2),
            new Date(5).getTime(), Date.parse('1970-01-01T00:00:01Z'), typeof Date(), Date.length,
            new (class D extends Date {})(9).getTime()]);
    }";
    let offset = 86_400_000;
    let mut shifted = call(script);
    shifted.clock_offset_ms = offset;
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let text = run(shifted).result.unwrap();
    let value = crate::value::Value::parse(text.as_bytes()).unwrap();
    #[allow(clippy::cast_precision_loss)]
    let early = (before as f64) + (offset as f64);
    for at in [0, 1] {
        let seen = value.at(at).as_f64().unwrap();
        assert!((early..early + 10_000.0).contains(&seen), "{seen} {early}");
    }
    assert!(text.ends_with(r#",true,true,86400000,5,1000,"string",7,9]"#), "{text}");
}

#[test]
fn console() {
    let cases = [
        ("console.log('a'); console.log('b')", "ab"),
        ("console.log('%s is %s%%', 'x', 1, 2)", "x is 1%"),
        ("console.log(1); console.log({})", "1[object Object]"),
    ];
    for (script, expected) in cases {
        let script = format!("function () {{ {script} }}");
        let outcome = run(call(&script));
        assert_eq!(outcome.result.unwrap(), r#""""#);
        assert_eq!(outcome.logs.as_deref(), Some(expected), "{script}");
        let mut silent = call(&script);
        silent.enable_logging = false;
        assert_eq!(run(silent).logs, None);
    }
    // Logs come back with a failed run, too.
    let outcome = run(call("function () { console.log('seen'); throw new Error(5, 'x'); }"));
    assert_eq!((outcome.result.unwrap_err().sub_status, outcome.logs.as_deref()), (5, Some("seen")));
    check(&[
        ("function () { console.log(1, 2); }", Fails(400, 400, "First argument to console.log")),
        ("function () { console.log(); }", Fails(400, 400, "requires at least 1")),
        ("function () { console.log('x'.repeat(1 << 20)); }", Fails(400, 413, "too large")),
    ]);
}
