//! A small client that signs its requests, and shorthand for what most tests need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cosmos_emulator::{Builder, Emulator};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::Sha256;

pub struct Client {
    http: reqwest::Client,
    pub endpoint: String,
    pub key: String,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn charge(&self) -> f64 {
        self.header("x-ms-request-charge").unwrap().parse().unwrap()
    }

    pub fn sub_status(&self) -> u32 {
        self.header("x-ms-substatus").map_or(0, |text| text.parse().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn expect_sub(self, status: u16, sub_status: u32) -> Self {
        assert_eq!((self.status, self.sub_status()), (status, sub_status), "{}", self.text);
        self
    }

    pub fn documents(&self) -> Vec<Value> {
        self.json()["Documents"].as_array().unwrap().clone()
    }
}

pub type Headers<'a> = &'a [(&'a str, &'a str)];

impl Client {
    pub fn new(emulator: &Emulator) -> Self {
        Self::to(emulator.endpoint(), emulator.key())
    }

    pub fn to(endpoint: &str, key: &str) -> Self {
        Self::with(reqwest::Client::new(), endpoint, key)
    }

    pub fn with(http: reqwest::Client, endpoint: &str, key: &str) -> Self {
        Self { http, endpoint: endpoint.to_owned(), key: key.to_owned() }
    }

    /// Sends a signed request; `path` is not encoded yet.
    pub async fn send(
        &self,
        verb: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let (kind, link) = signed_resource(path);
        let token = token(&self.key, verb, kind, &link, &date);
        let mut all = vec![("x-ms-date", &*date), ("authorization", &*token)];
        all.extend_from_slice(headers);
        self.send_as_is(verb, path, &all, body).await
    }

    /// Sends a request with these headers only.
    pub async fn send_as_is(
        &self,
        verb: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let encoded: Vec<String> = path
            .split('/')
            .map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string())
            .collect();
        let url = format!("{}/{}", self.endpoint, encoded.join("/"));
        let mut request = self.http.request(verb.parse().unwrap(), url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    pub async fn post(&self, path: &str, headers: Headers<'_>, body: Value) -> Reply {
        self.send("POST", path, headers, body.to_string()).await
    }

    pub async fn put(&self, path: &str, headers: Headers<'_>, body: Value) -> Reply {
        self.send("PUT", path, headers, body.to_string()).await
    }

    pub async fn get(&self, path: &str, headers: Headers<'_>) -> Reply {
        self.send("GET", path, headers, "").await
    }

    pub async fn delete(&self, path: &str, headers: Headers<'_>) -> Reply {
        self.send("DELETE", path, headers, "").await
    }

    /// Database `d` with container `c`, partition key `/pk` version 2.
    pub async fn setup(&self) {
        self.setup_with(json!({})).await;
    }

    pub async fn setup_with(&self, extra: Value) {
        self.post("dbs", &[], json!({"id": "d"})).await.expect(201);
        let mut body = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("dbs/d/colls", &[], body).await.expect(201);
    }

    /// Creates a document in partition `pk` of the container of [`Self::setup`].
    pub async fn create(&self, document: Value) -> Reply {
        let key = json!([document["pk"]]).to_string();
        self.post(DOCS, &[(PK, &key)], document).await
    }

    pub async fn read(&self, pk: &str, id: &str) -> Reply {
        self.get(&format!("{DOCS}/{id}"), &[(PK, &json!([pk]).to_string())]).await
    }

    pub async fn query(&self, sql: &str, headers: Headers<'_>) -> Reply {
        self.query_with(json!({"query": sql}), headers).await
    }

    pub async fn query_with(&self, body: Value, headers: Headers<'_>) -> Reply {
        let mut all = vec![("x-ms-documentdb-isquery", "True"), ("content-type", "application/query+json")];
        all.extend_from_slice(headers);
        self.send("POST", DOCS, &all, body.to_string()).await
    }

    /// All pages of a query.
    pub async fn query_all(&self, sql: &str, headers: Headers<'_>) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut continuation: Option<String> = None;
        loop {
            let mut all = headers.to_vec();
            if let Some(token) = &continuation {
                all.push(("x-ms-continuation", token));
            }
            let page = self.query(sql, &all).await.expect(200);
            rows.extend(page.documents());
            continuation = page.header("x-ms-continuation").map(str::to_owned);
            if continuation.is_none() {
                return rows;
            }
        }
    }

    /// Stores a procedure.
    pub async fn procedure(&self, id: &str, body: &str) {
        self.post(SPROCS, &[], json!({"id": id, "body": body})).await.expect(201);
    }

    pub async fn execute(&self, id: &str, pk: &str, arguments: Value) -> Reply {
        self.post(&format!("{SPROCS}/{id}"), &[(PK, &json!([pk]).to_string())], arguments).await
    }
}

pub const PK: &str = "x-ms-documentdb-partitionkey";
pub const DOCS: &str = "dbs/d/colls/c/docs";
pub const SPROCS: &str = "dbs/d/colls/c/sprocs";
pub const CROSS: (&str, &str) = ("x-ms-documentdb-query-enablecrosspartition", "True");

pub fn token(key: &str, verb: &str, kind: &str, link: &str, date: &str) -> String {
    let payload = format!("{}\n{kind}\n{link}\n{}\n\n", verb.to_lowercase(), date.to_lowercase());
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
    mac.update(payload.as_bytes());
    let token = format!("type=master&ver=1.0&sig={}", STANDARD.encode(mac.finalize().into_bytes()));
    utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string()
}

pub fn signed_resource(path: &str) -> (&str, String) {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.is_empty() {
        return ("", String::new());
    }
    if segments.len().is_multiple_of(2) {
        (segments[segments.len() - 2], segments.join("/"))
    } else {
        (segments[segments.len() - 1], segments[..segments.len() - 1].join("/"))
    }
}

pub async fn start() -> (Emulator, Client) {
    start_with(Emulator::builder()).await
}

pub async fn start_with(builder: Builder) -> (Emulator, Client) {
    let emulator = builder.start().await.unwrap();
    let client = Client::new(&emulator);
    (emulator, client)
}

/// An emulator with the container of [`Client::setup`].
pub async fn container() -> (Emulator, Client) {
    let (emulator, client) = start().await;
    client.setup().await;
    (emulator, client)
}
