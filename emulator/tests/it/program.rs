//! The `cosmos-emulator` program: its output, its ends, and what is on disk afterwards.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cosmos_emulator::WELL_KNOWN_KEY;
use serde_json::json;

use crate::support::Client;

struct Program {
    child: Child,
    ready: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        Self { child, ready }
    }

    fn client(&self, key: &str) -> Client {
        let endpoint = self.ready.split("endpoint=").nth(1).unwrap().split_whitespace().next().unwrap();
        Client::to(endpoint, key)
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cosmos-emulator"));
    command.args(arguments);
    command
}

/// A directory of its own for each test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cosmos-emulator-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = command(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    (child.wait().unwrap().code(), message)
}

#[tokio::test]
async fn says_where_it_is_and_ends_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start(&["--port", "0"]);
        assert!(program.ready.contains(WELL_KNOWN_KEY), "{}", program.ready);
        program.client(WELL_KNOWN_KEY).get("", &[]).await.expect(200);
        assert_eq!(program.signal(signal), Some(0));
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn writes_the_certificate_to_trust() {
    let directory = Directory::new("certificate");
    std::fs::create_dir(directory.path()).unwrap();
    let file = format!("{}/certificate.pem", directory.path());
    let program = Program::start(&["--port", "0", "--tls", "--tls-certificate-out", &file]);
    let pem = std::fs::read(&file).unwrap();
    let trusting = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    let endpoint = program.client(WELL_KNOWN_KEY).endpoint;
    assert!(endpoint.starts_with("https://"), "{endpoint}");
    Client::with(trusting, &endpoint, WELL_KNOWN_KEY).get("", &[]).await.expect(200);
    let (code, message) =
        failure(&["--port", "0", "--tls", "--tls-certificate-out", &format!("{}/none/x", directory.path())]);
    assert_eq!(code, Some(1));
    assert!(message.contains("cannot write the certificate"), "{message}");
    assert_eq!(failure(&["--port", "0", "--tls-certificate-out", &file]).0, Some(2));
}

#[tokio::test]
async fn keeps_other_keys_to_itself() {
    let program = Program::start(&["--port", "0", "--key", "c2VjcmV0"]);
    assert!(!program.ready.contains("c2VjcmV0"), "{}", program.ready);
    program.client("c2VjcmV0").get("", &[]).await.expect(200);
    program.client(WELL_KNOWN_KEY).get("", &[]).await.expect(401);
}

#[tokio::test]
async fn says_why_it_cannot_start() {
    let program = Program::start(&["--port", "0"]);
    let port = program.client("").endpoint.rsplit(':').next().unwrap().to_owned();
    let (code, message) = failure(&["--port", &port]);
    assert_eq!(code, Some(1));
    assert!(message.contains("cannot listen on"), "{message}");
    let (code, message) = failure(&["--port", "0", "--key", "!!!"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("base64"), "{message}");
    let (code, message) = failure(&["--port", "0", "--data-dir", "/proc/nowhere"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("/proc/nowhere"), "{message}");
    let (code, _) = failure(&["--nonsense"]);
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = Directory::new("restart");
    let arguments = ["--port", "0", "--partitions", "3", "--data-dir", directory.path()];
    let mut program = Program::start(&arguments);
    let client = program.client(WELL_KNOWN_KEY);
    client.setup_with(json!({"defaultTtl": -1})).await;
    client.post("dbs", &[], json!({"id": "gone"})).await.expect(201);
    client.delete("dbs/gone", &[]).await.expect(204);
    client.procedure("p", "function () { getContext().getResponse().setBody(7) }").await;
    for at in 0..20 {
        client.create(json!({"id": format!("{at}"), "pk": "a", "n": at})).await.expect(201);
    }
    client.delete("dbs/d/colls/c/docs/3", &[("x-ms-documentdb-partitionkey", "[\"a\"]")]).await.expect(204);
    let container = client.get("dbs/d/colls/c", &[]).await.expect(200).json();
    let document = client.read("a", "5").await.expect(200);
    assert_eq!(program.signal("-TERM"), Some(0));

    let program = Program::start(&arguments[..]);
    let client = program.client(WELL_KNOWN_KEY);
    assert_eq!(client.get("dbs", &[]).await.expect(200).json()["_count"], 1);
    assert_eq!(client.get("dbs/d/colls/c", &[]).await.expect(200).json(), container);
    let again = client.read("a", "5").await.expect(200);
    assert_eq!(again.json(), document.json());
    assert_eq!(again.header("x-ms-session-token"), document.header("x-ms-session-token"));
    assert_eq!(client.execute("p", "a", json!([])).await.expect(200).text, "7");
    let key = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    assert_eq!(client.query_all("SELECT * FROM c WHERE c.n >= 0", &[key]).await.len(), 19);
    let new = client.create(json!({"id": "new", "pk": "a"})).await.expect(201).json();
    assert!(
        client
            .query_all("SELECT VALUE c._rid FROM c WHERE c.id != 'new'", &[key])
            .await
            .iter()
            .all(|rid| *rid != new["_rid"])
    );
    let ranges = client.get("dbs/d/colls/c/pkranges", &[]).await.expect(200).json();
    assert_eq!(ranges["_count"], 3);
}

/// What was answered is on disk, and a run of a procedure is there completely or not at all.
#[tokio::test]
async fn survives_being_killed() {
    let directory = Directory::new("kill");
    let arguments = ["--port", "0", "--data-dir", directory.path()];
    let mut program = Program::start(&arguments);
    let client = program.client(WELL_KNOWN_KEY);
    client.setup().await;
    client
        .procedure(
            "pair",
            r"
        function (n) {
            var collection = getContext().getCollection();
            ['left', 'right'].forEach(function (side) {
                collection.createDocument(collection.getSelfLink(), { id: side + n, pk: 'a', n: n });
            });
        }",
        )
        .await;
    let (endpoint, key) = (client.endpoint.clone(), client.key.clone());
    let (report, answered) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::to(&endpoint, &key);
            for n in 0..100_000 {
                if client.execute("pair", "a", json!([n])).await.status != 200 || report.send(n).is_err() {
                    return;
                }
            }
        });
    });
    let mut last = 0;
    while last < 40 {
        last = answered.recv().unwrap();
    }
    program.signal("-KILL");
    let _ = writer.join();
    last = answered.try_iter().last().unwrap_or(last);

    let program = Program::start(&arguments);
    let client = program.client(WELL_KNOWN_KEY);
    let key = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    let mut sides = std::collections::BTreeMap::<u64, usize>::new();
    for n in client.query_all("SELECT VALUE c.n FROM c", &[key]).await {
        *sides.entry(n.as_u64().unwrap()).or_default() += 1;
    }
    assert!(sides.values().all(|count| *count == 2), "{sides:?}");
    assert!((0..=last).all(|n| sides.contains_key(&n)), "{last} {sides:?}");
    assert!(Path::new(directory.path()).exists());
}
