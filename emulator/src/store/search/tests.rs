//! Whatever way the documents are found, the rows and their order are the same.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::script::ScriptSyntax;
use crate::store::{Account, Clock, Isolation, Journal, PartitionKey, ScriptSettings, Shared, Transaction};

const DOCUMENTS: u64 = 400;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn value(&mut self) -> String {
        const RARE: [&str; 8] = ["null", "true", "false", "\"a\"", "\"b\"", "[1]", "{\"z\":1}", "-0.5"];
        match self.below(10) {
            0 | 1 => RARE[usize::try_from(self.below(8)).unwrap()].to_owned(),
            _ => self.below(30).to_string(),
        }
    }
}

/// A container with one partition of random documents, after creates, replaces and deletes.
async fn random_container() -> (Arc<Container>, PartitionKey) {
    let shared = Shared {
        scripts: ScriptSettings::new(ScriptSyntax::Any, Duration::MAX),
        clock: Clock::default(),
        isolation: Isolation::Serial.into(),
        journal: Journal::default(),
        partitions: 1,
        enforce_throughput: false,
    };
    let account = Account::new(shared);
    let _ = account.create_database(&Value::parse(br#"{"id":"d"}"#).unwrap(), None).unwrap();
    let body = br#"{"id":"c","partitionKey":{"paths":["/pk"],"version":2}}"#;
    let (container, _) = account.create_container("d", &Value::parse(body).unwrap(), None).unwrap();
    let definition = container.meta();
    let mut random = Random(7);
    for partition in ["a", "b"] {
        let pk = Value::parse(format!("{{\"pk\":\"{partition}\"}}").as_bytes()).unwrap();
        let key = definition.definition.partition_key.key_of(&pk).unwrap();
        for at in 0..DOCUMENTS * 2 {
            let mut txn = Transaction::begin(&container, key.clone()).await;
            let id = format!("{:03}", random.below(DOCUMENTS));
            if at % 5 == 4 {
                let _ = txn.delete(&id, None);
            } else {
                let mut text = format!("{{\"id\":\"{id}\",\"pk\":\"{partition}\",\"at\":{at}");
                for name in ["x", "y"] {
                    if random.below(8) > 0 {
                        text += &format!(",\"{name}\":{}", random.value());
                    }
                }
                txn.upsert(&Value::parse((text + "}").as_bytes()).unwrap(), None).unwrap();
            }
            txn.commit().unwrap();
        }
    }
    let pk = Value::parse(br#"{"pk":"a"}"#).unwrap();
    let key = definition.definition.partition_key.key_of(&pk).unwrap();
    (container, key)
}

/// All pages of a query, and the documents that were looked at for them.
fn rows(source: &dyn Fn() -> Source<'static>, sql: &str, page_rows: usize) -> (Vec<String>, usize) {
    let query = Query::parse(sql).unwrap();
    let (mut rows, mut start, mut documents) = (Vec::new(), None, 0);
    loop {
        let search = Search { source: source(), now: i64::MAX, page_rows, start };
        let found = search.query(&query, &Context::default()).unwrap();
        rows.extend(found.rows);
        documents += found.work.documents;
        match found.next {
            Some(next) => start = Some(next),
            None => return (rows, documents),
        }
    }
}

/// A page takes up where the last one ended: the pages of a query together look at little more than one long page.
#[tokio::test]
async fn pages_look_at_no_document_again() {
    let (container, key) = random_container().await;
    let container: &'static Container = Box::leak(Box::new(container));
    let key: &'static PartitionKey = Box::leak(Box::new(key));
    let live = || Source::Live { container, scope: Scope::Partition(key.clone()) };
    for (sql, looked_at) in [
        ("SELECT c.id FROM c", 1),
        ("SELECT c.id FROM c WHERE c.at > 300", 1),
        ("SELECT c.id FROM c WHERE c.x IN (1, 2, 3) OR c.y = 5", 1),
        ("SELECT TOP 100 c.id FROM c", 1),
        ("SELECT c.id FROM c OFFSET 30 LIMIT 60", 1),
        // Each page reads a few more than it shows.
        ("SELECT c.id FROM c WHERE c.at > 300 ORDER BY c.at", 3),
        ("SELECT c.id FROM c ORDER BY c.at DESC", 3),
        ("SELECT TOP 100 c.id FROM c ORDER BY c.at DESC", 3),
    ] {
        let (one, at_once) = rows(&live, sql, 1000);
        let (all, in_pages) = rows(&live, sql, 10);
        assert!(one.len() > 30 && all == one, "{sql}: {} and {} rows", all.len(), one.len());
        // A page ends with the first document that does not fit.
        let most = looked_at * at_once + one.len() / 10 + 10;
        assert!(in_pages <= most, "{sql}: {in_pages} documents in pages, {at_once} at once");
    }
}

/// TOP and LIMIT end a scan.
#[tokio::test]
async fn limits_end_the_search() {
    let (container, key) = random_container().await;
    let container: &'static Container = Box::leak(Box::new(container));
    let key: &'static PartitionKey = Box::leak(Box::new(key));
    let live = || Source::Live { container, scope: Scope::Partition(key.clone()) };
    for sql in [
        "SELECT TOP 5 c.id FROM c",
        "SELECT TOP 5 c.id FROM c WHERE c.at > 100",
        "SELECT c.id FROM c WHERE c.at > 100 OFFSET 2 LIMIT 3",
        "SELECT TOP 0 c.id FROM c",
    ] {
        let (found, examined) = rows(&live, sql, 1000);
        assert!(found.len() <= 5 && examined <= 5, "{sql}: {examined} documents for {found:?}");
    }
}

#[tokio::test]
async fn index_and_scan_agree_to_the_order_of_equals() {
    let (container, key) = random_container().await;
    // Leaked: the searches of this test borrow them for its whole run.
    let container: &'static Container = Box::leak(Box::new(container));
    let key: &'static PartitionKey = Box::leak(Box::new(key));
    let current: &'static Arc<Partition> = Box::leak(Box::new(container.snapshot(key)));
    // A copy is no longer what the index describes, so it is scanned.
    let copy: &'static Arc<Partition> = Box::leak(Box::new(Arc::new((**current).clone())));
    let live = || Source::Live { container, scope: Scope::Partition(key.clone()) };
    let snapshot = || Source::Snapshot { container, key, partition: current };
    let scan = || Source::Snapshot { container, key, partition: copy };
    let either = "SELECT c.id FROM c WHERE (c.x = 5 AND c.id > '1') OR c.y = 5 OR c.y = 6";
    let (found, examined) = rows(&live, either, 1000);
    assert!(examined < 80, "{examined} documents for {} rows", found.len());
    let mut fewer = 0;
    for filter in [
        "c.x = 5",
        "c.x > 20",
        "c.x >= 3 AND c.x < 9",
        "c.x = 'a'",
        "c.x = null",
        "c.x IN (1, 1, 2, 'b', null)",
        "c.x BETWEEN 2 AND 6",
        "c.x = 5 OR c.y = 5",
        "(c.x > 27 AND c.y != 3) OR (c.y < 2 AND c.id > '1')",
        "(c.x = 5 OR c.y > 28) AND c.x != 7",
        "c.x = 5 OR c.y != 5",
        "c.x = 5 OR c.at IN (1, 2) OR c.id = '007'",
        "c.x != 5",
        "c.x > 4 AND c.y = 7",
        "c.x <= 'a'",
        "c.x = [1]",
        "IS_DEFINED(c.x)",
        "c.id >= '100'",
        "STARTSWITH(c.id, '01')",
        "c.x = 1000",
        "c.x < 1000 AND c.y < 3",
        "true",
    ] {
        for order in [
            "",
            "OFFSET 3 LIMIT 20",
            "ORDER BY c.x OFFSET 3 LIMIT 20",
            "ORDER BY c.x",
            "ORDER BY c.x DESC",
            "ORDER BY c.y",
            "ORDER BY c.id DESC",
        ] {
            for select in
                ["SELECT c.id, c.x", "SELECT TOP 7 c.id, c.x", "SELECT DISTINCT c.x", "SELECT VALUE COUNT(1)"]
            {
                let sql = format!("{select} FROM c WHERE {filter} {order}");
                if Query::parse(&sql).is_err() {
                    continue;
                }
                let (expected, scanned) = rows(&scan, &sql, 1000);
                for page_rows in [3, 1000] {
                    let (found, _) = rows(&snapshot, &sql, page_rows);
                    assert_eq!(found, expected, "{sql} in pages of {page_rows}");
                }
                let (found, examined) = rows(&live, &sql, 1000);
                assert_eq!(found, expected, "{sql}");
                assert!(examined <= scanned, "{sql}: {examined} of {scanned}");
                fewer += usize::from(examined < scanned);
            }
        }
    }
    assert!(fewer > 50, "the index helped {fewer} times only");
}
