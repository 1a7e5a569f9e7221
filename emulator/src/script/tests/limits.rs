//! Scripts that never end, eat memory or recurse: the thread outlives them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Documents, call, run, run_on};
use crate::script::Engine;
use crate::script::bytecode::Cache;
use crate::script::session::Session;

/// Fails by timeout, quickly, whatever the script does about it.
#[test]
fn endless_scripts_time_out() {
    let engine = Engine::new(1);
    for script in [
        "function () { for (;;) {} }",
        "function () { for (;;) { try { for (;;) {} } catch (e) {} } }",
        "function () { try { for (;;) {} } finally { for (;;) {} } }",
        "function () { (function again() { return Promise.resolve().then(again); })(); }",
        "function () { (async function () { for (;;) await null; })(); }",
        "async function () { try { for (;;) {} } catch (e) {} finally { __.response.setBody(1); } }",
        "function () { /^(a+)+$/.test('a'.repeat(40) + 'b'); }",
        "function () { var a = []; for (var i = 0; i < 3e6; i++) a.push(i); a.sort(function () { for (;;) {} }); }",
        "function () { throw { toString: function () { for (;;) {} } }; }",
        "function () { __.response.setBody({ get x() { for (;;) {} } }); }",
        "function () { __.readDocument(__.getAltLink() + '/docs/a', function () { for (;;) {} }); }",
        "function () { Promise.resolve().then(function () { for (;;) {} }).catch(function () {}); }",
        "); for (;;) {} (",
    ] {
        let started = Instant::now();
        let mut call = call(script);
        call.time_limit = Duration::from_millis(200);
        let outcome = run_on(&engine, call, Documents::with(&["a"]));
        let error = outcome.result.unwrap_err();
        if script.starts_with(')') {
            // Broken out of the wrapper: whatever it is, it is not a success.
            assert!(error.status >= 400);
            continue;
        }
        assert_eq!((error.status, error.code), (408, "RequestTimeout"), "{script}: {}", error.message);
        assert!(error.message.contains("exceeded maximum alloted time"), "{}", error.message);
        assert!(started.elapsed() < Duration::from_secs(3), "{script}: {:?}", started.elapsed());
    }
    assert_eq!(run_on(&engine, call("function () {}"), Documents::default()).result.unwrap(), r#""""#);
}

/// After the time is up no operation reaches the store.
#[test]
fn a_timed_out_script_writes_nothing_more() {
    let mut call = call(
        "function () {
            function next() {
                try { for (;;) {} } catch (e) {}
                __.createDocument(__.getSelfLink(), {id: 'late'});
            }
            __.readDocument(__.getAltLink() + '/docs/a', next);
        }",
    );
    call.time_limit = Duration::from_millis(100);
    let outcome = run(call);
    assert_eq!(outcome.result.unwrap_err().status, 408);
    assert_eq!(outcome.collection.ids(), ["a", "b"]);
}

/// A feed that begins anew at its end is read until that is refused; what was set before is the answer.
#[test]
fn an_endless_feed_ends_in_time() {
    let mut call = call(
        "function () {
            var pages = 0;
            (function next(err, docs, options) {
                if (err) throw err;
                __.response.setBody(pages++ > 10);
                __.readDocuments(__.getSelfLink(), { pageSize: 1, continuation: options.continuation }, next);
            })(undefined, [], { continuation: '' });
        }",
    );
    call.time_limit = Duration::from_millis(300);
    assert_eq!(run(call).result.unwrap(), "true");
}

/// A script that stops when it is refused ends in time.
#[test]
fn reading_until_refused_does_not_time_out() {
    let mut call = call(
        "function () {
            var n = 0;
            function next() {
                n++;
                if (!__.readDocument(__.getAltLink() + '/docs/a', next)) __.response.setBody(n > 10);
            }
            next();
        }",
    );
    call.time_limit = Duration::from_millis(300);
    let outcome = run(call);
    assert_eq!(outcome.result.unwrap(), "true");
    assert!(outcome.cpu >= Duration::from_millis(200));
}

#[test]
fn memory_bombs_and_deep_recursion_fail_alone() {
    let engine = Engine::new(1);
    for script in [
        "function () { var a = []; for (;;) a.push('x'.repeat(1 << 20) + a.length); }",
        "function () { var s = 'x'; for (;;) s += s; }",
        "function () { var o = {}; for (;;) o = {o: o, a: new Array(100).fill(0)}; }",
        "function () { var o = {}; for (;;) { var p = {o: o}; o.p = p; o = p; } }",
        "function () { new Uint8Array(1e9); }",
        "function () { (function f() { f(); })(); }",
        "function () { var a = []; for (var i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a); }",
        "function () { JSON.parse('['.repeat(1e6)); }",
        "function () { var a = []; for (;;) a.push(new Map([[a, function () { return a; }]])); }",
        "function () { var a = []; for (;;) { try { for (;;) a.push({}); } catch (e) { throw e; } } }",
    ] {
        let outcome = run_on(&engine, call(script), Documents::default());
        let error = outcome.result.unwrap_err();
        assert!(matches!(error.status, 400 | 408), "{script}: {}", error.message);
    }
    let caught = "function () { try { (function f() { f(); })(); } catch (e) { __.response.setBody(e instanceof RangeError); } }";
    assert_eq!(run_on(&engine, call(caught), Documents::default()).result.unwrap(), "true");
}

/// What overwhelms the compiler does not overwhelm the process.
#[test]
fn sources_may_be_absurd() {
    let engine = Engine::new(1);
    let deep = |open: &str, middle: &str, close: &str| {
        format!("function () {{ var x = {}{middle}{}; }}", open.repeat(200_000), close.repeat(200_000))
    };
    for script in [
        deep("(", "1", ")"),
        deep("[", "1", "]"),
        deep("{a:", "1", "}"),
        deep("function () { return ", "1", "}"),
        deep("`${", "1", "}`"),
        deep("-", "1", ""),
        format!("function () {{ return /{}a{}/; }}", "(".repeat(200_000), ")".repeat(200_000)),
        format!("function () {{ {} }}", "{".repeat(500_000)),
    ] {
        let outcome = run_on(&engine, call(&script), Documents::default());
        let shown: String = script.chars().take(60).collect();
        assert_eq!(outcome.result.unwrap_err().sub_status, 65535, "{shown}");
    }
    let long = format!("function () {{ {} __.response.setBody(1); }}", "var a = 1;".repeat(200_000));
    assert_eq!(run_on(&engine, call(&long), Documents::default()).result.unwrap(), "1");
}

/// Wherever memory runs out, the run fails and nothing else does: no abort of the process, no success of a part.
#[test]
fn memory_may_run_out_anywhere() {
    let script = call(
        "function main() {
            var seen = [];
            function next(i) {
                if (i > 20) return __.response.setBody(seen);
                __.createDocument(__.getSelfLink(), {id: 'd' + i, t: 'x'.repeat(500), a: [1, {b: 2}]}, function (e, d) {
                    if (e) throw e;
                    seen.push(d);
                    Promise.resolve(d).then(function (v) { seen.push(JSON.parse(JSON.stringify(v))); })
                        .catch(function (e) { getContext().abort(e); });
                    'abcabc'.replace(/(a)(b)/g, function (m) { return m + m; });
                    class Mine extends Error { constructor() { super(5, 'x'); } }
                    try { throw new Mine(); } catch (e) { seen.push(e.stack); }
                    next(i + 1);
                });
            }
            next(0);
        }",
    );
    let cache = Cache::default();
    let mut succeeded = 0;
    let mut failed = 0;
    for limit in (200_000..1_000_000).step_by(4_999) {
        let mut session = Session::prepare(&cache).unwrap();
        session.memory_limit = limit;
        let documents = Rc::new(RefCell::new(Documents::default()));
        match session.run(&cache, &script, documents).result {
            Ok(text) => {
                assert!(text.ends_with("]"));
                succeeded += 1;
            }
            Err(error) => {
                assert!(matches!(error.status, 400 | 500), "{error}");
                failed += 1;
            }
        }
    }
    assert!(succeeded > 10 && failed > 10, "{succeeded} and {failed}");
}

/// Many callers share few threads, and every one gets its own answer.
#[test]
fn calls_queue_for_the_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let engine = std::sync::Arc::new(Engine::new(2));
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..40 {
            let engine = std::sync::Arc::clone(&engine);
            tasks.spawn(async move {
                let script = format!("function () {{ __.response.setBody({i}); }}");
                (i, engine.run(call(&script), Documents::default()).await.result.unwrap())
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (i, text) = done.unwrap();
            assert_eq!(text, i.to_string());
        }
    });
}

/// A caller that goes away takes neither the thread nor later callers with it.
#[test]
fn callers_may_give_up() {
    let engine = Engine::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut slow = call("function () { for (;;) {} }");
        slow.time_limit = Duration::from_millis(300);
        let given_up = engine.run(slow, Documents::default());
        assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
        let next = engine.run(call("function () { __.response.setBody(1); }"), Documents::default());
        assert_eq!(next.await.result.unwrap(), "1");
    });
}

/// Not a limit of anything, but the number a change of the engine must be held against.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_call() {
    let engine = Engine::new(1);
    let script = "function () { var n = 0; (function next() {
        if (n++ < 10) __.upsertDocument(__.getSelfLink(), {id: 'd' + n, text: 'x'.repeat(800)}, next);
    })(); }";
    for (name, body) in [("empty", "function () {}"), ("ten upserts", script)] {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut documents = Documents::default();
        let mut cpu = Duration::ZERO;
        let started = Instant::now();
        for _ in 0..500 {
            let outcome = runtime.block_on(engine.run(call(body), documents));
            documents = outcome.collection;
            outcome.result.unwrap();
            cpu += outcome.cpu;
        }
        println!("{name}: {:?} a call, {:?} in the script", started.elapsed() / 500, cpu / 500);
    }
}
