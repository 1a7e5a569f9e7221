//! Requests put together at random, from a fixed seed: whatever comes, there is an answer, and it is no failure of
//! the emulator.

use bytes::Bytes;
use cosmos_emulator::Emulator;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, container, signed_resource, token};

const REQUESTS: usize = 4000;

const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

const PATHS: [&str; 12] = [
    "",
    "dbs",
    "dbs/d",
    "dbs/d/colls",
    "dbs/d/colls/c",
    "dbs/d/colls/c/docs",
    "dbs/d/colls/c/docs",
    "dbs/d/colls/c/docs/x",
    "dbs/d/colls/c/pkranges",
    "dbs/d/colls/c/sprocs",
    "dbs/d/colls/c/sprocs/s",
    "offers",
];

const HEADERS: [&str; 33] = [
    "a-im",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "prefer",
    "x-ms-activity-id",
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
    "x-ms-documentdb-query-enablecrosspartition",
    "x-ms-documentdb-query-iscontinuationexpected",
    "x-ms-documentdb-query-parallelizecrosspartitionquery",
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
    "[\"a\"]",
    "[\"a\",1]",
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
    "{\"id\":\"x\",\"pk\":\"a\"}",
    "{\"id\":\"d2\"}",
    "{\"id\":\"c2\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}",
    "{\"query\":\"SELECT * FROM c\"}",
    "{\"query\":\"SELECT VALUE COUNT(1) FROM c\",\"parameters\":[{\"name\":\"@a\",\"value\":1}]}",
    "{\"query\":5}",
    "{\"id\":\"s\",\"body\":\"function(a){getContext().getResponse().setBody(a)}\"}",
    "[{\"operationType\":\"Create\",\"partitionKey\":\"[\\\"a\\\"]\",\"resourceBody\":{\"id\":\"y\",\"pk\":\"a\"}}]",
    "[{\"operationType\":\"Patch\",\"id\":\"x\",\"resourceBody\":[{\"op\":\"set\",\"path\":\"/\"}]}]",
    "{\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1e308}]}",
    "\u{80}",
];

/// Xorshift: the same requests in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// A value of the list, or one with some of its bytes changed.
    fn value(&mut self, list: &[&str]) -> Vec<u8> {
        let mut bytes = self.one(list).as_bytes().to_vec();
        if self.below(3) == 0 {
            for _ in 0..=self.below(4) {
                let at = self.below(bytes.len() + 1);
                let byte = self.next().to_le_bytes()[0];
                if self.below(2) == 0 || at == bytes.len() {
                    bytes.insert(at, byte)
                } else {
                    bytes[at] = byte
                }
            }
        }
        bytes
    }
}

#[tokio::test]
async fn any_headers_and_bodies_have_an_answer() {
    let (emulator, _client) = container().await;
    let mut random = Random(0x5EED);
    let mut served = 0;
    for at in 0..REQUESTS {
        let (verb, path) = (random.one(&VERBS), random.one(&PATHS));
        // Deletes of what the others work on would end the test early.
        if verb == "DELETE" && path.len() < "dbs/d/colls/c/docs".len() {
            continue;
        }
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let (kind, link) = signed_resource(path);
        let mut request = http::Request::builder()
            .method(verb)
            .uri(format!("/{path}"))
            .header("x-ms-date", &date)
            .header("authorization", token(emulator.key(), verb, kind, &link, &date));
        let mut headers = Vec::new();
        for _ in 0..random.below(6) {
            let name = random.one(&HEADERS);
            if let Ok(value) = http::HeaderValue::from_bytes(&random.value(&VALUES)) {
                headers.push((name, value.clone()));
                request = request.header(name, value);
            }
        }
        let body = random.value(&BODIES);
        let response = emulator.call(request.body(Bytes::from(body.clone())).unwrap()).await;
        let status = response.status().as_u16();
        assert!(
            (200..500).contains(&status) || status == 501,
            "request {at}: {verb} {path} {headers:?} {}: {status} {:?}",
            String::from_utf8_lossy(&body),
            response.body()
        );
        served += usize::from(status < 300);
    }
    // Most are refused, but not all: the random requests get somewhere.
    assert!(served > REQUESTS / 50, "{served}");
}

#[tokio::test]
async fn clients_that_stall_hold_up_nobody() {
    let emulator = Emulator::builder().start().await.unwrap();
    let address = emulator.endpoint().trim_start_matches("http://").to_owned();
    let mut stalled = Vec::new();
    for at in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let text = match at % 3 {
            0 => "",
            1 => "GET / HTTP/1.1\r\nhost: x\r\nx-ms",
            _ => "POST /dbs HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let client = Client::new(&emulator);
    let served = async {
        client.post("dbs", &[], json!({"id": "d"})).await.expect(201);
        client.get("dbs/d", &[]).await.expect(200);
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), served).await.unwrap();
    drop(stalled);
}
