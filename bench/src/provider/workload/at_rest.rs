//! Looking for work in a container where much lies at rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::TagFilter;
use duroxide::providers::{DispatcherCapabilityFilter, Provider};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::Error;
use crate::client::{Call, Client, Connection};
use crate::provider::code;
use crate::provider::counts::since;
use crate::provider::site::{CONTAINER, Site};
use crate::provider::trial::{Cost, Trial};

use super::{Case, Limits, Row};

/// The titles of the rows.
pub(in crate::provider) const EMPTY: &str = "discovery, nothing at rest";
pub(in crate::provider) const FULL: &str = "discovery, instances at rest";
/// Instances that are copied; their names are as long as those of the copies.
const FINISHED: &str = "finished-0000000";
const WAITING: &str = "waiting--0000000";
/// Finished instances for each one that waits.
const FINISHED_PER_WAITING: u32 = 10;
/// Longer than any run: these timers do not fire.
const A_DAY: u64 = 24 * 60 * 60 * 1000;
/// Connections that store copies.
const CONNECTIONS: u32 = 16;
/// Locks that nobody gets.
const LOCK: Duration = Duration::from_secs(5);
/// Properties that the service adds.
const SYSTEM: [&str; 5] = ["_rid", "_self", "_etag", "_ts", "_attachments"];

/// One discovery is one look for a turn and one for an activity, both in vain.
pub(super) async fn run(case: Case, limits: Limits) -> Vec<Row> {
    let (empty, full) = match measure(case, limits).await {
        Ok((empty, full)) => (Ok(empty), Ok(full)),
        Err(error) => (Err(Error::Other(error.to_string())), Err(error)),
    };
    vec![Row::new(case, EMPTY, "discovery", empty), Row::new(case, FULL, "discovery", full)]
}

async fn measure(case: Case, limits: Limits) -> Result<(Cost, Cost), Error> {
    let trial = Trial::start(case.setting, Arc::new(|_| {})).await?;
    trial.complete(FINISHED, code::EMPTY, 0, limits.workload).await?;
    let start = trial.client.start_orchestration_typed(WAITING, code::TIMER, A_DAY);
    start.await.map_err(Error::other)?;
    // A start and a timer.
    while trial.client.read_execution_history(WAITING, 1).await.map_or(0, |events| events.len()) < 2 {
        tokio::task::yield_now().await;
    }
    let site = trial.leave().await;
    let provider = site.address().open(case.setting.dispatchers).await?;
    // The first one also learns which partitions there are.
    discover(&site, &*provider, 1).await?;
    let empty = discover(&site, &*provider, limits.rounds).await?;
    let stored = fill(&site, limits.at_rest).await?;
    let mut full = discover(&site, &*provider, limits.rounds).await?;
    full.note = Some(stored);
    drop(provider);
    site.stop().await;
    Ok((empty, full))
}

async fn discover(site: &Site, provider: &dyn Provider, rounds: u32) -> Result<Cost, Error> {
    let filter = DispatcherCapabilityFilter::default_for_current_build();
    let (before, started) = (site.by_operation(), Instant::now());
    for _ in 0..rounds {
        let turn = provider.fetch_orchestration_item(LOCK, Duration::ZERO, Some(&filter)).await;
        let work = provider.fetch_work_item(LOCK, Duration::ZERO, None, &TagFilter::DefaultOnly).await;
        if turn.map_err(Error::other)?.is_some() || work.map_err(Error::other)?.is_some() {
            return Err(Error::other("something at rest was found to be ready"));
        }
    }
    let by_operation = since(&before, site.by_operation());
    Ok(Cost { count: rounds.into(), by_operation, elapsed: started.elapsed(), idle: None, note: None })
}

/// Copies the two instances until there are `finished` of the one, and says what there is then.
async fn fill(site: &Site, finished: u32) -> Result<String, Error> {
    let emulator = site.emulator().ok_or_else(|| Error::other("nothing to fill"))?;
    let client = Client::new(emulator.endpoint(), emulator.key())?;
    let waiting = finished / FINISHED_PER_WAITING;
    let mut connection = client.connect().await?;
    let templates = [
        (read(&mut connection, FINISHED).await?, FINISHED, finished),
        (read(&mut connection, WAITING).await?, WAITING, waiting),
    ];
    for (template, name, count) in templates {
        let copies = (0..CONNECTIONS).map(|first| {
            let (client, template) = (client.clone(), template.clone());
            tokio::spawn(async move {
                let mut connection = client.connect().await?;
                // The first is the one that is copied.
                for number in (1..count).skip(first as usize).step_by(CONNECTIONS as usize) {
                    copy(&mut connection, &template, name, number).await?;
                }
                Ok::<_, Error>(())
            })
        });
        try_join_all(copies).await.map_err(Error::other)?.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(format!("{finished} finished instances, {waiting} waiting for timers"))
}

fn documents(instance: &str) -> Call {
    let path = format!("dbs/{}/colls/{}/docs", CONTAINER.0, CONTAINER.1);
    Call::new("POST", path, String::new())
        .header("x-ms-documentdb-partitionkey", json!([instance]).to_string())
}

/// A batch that creates the documents of an instance, as text.
async fn read(connection: &mut Connection, instance: &str) -> Result<String, Error> {
    let mut call = documents(instance)
        .header("content-type", "application/query+json")
        .header("x-ms-documentdb-isquery", "True");
    call.body = json!({"query": "SELECT * FROM c"}).to_string();
    let (status, _, body) = connection.exchange(&call).await?;
    let mut answer: Value = serde_json::from_slice(&body).map_err(Error::other)?;
    let Some(documents) = answer.get_mut("Documents").and_then(Value::as_array_mut) else {
        return Err(Error::Other(format!("reading {instance}: status {status}")));
    };
    for document in documents.iter_mut().filter_map(Value::as_object_mut) {
        document.retain(|name, _| !SYSTEM.contains(&name.as_str()));
    }
    let creates =
        documents.iter().map(|document| json!({"operationType": "Create", "resourceBody": document}));
    Ok(creates.collect::<Value>().to_string())
}

/// Stores the instance `name` under another number.
async fn copy(connection: &mut Connection, template: &str, name: &str, number: u32) -> Result<(), Error> {
    let instance = format!("{}{number:07}", name.trim_end_matches('0'));
    let mut call = documents(&instance)
        .header("content-type", "application/json")
        .header("x-ms-cosmos-is-batch-request", "True")
        .header("x-ms-cosmos-batch-atomic", "True");
    call.body = template.replace(name, &instance);
    match connection.send(&call).await?.status {
        200 => Ok(()),
        status => Err(Error::Other(format!("storing {instance}: status {status}"))),
    }
}
