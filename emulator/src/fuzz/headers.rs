//! Headers, dates, tokens and bodies put together at random, some of them taken from earlier answers and changed:
//! whatever comes, there is an answer, and it is no failure of the emulator.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use crate::{Emulator, WELL_KNOWN_KEY};

use super::Source;

/// Some requests of the bytes on one new account; whether any was served.
pub fn headers(data: &[u8]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(requests(&mut Source(data)))
}

const REQUESTS: usize = 6;

const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const PATHS: [&str; 14] = [
    "",
    "dbs",
    "dbs/d",
    "dbs/d/colls",
    "dbs/d/colls/c",
    "dbs/d/colls/c/docs",
    "dbs/d/colls/c/docs",
    "dbs/d/colls/c/docs",
    "dbs/d/colls/c/docs/x",
    "dbs/d/colls/c/pkranges",
    "dbs/d/colls/c/sprocs",
    "dbs/d/colls/c/sprocs/s",
    "offers",
    "x//%FF",
];

const NAMES: [&str; 36] = [
    "a-im",
    "content-type",
    "date",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "prefer",
    "x-ms-activity-id",
    "x-ms-continuation",
    "x-ms-continuation",
    "x-ms-cosmos-batch-atomic",
    "x-ms-cosmos-batch-continue-on-error",
    "x-ms-cosmos-changefeed-wire-format-version",
    "x-ms-cosmos-intended-collection-rid",
    "x-ms-cosmos-is-batch-request",
    "x-ms-cosmos-is-query-plan-request",
    "x-ms-cosmos-migrate-offer-to-autopilot",
    "x-ms-cosmos-offer-autopilot-settings",
    "x-ms-cosmos-supported-query-features",
    "x-ms-documentdb-is-upsert",
    "x-ms-documentdb-isquery",
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkeyrangeid",
    "x-ms-documentdb-populatequerymetrics",
    "x-ms-documentdb-post-trigger-include",
    "x-ms-documentdb-pre-trigger-include",
    "x-ms-documentdb-query-enablecrosspartition",
    "x-ms-documentdb-query-iscontinuationexpected",
    "x-ms-documentdb-script-enable-logging",
    "x-ms-end-epk",
    "x-ms-max-item-count",
    "x-ms-offer-throughput",
    "x-ms-read-key-type",
    "x-ms-session-token",
    "x-ms-start-epk",
];

const VALUES: [&str; 36] = [
    "",
    " ",
    "True",
    "false",
    "*",
    "0",
    "-1",
    "1",
    "18446744073709551616",
    "1e9",
    "\"5\"",
    "W/\"5\"",
    "[\"p\"]",
    "[\"p\",1]",
    "[null]",
    "[{}]",
    "[[]]",
    "[]",
    "[NaN]",
    "[1e999]",
    "{",
    "{\"maxThroughput\":4000}",
    "{\"maxThroughput\":-1}",
    "0:-1#5",
    "0:1#2#3=4,1:x#y",
    "::##==",
    "Incremental Feed",
    "Full-Fidelity Feed",
    "2021-09-15",
    "EffectivePartitionKeyRange",
    "05C1E1",
    "FFF",
    "application/query+json",
    "Tue, 01 Nov 1994 08:12:31 GMT",
    "return=minimal",
    "eyJxIjoxfQ",
];

const BODIES: [&str; 16] = [
    "",
    "{",
    "[]",
    "[null]",
    "null",
    "{\"id\":\"x\",\"pk\":\"p\"}",
    "{\"id\":\"d2\"}",
    "{\"id\":\"c2\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}",
    "{\"query\":\"SELECT * FROM c\"}",
    "{\"query\":\"SELECT * FROM c ORDER BY c.n\",\"parameters\":[{\"name\":\"@a\",\"value\":1}]}",
    "{\"query\":5}",
    "{\"id\":\"s\",\"body\":\"function(a){getContext().getResponse().setBody(a)}\"}",
    "[{\"operationType\":\"Create\",\"partitionKey\":\"[\\\"p\\\"]\",\"resourceBody\":{\"id\":\"y\",\"pk\":\"p\"}}]",
    "[{\"operationType\":\"Patch\",\"id\":\"x\",\"resourceBody\":[{\"op\":\"set\",\"path\":\"/\"}]}]",
    "{\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1e308}]}",
    "\u{80}",
];

const KEY: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"p\"]");
const PAGE: (&str, &str) = ("x-ms-max-item-count", "1");
const CROSS: (&str, &str) = ("x-ms-documentdb-query-enablecrosspartition", "True");
const QUERIES: (&str, &str) = ("content-type", "application/query+json");
const FEED: &str = "dbs/d/colls/c/docs";
const QUERY: &str = r#"{"query":"SELECT * FROM c WHERE c.n >= 0 ORDER BY c.n"}"#;

async fn requests(source: &mut Source<'_>) -> bool {
    let emulator = Emulator::builder().partitions(2).build().unwrap_or_else(|error| panic!("{error}"));
    let answers = setup(&emulator).await;
    // What clients send back: continuations, etags, session tokens.
    let mut known: Vec<String> = answers.iter().flat_map(sent_back).collect();
    let mut served = false;
    for _ in 0..1 + source.below(REQUESTS) {
        let (verb, path) = (source.pick(&VERBS), source.pick(&PATHS));
        let mut request = signed(verb, path, source);
        for _ in 0..source.below(6) {
            let name = source.pick(&NAMES);
            let value = match source.below(3) {
                0 if !known.is_empty() => known[source.below(known.len().min(256))].clone(),
                _ => source.pick(&VALUES).to_owned(),
            };
            if let Ok(value) = HeaderValue::from_bytes(&source.mangled(&value)) {
                request = request.header(name, value);
            }
        }
        let body = source.pick(&BODIES);
        let body = Bytes::from(source.mangled(body).into_owned());
        let Ok(request) = request.body(body) else { continue };
        let shown = format!("{request:?}");
        let response = emulator.call(request).await;
        let status = response.status().as_u16();
        assert!((200..500).contains(&status) || status == 501, "{shown}\n{status} {:?}", response.body());
        served |= status < 300;
        known.extend(sent_back(&response));
    }
    served
}

/// Verb, path, headers and body.
type Step = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

/// A database `d`, its container `c` and some documents; pages of feed and query with continuations.
async fn setup(emulator: &Emulator) -> Vec<Response<Bytes>> {
    let steps: [Step; 8] = [
        ("POST", "dbs", &[], r#"{"id":"d"}"#),
        ("POST", "dbs/d/colls", &[], r#"{"id":"c","partitionKey":{"paths":["/pk"],"version":2}}"#),
        ("POST", FEED, &[KEY], r#"{"id":"x","pk":"p","n":1}"#),
        ("POST", FEED, &[KEY], r#"{"id":"z","pk":"p","n":0}"#),
        ("POST", "dbs/d/colls/c/sprocs", &[], BODIES[11]),
        ("GET", FEED, &[PAGE], ""),
        ("POST", FEED, &[QUERIES, PAGE, CROSS], r#"{"query":"SELECT * FROM c"}"#),
        ("POST", FEED, &[QUERIES, PAGE, KEY], QUERY),
    ];
    let mut answers = Vec::new();
    for (verb, path, headers, body) in steps {
        let mut request = signed(verb, path, &mut Source(&[]));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap_or_default();
        let response = emulator.call(request).await;
        assert!(response.status().is_success(), "{verb} {path}: {response:?}");
        answers.push(response);
    }
    answers
}

fn sent_back(response: &Response<Bytes>) -> Vec<String> {
    let names = ["x-ms-continuation", "etag", "x-ms-session-token", "x-ms-content-path"];
    let texts = names.iter().filter_map(|name| response.headers().get(*name)?.to_str().ok());
    texts.map(str::to_owned).collect()
}

/// A request with its signature; in some cases with another date or a signature that is none.
fn signed(verb: &str, path: &str, source: &mut Source<'_>) -> http::request::Builder {
    let mut date = httpdate::fmt_http_date(std::time::SystemTime::now());
    if source.one_in(16) {
        date = String::from_utf8_lossy(&source.mangled(&date)).into_owned();
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let owner = &segments[..segments.len() / 2 * 2];
    let kind = match segments.len() % 2 {
        0 => segments.len().checked_sub(2).map_or("", |at| segments[at]),
        _ => segments[segments.len() - 1],
    };
    let payload =
        format!("{}\n{kind}\n{}\n{}\n\n", verb.to_lowercase(), owner.join("/"), date.to_lowercase());
    let token = crate::auth::sign(WELL_KNOWN_KEY, &payload);
    let token = if source.one_in(16) { source.mangled(&token).into_owned() } else { token.into_bytes() };
    let request = Request::builder().method(verb).uri(format!("/{path}")).header("x-ms-date", date);
    match HeaderValue::from_bytes(&token) {
        Ok(token) => request.header("authorization", token),
        Err(_) => request,
    }
}
