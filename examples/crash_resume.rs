//! A worker is killed in the middle of a workflow, and another one finishes it:
//! `cargo run --example crash_resume`.
//!
//! This process holds the database (an emulator with its data on disk, on a local port) and starts the
//! workflow. The workers are child processes: this executable again, with the argument `worker`. Each step of
//! the workflow notes its effect in a file; the counts at the end show what ran how often.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cosmos_emulator::Emulator;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};
use duroxide_cosmos::CosmosDBProvider;
use tokio::io::AsyncReadExt;

const INSTANCE: &str = "order-1";
const DATABASE: &str = "crash-resume";

const STEPS: u32 = 6;
const STEP_TIME: Duration = Duration::from_millis(200);
/// The worker is killed once this step has begun.
const FATAL_STEP: u32 = 3;

/// How long the work of a dead worker stays locked. The default, 30 s for activities, suits long activities;
/// a live worker renews its locks, so that a short time does no harm.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker must know, by environment variables: those of the quickstart, and the file for the effects.
const ENDPOINT: &str = "COSMOS_ENDPOINT";
const KEY: &str = "COSMOS_KEY";
const EFFECTS: &str = "CRASH_RESUME_EFFECTS";

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("worker") => work().await,
        _ => direct().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- The worker ------------------------------------------------------------------------------------------

/// Runs workflows until standard input ends, which it also does when the parent dies.
async fn work() -> Result<(), Box<dyn Error>> {
    let effects = PathBuf::from(env::var(EFFECTS)?);
    let provider = CosmosDBProvider::new(&env::var(ENDPOINT)?, &env::var(KEY)?, DATABASE).await?;

    let activities = ActivityRegistry::builder()
        .register("step", move |_: ActivityContext, step: String| {
            let effects = effects.clone();
            async move {
                note(&effects, &step).map_err(|error| format!("{}: {error}", effects.display()))?;
                tokio::time::sleep(STEP_TIME).await;
                Ok(step)
            }
        })
        .build();
    let orchestrations = OrchestrationRegistry::builder().register("six-steps", six_steps).build();
    let options = RuntimeOptions {
        orchestrator_lock_timeout: LOCK_TIMEOUT,
        worker_lock_timeout: LOCK_TIMEOUT,
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::start_with_options(Arc::new(provider), activities, orchestrations, options).await;

    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    runtime.shutdown(None).await;
    Ok(())
}

/// One step after the other; the result lists them.
async fn six_steps(ctx: OrchestrationContext, _input: String) -> Result<String, String> {
    let mut done = Vec::new();
    for step in 1..=STEPS {
        done.push(ctx.schedule_activity("step", step.to_string()).await?);
    }
    Ok(done.join(" "))
}

/// The effect of a step: a line with its number and who ran it. One write, so that a kill cannot split it.
fn note(effects: &Path, step: &str) -> std::io::Result<()> {
    let line = format!("{step} {}\n", std::process::id());
    OpenOptions::new().create(true).append(true).open(effects)?.write_all(line.as_bytes())
}

// ---- The parent ------------------------------------------------------------------------------------------

async fn direct() -> Result<(), Box<dyn Error>> {
    let folder = TemporaryFolder::create()?;
    let effects = folder.0.join("effects.txt");

    let emulator = Emulator::builder().data_dir(folder.0.join("data")).start().await?;
    println!("database    an emulator at {}, on disk", emulator.endpoint());

    let outcome = crash_and_resume(&emulator, &effects).await;
    emulator.shutdown().await;
    outcome
}

async fn crash_and_resume(emulator: &Emulator, effects: &Path) -> Result<(), Box<dyn Error>> {
    let provider = CosmosDBProvider::new(emulator.endpoint(), emulator.key(), DATABASE).await?;
    let client = Client::new(Arc::new(provider));
    client.start_orchestration(INSTANCE, "six-steps", "").await?;
    println!("workflow    {STEPS} steps of {STEP_TIME:?} each");

    let mut first = Worker::start(emulator, effects)?;
    println!("worker {}  started", first.id());
    wait_for_step(effects, FATAL_STEP).await?;
    first.kill()?;
    // Read after its death: the file cannot grow any more.
    let before = read_effects(effects)?;
    let in_flight = before.last().map_or(0, |effect| effect.step);
    println!("worker {}  killed during step {in_flight}", first.id());
    if !(FATAL_STEP..STEPS).contains(&in_flight) {
        return Err(format!("the kill came too late: step {in_flight} had begun").into());
    }

    let took_over = Instant::now();
    let second = Worker::start(emulator, effects)?;
    println!("worker {}  started; the dead worker's lock ends within {LOCK_TIMEOUT:?}", second.id());
    let output = match client.wait_for_orchestration(INSTANCE, PATIENCE).await? {
        OrchestrationStatus::Completed { output, .. } => output,
        other => return Err(format!("the workflow should have completed: {other:?}").into()),
    };
    println!("worker {}  finished the workflow after {:.1?}: {output}", second.id(), took_over.elapsed());

    let all = read_effects(effects)?;
    let resumed_at = all[before.len()..].first().map(|effect| effect.step);
    println!("\nstep  runs  by worker");
    for (step, workers) in runs_by_step(&all) {
        let remark = if step == in_flight { "  (in flight at the kill: may run twice)" } else { "" };
        println!("{step:>4}  {:>4}  {}{remark}", workers.len(), workers.join(", "));
    }
    verify(&all, in_flight, resumed_at, &output)?;
    println!("\nEvery finished step ran once; the second worker went on where the first one died.");
    Ok(())
}

/// Whether the effects are those of one workflow that was interrupted once.
fn verify(all: &[Effect], in_flight: u32, resumed_at: Option<u32>, output: &str) -> Result<(), String> {
    let expected: Vec<String> = (1..=STEPS).map(|step| step.to_string()).collect();
    if output != expected.join(" ") {
        return Err(format!("unexpected result of the workflow: {output}"));
    }
    if resumed_at.is_none_or(|step| step != in_flight && step != in_flight + 1) {
        return Err(format!("the second worker should have gone on at step {in_flight}: {resumed_at:?}"));
    }
    let runs = runs_by_step(all);
    for step in 1..=STEPS {
        let count = runs.get(&step).map_or(0, Vec::len);
        let allowed = if step == in_flight { 1..=2 } else { 1..=1 };
        if !allowed.contains(&count) {
            return Err(format!("step {step} ran {count} times"));
        }
    }
    Ok(())
}

/// A line of the effects file.
struct Effect {
    step: u32,
    worker: String,
}

fn read_effects(path: &Path) -> Result<Vec<Effect>, Box<dyn Error>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other?,
    };
    text.lines()
        .map(|line| {
            let (step, worker) = line.split_once(' ').ok_or_else(|| format!("unexpected line {line:?}"))?;
            Ok(Effect { step: step.parse()?, worker: worker.to_owned() })
        })
        .collect()
}

/// The workers that ran each step.
fn runs_by_step(effects: &[Effect]) -> BTreeMap<u32, Vec<&str>> {
    let mut runs = BTreeMap::<u32, Vec<&str>>::new();
    for effect in effects {
        runs.entry(effect.step).or_default().push(&effect.worker);
    }
    runs
}

async fn wait_for_step(effects: &Path, step: u32) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while !read_effects(effects)?.iter().any(|effect| effect.step == step) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("step {step} has not begun within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A worker process; ends with this value.
struct Worker(Child);

impl Worker {
    fn start(emulator: &Emulator, effects: &Path) -> std::io::Result<Self> {
        Command::new(env::current_exe()?)
            .arg("worker")
            .env(ENDPOINT, emulator.endpoint())
            .env(KEY, emulator.key())
            .env(EFFECTS, effects)
            .stdin(Stdio::piped())
            .spawn()
            .map(Self)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: the process gets no chance to clean up.
    fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.kill();
    }
}

/// A new folder; deleted with this value.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> std::io::Result<Self> {
        let path = env::temp_dir().join(format!("crash-resume-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What remains in the system's folder for temporary files is the system's to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}
