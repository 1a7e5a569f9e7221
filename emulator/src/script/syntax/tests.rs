#![allow(clippy::unwrap_used)]

use super::newer_syntax;

#[test]
fn newer_constructs_are_found() {
    for (source, feature) in [
        ("a?.b", "optional chaining"),
        ("a?.[0]", "optional chaining"),
        ("a ?? b", "nullish coalescing"),
        ("a ??= b", "logical assignment"),
        ("a ||= b; ", "logical assignment"),
        ("x = 10n", "a BigInt"),
        ("x = 0xFFn", "a BigInt"),
        ("x = 1_000", "a numeric separator"),
        ("class A { #x() {} }", "a private class member"),
        ("class A { x = 1 }", "a class field"),
        ("class A { x; y() {} }", "a class field"),
        ("class A { m() {}\n x\n y() {} }", "a class field"),
        ("class A extends B { 'a' }", "a class field"),
        ("class A { static x = 1 }", "a class field"),
        ("class A { [k] = 1 }", "a class field"),
        ("class A { static { f() } }", "a static initialization block"),
        ("x = { ...a }", "object rest or spread"),
        ("var { a, ...rest } = b", "object rest or spread"),
        ("for await (const a of b) {}", "asynchronous iteration"),
        ("async function* f() {}", "an async generator"),
        ("x = { async *f() {} }", "an async generator"),
        ("try { } catch { }", "an optional catch binding"),
        ("/(?<year>\\d+)/", "a named group"),
        ("/(?<=a)b/", "a lookbehind assertion"),
        ("/(?<!a)b/", "a lookbehind assertion"),
        ("/a.b/s", "the dotAll flag of a regular expression"),
        ("/\\p{L}/u", "a Unicode property escape"),
        ("if (x) /a.b/s.test(y)", "the dotAll flag of a regular expression"),
        ("`${a?.b}`", "optional chaining"),
        ("`x${`${ {a: b ?? c} }`}`", "nullish coalescing"),
    ] {
        assert_eq!(newer_syntax(source).map(|newer| newer.feature), Some(feature), "{source}");
    }
}

#[test]
fn older_constructs_are_not() {
    for source in [
        "a ?.5 : 1",
        "'a?.b' + \"c ?? d\" + `e?.f ${g} 1n #h`",
        "// a?.b\n/* a ?? b */ c",
        "x = a / b; y = c?1:2 /s",
        "x = (a) / b / s",
        "x = [1] / 2 / s; y = {a: 1} / 2 / s",
        "/[?.]/.test('a?.b')",
        "/[/(?<a>]\\/(?:b)/gimuy.test(s)",
        "f(...a); x = [...a, ...b]; function g(...c) {} (...d) => d",
        "class A { constructor() { this.x = 1; } static m() {} get x() { return 1 } set x(v) {} async n() {} *g() {} ['k']() {} 'q'() {}; }",
        "class A { m(a = 1) { var b; } get() {} static() {} async() {} }",
        "x.class = { a: 1, b: 2 }",
        "async function f() { await g(); for (const a of b) {} }",
        "function* g() { yield* h(); }",
        "x = { async f() {}, *g() {}, async: 1, get a() { return 1 }, [b]: c, d }",
        "try { } catch (e) { } p.catch(function (e) {})",
        "a ** b; 0x1F; 1e+10; .5; 0b11; 0o17; 1.5e-3",
        "/(?:a)(?=b)(?!c)(d)\\1/g",
        "x = a ? b : c; y = { q: a ? .5 : 1 }",
        "a = b\n/c/g.exec(d)",
        "return /re/.test(x) ? 1 : 2",
        "var let1 = function () { }\n/* x */ /re/",
        "'unterminated\nx = 1",
        "`unterminated ${ x",
        "/unterminated",
        "}}}))]]",
        "",
    ] {
        assert_eq!(newer_syntax(source), None, "{source}");
    }
}

#[test]
fn the_line_is_told() {
    assert_eq!(newer_syntax("function () {\n  /* x\n */\n  return `\n` + a?.b;\n}").unwrap().line, 5);
}
