//! Nothing of a run is there in the next one on the same thread, however it ended.

use std::time::Duration;

use super::{Documents, call, run_on};
use crate::script::{Call, Engine};

/// All that a script can see of its world: every object reachable from the globals, with every property.
const CENSUS: &str = "function () {
    var seen = new Map(), queue = [], lines = [];
    function name(value) {
        if (typeof value === 'symbol') return value.toString();
        if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return typeof value + ' ' + value;
        if (!seen.has(value)) { seen.set(value, '#' + seen.size); queue.push(value); }
        return seen.get(value);
    }
    name(globalThis);
    for (var at = 0; at < queue.length; at++) {
        var object = queue[at];
        lines.push(at + ' ' + name(Object.getPrototypeOf(object)) + Object.isExtensible(object));
        Reflect.ownKeys(object).forEach(function (key) {
            var property = Reflect.getOwnPropertyDescriptor(object, key);
            lines.push(String(key) + [property.writable, property.enumerable, property.configurable,
                name(property.get), name(property.set), name(property.value)]);
        });
    }
    __.response.setBody(lines.join('\\n'));
}";

/// Scripts that change all they can reach, in each way a run can end.
const VANDALS: [&str; 12] = [
    "function () {
        Array.prototype.push = function () { return 'patched'; };
        Object.prototype.leaked = 1;
        Object.freeze(Map.prototype);
        JSON.stringify = JSON.parse = Promise.prototype.then = undefined;
        globalThis.mine = [1, 2, 3];
        Error.stackTraceLimit = 0;
    }",
    "function () { delete globalThis.getContext; delete globalThis.__; delete globalThis.console; delete globalThis.Math; }",
    "function () { Reflect.ownKeys(globalThis).forEach(function (key) { delete globalThis[key]; }); }",
    "function () { Object.setPrototypeOf(Array.prototype, { secret: 1 }); Object.preventExtensions(globalThis); }",
    "function () { var c = __; for (var k in c) c[k] = null; getContext().getCollection = null; ErrorCodes = 1; }",
    "function () {
        (async function () { for (;;) { globalThis.turns = (globalThis.turns || 0) + 1; await null; } })();
    }",
    "function () {
        Promise.resolve().then(function () { globalThis.late = 1; });
        new Promise(function () {}).then(function () { globalThis.never = 1; });
        Promise.reject(new Error('unhandled'));
    }",
    "function () { for (var i = 0; i < 50; i++) __.readDocument(__.getAltLink() + '/docs/a', function () {}); throw new Error(7, 'early'); }",
    "function () { globalThis.mine = 1; for (;;) {} }",
    "function () { globalThis.mine = []; for (;;) globalThis.mine.push('x'.repeat(1 << 16) + globalThis.mine.length); }",
    "function () { var o = globalThis.mine = {}; for (;;) { var p = {o: o}; o.p = p; o = p; } }",
    "function () { Array.prototype.map = null; Symbol.for('mine'); getContext().abort(new Error(9, 'stop')); }",
];

fn brief(body: &str) -> Call {
    let mut call = call(body);
    call.time_limit = Duration::from_millis(500);
    call
}

#[test]
fn runs_leave_nothing_behind() {
    let engine = Engine::new(1);
    let census = || {
        let outcome = run_on(&engine, call(CENSUS), Documents::with(&["a"]));
        outcome.result.unwrap()
    };
    let before = census();
    assert!(before.contains("getContext") && before.len() > 10_000, "{before}");
    for vandal in VANDALS {
        // Twice, as the second one starts from what the first made of the memory.
        for _ in 0..2 {
            let _ = run_on(&engine, brief(vandal), Documents::with(&["a"]));
            assert!(census() == before, "left by {vandal}");
        }
    }
}

/// The same for what is not an object: counters, logs, settings of the call, the transaction.
#[test]
fn calls_leave_no_settings_behind() {
    let engine = Engine::new(1);
    let ordinary = "function () {
        console.log('one line');
        var accepted = __.createDocument(__.getSelfLink(), {id: 'new'});
        __.response.setBody([accepted, Math.abs(Date.now() - new Date().getTime()) < 1000]);
    }";
    let mut odd = brief(
        "function () { console.log('secret'); __.createDocument(__.getSelfLink(), {id: 'x'}); for (;;) {} }",
    );
    odd.refuse_after = Some(0);
    odd.clock_offset_ms = 3_600_000;
    assert_eq!(run_on(&engine, odd, Documents::default()).result.unwrap_err().status, 408);
    let outcome = run_on(&engine, call(ordinary), Documents::default());
    assert_eq!(outcome.result.unwrap(), "[true,true]");
    assert_eq!(outcome.logs.as_deref(), Some("one line"));
    assert_eq!(outcome.collection.ids(), ["new"]);

    let mut silent = call("function () { console.log('unseen'); __.response.setBody(1); }");
    silent.enable_logging = false;
    assert_eq!(run_on(&engine, silent, Documents::default()).logs, None);
}

/// A bug in an operation costs that call only.
#[test]
fn panics_leave_nothing_behind() {
    let engine = Engine::new(1);
    for _ in 0..3 {
        let panic =
            call("function () { globalThis.mine = 1; __.createDocument(__.getSelfLink(), {id: 'panic'}); }");
        assert_eq!(run_on(&engine, panic, Documents::default()).result.unwrap_err().status, 500);
        let after = call("function () { __.response.setBody(typeof mine); }");
        assert_eq!(run_on(&engine, after, Documents::default()).result.unwrap(), "\"undefined\"");
    }
}

/// Each run has numbers of its own, though all begin with the same memory.
#[test]
fn random_numbers_differ_between_runs() {
    let engine = Engine::new(1);
    let script = "function () {
        var numbers = [];
        for (var i = 0; i < 100; i++) numbers.push(Math.random());
        var fine = numbers.every(function (n) { return n >= 0 && n < 1; });
        __.response.setBody([fine && new Set(numbers).size === 100, numbers[0]]);
    }";
    let mut first = std::collections::HashSet::new();
    for _ in 0..20 {
        let text = run_on(&engine, call(script), Documents::default()).result.unwrap();
        assert!(text.starts_with("[true,"), "{text}");
        first.insert(text);
    }
    assert_eq!(first.len(), 20);
}
