//! The servers that are measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Error;
use crate::client::{Call, Client};
use crate::process::{Process, free_port};

/// The key that all emulators know.
pub(super) const WELL_KNOWN_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";
/// Plain HTTP, as the emulator speaks it.
pub(super) const VERCEL_ARGUMENTS: &[&str] = &["--no-ssl"];
/// How often a start is measured.
const STARTS: usize = 7;
/// A server that is not ready by then is given up.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks whether a server is ready: small against what is measured.
const LOOK: Duration = Duration::from_micros(500);

/// A server to measure.
#[derive(Debug)]
pub(super) struct Server {
    /// `None` for one that somebody else has started.
    process: Option<Process>,
    client: Client,
}

impl Server {
    /// A server that runs already.
    pub(super) fn running(endpoint: &str, key: &str) -> Result<Self, Error> {
        Ok(Self { process: None, client: Client::new(endpoint, key)? })
    }

    /// Starts the emulator.
    pub(super) async fn emulator(binary: &Path, data: Option<&Path>) -> Result<Self, Error> {
        let data = data.map(|path| path.display().to_string());
        let arguments: Vec<&str> = data.iter().flat_map(|path| ["--data-dir", path]).collect();
        Ok(start(binary, &arguments).await?.0)
    }

    /// Starts `cosmosdb-server`.
    pub(super) async fn vercel(program: &Path) -> Result<Self, Error> {
        Ok(start(program, VERCEL_ARGUMENTS).await?.0)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Resident memory in KB, if it runs on this machine.
    pub(super) fn memory_kb(&self) -> Option<u64> {
        self.process.as_ref()?.memory_kb()
    }

    /// Processor time so far, if it runs on this machine.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.process.as_ref()?.cpu()
    }
}

/// How long a program takes from its start to its first answer; several times, ascending.
pub(super) async fn start_times(program: &Path, arguments: &[&str]) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(start(program, arguments).await?.1);
    }
    times.sort_unstable();
    Ok(times)
}

async fn start(program: &Path, arguments: &[&str]) -> Result<(Server, Duration), Error> {
    let port = free_port()?.to_string();
    let client = Client::new(&format!("http://127.0.0.1:{port}"), WELL_KNOWN_KEY)?;
    let started = Instant::now();
    let process = Process::start(program, arguments.iter().copied().chain(["--port", &port]))?;
    let account = Call::new("GET", String::new(), String::new());
    loop {
        if let Ok(mut connection) = client.connect().await
            && connection.send(&account).await?.status == 200
        {
            return Ok((Server { process: Some(process), client }, started.elapsed()));
        }
        if started.elapsed() > START_LIMIT {
            return Err(Error::Other(format!("{} does not answer", program.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Builds the emulator as this program was built, and says where it is.
pub(super) fn build_emulator() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|error| Error::Io("own path".to_owned(), error))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--package", "cosmos-emulator", "--bin", "cosmos-emulator"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().map_err(|error| Error::Io("cargo build".to_owned(), error))?;
    if !status.success() {
        return Err(Error::Other("the emulator does not build".to_owned()));
    }
    Ok(own.with_file_name("cosmos-emulator"))
}
