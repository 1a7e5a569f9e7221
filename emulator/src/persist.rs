//! Committed state on disk, behind the store in memory.
//!
//! One writer thread takes whatever commits are waiting, writes them in one durable transaction and then tells
//! those who wait: many commits share one flush of the disk, each is there completely or not at all, and what
//! was reported as done survives `kill -9`.
// Until the store uses it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

const FILE: &str = "cosmos.redb";
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The entry of `META` with the version of what `STATE` holds.
const FORMAT: &str = "format";
const CURRENT_FORMAT: u64 = 1;

/// The store keeps everything in memory, so a cache of the file is for the pages being written only.
const CACHE_BYTES: usize = 32 << 20;
/// Bounds how much one transaction of the writer takes on, and so how long the first in it waits.
const GROUP_BYTES: usize = 16 << 20;

/// Writes of one commit: a value, or none to delete the key.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
/// Everything that is stored.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Why the disk cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PersistError {
    /// Two processes on one file would overwrite each other.
    #[error("the data directory {} is in use by another emulator", .0.display())]
    InUse(PathBuf),
    /// Written by a newer emulator, which may mean something else by it.
    #[error(
        "the data directory {} has format {found}, but this emulator knows formats up to {CURRENT_FORMAT}: \
         use a newer emulator, or another directory",
        .dir.display()
    )]
    TooNew {
        /// The data directory.
        dir: PathBuf,
        /// The format of the file.
        found: u64,
    },
    /// The file cannot be opened or read.
    #[error("cannot use the data directory {}: {reason}", .dir.display())]
    Open {
        /// The data directory.
        dir: PathBuf,
        /// What the file system or the database said.
        reason: String,
    },
    /// A commit failed. Every later one does, too: on disk its predecessors are missing.
    #[error("cannot write to the data directory: {0}")]
    Write(String),
}

/// The data directory of an emulator. Dropping it waits for the commits that were handed in.
#[derive(Debug)]
pub(crate) struct Disk {
    // An option, so that `drop` can hang up before it joins.
    queue: Option<mpsc::Sender<Commit>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Commit {
    writes: Writes,
    done: oneshot::Sender<Result<(), PersistError>>,
}

impl Disk {
    /// Opens or creates the data directory, and reads what it holds, in the order of the keys.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Rows), PersistError> {
        let failed = |reason: &dyn std::fmt::Display| PersistError::Open {
            dir: dir.to_owned(),
            reason: reason.to_string(),
        };
        std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(dir.join(FILE)).map_err(|error| {
                match error {
                    DatabaseError::DatabaseAlreadyOpen => PersistError::InUse(dir.to_owned()),
                    error => failed(&error),
                }
            })?;
        let found = prepare(&database).map_err(|error| failed(&error))?;
        if found > CURRENT_FORMAT {
            return Err(PersistError::TooNew { dir: dir.to_owned(), found });
        }
        let rows = load(&database).map_err(|error| failed(&error))?;

        let (queue, commits) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("cosmos-disk".to_owned())
            .spawn(move || write_all(&database, &commits))
            .map_err(|error| failed(&error))?;
        Ok((Self { queue: Some(queue), writer: Some(writer) }, rows))
    }

    /// Hands in a commit. It is durable when the receiver says so. Commits are written in the order of the
    /// calls; a key that is written twice in one commit keeps the last value.
    pub(crate) fn commit(&self, writes: Writes) -> oneshot::Receiver<Result<(), PersistError>> {
        let (done, receiver) = oneshot::channel();
        let commit = Commit { writes, done };
        let refused = match &self.queue {
            Some(queue) => queue.send(commit).err().map(|unsent| unsent.0),
            None => Some(commit),
        };
        if let Some(commit) = refused {
            let _ = commit.done.send(Err(PersistError::Write("the writer has ended".to_owned())));
        }
        receiver
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by its panic message.
            let _ = writer.join();
        }
    }
}

/// Creates what a new file needs, and returns the format of the file.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut meta = transaction.open_table(META)?;
        let known = meta.get(FORMAT)?.map(|entry| entry.value());
        match known {
            Some(found) => found,
            None => {
                meta.insert(FORMAT, CURRENT_FORMAT)?;
                CURRENT_FORMAT
            }
        }
    };
    if found > CURRENT_FORMAT {
        // Leaves a newer file as it was.
        transaction.abort()?;
    } else {
        transaction.open_table(STATE)?;
        transaction.commit()?;
    }
    Ok(found)
}

fn load(database: &Database) -> Result<Rows, redb::Error> {
    let table = database.begin_read()?.open_table(STATE)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(rows)
}

/// The writer thread: until the other end hangs up and the queue is empty.
fn write_all(database: &Database, commits: &mpsc::Receiver<Commit>) {
    let mut outcome = Ok(());
    while let Ok(first) = commits.recv() {
        let group = gather(first, commits);
        if outcome.is_ok() {
            outcome = write(database, &group).map_err(|error| PersistError::Write(error.to_string()));
        }
        for commit in group {
            // The one who asked may have gone away.
            let _ = commit.done.send(outcome.clone());
        }
    }
}

/// Everything that is waiting already, up to a bound.
fn gather(first: Commit, commits: &mpsc::Receiver<Commit>) -> Vec<Commit> {
    let size = |commit: &Commit| -> usize {
        commit.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    };
    let mut bytes = size(&first);
    let mut group = vec![first];
    while bytes < GROUP_BYTES {
        let Ok(commit) = commits.try_recv() else { break };
        bytes += size(&commit);
        group.push(commit);
    }
    group
}

fn write(database: &Database, group: &[Commit]) -> Result<(), redb::Error> {
    // Durable when `commit` returns, which is the default of a transaction.
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(STATE)?;
        for (key, value) in group.iter().flat_map(|commit| &commit.writes) {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}
