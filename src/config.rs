//! Settings.

use std::fmt;
use std::time::Duration;

/// What a start may change in the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deployment {
    /// Creates what is missing: database, container, indexes, procedures. Needs the account's key.
    #[default]
    Deploy,
    /// Changes nothing. If something is missing the start fails and says what; it is brought by a start with
    /// [`Deployment::Deploy`] somewhere else, or from [`procedures`](crate::procedures).
    Verify,
}

/// How to reach the account, and how the provider behaves.
///
/// ```
/// use duroxide_cosmos::CosmosDBProviderConfig;
///
/// let config = CosmosDBProviderConfig {
///     endpoint: "https://my-account.documents.azure.com:443/".into(),
///     key: "bXkga2V5".into(),
///     database: "workflows".into(),
///     ..CosmosDBProviderConfig::default()
/// };
/// assert!(!format!("{config:?}").contains("bXkga2V5"), "keys are never printed");
/// ```
#[derive(Clone)]
pub struct CosmosDBProviderConfig {
    /// Scheme, host and port of the account. `https://` unless it is a local emulator.
    pub endpoint: String,
    /// The account's primary or secondary read-write key, in base64.
    pub key: String,
    /// Database; created if missing. Default `duroxide`.
    pub database: String,
    /// Container; created if missing, with partition key `/instanceId`. Default `duroxide`.
    pub container: String,
    /// What a start may change in the account. Default [`Deployment::Deploy`].
    pub deployment: Deployment,
    /// Accept any TLS certificate: for emulators with a self-signed one, never for an account.
    /// Default `false`.
    pub accept_invalid_certificates: bool,
    /// Longest pause between two looks for work while nothing is found. Work from this process is seen at
    /// once; work from another one after at most this long. Each look is one query per physical partition
    /// (2.4 request units by the emulator's model). Default 1 s.
    pub idle_poll_interval: Duration,
    /// Hand turns and activities to waiting dispatchers of this process with the very request that makes them
    /// ready, instead of one more request to find and one to lock them. Default `true`.
    pub hand_off: bool,
    /// Bytes of histories (as stored; in memory they take a few times that) kept of instances this process
    /// works on, so that a turn reads only what is new. 0 keeps nothing. Default 64 MiB.
    pub cache_bytes: usize,
    /// Reads (`read`, `get_custom_status`) are answered without asking if this process learnt the state from
    /// the service less than this long ago; else by a conditional read, 1 request unit if nothing has changed.
    /// Own changes are always seen; those of other processes up to this much later, and the time an answer
    /// takes. 0 always asks.
    /// Default 20 ms.
    pub cache_max_age: Duration,
    /// How often messages to other instances that were not delivered right after their turn (after a
    /// crash) are looked for. Each look is one query per physical partition. Default 5 s.
    pub reconciler_interval: Duration,
    /// Such messages are left to the process that wrote them for so long. Default 5 s.
    pub reconciler_age_threshold: Duration,
}

impl Default for CosmosDBProviderConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            key: String::new(),
            database: "duroxide".to_owned(),
            container: "duroxide".to_owned(),
            deployment: Deployment::default(),
            accept_invalid_certificates: false,
            idle_poll_interval: Duration::from_secs(1),
            hand_off: true,
            cache_bytes: 64 << 20,
            cache_max_age: Duration::from_millis(20),
            reconciler_interval: Duration::from_secs(5),
            reconciler_age_threshold: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for CosmosDBProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosDBProviderConfig")
            .field("endpoint", &self.endpoint)
            .field("key", &"..")
            .field("database", &self.database)
            .field("container", &self.container)
            .field("deployment", &self.deployment)
            .field("accept_invalid_certificates", &self.accept_invalid_certificates)
            .field("idle_poll_interval", &self.idle_poll_interval)
            .field("hand_off", &self.hand_off)
            .field("cache_bytes", &self.cache_bytes)
            .field("cache_max_age", &self.cache_max_age)
            .field("reconciler_interval", &self.reconciler_interval)
            .field("reconciler_age_threshold", &self.reconciler_age_threshold)
            .finish()
    }
}
