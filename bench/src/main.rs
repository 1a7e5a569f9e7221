//! Measures what this workspace contains, from the outside, and writes the figures down.
//!
//! * `cargo run --release -p bench` compares the provider with others: see [`provider`].
//! * `cargo run --release -p bench -- emulator` measures the emulator: see [`emulator`].

mod client;
mod emulator;
mod load;
mod machine;
mod process;
mod provider;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what this workspace contains; without a subcommand: the provider beside others.
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    subject: Option<Subject>,
    #[command(flatten)]
    provider: provider::Options,
}

#[derive(Subcommand)]
enum Subject {
    /// The emulator, over HTTP.
    Emulator(emulator::Options),
    /// One of the processes that share the work; started by the comparison itself.
    #[command(hide = true)]
    Worker(provider::Worker),
}

/// What keeps a measurement from being made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("cannot build a request: {0}")]
    Request(#[from] http::Error),
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An error of a library whose type does not matter here.
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    let failed = |error| Error::Io("Tokio runtime".to_owned(), error);
    let threads = |mut builder: tokio::runtime::Builder| builder.enable_all().build().map_err(failed);
    let (one, many) =
        (tokio::runtime::Builder::new_current_thread, tokio::runtime::Builder::new_multi_thread);
    match arguments.subject {
        // One thread: what the client leaves of the machine belongs to the server.
        Some(Subject::Emulator(options)) => threads(one())?.block_on(emulator::run(options)),
        Some(Subject::Worker(worker)) => threads(many())?.block_on(worker.run()),
        None => threads(many())?.block_on(provider::run(arguments.provider)),
    }
}
