//! Testing an application that uses a stored procedure: the application takes endpoint and key, the test gives it
//! those of an embedded emulator.
//!
//! `cargo run -p cosmos-emulator --example test_an_application`; `cargo test -p cosmos-emulator --examples` runs
//! the test.

use std::error::Error;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cosmos_emulator::Emulator;
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Moves money between two accounts of one bank, or moves nothing.
const TRANSFER: &str = r"function transfer(from, to, amount) {
    var collection = getContext().getCollection(), link = collection.getAltLink() + '/docs/';
    read(from, function (source) {
        if (source.balance < amount) throw new Error(4001, 'insufficient funds');
        source.balance -= amount;
        replace(source, function () {
            read(to, function (target) {
                target.balance += amount;
                replace(target, function () { getContext().getResponse().setBody(target.balance); });
            });
        });
    });
    function read(id, then) {
        check(collection.readDocument(link + id, function (err, doc) { if (err) throw err; then(doc); }));
    }
    function replace(doc, then) {
        check(collection.replaceDocument(doc._self, doc, { etag: doc._etag }, function (err) { if (err) throw err; then(); }));
    }
    function check(accepted) { if (!accepted) throw new Error(429, 'not accepted'); }
}";

/// The application: a bank in a container.
struct Bank {
    http: reqwest::Client,
    endpoint: String,
    key: String,
}

impl Bank {
    /// Opens the bank, and deploys what it needs.
    async fn open(endpoint: &str, key: &str) -> Result<Self> {
        let bank = Self { http: reqwest::Client::new(), endpoint: endpoint.into(), key: key.into() };
        let container =
            json!({"id": "accounts", "partitionKey": {"paths": ["/bank"], "kind": "Hash", "version": 2}});
        bank.deploy("dbs", "", "dbs", json!({"id": "bank"})).await?;
        bank.deploy("colls", "dbs/bank", "dbs/bank/colls", container).await?;
        let (owner, path) = ("dbs/bank/colls/accounts", "dbs/bank/colls/accounts/sprocs");
        bank.deploy("sprocs", owner, path, json!({"id": "transfer", "body": TRANSFER})).await?;
        Ok(bank)
    }

    /// Opens an account.
    async fn open_account(&self, id: &str, balance: i64) -> Result<()> {
        let owner = "dbs/bank/colls/accounts";
        let account = json!({"id": id, "bank": "b", "balance": balance});
        self.deploy("docs", owner, &format!("{owner}/docs"), account).await
    }

    /// Moves an amount; `false` when there is not enough of it. Gives an error where nothing was moved either.
    async fn transfer(&self, from: &str, to: &str, amount: i64) -> Result<bool> {
        let link = "dbs/bank/colls/accounts/sprocs/transfer";
        let (status, sub_status, body) =
            self.send("POST", "sprocs", link, link, Some(json!([from, to, amount]))).await?;
        match (status, sub_status) {
            (StatusCode::OK, _) => Ok(true),
            // What a procedure throws arrives as the sub-status of a 400.
            (StatusCode::BAD_REQUEST, 4001) => Ok(false),
            _ => Err(format!("transfer: {status}/{sub_status} {body}").into()),
        }
    }

    /// The balance of an account.
    async fn balance(&self, id: &str) -> Result<i64> {
        let link = format!("dbs/bank/colls/accounts/docs/{id}");
        let (status, _, account) = self.send("GET", "docs", &link, &link, None).await?;
        account["balance"].as_i64().ok_or_else(|| format!("balance: {status}").into())
    }

    /// Creates something that may be there already.
    async fn deploy(&self, kind: &str, owner: &str, path: &str, body: Value) -> Result<()> {
        match self.send("POST", kind, owner, path, Some(body)).await? {
            (StatusCode::CREATED | StatusCode::CONFLICT, _, _) => Ok(()),
            (status, _, body) => Err(format!("{path}: {status} {body}").into()),
        }
    }

    /// A signed request: status, sub-status and body of the answer.
    async fn send(
        &self,
        verb: &str,
        kind: &str,
        link: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, u32, Value)> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let payload = format!("{}\n{kind}\n{link}\n{}\n\n", verb.to_lowercase(), date.to_lowercase());
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(&self.key)?)?;
        mac.update(payload.as_bytes());
        let token = format!("type=master&ver=1.0&sig={}", STANDARD.encode(mac.finalize().into_bytes()));
        let mut request = self
            .http
            .request(verb.parse()?, format!("{}/{path}", self.endpoint))
            .header("x-ms-version", "2018-12-31")
            .header("x-ms-date", date)
            .header("authorization", utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string())
            .header("x-ms-documentdb-partitionkey", r#"["b"]"#);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let sub_status =
            response.headers().get("x-ms-substatus").and_then(|text| text.to_str().ok()?.parse().ok());
        let (status, text) = (response.status(), response.text().await?);
        Ok((status, sub_status.unwrap_or(0), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

/// The test: the application against an emulator of its own.
async fn money_moves_completely_or_not_at_all() -> Result<()> {
    let emulator = Emulator::builder().start().await?;
    let bank = Bank::open(emulator.endpoint(), emulator.key()).await?;
    bank.open_account("ada", 100).await?;
    bank.open_account("bob", 0).await?;

    assert!(bank.transfer("ada", "bob", 30).await?);
    assert_eq!((bank.balance("ada").await?, bank.balance("bob").await?), (70, 30));

    assert!(!bank.transfer("ada", "bob", 71).await?);
    // The receiver does not exist: the debit, written before that shows, is undone.
    assert!(bank.transfer("ada", "nobody", 10).await.is_err());
    assert_eq!((bank.balance("ada").await?, bank.balance("bob").await?), (70, 30));

    // A second start finds everything deployed.
    Bank::open(emulator.endpoint(), emulator.key()).await?;
    let transfer = emulator.stats().procedures["transfer"];
    println!("{} transfers, {:.2} RU", transfer.requests, transfer.request_units);
    emulator.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    money_moves_completely_or_not_at_all().await
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn money_moves() -> super::Result<()> {
        super::money_moves_completely_or_not_at_all().await
    }
}
