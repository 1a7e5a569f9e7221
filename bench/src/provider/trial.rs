//! A runtime on a provider at a new site, and what running something on it costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duroxide::providers::Provider;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{Client, OrchestrationStatus};

use crate::Error;

use super::code::{self, Observer};
use super::counts::{ByOperation, Counts, since, total};
use super::site::{Dispatchers, Kind, Site};

/// The circumstances of a measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) kind: Kind,
    /// Physical partitions; without meaning where there is no Cosmos DB.
    pub(super) partitions: u32,
    /// Added to each request.
    pub(super) delay: Duration,
    pub(super) dispatchers: Dispatchers,
}

impl Setting {
    /// One physical partition, no delay, the runtime's own defaults.
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, partitions: 1, delay: Duration::ZERO, dispatchers: Dispatchers::default() }
    }
}

/// What was paid for a number of things.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    /// How many of what the workload counts: steps, children, seconds.
    pub(super) count: f64,
    pub(super) by_operation: ByOperation,
    pub(super) elapsed: Duration,
    /// Share of the time in which a process did nothing while work waited, where that is measured.
    pub(super) idle: Option<f64>,
    /// What a reader must know of it.
    pub(super) note: Option<String>,
}

impl Cost {
    /// Requests of each thing counted.
    pub(super) fn requests(&self) -> f64 {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let requests = self.total().requests as f64;
        requests / self.count
    }

    /// Request units of each thing counted.
    pub(super) fn units(&self) -> f64 {
        self.total().units / self.count
    }

    /// Kilobytes (1,000 bytes) of each thing counted.
    pub(super) fn kilobytes(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let bytes = self.total().bytes as f64;
        bytes / 1000.0 / self.count
    }

    /// Milliseconds of each thing counted.
    pub(super) fn milliseconds(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1000.0 / self.count
    }

    fn total(&self) -> Counts {
        total(&self.by_operation)
    }
}

/// A running runtime.
pub(super) struct Trial {
    pub(super) site: Site,
    pub(super) client: Client,
    runtime: Arc<Runtime>,
}

impl Trial {
    /// Starts one; procedures are compiled and connections open when it is ready.
    pub(super) async fn start(setting: Setting, observer: Observer) -> Result<Self, Error> {
        let site = Site::start(setting.kind, setting.partitions).await?;
        Self::start_at(site, setting, observer).await
    }

    /// Starts one at a site that is there already.
    pub(super) async fn start_at(site: Site, setting: Setting, observer: Observer) -> Result<Self, Error> {
        let provider = site.address().open(setting.dispatchers).await?;
        let runtime = start_runtime(Arc::clone(&provider), setting.dispatchers, &observer).await;
        let trial = Self { site, client: Client::new(provider), runtime };
        trial.complete("warm-up", code::CHAIN, 1, Duration::from_secs(60)).await?;
        trial.site.set_delay(setting.delay);
        Ok(trial)
    }

    /// What `work` costs, which does `count` things.
    pub(super) async fn cost(
        &self,
        count: f64,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<Cost, Error> {
        let (before, started) = (self.site.by_operation(), Instant::now());
        work.await?;
        let elapsed = started.elapsed();
        let by_operation = since(&before, self.site.by_operation());
        Ok(Cost { count, by_operation, elapsed, idle: None, note: None })
    }

    /// Starts an instance and waits for its successful end.
    pub(super) async fn complete(
        &self,
        instance: &str,
        orchestration: &str,
        input: u64,
        limit: Duration,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let start = self.client.start_orchestration_typed(instance, orchestration, input);
        tokio::time::timeout(limit, start).await.map_err(Error::other)?.map_err(Error::other)?;
        let left = limit.saturating_sub(started.elapsed());
        match self.client.wait_for_orchestration(instance, left).await.map_err(Error::other)? {
            OrchestrationStatus::Completed { .. } => Ok(()),
            OrchestrationStatus::Failed { details, .. } => Err(Error::Other(details.display_message())),
            OrchestrationStatus::NotFound | OrchestrationStatus::Running { .. } => {
                Err(Error::Other(format!("not done within {} s", limit.as_secs())))
            }
        }
    }

    /// Stops the runtime and removes the site.
    pub(super) async fn stop(self) {
        self.leave().await.stop().await;
    }

    /// Stops the runtime and leaves the site as it is.
    pub(super) async fn leave(self) -> Site {
        // What is under way need not end well.
        self.site.set_delay(Duration::ZERO);
        self.runtime.shutdown(None).await;
        self.site
    }
}

/// A runtime that knows the workflows of [`code`].
pub(super) async fn start_runtime(
    provider: Arc<dyn Provider>,
    dispatchers: Dispatchers,
    observer: &Observer,
) -> Arc<Runtime> {
    let options = RuntimeOptions {
        orchestration_concurrency: dispatchers.orchestration as usize,
        worker_concurrency: dispatchers.worker as usize,
        ..RuntimeOptions::default()
    };
    Runtime::start_with_options(provider, code::activities(observer), code::orchestrations(observer), options)
        .await
}
