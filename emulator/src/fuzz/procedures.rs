//! The procedure host: random programs over the server-side API, and what is no program at all. A run that fails
//! leaves everything as it was, and one that succeeds has written to its own partition only.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::epk::Component;
use crate::error::ServiceError;
use crate::script::{Call, Engine, Functions, Role, ScriptSyntax, newer_syntax};
use crate::store::{Container, PartitionKey, Transaction};
use crate::value::Value;
use crate::{Emulator, StartError};

use super::Source;

/// One script of the bytes, as a procedure, trigger or function; whether it ran to its end.
pub fn procedures(data: &[u8]) -> bool {
    thread_local! {
        static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
    }
    let mut source = Source(data);
    if source.one_in(8) {
        return function(&mut source);
    }
    FIXTURE.with_borrow_mut(|fixture| match fixture {
        Some(fixture) => fixture.run(&mut source),
        None => fixture.insert(Fixture::new().unwrap_or_else(|error| panic!("{error}"))).run(&mut source),
    })
}

const TIME_LIMIT: Duration = Duration::from_millis(300);

const GARBAGE: [&str; 52] = [
    "function ",
    "f",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "=>",
    ";",
    ",",
    ".",
    "?.",
    "??",
    "`",
    "${",
    "'",
    "\"",
    "/",
    "/*",
    "*/",
    "//",
    "\n",
    "\\",
    "#x",
    "1n",
    "0x",
    "class ",
    "async ",
    "await ",
    "throw ",
    "return ",
    "new Error(409,'x')",
    "getContext()",
    ".getCollection()",
    ".getResponse()",
    ".setBody(x)",
    "__.",
    "readDocument(",
    "abort(",
    "null",
    "undefined",
    "\u{0}",
    "\u{2028}",
    "\u{1F600}",
    "...",
    "=",
    "yield ",
    "for(;;)",
    "while(1)",
    "f()",
    "this",
];

const ARGUMENTS: [&str; 18] = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "\"length\"",
    "\"0\"",
    "1e9",
    "-1",
    "600000",
    "null",
    "\"a\"",
    "\"\\ud800\"",
    " ",
    "true",
    "NaN",
    "1.5",
];

const LINK: [&str; 14] =
    ["dbs", "/", "colls", "docs", "d1", "c1", "db", "coll", "a", "..", "%2F", "//", "\\u0000", "rid-a"];

const VALUES: [&str; 22] = [
    "null",
    "undefined",
    "0",
    "-1.5",
    "NaN",
    "1/0",
    "''",
    "'a'",
    "'\\ud800'",
    "{}",
    "[]",
    "[1,{a:null}]",
    "a",
    "b",
    "args",
    "{id:'a',pk:'p'}",
    "{id:'new',pk:'p',ttl:1}",
    "{id:'x',pk:'q'}",
    "{pk:'p'}",
    "{id:{toJSON:function(){throw 1}}}",
    "new Date(0)",
    "function(){}",
];

const OPTIONS: [&str; 8] = [
    "{}",
    "{etag:'x'}",
    "{etag:a&&a._etag}",
    "{ifNoneMatch:a&&a._etag}",
    "{pageSize:1}",
    "{pageSize:-1,continuation:'x'}",
    "{disableAutomaticIdGeneration:true}",
    "null",
];

const QUERIES: [&str; 6] = [
    "'SELECT * FROM c'",
    "'SELECT VALUE c.id FROM c ORDER BY c.id DESC'",
    "'SELEC'",
    "{query:'SELECT VALUE @a',parameters:[{name:'@a',value:a}]}",
    "'SELECT VALUE COUNT(1) FROM c'",
    "{query:1}",
];

fn link(source: &mut Source<'_>) -> String {
    match source.below(6) {
        0 => "c.getSelfLink()".to_owned(),
        1 => "c.getAltLink()".to_owned(),
        2 => "a&&a._self".to_owned(),
        3 => format!("'{}'", source.pieces(&LINK, 12)),
        _ => format!("c.getAltLink()+'/docs/{}'", source.pick(&["a", "b", "new", "none"])),
    }
}

/// What may stand where a callback does.
fn callback(source: &mut Source<'_>, depth: usize) -> String {
    match source.below(8) {
        0 => String::new(),
        1 => format!(", {}", source.pick(&VALUES)),
        2 => ", async function(e,a){ await null; throw e }".to_owned(),
        _ => format!(", function(e,a,o){{ {} }}", block(source, depth)),
    }
}

fn operation(source: &mut Source<'_>, depth: usize) -> String {
    let value = source.pick(&VALUES);
    let options = source.pick(&OPTIONS);
    let place = link(source);
    let after = callback(source, depth);
    match source.below(9) {
        0 => format!("c.createDocument({place}, {value}, {options}{after})"),
        1 => format!("c.createDocument(c.getSelfLink(), {value}{after})"),
        2 => format!("c.upsertDocument(c.getAltLink(), {value}, {options}{after})"),
        3 => format!("c.replaceDocument({place}, {value}, {options}{after})"),
        4 => format!("c.deleteDocument({place}, {options}{after})"),
        5 => format!("c.readDocument({place}, {options}{after})"),
        6 => format!("c.readDocuments({place}, {options}{after})"),
        7 => format!("c.queryDocuments(c.getSelfLink(), {}, {options}{after})", source.pick(&QUERIES)),
        _ => {
            let chain = source.pick(&[
                "filter(function(d){return d.n>0})",
                "map(function(d){return d.id})",
                "pluck('id')",
                "chain().filter(function(d){return true}).sortBy(function(d){return d.id}).value()",
                "chain().pluck('list').flatten().value()",
                "chain().unwind(function(d){return d.list}).value()",
                "filter(1)",
                "sortByDescending(function(d){throw d})",
            ]);
            format!("__.{chain}")
        }
    }
}

fn block(source: &mut Source<'_>, depth: usize) -> String {
    (0..=source.below(3)).map(|_| statement(source, depth) + "; ").collect()
}

fn statement(source: &mut Source<'_>, depth: usize) -> String {
    let value = source.pick(&VALUES);
    if depth == 0 {
        return match source.below(16) {
            0 => format!("throw new Error({}, 'x')", source.pick(&["409", "'text'", "-1", "1e99", "{}"])),
            1 => format!("throw {value}"),
            2 => format!("getContext().abort({value})"),
            3 => format!("console.log('%s', {value})"),
            4 => format!("r.appendBody({value})"),
            _ => format!("r.setBody({value})"),
        };
    }
    match source.below(12) {
        0 | 1 => operation(source, depth - 1),
        2..=5 => format!("try {{ {} }} catch (e) {{}}", operation(source, depth - 1)),
        6 => format!("if (!{}) throw new Error(429, 'refused')", operation(source, depth - 1)),
        7 => format!("try {{ {} }} catch (e) {{ r.setBody(String(e)) }}", block(source, depth - 1)),
        8 => format!("Promise.resolve({value}).then(function(a){{ {} }})", block(source, depth - 1)),
        9 => format!("(async function(){{ await {value}; {} }})()", block(source, depth - 1)),
        10 => format!("for (var i = 0; i < 3; i++) {{ {} }}", block(source, depth - 1)),
        _ => statement(source, 0),
    }
}

fn script(source: &mut Source<'_>) -> String {
    match source.below(12) {
        0 => source.pieces(&GARBAGE, 25),
        1 => format!("function (args, b) {{ {} }}", source.pieces(&GARBAGE, 12)),
        2 => String::from_utf8_lossy(source.0).into_owned(),
        _ => {
            let program = block(source, 3);
            format!(
                "function (args, b) {{ var c = getContext().getCollection(), r = getContext().getResponse() || \
                 getContext().getRequest(), a; {program} }}"
            )
        }
    }
}

struct Fixture {
    runtime: Runtime,
    engine: Engine,
}

impl Fixture {
    fn new() -> std::io::Result<Self> {
        Ok(Self { runtime: tokio::runtime::Builder::new_current_thread().build()?, engine: Engine::new(1) })
    }

    fn run(&self, source: &mut Source<'_>) -> bool {
        let (container, key) = container().unwrap_or_else(|error| panic!("{error}"));
        let body = script(source);
        let _ = newer_syntax(&body);
        let call = Call {
            role: match source.below(5) {
                0 => Role::PreTrigger { operation: "Create" },
                1 => Role::PostTrigger {
                    operation: "Delete",
                    response: source.pick(&["", "{}", "{\"id\":\"a\"}"]).to_owned(),
                    quota: String::new(),
                    usage: String::new(),
                },
                _ => Role::Procedure,
            },
            script_id: "fuzzed".to_owned(),
            body: body.as_str().into(),
            arguments: match source.below(6) {
                0 => Bytes::from(source.pieces(&ARGUMENTS, 10)),
                1 => Bytes::new(),
                _ => Bytes::from_static(b"[{\"id\":\"new\",\"pk\":\"p\"},1]"),
            },
            enable_logging: source.one_in(2),
            time_limit: TIME_LIMIT,
            refuse_after: source.one_in(8).then_some(2),
            clock_offset_ms: 0,
            syntax: if source.one_in(4) { ScriptSyntax::Refuse } else { ScriptSyntax::Any },
        };
        let before = documents(&container, &key);
        let outcome = self.runtime.block_on(async {
            let txn = Transaction::begin(&container, key.clone()).await.stamped_at_commit();
            self.engine.run(call, txn).await
        });
        let (result, txn) = (outcome.result, outcome.collection);
        match &result {
            Ok(_) => drop(txn.commit().unwrap_or_else(|error| panic!("{error}\n{body}"))),
            Err(error) => {
                assert!(matches!(error.status, 400 | 408), "{error}\n{body}");
                drop(txn);
                assert_eq!(documents(&container, &key), before, "{body}");
            }
        }
        let mine = container.snapshot(&key);
        assert_eq!(container.document_count(), mine.len(), "{body}");
        for document in mine.documents_after(None) {
            assert_eq!(document.value.get("pk").as_str(), Some("p"), "{body}");
            assert_eq!(document.value.get("id").as_str(), Some(&*document.id), "{body}");
            assert!(Value::parse(document.value.to_json().as_bytes()).is_ok(), "{body}");
        }
        result.is_ok()
    }
}

/// A new container with two documents, and the key of their partition.
fn container() -> Result<(Arc<Container>, PartitionKey), ServiceError> {
    let start = |error: StartError| ServiceError::new(500, 0, error.to_string());
    let parse = |text: &str| Value::parse(text.as_bytes()).unwrap_or_default();
    let emulator = Emulator::builder().build().map_err(start)?;
    let account = emulator.account();
    let _ = account.create_database(&parse(r#"{"id":"d"}"#), None)?;
    let definition = parse(r#"{"id":"c","partitionKey":{"paths":["/pk"],"version":2},"defaultTtl":-1}"#);
    let (container, _) = account.create_container("d", &definition, None)?;
    let key = container.meta().definition.partition_key.key(&[Component::String("p".to_owned())])?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| ServiceError::new(500, 0, error.to_string()))?;
    let mut txn = runtime.block_on(Transaction::begin(&container, key.clone()));
    txn.create(&parse(r#"{"id":"a","pk":"p","n":1,"list":[1,2]}"#))?;
    txn.create(&parse(r#"{"id":"b","pk":"p","n":0}"#))?;
    drop(txn.commit()?);
    Ok((container, key))
}

fn documents(container: &Container, key: &PartitionKey) -> Vec<String> {
    container.snapshot(key).documents_after(None).map(|document| document.value.to_json()).collect()
}

/// A user-defined function, and after it one whose result is known.
fn function(source: &mut Source<'_>) -> bool {
    let arguments = [Value::Undefined, Value::Null, 1.5.into(), "\u{2028}\0".into()];
    let prepared = Functions::prepare(Instant::now() + TIME_LIMIT, 0, ScriptSyntax::Any, Arc::default());
    let mut functions = prepared.unwrap_or_else(|error| panic!("{error}"));
    let body: Arc<str> = match source.below(2) {
        0 => source.pieces(&GARBAGE, 20),
        _ => format!("function (a, b, c, d) {{ {}; return [a, b, c, d]; }}", source.pieces(&GARBAGE, 8)),
    }
    .into();
    let (result, _) = functions.call("fuzzed", &body, &arguments);
    match &result {
        Ok(_) => {}
        Err(error) => {
            assert!(matches!(error.status, 400 | 408), "{error}\n{body}");
            if error.status == 408 {
                return false;
            }
        }
    }
    let identity: Arc<str> = "function () { return [].slice.call(arguments); }".into();
    match functions.call("identity", &identity, &arguments).0 {
        Ok(value) => assert_eq!(value.to_json(), "[null,null,1.5,\"\u{2028}\\u0000\"]", "{body}"),
        Err(error) => assert_eq!(error.status, 408, "{error}\n{body}"),
    }
    result.is_ok()
}
