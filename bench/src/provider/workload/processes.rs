//! Several processes that share the instances of one container.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use duroxide::Client;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::Error;
use crate::provider::code::{self, Event};
use crate::provider::counts::since;
use crate::provider::site::{Address, Dispatchers, Site};
use crate::provider::trial::{Cost, start_runtime};

use super::{Case, Limits, Row};

/// The title of the row.
pub(in crate::provider) const TITLE: &str = "4 processes";
const PROCESSES: usize = 4;
/// Steps of each instance.
const STEPS: u32 = 3;
/// Starts under way at a time.
const STARTS: usize = 16;
/// A process that does nothing for so long has been idle.
const WINDOW: Duration = Duration::from_secs(1);
/// Work waits for everybody until so much of it is done.
const BUSY_SHARE: f64 = 0.95;

/// A process of its own with a runtime, until its standard input ends. Tells on standard output what it does.
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    address: Address,
}

const READY: &str = "ready";
const STEP: &str = "step";
const END: &str = "end";

impl Worker {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let dispatchers = Dispatchers::default();
        let provider = self.address.open(dispatchers).await?;
        let observer: code::Observer = Arc::new(|event| match event {
            Event::Step(_) => tell(STEP),
            Event::End(instance) => tell(&format!("{END} {instance}")),
            Event::Turn => {}
        });
        let runtime = start_runtime(provider, dispatchers, &observer).await;
        tell(READY);
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
        runtime.shutdown(None).await;
        Ok(())
    }
}

/// One line; whether anybody still listens does not matter.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Chains of three, started at once, shared by the processes. Nobody waits for the instances as a client.
pub(super) async fn run(case: Case, limits: Limits) -> Vec<Row> {
    vec![Row::new(case, TITLE, "step", measure(case, limits).await)]
}

async fn measure(case: Case, limits: Limits) -> Result<Cost, Error> {
    let site = Site::start(case.setting.kind, case.setting.partitions).await?;
    // Creates what the processes then find.
    let client = Client::new(site.address().open(case.setting.dispatchers).await?);
    let cost = share(&site, &client, limits).await;
    drop(client);
    site.stop().await;
    cost
}

async fn share(site: &Site, client: &Client, limits: Limits) -> Result<Cost, Error> {
    let (said, mut heard) = mpsc::unbounded_channel();
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        processes.push(start(site.address(), number, said.clone())?);
    }
    drop(said);
    let mut log = Log::default();
    while log.ready < PROCESSES {
        let next = tokio::time::timeout(limits.workload, heard.recv()).await.map_err(Error::other)?;
        log.note(next.ok_or_else(|| Error::other("a process ended at once"))?);
    }
    let (before, started) = (site.by_operation(), Instant::now());
    let starts = stream::iter(0..limits.shared).map(|number| {
        client.start_orchestration_typed(format!("shared-{number}"), code::CHAIN, u64::from(STEPS))
    });
    let all_started = starts.buffer_unordered(STARTS).try_collect::<()>();
    let all_ended = async {
        while log.ended.len() < limits.shared as usize {
            match heard.recv().await {
                Some(line) => log.note(line),
                None => return,
            }
        }
    };
    let work = async { tokio::join!(all_started, all_ended).0 };
    let finished = tokio::time::timeout(limits.workload, work).await;
    let (by_operation, elapsed) = (since(&before, site.by_operation()), started.elapsed());
    for process in processes {
        stop(process).await;
    }
    if let Ok(started) = finished {
        started.map_err(Error::other)?;
    }
    let note = format!("{} of {} instances done", log.ended.len(), limits.shared);
    log.cost(started, by_operation, elapsed, note)
}

/// What the processes have said.
#[derive(Debug, Default)]
struct Log {
    ready: usize,
    /// Which process has run a step, and when.
    steps: Vec<(usize, Instant)>,
    ended: BTreeSet<String>,
}

impl Log {
    fn note(&mut self, (process, line): (usize, String)) {
        match line.split_once(' ') {
            Some((END, instance)) => {
                self.ended.insert(instance.to_owned());
            }
            None if line == STEP => self.steps.push((process, Instant::now())),
            None if line == READY => self.ready += 1,
            _ => {}
        }
    }

    fn cost(
        &self,
        started: Instant,
        by_operation: crate::provider::counts::ByOperation,
        elapsed: Duration,
        note: String,
    ) -> Result<Cost, Error> {
        if self.steps.is_empty() {
            return Err(Error::other("no step within the time"));
        }
        // Thousands.
        #[allow(clippy::cast_precision_loss)]
        let count = self.steps.len() as f64;
        Ok(Cost { count, by_operation, elapsed, idle: Some(self.idle(started)), note: Some(note) })
    }

    /// The share of windows in which a process ran no step, while work waited for all.
    fn idle(&self, started: Instant) -> f64 {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let busy = (self.steps.len() as f64 * BUSY_SHARE) as usize;
        let window = |at: Instant| (at - started).as_secs() / WINDOW.as_secs();
        let windows = self.steps.get(busy.saturating_sub(1)).map_or(0, |(_, at)| window(*at));
        let active: BTreeSet<(usize, u64)> = self
            .steps
            .iter()
            .map(|(process, at)| (*process, window(*at)))
            .filter(|(_, window)| *window < windows)
            .collect();
        let all = windows * PROCESSES as u64;
        #[allow(clippy::cast_precision_loss)]
        if all == 0 { 0.0 } else { 1.0 - active.len() as f64 / all as f64 }
    }
}

fn start(
    address: &Address,
    number: usize,
    said: mpsc::UnboundedSender<(usize, String)>,
) -> Result<Child, Error> {
    let failed = |error| Error::Io("worker process".to_owned(), error);
    let kind = address.kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["worker", "--kind", &kind, "--location", &address.location])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if said.send((number, line)).is_err() {
                    break;
                }
            }
        });
    }
    Ok(child)
}

/// Asks a process to end, and ends it if it does not.
async fn stop(mut child: Child) {
    drop(child.stdin.take());
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
