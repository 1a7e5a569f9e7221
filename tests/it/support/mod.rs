//! Where the tests run, and what they need beside the provider.

pub mod faulty;
pub mod late;
pub mod rest;
pub mod workload;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cosmos_emulator::{Emulator, Isolation};
use duroxide::providers::WorkItem;
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};

pub use rest::Container;

/// The account under test.
#[derive(Debug, Clone)]
pub struct Account {
    pub endpoint: String,
    pub key: String,
    pub database: String,
}

/// The account of the environment, else an emulator that lives as long as the test process.
pub fn account() -> &'static Account {
    static ACCOUNT: OnceLock<Account> = OnceLock::new();
    ACCOUNT.get_or_init(|| {
        dotenvy::dotenv().ok();
        match std::env::var("COSMOS_ENDPOINT") {
            Ok(endpoint) if !endpoint.is_empty() => Account {
                endpoint,
                key: std::env::var("COSMOS_KEY").expect("COSMOS_ENDPOINT is set, so COSMOS_KEY must be"),
                database: std::env::var("COSMOS_DATABASE").unwrap_or_else(|_| "duroxide-test".into()),
            },
            _ => {
                let emulator = emulator();
                Account {
                    endpoint: emulator.endpoint().to_owned(),
                    key: emulator.key().to_owned(),
                    database: "duroxide-test".into(),
                }
            }
        }
    })
}

/// The emulator of this process, with `EMULATOR_PARTITIONS` physical partitions (1) and `EMULATOR_ISOLATION`
/// `serial` or `weak` (`serial`), served from a runtime of its own: each test has another one, and they end.
fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| {
        let partitions = std::env::var("EMULATOR_PARTITIONS")
            .map_or(1, |text| text.parse().expect("a number of partitions"));
        let isolation = match std::env::var("EMULATOR_ISOLATION").as_deref() {
            Ok("weak") => Isolation::Weak,
            Ok("serial") | Err(_) => Isolation::Serial,
            Ok(other) => panic!("EMULATOR_ISOLATION is {other:?}, it must be serial or weak"),
        };
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let builder = Emulator::builder().partitions(partitions).isolation(isolation);
                let emulator = builder.start().await.expect("an emulator");
                ready.send(emulator).expect("the test waits");
                std::future::pending::<()>().await;
            });
        });
        started.recv().expect("the emulator starts")
    })
}

/// An emulator of the test's own, for faults that must befall nobody else, and the settings that reach it.
pub async fn emulated(partitions: u32) -> (Emulator, CosmosDBProviderConfig) {
    let emulator = Emulator::builder().partitions(partitions).start().await.expect("an emulator");
    let config = CosmosDBProviderConfig {
        endpoint: emulator.endpoint().to_owned(),
        key: emulator.key().to_owned(),
        ..CosmosDBProviderConfig::default()
    };
    (emulator, config)
}

/// A name no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// Settings for a fresh container of the account under test. With `PROVIDER_SAVINGS=off` nothing is handed over
/// or remembered.
pub fn config() -> CosmosDBProviderConfig {
    let Account { endpoint, key, database } = account().clone();
    let config =
        CosmosDBProviderConfig { endpoint, key, database, container: unique("it"), ..Default::default() };
    match std::env::var("PROVIDER_SAVINGS").as_deref() {
        Ok("off") => CosmosDBProviderConfig {
            hand_off: false,
            cache_bytes: 0,
            cache_max_age: Duration::ZERO,
            ..config
        },
        Ok("on") | Err(_) => config,
        Ok(other) => panic!("PROVIDER_SAVINGS is {other:?}, it must be on or off"),
    }
}

/// A provider on a fresh container, and the container for a look behind its back.
pub async fn provider() -> (Arc<CosmosDBProvider>, Container) {
    let config = config();
    let container = Container::of(&config);
    let provider = CosmosDBProvider::new_with_config(config).await.expect("a provider");
    (Arc::new(provider), container)
}

/// The message that starts an instance.
pub fn start(instance: &str) -> WorkItem {
    WorkItem::StartOrchestration {
        instance: instance.into(),
        orchestration: "o".into(),
        input: String::new(),
        version: Some("1.0.0".into()),
        parent_instance: None,
        parent_id: None,
        parent_execution_id: None,
        execution_id: 1,
    }
}

/// An activity of an instance, without tag and session.
pub fn activity(instance: &str, id: u64) -> WorkItem {
    WorkItem::ActivityExecute {
        instance: instance.into(),
        execution_id: 1,
        id,
        name: "a".into(),
        input: String::new(),
        session_id: None,
        tag: None,
    }
}
