//! Measures what this workspace contains, from the outside, and writes the figures down.
//!
//! `cargo run --release -p bench -- emulator` measures the emulator: see [`emulator`].

mod emulator;
mod load;
mod machine;
mod process;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what this workspace contains.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// The emulator, over HTTP.
    Emulator(emulator::Options),
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

// One thread: what the client leaves of the machine belongs to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Arguments::parse().subject {
        Subject::Emulator(options) => emulator::run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
