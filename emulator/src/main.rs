//! The `cosmos-emulator` program.

use std::io::Write;
use std::net::IpAddr;
#[cfg(any(feature = "persist", feature = "tls"))]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cosmos_emulator::{Emulator, ScriptSyntax, WELL_KNOWN_KEY};

/// Azure Cosmos DB for NoSQL emulator that runs stored procedures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// TCP port; 0 takes a free one.
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Directory to keep data in; without it data is lost at the end.
    #[cfg(feature = "persist")]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Account key as base64 text; the well-known emulator key by default.
    #[arg(long)]
    key: Option<String>,
    /// Physical partitions of a new container.
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// Refuse requests beyond the provisioned throughput with 429.
    #[arg(long)]
    enforce_throughput: bool,
    /// Serve HTTPS with a certificate made at the start.
    #[cfg(feature = "tls")]
    #[arg(long)]
    tls: bool,
    /// File to write the certificate to, as PEM; for clients to trust.
    #[cfg(feature = "tls")]
    #[arg(long, requires = "tls", value_name = "FILE")]
    tls_certificate_out: Option<PathBuf>,
    /// What becomes of scripts in a language that is newer than the service's engine.
    #[arg(long, value_enum, default_value_t = Syntax::Warn)]
    script_syntax: Syntax,
    /// Answer /_emulator/: counters, request log, faults. Without authorization; loopback addresses only.
    #[arg(long)]
    control: bool,
}

/// `ScriptSyntax` as it is typed.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Syntax {
    Any,
    Warn,
    Refuse,
}

impl From<Syntax> for ScriptSyntax {
    fn from(syntax: Syntax) -> Self {
        match syntax {
            Syntax::Any => Self::Any,
            Syntax::Warn => Self::Warn,
            Syntax::Refuse => Self::Refuse,
        }
    }
}

/// Exit code when the emulator cannot start; wrong arguments give clap's 2.
const CANNOT_START: u8 = 1;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Standard output carries the ready line alone.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "cosmos-emulator: {message}");
            ExitCode::from(CANNOT_START)
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let mut builder = Emulator::builder()
        .address(arguments.host)
        .port(arguments.port)
        .partitions(arguments.partitions)
        .script_syntax(arguments.script_syntax.into())
        .control(arguments.control)
        .enforce_throughput(arguments.enforce_throughput);
    if let Some(key) = &arguments.key {
        builder = builder.key(key);
    }
    #[cfg(feature = "persist")]
    if let Some(path) = &arguments.data_dir {
        builder = builder.data_dir(path);
    }
    #[cfg(feature = "tls")]
    {
        builder = builder.tls(arguments.tls);
    }
    // Before the ready line: whoever reads it may stop the program at once.
    let stop = stop_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let emulator = builder.start().await.map_err(|error| error.to_string())?;
    #[cfg(feature = "tls")]
    if let (Some(path), Some(certificate)) = (&arguments.tls_certificate_out, emulator.certificate_pem()) {
        std::fs::write(path, certificate)
            .map_err(|error| format!("cannot write the certificate to {}: {error}", path.display()))?;
    }
    let key = if emulator.key() == WELL_KNOWN_KEY { WELL_KNOWN_KEY } else { "(as given)" };
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "cosmos-emulator ready: endpoint={} key={key}", emulator.endpoint());
    let _ = stdout.flush();
    stop.await;
    emulator.shutdown().await;
    Ok(())
}

/// Resolves at Ctrl-C or a request to terminate.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
