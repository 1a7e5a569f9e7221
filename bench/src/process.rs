//! A server process on this machine: started, watched, and ended with its owner.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Error, machine};

/// Ticks per second of `/proc/<pid>/stat`; the same on every Linux in use.
const TICKS: u64 = 100;

/// A running server.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `program`; what it prints is thrown away.
    pub(crate) fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, Error> {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Self).map_err(|error| Error::Io(program.display().to_string(), error))
    }

    /// Resident memory in KB.
    pub(crate) fn memory_kb(&self) -> Option<u64> {
        let text = machine::field(&format!("/proc/{}/status", self.0.id()), "VmRSS")?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Processor time so far, of all threads, in user and kernel mode.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).ok()?;
        // Behind the name, which may contain anything; there the 12th and 13th are user and system time.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11..13)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Duration::from_millis(ticks * 1000 / TICKS))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TCP port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Error> {
    let port = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
    port().map(|address| address.port()).map_err(|error| Error::Io("free port".to_owned(), error))
}
