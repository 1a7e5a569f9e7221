#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("cosmos-persist-{name}-{}", uuid::Uuid::new_v4()));
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn put(key: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

fn delete(key: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.as_bytes().to_vec(), None)
}

fn text(rows: &Rows) -> Vec<String> {
    rows.iter()
        .map(|(key, value)| format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
        .collect()
}

fn wait(receiver: oneshot::Receiver<Result<(), PersistError>>) -> Result<(), PersistError> {
    receiver.blocking_recv().unwrap()
}

#[test]
fn commits_are_there_after_reopening() {
    let dir = Scratch::new("reopen");
    let (disk, rows) = Disk::open(&dir.0.join("not/yet/there")).unwrap();
    assert!(rows.is_empty());
    wait(disk.commit(vec![put("b", "1"), put("a", "1")])).unwrap();
    // Nobody waits for these; dropping the disk does.
    drop(disk.commit(vec![put("a", "2"), delete("b"), put("c", ""), delete("never")]));
    drop(disk.commit(vec![put("d", "x"), put("d", "y")]));
    drop(disk.commit(Vec::new()));
    drop(disk);
    let (_disk, rows) = Disk::open(&dir.0.join("not/yet/there")).unwrap();
    assert_eq!(text(&rows), ["a=2", "c=", "d=y"]);
}

#[test]
fn commits_keep_their_order() {
    let dir = Scratch::new("order");
    let (disk, _) = Disk::open(&dir.0).unwrap();
    let waiting: Vec<_> = (0..500).map(|i| disk.commit(vec![put("last", &i.to_string())])).collect();
    for receiver in waiting {
        wait(receiver).unwrap();
    }
    drop(disk);
    let (_disk, rows) = Disk::open(&dir.0).unwrap();
    assert_eq!(text(&rows), ["last=499"]);
}

#[test]
fn one_emulator_a_directory() {
    let dir = Scratch::new("lock");
    let (disk, _) = Disk::open(&dir.0).unwrap();
    let error = Disk::open(&dir.0).unwrap_err();
    assert!(matches!(error, PersistError::InUse(_)));
    assert!(error.to_string().contains(dir.0.to_str().unwrap()), "{error}");
    drop(disk);
    assert!(Disk::open(&dir.0).is_ok());
}

#[test]
fn newer_formats_are_refused_and_left_alone() {
    let dir = Scratch::new("newer");
    drop(Disk::open(&dir.0).unwrap());
    let set = |format: u64| {
        let database = Database::open(dir.0.join(FILE)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(FORMAT, format).unwrap();
        transaction.commit().unwrap();
    };
    set(CURRENT_FORMAT + 1);
    for _ in 0..2 {
        let message = Disk::open(&dir.0).unwrap_err().to_string();
        assert!(message.contains("has format 2") && message.contains(dir.0.to_str().unwrap()), "{message}");
    }
    set(CURRENT_FORMAT);
    assert!(Disk::open(&dir.0).is_ok());
}

#[test]
fn unusable_directories_are_named() {
    let dir = Scratch::new("unusable");
    std::fs::create_dir_all(&dir.0).unwrap();
    std::fs::write(dir.0.join(FILE), "not a database").unwrap();
    let message = Disk::open(&dir.0).unwrap_err().to_string();
    assert!(message.contains(dir.0.to_str().unwrap()), "{message}");
    // A file where a directory should be.
    assert!(matches!(Disk::open(&dir.0.join(FILE)), Err(PersistError::Open { .. })));
}

const CHILD_DIR: &str = "COSMOS_PERSIST_TEST_DIR";

/// Not a test by itself: the process that `kill -9` hits. Commits pairs and says which are durable.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (disk, _) = Disk::open(Path::new(&dir)).unwrap();
    let mut waiting = std::collections::VecDeque::new();
    for i in 0_u32.. {
        let writes = vec![put(&format!("a{i:08}"), "x"), put(&format!("b{i:08}"), &"y".repeat(1000))];
        waiting.push_back((i, disk.commit(writes)));
        if waiting.len() > 16 {
            let (done, receiver) = waiting.pop_front().unwrap();
            wait(receiver).unwrap();
            // Directly, as the test harness would keep what is printed.
            writeln!(std::io::stderr(), "durable {done}").unwrap();
        }
    }
}

#[test]
fn a_kill_loses_nothing_and_splits_nothing() {
    let dir = Scratch::new("kill");
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "persist::tests::child_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, &dir.0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let durable: Vec<u32> =
            lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).take(60).collect();
        child.kill().unwrap();
        child.wait().unwrap();

        let (disk, rows) = Disk::open(&dir.0).unwrap();
        let number = |prefix: u8| -> Vec<u32> {
            let keys = rows.iter().map(|(key, _)| String::from_utf8_lossy(key));
            keys.filter(|key| key.as_bytes()[0] == prefix).map(|key| key[1..].parse().unwrap()).collect()
        };
        let committed = number(b'a');
        assert_eq!(committed, number(b'b'), "half a commit");
        assert_eq!(durable.len(), 60);
        assert!(durable.iter().all(|done| committed.contains(done)), "a durable commit is missing");
        // A prefix of what was handed in: nothing later without everything earlier.
        assert_eq!(committed, (0..u32::try_from(committed.len()).unwrap()).collect::<Vec<_>>());
        let clear = rows.iter().map(|(key, _)| (key.clone(), None)).collect();
        wait(disk.commit(clear)).unwrap();
    }
}
