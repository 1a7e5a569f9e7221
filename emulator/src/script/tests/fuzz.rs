//! Odd arguments, scripts and links: whatever comes in, the host answers and gives the documents back.

use super::*;
use crate::script::{Functions, newer_syntax};

/// Cases of an ordinary run; `COSMOS_FUZZ_CASES` and `COSMOS_FUZZ_SEED` choose others.
const CASES: u64 = 150;

/// A small generator: the same cases for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn text(&mut self, from: &[&str], most: usize) -> String {
        (0..self.below(most)).map(|_| self.pick(from)).collect()
    }
}

const SCRIPT: [&str; 48] = [
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
    ["dbs", "/", "colls", "docs", "d1", "c1", "db", "coll", "a", "..", "%2F", "//", "\u{0}", "rid-a"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn odd_calls_are_answered() {
    let mut random = Random(setting("COSMOS_FUZZ_SEED", 42));
    let engine = Engine::new(1);
    let documents = Documents::with(&["a", "b"]);
    for _ in 0..setting("COSMOS_FUZZ_CASES", CASES) {
        let link = Value::from(random.text(&LINK, 12)).to_json();
        let body = match random.below(3) {
            0 => random.text(&SCRIPT, 25),
            1 => format!("function (a, b) {{ {} }}", random.text(&SCRIPT, 12)),
            _ => {
                let method = random.pick(&[
                    "readDocument",
                    "deleteDocument",
                    "readDocuments",
                    "queryDocuments",
                    "createDocument",
                    "replaceDocument",
                    "upsertDocument",
                    "filter",
                    "map",
                ]);
                format!(
                    "function (a, b) {{ __.{method}({link}, a, b, function (err, doc) {{ getContext().getResponse().setBody(doc); }}) }}"
                )
            }
        };
        let _ = newer_syntax(&body);
        let mut call = call(&body);
        call.time_limit = Duration::from_millis(200);
        call.arguments = random.text(&ARGUMENTS, 10).into_bytes().into();
        call.role = match random.below(4) {
            0 => Role::PreTrigger { operation: "Create" },
            1 => Role::PostTrigger {
                operation: "Delete",
                response: random.pick(&["", "{}", "{\"id\":\"a\"}"]).to_owned(),
                quota: String::new(),
                usage: String::new(),
            },
            _ => Role::Procedure,
        };
        call.syntax = if random.below(2) == 0 { ScriptSyntax::Any } else { ScriptSyntax::Refuse };
        let arguments = call.arguments.clone();
        let outcome = run_on(&engine, call, documents.clone());
        if let Err(error) = &outcome.result {
            let known = matches!(error.status, 400 | 408);
            assert!(known, "{error}\n{body}\n{arguments:?}");
        }
    }
}

#[test]
fn odd_functions_are_answered() {
    let mut random = Random(setting("COSMOS_FUZZ_SEED", 7));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let mut functions = Functions::prepare(deadline, 0, ScriptSyntax::Any).unwrap();
    let arguments = [Value::Undefined, Value::Null, 1.5.into(), "\u{2028}\0".into()];
    for number in 0..setting("COSMOS_FUZZ_CASES", CASES) {
        let body: Arc<str> = match random.below(2) {
            0 => random.text(&SCRIPT, 20),
            _ => format!("function (a, b, c, d) {{ {}; return [a, b, c, d]; }}", random.text(&SCRIPT, 8)),
        }
        .into();
        let (result, _) = functions.call(&format!("f{number}"), &body, &arguments);
        if let Err(error) = &result {
            assert_eq!(error.status, 400, "{error}\n{body}");
        }
    }
    let identity: Arc<str> = "function () { return [].slice.call(arguments); }".into();
    let (result, _) = functions.call("identity", &identity, &arguments);
    assert_eq!(result.unwrap().to_json(), "[null,null,1.5,\"\u{2028}\\u0000\"]");
}
