//! How failures reach the caller.

use super::Expect::{Body, Fails};
use super::{call, check, run};

#[test]
fn throwing_becomes_400_with_the_number_as_sub_status() {
    check(&[
        (
            "function () { throw new Error(1234, 'msg'); }",
            Fails(400, 1234, "Encountered exception while executing function. Exception = Error: msg"),
        ),
        ("function () { throw new Error('msg'); }", Fails(400, 0, "Exception = Error: msg")),
        ("function () { throw Error(409, 'no new'); }", Fails(400, 409, "Exception = Error: no new")),
        (
            "function () { throw new TypeError(32766, 'msg'); }",
            Fails(400, 32766, "Exception = TypeError: msg"),
        ),
        ("function () { throw 'str'; }", Fails(400, 0, "Exception = str")),
        ("function () { throw null; }", Fails(400, 0, "Exception = null")),
        ("function () { throw Symbol('s'); }", Fails(400, 0, "Exception = Symbol(s)")),
        ("function () { throw {number: 449, message: 'hand made'}; }", Fails(400, 449, "hand made")),
        ("function () { var e = new Error('m'); e.number = 412; throw e; }", Fails(400, 412, "Error: m")),
        ("function () { var e = new Error('m'); e.code = 412; throw e; }", Fails(400, 0, "Error: m")),
        ("function () { throw new Error(-1, 'm'); }", Fails(400, 0, "Error: m")),
        ("function () { throw new Error(1.5, 'm'); }", Fails(400, 0, "Error: m")),
        ("function () { null.x; }", Fails(400, 0, "Exception = TypeError: ")),
        ("function () { missing(); }", Fails(400, 0, "Exception = ReferenceError: ")),
        ("function () { throw { toString: function () { throw 1; } }; }", Fails(400, 0, "unknown")),
        ("7", Fails(400, 0, "Exception = TypeError")),
        (
            "function () { getContext().abort(new Error(1000, 'stop')); getContext().getResponse().setBody(1); }",
            Fails(400, 1000, "Error: stop"),
        ),
        (
            "function () { try { getContext().abort(new Error(1000, 'stop')); } catch (e) {} }",
            Fails(400, 1000, "Error: stop"),
        ),
        ("function () { getContext().abort('text'); }", Fails(400, 0, "Exception = text")),
        ("function () { getContext().abort(); }", Fails(400, 0, "Exception = undefined")),
    ]);
}

#[test]
fn errors_are_ordinary_errors() {
    let show =
        |expression: &str| format!("function () {{ getContext().getResponse().setBody({expression}); }}");
    let cases = [
        ("[new Error(5, 'm').message, new Error(5, 'm').number, new Error('m').number]", r#"["m",5,null]"#),
        ("[new Error().message, new Error(7).number, String(new Error(7, 'x'))]", r#"["",7,"Error: x"]"#),
        ("[new TypeError(1, 'x') instanceof Error, new TypeError('x') instanceof TypeError]", "[true,true]"),
        (
            "(function () { try { null.x; } catch (e) { return [e instanceof TypeError, e instanceof Error, e.constructor === TypeError]; } })()",
            "[true,true,true]",
        ),
        (
            "(function () { class Mine extends Error { constructor() { super(77, 'mine'); this.name = 'Mine'; } } var e = new Mine(); return [e instanceof Mine, e instanceof Error, e.number, String(e)]; })()",
            r#"[true,true,77,"Mine: mine"]"#,
        ),
        (
            "[Error.name, TypeError.name, Error.prototype.name, Object.keys(new Error(1, 'x')).length]",
            r#"["Error","TypeError","Error",0]"#,
        ),
        ("new Error('x', {cause: 3}).cause", "3"),
        ("typeof new Error('x').stack", r#""string""#),
    ];
    for (expression, expected) in cases {
        assert_eq!(run(call(&show(expression))).result.unwrap(), expected, "{expression}");
    }
}

#[test]
fn messages_have_the_services_shape() {
    let script = "function outer() {\n  function inner() { throw new Error(1, 'boom'); }\n  inner();\n}";
    let error = run(call(script)).result.unwrap_err();
    assert_eq!(error.code, "BadRequest");
    assert_eq!(
        error.message,
        "Message: {\"Errors\":[\"Encountered exception while executing function. Exception = Error: boom\\r\\n\
         Stack trace: Error: boom\\n   at inner (proc.js:2:32)\\n   at outer (proc.js:3:3)\\n   \
         at __docDbMain (proc.js:5:25)\\n   at Global code (proc.js:1:2)\"]}"
    );
}

#[test]
fn scripts_that_do_not_compile() {
    let error = run(call("SELECT * FROM c")).result.unwrap_err();
    assert_eq!((error.status, error.sub_status), (400, 65535));
    let prefix =
        "Message: {\"Errors\":[\"Encountered exception while compiling Javascript. Exception = SyntaxError: ";
    assert!(error.message.starts_with(prefix), "{}", error.message);
    let place = "\\r\\nSource information: line: 1, column: ";
    assert!(error.message.contains(place), "{}", error.message);
    assert!(error.message.ends_with("source line:\\n(function __docDbMain() { var fn = SELECT * FROM c\"]}"));

    let error = run(call("function () {\n  var x = ;\n}")).result.unwrap_err();
    assert!(error.message.contains("line: 2, column: 11, source line:\\n  var x = ;"), "{}", error.message);
    for body in ["", "function () {", "function () { \0 }", "var a = 1; function main() {}"] {
        let error = run(call(body)).result.unwrap_err();
        assert_eq!((error.status, error.sub_status), (400, 65535), "{body}");
    }
}

#[test]
fn every_kind_of_function_is_a_script() {
    let body = "getContext().getResponse().setBody(1)";
    for script in [
        format!("function main() {{ {body} }}"),
        format!("function () {{ {body} }}"),
        format!("function () {{ {body} }};"),
        format!("// comment\nfunction () {{ {body} }} // end"),
        format!("() => {{ {body}; }}"),
        format!("async function () {{ {body} }}"),
        format!("function main() {{ helper(); }}\nfunction helper() {{ {body} }}"),
    ] {
        assert_eq!(run(call(&script)).result.unwrap(), "1", "{script}");
    }
}

#[test]
fn arguments_are_applied() {
    let echo = "function (a, b) { getContext().getResponse().setBody([arguments.length, a, b]); }";
    let cases = [
        (r#"["a",1,{}]"#, Body(r#"[3,"a",1]"#)),
        ("", Body("[0,null,null]")),
        ("  \n", Body("[0,null,null]")),
        ("null", Body("[0,null,null]")),
        ("{}", Body("[0,null,null]")),
        (r#"{"param1":4}"#, Body("[0,null,null]")),
        (r#"{"0":4}"#, Body("[0,null,null]")),
        (r#"{"0":"x","length":1}"#, Body(r#"[1,"x",null]"#)),
        (r#"{"0":"x","length":"1"}"#, Body(r#"[1,"x",null]"#)),
        (r#"{"0":"x","length":1.5}"#, Body(r#"[1,"x",null]"#)),
        (r#"{"1":"y","length":3}"#, Body(r#"[3,null,"y"]"#)),
        (r#""text""#, Fails(400, 0, "arguments")),
        ("7", Fails(400, 0, "arguments")),
        ("true", Fails(400, 0, "arguments")),
        ("undefined", Fails(400, 0, "arguments")),
        ("[1,", Fails(400, 0, "arguments")),
        ("[1]\0", Fails(400, 0, "arguments")),
        (r#"{"length":600000}"#, Fails(400, 0, "")),
        (r#"{"length":1000000000}"#, Fails(400, 0, "")),
        (r#"["\ud800"]"#, Body(r#"[1,"\ud800",null]"#)),
    ];
    for (arguments, expected) in cases {
        let mut call = call(echo);
        call.arguments = arguments.as_bytes().to_vec().into();
        match (run(call).result, expected) {
            (Ok(text), Body(expected)) => assert_eq!(text, expected, "{arguments}"),
            (Err(error), Fails(status, sub_status, part)) => {
                assert_eq!((error.status, error.sub_status), (status, sub_status), "{arguments}");
                assert!(error.message.contains(part), "{arguments}: {}", error.message);
            }
            (result, _) => panic!("{arguments}: {result:?}"),
        }
    }
    let mut binary = call(echo);
    binary.arguments = vec![b'[', b'"', 0xFF, b'"', b']'].into();
    assert_eq!(run(binary).result.unwrap_err().status, 400);
}
