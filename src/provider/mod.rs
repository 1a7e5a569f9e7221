//! The provider: duroxide's trait on the one side, procedures and queries on the other.

mod admin;
mod candidates;
mod commit;
mod completion;
mod counters;
mod courtesy;
mod deletion;
mod discovery;
mod handoff;
mod history;
mod known;
mod leases;
mod order;
mod outbox;
mod prune;
mod queue;
mod sessions;
mod staging;
mod state;
mod turns;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use duroxide::Event;
use duroxide::providers::{
    DispatcherCapabilityFilter, ExecutionMetadata, OrchestrationItem, Provider, ProviderAdmin, ProviderError,
    ScheduledActivityIdentifier, SessionFetchConfig, TagFilter, WorkItem,
};
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::config::{CosmosDBProviderConfig, Deployment};
use crate::cosmos::auth::MasterKey;
use crate::cosmos::client::{RETRY_BUDGET, encode};
use crate::cosmos::failure::Class;
use crate::cosmos::http::HttpTransport;
use crate::cosmos::stats::OperationStats;
use crate::cosmos::transport::Transport;
use crate::cosmos::{Client, Failure, retry};
use crate::schema::{self, procedures};
pub use counters::Counters;
use counters::Counting;
use discovery::Discovery;
use known::Known;
use leases::Leases;
use order::OrderClock;
use sessions::ForeignSessions;
use turns::{TurnQueue, USUAL_TURN};
use work::WorkQueue;

/// A duroxide storage provider on one Cosmos DB container.
///
/// Cheap to clone; clones share connections, statistics and wake-ups. Any number of processes may use the
/// same container.
#[derive(Clone)]
pub struct CosmosDBProvider {
    inner: Arc<Inner>,
    /// Stops the background tasks when the last clone goes.
    _background: Arc<(outbox::Reconciler, discovery::Loop)>,
    #[cfg(feature = "emulator")]
    _emulator: Option<cosmos_emulator::Emulator>,
}

impl fmt::Debug for CosmosDBProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosDBProvider").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// What all parts of a provider share.
pub(crate) struct Inner {
    config: CosmosDBProviderConfig,
    client: Client,
    turns: TurnQueue,
    work: WorkQueue,
    discovery: Arc<Discovery>,
    known: Known,
    counters: Counting,
    order: OrderClock,
    leases: Leases,
    /// Where this process begins among many candidates.
    start_slot: u8,
    foreign_sessions: ForeignSessions,
}

impl CosmosDBProvider {
    /// A provider on the container `duroxide` of `database`. Creates what is missing.
    ///
    /// # Errors
    /// Permanent: a malformed endpoint or key, a refused key, a container that cannot be used. The message
    /// names the setting.
    pub async fn new(endpoint: &str, key: &str, database: &str) -> Result<Self, ProviderError> {
        let (endpoint, key, database) = (endpoint.to_owned(), key.to_owned(), database.to_owned());
        Self::new_with_config(CosmosDBProviderConfig { endpoint, key, database, ..Default::default() }).await
    }

    /// The same with a container of another name.
    ///
    /// # Errors
    /// As [`CosmosDBProvider::new`].
    pub async fn new_with_container(
        endpoint: &str,
        key: &str,
        database: &str,
        container: &str,
    ) -> Result<Self, ProviderError> {
        let (endpoint, key) = (endpoint.to_owned(), key.to_owned());
        let (database, container) = (database.to_owned(), container.to_owned());
        Self::new_with_config(CosmosDBProviderConfig {
            endpoint,
            key,
            database,
            container,
            ..Default::default()
        })
        .await
    }

    /// A provider with all settings given.
    ///
    /// # Errors
    /// As [`CosmosDBProvider::new`].
    pub async fn new_with_config(config: CosmosDBProviderConfig) -> Result<Self, ProviderError> {
        let transport = HttpTransport::new(&config.endpoint, config.accept_invalid_certificates)
            .map_err(|error| ProviderError::permanent("start", error))?;
        Self::new_with_transport(config, Arc::new(transport)).await
    }

    /// A provider whose requests go through `transport`; `config.endpoint` is not used. For tests that
    /// inject faults, and for special network set-ups.
    ///
    /// # Errors
    /// As [`CosmosDBProvider::new`].
    pub async fn new_with_transport(
        config: CosmosDBProviderConfig,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, ProviderError> {
        let key = MasterKey::parse(&config.key).map_err(|error| ProviderError::permanent("start", error))?;
        for (setting, value) in [("database", &config.database), ("container", &config.container)] {
            check_name(setting, value)?;
        }
        let client = Client::new(transport, key, &config.database, &config.container);
        schema::prepare(&client, config.deployment).await?;
        let inner = Arc::new(Inner {
            client,
            turns: TurnQueue::new(config.hand_off, Some(USUAL_TURN)),
            work: WorkQueue::new(config.hand_off, None),
            discovery: Arc::new(Discovery::new(config.idle_poll_interval)),
            known: Known::new(config.cache_bytes, config.cache_max_age),
            counters: Counting::default(),
            order: OrderClock::default(),
            leases: Leases::default(),
            start_slot: uuid::Uuid::new_v4().as_bytes()[0],
            foreign_sessions: ForeignSessions::default(),
            config,
        });
        Ok(Self {
            _background: Arc::new((outbox::Reconciler::start(&inner), discovery::Loop::start(&inner))),
            inner,
            #[cfg(feature = "emulator")]
            _emulator: None,
        })
    }

    /// Hands nothing over any more, and gives back what is locked for dispatchers that are gone. Without it that is
    /// done half a second after they went away; in a process that ends before, such locks stay until they expire.
    /// Call it after `Runtime::shutdown`. Takes 5 s at most.
    pub async fn close(&self) {
        let inner = &self.inner;
        let close = async {
            let (turns, work) = tokio::join!(inner.turns.hand_off.close(), inner.work.hand_off.close());
            let turns: Vec<_> = turns.iter().map(|(_, token, _)| inner.give_turn_back(token)).collect();
            let work: Vec<_> = work.iter().map(|(_, token, _)| inner.give_work_back(token)).collect();
            tokio::join!(join_all(turns), join_all(work));
        };
        if tokio::time::timeout(CLOSE, close).await.is_err() {
            tracing::warn!("not all that was locked ahead could be given back in time");
        }
    }

    /// A provider on a Cosmos DB emulator of its own inside this process: nothing to install, nothing kept.
    ///
    /// # Errors
    /// If the emulator cannot be started.
    #[cfg(feature = "emulator")]
    pub async fn embedded() -> Result<Self, ProviderError> {
        let emulator = cosmos_emulator::Emulator::builder()
            .build()
            .map_err(|error| ProviderError::permanent("start", format!("the embedded emulator: {error}")))?;
        let config = CosmosDBProviderConfig {
            endpoint: "embedded".to_owned(),
            key: emulator.key().to_owned(),
            ..CosmosDBProviderConfig::default()
        };
        let transport = crate::cosmos::in_process::InProcess::new(emulator.clone());
        let mut provider = Self::new_with_transport(config, Arc::new(transport)).await?;
        provider._emulator = Some(emulator);
        Ok(provider)
    }

    /// Requests and request units so far, by operation: the name of a stored procedure, or `read`,
    /// `discoverTurns` and the like.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<&'static str, OperationStats> {
        self.inner.client.stats.snapshot()
    }
}

impl CosmosDBProvider {
    /// What hand-off and caches have saved so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters.snapshot()
    }
}

/// Database and container names the service refuses are refused here, by the name of the setting.
fn check_name(setting: &str, value: &str) -> Result<(), ProviderError> {
    let bad = value.is_empty()
        || value.len() > 255
        || value.contains(['/', '\\', '?', '#'])
        || value.ends_with(' ');
    if !bad {
        return Ok(());
    }
    Err(ProviderError::permanent(
        "start",
        format!(
            "the setting `{setting}` is {value:?}; it must have 1 to 255 characters, none of / \\ ? #, and not end with a space"
        ),
    ))
}

impl Inner {
    /// Executes a procedure, repeating it while failures pass, at most for [`RETRY_BUDGET`].
    async fn procedure<T: DeserializeOwned>(
        &self,
        name: &'static str,
        partition: &str,
        argument: &impl Serialize,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + RETRY_BUDGET;
        Ok(self.procedure_before(|| deadline, name, partition, argument).await?.0)
    }

    /// Executes a procedure, repeating it while failures pass and `deadline` has not come; a procedure that is not
    /// there is deployed. Answers also when the attempt that succeeded was sent.
    async fn procedure_before<T: DeserializeOwned>(
        &self,
        deadline: impl Fn() -> Instant,
        name: &'static str,
        partition: &str,
        argument: &impl Serialize,
    ) -> Result<(T, Instant), Failure> {
        let procedure =
            procedures::find(name).ok_or_else(|| Failure::unexpected(name, "no such stored procedure"))?;
        let argument = encode(name, &[argument])?;
        let call = || async {
            let sent = Instant::now();
            let answer = self.client.execute(name, &procedure.id, partition, &argument).await?;
            Ok((answer, sent))
        };
        match retry::before(&deadline, call).await {
            Err(failure) if failure.is_not_found() => {
                if self.config.deployment == Deployment::Verify {
                    let what = format!(
                        "the stored procedure {} has gone missing; start once with Deployment::Deploy, which brings it back",
                        procedure.id
                    );
                    return Err(Failure::unexpected(name, what));
                }
                tracing::warn!(
                    procedure = procedure.id,
                    "deploying a stored procedure that has gone missing"
                );
                procedures::deploy(&self.client, procedure).await?;
                retry::before(&deadline, call).await
            }
            // Whoever may write there may have put something else in its place.
            Err(failure) if failure.class() == Class::Permanent => {
                procedures::check(&self.client, procedure).await?;
                Err(failure)
            }
            other => other,
        }
    }
}

/// Closing takes so long at most.
const CLOSE: Duration = Duration::from_secs(5);

/// Milliseconds of a duration, for an argument. A thousand years are enough.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1000 * 365 * 24 * 3600 * 1000)
}

/// Runs to its end even if the caller goes away meanwhile.
async fn detached<T: Send + 'static>(
    operation: &str,
    work: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
) -> Result<T, ProviderError> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(ProviderError::retryable(operation, format!("interrupted: {error}"))))
}

/// 96 random bits as text. Heads hold dozens of these, and are written at each step: the shorter the cheaper.
fn unique() -> String {
    let random = uuid::Uuid::new_v4().into_bytes();
    // Byte 6 holds the version of the UUID.
    URL_SAFE_NO_PAD.encode([&random[..6], &random[9..15]].concat())
}

#[async_trait::async_trait]
impl Provider for CosmosDBProvider {
    fn name(&self) -> &str {
        "cosmosdb"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    async fn fetch_orchestration_item(
        &self,
        lock_timeout: Duration,
        poll_timeout: Duration,
        filter: Option<&DispatcherCapabilityFilter>,
    ) -> Result<Option<(OrchestrationItem, String, u32)>, ProviderError> {
        self.inner.fetch_turn(lock_timeout, poll_timeout, filter).await
    }

    async fn ack_orchestration_item(
        &self,
        lock_token: &str,
        execution_id: u64,
        history_delta: Vec<Event>,
        worker_items: Vec<WorkItem>,
        orchestrator_items: Vec<WorkItem>,
        metadata: ExecutionMetadata,
        cancelled_activities: Vec<ScheduledActivityIdentifier>,
    ) -> Result<(), ProviderError> {
        let turn = commit::Turn {
            execution: execution_id,
            events: history_delta,
            work: worker_items,
            messages: orchestrator_items,
            metadata,
            cancelled: cancelled_activities,
        };
        self.inner.ack_turn(lock_token, turn).await
    }

    async fn abandon_orchestration_item(
        &self,
        lock_token: &str,
        delay: Option<Duration>,
        ignore_attempt: bool,
    ) -> Result<(), ProviderError> {
        self.inner.abandon_turn(lock_token, delay, ignore_attempt).await
    }

    async fn renew_orchestration_item_lock(
        &self,
        token: &str,
        extend_for: Duration,
    ) -> Result<(), ProviderError> {
        self.inner.renew_turn(token, extend_for).await
    }

    async fn enqueue_for_orchestrator(
        &self,
        item: WorkItem,
        delay: Option<Duration>,
    ) -> Result<(), ProviderError> {
        self.inner.enqueue_message(&item, delay).await
    }

    async fn read(&self, instance: &str) -> Result<Vec<Event>, ProviderError> {
        self.inner.read_current(instance).await
    }

    async fn read_with_execution(
        &self,
        instance: &str,
        execution_id: u64,
    ) -> Result<Vec<Event>, ProviderError> {
        self.inner.read_kept(instance, execution_id).await
    }

    async fn append_with_execution(
        &self,
        instance: &str,
        execution_id: u64,
        new_events: Vec<Event>,
    ) -> Result<(), ProviderError> {
        self.inner.append_history(instance, execution_id, &new_events).await
    }

    async fn enqueue_for_worker(&self, item: WorkItem) -> Result<(), ProviderError> {
        self.inner.enqueue_work(&item).await
    }

    async fn fetch_work_item(
        &self,
        lock_timeout: Duration,
        poll_timeout: Duration,
        session: Option<&SessionFetchConfig>,
        tag_filter: &TagFilter,
    ) -> Result<Option<(WorkItem, String, u32)>, ProviderError> {
        self.inner.fetch_work(lock_timeout, poll_timeout, session, tag_filter).await
    }

    async fn ack_work_item(&self, token: &str, completion: Option<WorkItem>) -> Result<(), ProviderError> {
        self.inner.ack_work(token, completion).await
    }

    async fn renew_work_item_lock(&self, token: &str, extend_for: Duration) -> Result<(), ProviderError> {
        self.inner.renew_work(token, extend_for).await
    }

    async fn abandon_work_item(
        &self,
        token: &str,
        delay: Option<Duration>,
        ignore_attempt: bool,
    ) -> Result<(), ProviderError> {
        self.inner.abandon_work(token, delay, ignore_attempt).await?;
        match delay {
            Some(delay) if !ignore_attempt => self.inner.leave_work(token, delay),
            _ => Ok(()),
        }
    }

    async fn renew_session_lock(
        &self,
        owner_ids: &[&str],
        extend_for: Duration,
        idle_timeout: Duration,
    ) -> Result<usize, ProviderError> {
        self.inner.renew_sessions(owner_ids, extend_for, idle_timeout).await
    }

    async fn cleanup_orphaned_sessions(&self, _idle_timeout: Duration) -> Result<usize, ProviderError> {
        self.inner.remove_orphaned_sessions().await
    }

    fn as_management_capability(&self) -> Option<&dyn ProviderAdmin> {
        Some(self)
    }

    async fn get_custom_status(
        &self,
        instance: &str,
        last_seen_version: u64,
    ) -> Result<Option<(Option<String>, u64)>, ProviderError> {
        self.inner.custom_status(instance, last_seen_version).await
    }

    async fn get_kv_value(&self, instance: &str, key: &str) -> Result<Option<String>, ProviderError> {
        self.inner.kv_value(instance, key).await
    }

    async fn get_kv_all_values(&self, instance: &str) -> Result<HashMap<String, String>, ProviderError> {
        self.inner.kv_values(instance).await
    }

    async fn get_instance_stats(
        &self,
        instance: &str,
    ) -> Result<Option<duroxide::SystemStats>, ProviderError> {
        self.inner.instance_stats(instance).await
    }
}
