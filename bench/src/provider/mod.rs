//! The provider beside others: the same workloads on each, through a proxy that counts requests and delays them.

mod code;
mod counts;
mod figures;
mod plots;
mod postgres;
mod progress;
mod proxy;
mod report;
mod site;
mod targets;
mod trial;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::Error;

use figures::Figures;
use progress::Progress;
use site::Kind;
pub(crate) use workload::processes::Worker;
use workload::{Case, Limits, Workload};

/// Where the whole table is kept.
const OUTPUT: &str = "docs/benchmarks";

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this workload; may be repeated.
    #[arg(long)]
    workload: Vec<Workload>,
    /// Only this provider; may be repeated.
    #[arg(long)]
    provider: Vec<Kind>,
    /// Shorter and smaller: what takes longer than 30 seconds is given up.
    #[arg(long)]
    quick: bool,
    /// Directory that the table and the plots are written to; `docs/benchmarks` for a whole run, nowhere for a
    /// part of it.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Options {
    fn workloads(&self) -> Vec<Workload> {
        chosen(&self.workload)
    }

    fn providers(&self) -> Vec<Kind> {
        if !self.provider.is_empty() {
            return self.provider.clone();
        }
        let mut all = chosen(&[]);
        if std::env::var_os("DATABASE_URL").is_none() {
            all.retain(|kind| *kind != Kind::Postgres);
        } else if cfg!(not(feature = "postgres")) {
            eprintln!("DATABASE_URL is set: build with `--features postgres` to measure duroxide-pg, too");
            all.retain(|kind| *kind != Kind::Postgres);
        }
        all
    }

    fn limits(&self) -> Limits {
        if self.quick {
            Limits {
                workload: Duration::from_secs(30),
                span: Duration::from_secs(5),
                rounds: 3,
                at_rest: 2_000,
                shared: 100,
            }
        } else {
            Limits {
                workload: Duration::from_secs(300),
                span: Duration::from_secs(20),
                rounds: 10,
                at_rest: 100_000,
                shared: 1_000,
            }
        }
    }

    fn output(&self) -> Option<PathBuf> {
        let whole = self.workload.is_empty() && self.provider.is_empty() && !self.quick;
        self.output.clone().or_else(|| whole.then(|| OUTPUT.into()))
    }
}

/// What was chosen; everything if nothing was.
fn chosen<T: ValueEnum + Clone>(choice: &[T]) -> Vec<T> {
    if choice.is_empty() { T::value_variants().to_vec() } else { choice.to_vec() }
}

/// Measures what the options ask for, prints the table and writes it down.
pub(crate) async fn run(options: Options) -> Result<(), Error> {
    // Before duroxide sets one up, which prints to standard output.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let heading = report::heading();
    let (providers, limits) = (options.providers(), options.limits());
    let cases: Vec<Case> = options
        .workloads()
        .into_iter()
        .flat_map(|workload| providers.iter().flat_map(move |kind| workload.cases(*kind)))
        .collect();
    let mut figures = Figures::default();
    for (number, case) in cases.iter().enumerate() {
        let progress = Progress::start(number + 1, cases.len(), *case);
        let rows = case.run(limits).await;
        progress.done(&rows);
        figures.add(rows);
    }
    report::write(&heading, &figures, options.output().as_deref())
}
