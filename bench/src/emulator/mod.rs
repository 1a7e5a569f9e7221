//! The emulator, or another server of the same interface, measured over HTTP from a process of its own.

mod report;
mod servers;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::Error;
use crate::client::Connection;
use crate::load::Measured;

use report::{Report, Row};
use servers::Server;
use workload::{Data, Workload};

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Concurrent connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Seconds per workload.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Documents at rest.
    #[arg(long, default_value_t = 100_000)]
    documents: u64,
    /// Documents at rest in the servers compared with: they fill slowly.
    #[arg(long, default_value_t = 10_000)]
    other_documents: u64,
    /// The emulator's program; built and taken from beside this one otherwise.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Measure a running server instead, such as http://127.0.0.1:8081.
    #[arg(long)]
    endpoint: Option<String>,
    /// Its account key; the emulators' well-known one by default.
    #[arg(long, default_value = servers::WELL_KNOWN_KEY)]
    key: String,
    /// What to call it in the table.
    #[arg(long, default_value = "endpoint")]
    label: String,
    /// Measure the `cosmosdb-server` program of the npm package @vercel/cosmosdb-server, too.
    #[arg(long, value_name = "PROGRAM")]
    compare_vercel: Option<PathBuf>,
    /// Only workloads whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Where the table is written.
    #[arg(long, default_value = "docs/benchmarks/emulator.md")]
    output: PathBuf,
}

impl Options {
    fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

/// Measures what the options ask for, prints the table and writes it down.
pub(crate) async fn run(options: Options) -> Result<(), Error> {
    let mut report = Report::new(&options);
    if let Some(endpoint) = &options.endpoint {
        let server = Server::running(endpoint, &options.key)?;
        measure(&options, &options.label, &server, options.documents, &mut report).await?;
    } else {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => servers::build_emulator()?,
        };
        if options.wants("start") {
            report.start("cosmos-emulator", servers::start_times(&binary, &[]).await?);
        }
        let server = Server::emulator(&binary, None).await?;
        measure(&options, "cosmos-emulator", &server, options.documents, &mut report).await?;
        drop(server);
        if options.wants("durable create") {
            durable(&options, &binary, &mut report).await?;
        }
    }
    if let Some(program) = &options.compare_vercel {
        let label = "vercel/cosmosdb-server";
        if options.wants("start") {
            report.start(label, servers::start_times(program, servers::VERCEL_ARGUMENTS).await?);
        }
        let server = Server::vercel(program).await?;
        measure(&options, label, &server, options.other_documents, &mut report).await?;
    }
    report.write(&options.output)
}

/// All workloads against one server.
async fn measure(
    options: &Options,
    label: &str,
    server: &Server,
    documents: u64,
    report: &mut Report,
) -> Result<(), Error> {
    let client = server.client();
    let large = Data { container: "large", documents };
    let small = Data { container: "small", documents: documents.min(1000) };
    eprintln!("{label}: storing {documents} documents");
    workload::setup(client).await?;
    small.fill(client, options.connections).await?;
    let before = server.memory_kb();
    large.fill(client, options.connections).await?;
    if let (Some(before), Some(after)) = (before, server.memory_kb()) {
        report.memory(label, documents, after.saturating_sub(before));
    }
    for (workload, data) in [
        (Workload::PointRead, large),
        (Workload::EqualityQuery, large),
        (Workload::RangeQuery, large),
        (Workload::RangeQuery, small),
        (Workload::TopQuery, large),
        (Workload::Procedure, large),
        (Workload::Upsert, large),
        (Workload::Create, large),
    ] {
        if options.wants(workload.name()) {
            let measured = one(options, server, workload, data).await?;
            report.row(Row::new(label, workload.name(), Some(data.documents), measured));
        }
    }
    Ok(())
}

/// Creates with every commit on disk before it is answered.
async fn durable(options: &Options, binary: &std::path::Path, report: &mut Report) -> Result<(), Error> {
    let directory = std::env::temp_dir().join(format!("cosmos-emulator-bench-{}", std::process::id()));
    let server = Server::emulator(binary, Some(&directory)).await?;
    workload::setup(server.client()).await?;
    let data = Data { container: "large", documents: 0 };
    let measured = one(options, &server, Workload::Create, data).await;
    drop(server);
    let _ = std::fs::remove_dir_all(&directory);
    report.row(Row::new("cosmos-emulator", "durable create (--data-dir)", Some(0), measured?));
    Ok(())
}

async fn one(options: &Options, server: &Server, workload: Workload, data: Data) -> Result<Measured, Error> {
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..options.connections {
        connections.push(server.client().connect().await?);
    }
    let cpu = server.cpu();
    let mut measured =
        Measured::run(connections, options.limit(), async move |connection, worker, number| {
            connection.send(&workload.call(data, worker, number)).await.map(Some)
        })
        .await?;
    measured.server_cpu = cpu.and_then(|before| server.cpu()?.checked_sub(before));
    eprintln!("  {} ({} documents at rest): {:.0}/s", workload.name(), data.documents, measured.rate());
    Ok(measured)
}
