//! What is measured.

mod at_once;
pub(super) mod at_rest;
pub(super) mod chain;
pub(super) mod idle;
mod partitions;
pub(super) mod processes;
mod stress;

use std::time::Duration;

use crate::Error;

use super::site::Kind;
use super::trial::{Cost, Setting};

/// Physical partitions that a chain is measured on.
pub(super) const PARTITIONS: [u32; 4] = [1, 2, 5, 10];
/// Physical partitions that much at once is measured on.
pub(super) const MANY_PARTITIONS: [u32; 3] = [1, 10, 50];
/// Latencies added to each request, in milliseconds.
pub(super) const DELAYS: [u64; 4] = [0, 2, 5, 20];
/// Steps of a long chain whose cost is told.
pub(super) const HISTORY: [u64; 7] = [10, 50, 100, 200, 400, 700, 1000];

/// The title of the chain that is measured under different latencies.
pub(super) const DELAYED_CHAIN: &str = "chain of 10, delayed";

/// A workload, as it is chosen on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(super) enum Workload {
    /// One chain of 10 activities, on 1 to 10 physical partitions.
    #[value(name = "chain-10")]
    Chain10,
    /// One chain of 200 activities, on 1 and 10 physical partitions.
    #[value(name = "chain-200")]
    Chain200,
    /// The steps of a chain of 1,000, by the length of its history.
    History,
    /// 50 activities in one turn.
    #[value(name = "fan-out-50")]
    FanOut50,
    /// 500 activities in one turn.
    #[value(name = "fan-out-500")]
    FanOut500,
    /// 20 chains of 10 at once.
    Concurrent,
    /// 20 chains of 10 at once, then nothing, on 1 to 50 physical partitions; this project's provider alone.
    Partitions,
    /// A parent with 5 sub-orchestrations.
    Children,
    /// A chain of 10 while each request takes longer.
    Latency,
    /// A runtime without work, and how fast it sees some.
    Idle,
    /// 4 processes that share 1,000 instances.
    Processes,
    /// Looks for work beside 100,000 finished instances and 10,000 waiting timers.
    AtRest,
    /// duroxide's own stress test of parallel orchestrations.
    StressParallel,
    /// duroxide's own stress test of large payloads.
    StressPayload,
}

/// One workload under one circumstance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) workload: Workload,
    pub(super) setting: Setting,
}

/// What came out, as one line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) title: String,
    /// What the figures are for one of.
    pub(super) per: &'static str,
    pub(super) setting: Setting,
    /// Figures, or why there are none.
    pub(super) outcome: Result<Cost, String>,
}

impl Row {
    fn new(case: Case, title: impl Into<String>, per: &'static str, outcome: Result<Cost, Error>) -> Self {
        let outcome = outcome.map_err(|error| error.to_string());
        Self { title: title.into(), per, setting: case.setting, outcome }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A workload that is not done by then has failed.
    pub(super) workload: Duration,
    /// How long is watched what happens while nothing does; how long stress tests begin new work.
    pub(super) span: Duration,
    /// How often is repeated what is over soon.
    pub(super) rounds: u32,
    /// Finished instances at rest; for each ten of them, one waits for a timer.
    pub(super) at_rest: u32,
    /// Instances that processes share.
    pub(super) shared: u32,
}

impl Workload {
    /// The circumstances it is measured under.
    pub(super) fn cases(self, kind: Kind) -> Vec<Case> {
        let setting = Setting::of(kind);
        let on = |partitions| Case { workload: self, setting: Setting { partitions, ..setting } };
        match self {
            Self::Chain10 if kind.is_counted() => PARTITIONS.map(on).to_vec(),
            Self::Chain200 if kind.is_counted() => vec![on(1), on(10)],
            Self::Latency if kind.is_counted() => {
                let delayed = |millis| Setting { delay: Duration::from_millis(millis), ..setting };
                DELAYS.map(|millis| Case { workload: self, setting: delayed(millis) }).to_vec()
            }
            Self::Partitions if kind == Kind::Cosmos => MANY_PARTITIONS.map(on).to_vec(),
            Self::Partitions => Vec::new(),
            // Nothing delays those that do not speak HTTP, and nobody sees what they ask for.
            Self::Latency | Self::AtRest if !kind.is_counted() => Vec::new(),
            _ => vec![on(1)],
        }
    }
}

impl Case {
    /// Measures it.
    pub(super) async fn run(self, limits: Limits) -> Vec<Row> {
        match self.workload {
            Workload::Chain10 => chain::one(self, "chain of 10", 10, limits).await,
            Workload::Latency => chain::one(self, DELAYED_CHAIN, 10, limits).await,
            Workload::Chain200 => chain::one(self, "chain of 200", 200, limits).await,
            Workload::History => chain::by_history(self, limits).await,
            Workload::FanOut50 => at_once::fan_out(self, 50, limits).await,
            Workload::FanOut500 => at_once::fan_out(self, 500, limits).await,
            Workload::Concurrent => at_once::chains(self, limits).await,
            Workload::Partitions => partitions::run(self, limits).await,
            Workload::Children => at_once::children(self, limits).await,
            Workload::Idle => idle::run(self, limits).await,
            Workload::Processes => processes::run(self, limits).await,
            Workload::AtRest => at_rest::run(self, limits).await,
            Workload::StressParallel => stress::parallel(self, limits).await,
            Workload::StressPayload => stress::payload(self, limits).await,
        }
    }
}
