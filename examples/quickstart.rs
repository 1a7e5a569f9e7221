//! A tour of durable workflows on Cosmos DB: `cargo run --example quickstart`.
//!
//! Runs one workflow of each kind and prints what came out, then what it cost. The account is described by
//! `COSMOS_ENDPOINT`, `COSMOS_KEY`, `COSMOS_DATABASE` and `COSMOS_CONTAINER`, in the environment or in a file
//! `.env` (see `.env.example`). Without an endpoint everything runs on an emulator inside this process.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};
use tracing_subscriber::EnvFilter;

/// How long any of the workflows may take, on a slow connection too.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    // RUST_LOG=duroxide=info shows the runtime at work.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let provider = connect().await?;
    let store: Arc<dyn Provider> = Arc::new(provider.clone());
    let runtime = Runtime::start_with_store(Arc::clone(&store), activities(), orchestrations()).await;

    let outcome = tour(&Client::new(store)).await;

    runtime.shutdown(None).await;
    provider.close().await;
    outcome?;
    print_costs(&provider);
    Ok(())
}

/// The account of the settings; without settings an emulator in this process.
async fn connect() -> Result<CosmosDBProvider, Box<dyn Error>> {
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => {
            // The error itself would quote the line, and with it perhaps the key.
            return Err("the file .env cannot be read; each line must be NAME=VALUE".into());
        }
        _ => {}
    }
    let Some(endpoint) = setting("COSMOS_ENDPOINT")? else {
        println!("No COSMOS_ENDPOINT: using an emulator inside this process.\n");
        return Ok(CosmosDBProvider::embedded().await?);
    };
    let key = setting("COSMOS_KEY")?.ok_or("COSMOS_ENDPOINT is set, but COSMOS_KEY is not")?;
    let defaults = CosmosDBProviderConfig::default();
    let config = CosmosDBProviderConfig {
        endpoint,
        key,
        database: setting("COSMOS_DATABASE")?.unwrap_or(defaults.database),
        container: setting("COSMOS_CONTAINER")?.unwrap_or(defaults.container),
        ..CosmosDBProviderConfig::default()
    };
    println!("Using {} (container {}/{}).\n", config.endpoint, config.database, config.container);
    Ok(CosmosDBProvider::new_with_config(config).await?)
}

/// A setting from the environment; one that is empty counts as missing.
fn setting(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8")),
    }
}

/// Activities do the work: anything with effects belongs here.
fn activities() -> ActivityRegistry {
    ActivityRegistry::builder()
        .register("greet", |_: ActivityContext, name: String| async move { Ok(format!("Hello, {name}!")) })
        .register("shout", |_: ActivityContext, text: String| async move { Ok(text.to_uppercase()) })
        .register_typed("square", |_: ActivityContext, number: u64| async move { Ok(number * number) })
        .build()
}

/// Orchestrations decide what happens next. They are replayed, so they must be deterministic.
fn orchestrations() -> OrchestrationRegistry {
    OrchestrationRegistry::builder()
        .register("chain", chain)
        .register_typed("fan-out", fan_out)
        .register("timer", timer)
        .register("approval", approval)
        .register("parent", parent)
        .register_typed("countdown", countdown)
        .build()
}

/// One activity after the other.
async fn chain(ctx: OrchestrationContext, name: String) -> Result<String, String> {
    let greeting = ctx.schedule_activity("greet", name).await?;
    ctx.schedule_activity("shout", greeting).await
}

/// Many activities at once, then their sum.
async fn fan_out(ctx: OrchestrationContext, numbers: Vec<u64>) -> Result<u64, String> {
    let squares = numbers.iter().map(|number| ctx.schedule_activity_typed::<u64, u64>("square", number));
    ctx.join(squares.collect()).await.into_iter().sum()
}

/// Waits without holding a thread; the timer survives restarts.
async fn timer(ctx: OrchestrationContext, millis: String) -> Result<String, String> {
    let delay = millis.parse().map(Duration::from_millis).map_err(|error| format!("{millis:?}: {error}"))?;
    ctx.schedule_timer(delay).await;
    Ok(format!("rang after {delay:?}"))
}

/// Waits for somebody outside. Messages of a queue are kept until they are taken.
async fn approval(ctx: OrchestrationContext, request: String) -> Result<String, String> {
    let approver = ctx.dequeue_event("approvals").await;
    Ok(format!("{request}: approved by {approver}"))
}

/// Calls another orchestration, which is an instance of its own.
async fn parent(ctx: OrchestrationContext, name: String) -> Result<String, String> {
    let answer = ctx.schedule_sub_orchestration("chain", name).await?;
    Ok(format!("the child says {answer}"))
}

/// Starts over with a fresh history each time, so that it may go on for ever.
async fn countdown(ctx: OrchestrationContext, rounds: u32) -> Result<String, String> {
    if rounds > 0 {
        return ctx.continue_as_new_typed(&(rounds - 1)).await;
    }
    Ok("lift-off".to_owned())
}

/// Starts each workflow and prints its result.
async fn tour(client: &Client) -> Result<(), Box<dyn Error>> {
    // Instances are kept: the names must be new ones at each run.
    let run = uuid::Uuid::new_v4().simple().to_string();
    let id = |name: &str| format!("quickstart-{run}-{name}");

    client.start_orchestration(id("chain"), "chain", "Cosmos").await?;
    report(client, "chain", &id("chain")).await?;

    client.start_orchestration_typed(id("fan-out"), "fan-out", (1..=10).collect::<Vec<u64>>()).await?;
    report(client, "fan-out/fan-in", &id("fan-out")).await?;

    client.start_orchestration(id("timer"), "timer", "300").await?;
    report(client, "durable timer", &id("timer")).await?;

    client.start_orchestration(id("approval"), "approval", "3 days off").await?;
    client.enqueue_event(id("approval"), "approvals", "Alice").await?;
    report(client, "external event", &id("approval")).await?;

    client.start_orchestration(id("parent"), "parent", "sub-orchestration").await?;
    report(client, "sub-orchestration", &id("parent")).await?;

    client.start_orchestration_typed(id("countdown"), "countdown", 3).await?;
    report(client, "continue-as-new", &id("countdown")).await
}

/// Waits for the end of a workflow and prints its result.
async fn report(client: &Client, title: &str, instance: &str) -> Result<(), Box<dyn Error>> {
    match client.wait_for_orchestration(instance, PATIENCE).await? {
        OrchestrationStatus::Completed { output, .. } => {
            println!("{title:<18} {output}");
            Ok(())
        }
        OrchestrationStatus::Failed { details, .. } => {
            Err(format!("{title}: {}", details.display_message()).into())
        }
        OrchestrationStatus::NotFound | OrchestrationStatus::Running { .. } => {
            Err(format!("{title}: {instance} has not ended").into())
        }
    }
}

/// What it cost: requests and request units by operation.
fn print_costs(provider: &CosmosDBProvider) {
    println!("\n{:<20} {:>9} {:>14}", "operation", "requests", "request units");
    let (mut requests, mut request_units) = (0, 0.0);
    for (operation, cost) in provider.stats() {
        println!("{operation:<20} {:>9} {:>14.2}", cost.requests, cost.request_units);
        requests += cost.requests;
        request_units += cost.request_units;
    }
    println!("{:<20} {requests:>9} {request_units:>14.2}", "total");
}
