//! What is asked of a server, and the data it is asked about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::Error;
use crate::client::{Call, Client};
use crate::load::Measured;

/// The database everything happens in.
const DATABASE: &str = "bench";
/// Documents of one partition key.
const PER_PARTITION: u64 = 100;
/// Rows of the narrow range.
const RANGE: u64 = 20;
/// Fills the document up to about half a kilobyte, system properties included.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, again and again, until the document has the \
                    length of a small order with an address and a few lines. ";
/// A server that takes longer to fill is not measured.
const FILL_LIMIT: Duration = Duration::from_secs(300);

/// Five reads and five replaces, one after another, as a procedure that guards its documents by etag does it.
const PROCEDURE: &str = r"function (ids) {
    var collection = getContext().getCollection(), link = collection.getAltLink() + '/docs/';
    next(0);
    function next(at) {
        if (at === ids.length) { getContext().getResponse().setBody(at); return; }
        check(collection.readDocument(link + ids[at], function (err, doc) {
            if (err) throw err;
            doc.visits = (doc.visits || 0) + 1;
            check(collection.replaceDocument(doc._self, doc, { etag: doc._etag }, function (err) {
                if (err) throw err;
                next(at + 1);
            }));
        }));
    }
    function check(accepted) { if (!accepted) throw new Error('not accepted'); }
}";

/// Database, containers and the procedure. What is there already stays.
pub(super) async fn setup(client: &Client) -> Result<(), Error> {
    let mut connection = client.connect().await?;
    connection.ensure("dbs".into(), &json!({ "id": DATABASE })).await?;
    for id in ["large", "small"] {
        let partition_key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
        let container = json!({"id": id, "partitionKey": partition_key});
        connection.ensure(format!("dbs/{DATABASE}/colls"), &container).await?;
        let procedure = json!({"id": "ten", "body": PROCEDURE});
        let path = format!("dbs/{DATABASE}/colls/{id}/sprocs");
        // A server without procedures shows that in the table.
        let _ = connection.ensure(path, &procedure).await;
    }
    Ok(())
}

/// A container and how much is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    pub(super) container: &'static str,
    pub(super) documents: u64,
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workload {
    PointRead,
    Create,
    Upsert,
    EqualityQuery,
    RangeQuery,
    TopQuery,
    Procedure,
}

impl Workload {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PointRead => "point read",
            Self::Create => "create",
            Self::Upsert => "upsert",
            Self::EqualityQuery => "query: equality, 1 of all",
            Self::RangeQuery => "query: range, 20 of all",
            Self::TopQuery => "query: TOP 10 ORDER BY",
            Self::Procedure => "procedure: 10 operations",
        }
    }

    /// The request `number` of a worker.
    pub(super) fn call(self, data: Data, worker: usize, number: u64) -> Call {
        let at = spread(worker, number) % data.documents.max(1);
        match self {
            Self::PointRead => Call::new("GET", format!("{}/{}", data.docs(), id(at)), String::new()).key(at),
            Self::Create => {
                // Beyond everything that is stored, in new partitions.
                static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
                data.create(NEXT.fetch_add(1, Ordering::Relaxed))
            }
            Self::Upsert => data.create(at).header("x-ms-documentdb-is-upsert", "True"),
            Self::EqualityQuery => data.query("SELECT * FROM c WHERE c.n = @from", &[("@from", at)]),
            Self::RangeQuery => data.query(
                "SELECT * FROM c WHERE c.n >= @from AND c.n < @to",
                &[("@from", at.min(data.documents.saturating_sub(RANGE))), ("@to", at + RANGE)],
            ),
            Self::TopQuery => data.query("SELECT TOP 10 * FROM c ORDER BY c.n DESC", &[]),
            Self::Procedure => {
                let first = at / PER_PARTITION * PER_PARTITION;
                let ids: Vec<String> =
                    (0..5).map(|step| id(first + (at + step * 7) % PER_PARTITION)).collect();
                let path = format!("{}/sprocs/ten", data.link());
                Call::new("POST", path, json!([ids]).to_string())
                    .key(at)
                    .header("content-type", "application/json")
            }
        }
    }
}

impl Call {
    /// Names the partition of document `at`.
    fn key(self, at: u64) -> Self {
        self.header("x-ms-documentdb-partitionkey", format!("[\"{}\"]", partition(at)))
    }
}

impl Data {
    fn link(self) -> String {
        format!("dbs/{DATABASE}/colls/{}", self.container)
    }

    fn docs(self) -> String {
        format!("{}/docs", self.link())
    }

    fn create(self, at: u64) -> Call {
        Call::new("POST", self.docs(), document(at).to_string())
            .key(at)
            .header("content-type", "application/json")
    }

    /// A query on the one physical partition, which serves every form of it.
    fn query(self, text: &str, parameters: &[(&str, u64)]) -> Call {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let body = json!({"query": text, "parameters": parameters}).to_string();
        Call::new("POST", self.docs(), body)
            .header("content-type", "application/query+json")
            .header("x-ms-documentdb-isquery", "True")
            .header("x-ms-documentdb-query-enablecrosspartition", "True")
            .header("x-ms-documentdb-partitionkeyrangeid", "0")
    }

    /// Stores the documents, unless they are there.
    pub(super) async fn fill(self, client: &Client, connections: usize) -> Result<(), Error> {
        let mut workers = Vec::new();
        for _ in 0..connections {
            workers.push(client.connect().await?);
        }
        let step = connections as u64;
        let measured = Measured::run(workers, FILL_LIMIT, async move |connection, worker, number| {
            let at = worker as u64 + number * step;
            if at >= self.documents {
                return Ok(None);
            }
            connection.send(&self.create(at)).await.map(Some)
        })
        .await?;
        match measured.failed_with {
            None | Some(409) => Ok(()),
            Some(status) => Err(Error::Other(format!("storing documents: status {status}"))),
        }
    }
}

fn id(at: u64) -> String {
    format!("document-{at:08}")
}

fn partition(at: u64) -> String {
    format!("p{:06}", at / PER_PARTITION)
}

fn document(at: u64) -> serde_json::Value {
    json!({
        "id": id(at),
        "pk": partition(at),
        "n": at,
        "kind": "order",
        "open": at.is_multiple_of(3),
        "customer": {"name": format!("customer {}", at % 5000), "city": "Bern"},
        "tags": ["a", "b"],
        "text": TEXT,
    })
}

/// Numbers all over the place, the same ones in every run.
fn spread(worker: usize, number: u64) -> u64 {
    let seed = (worker as u64) << 40 | number;
    seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}
