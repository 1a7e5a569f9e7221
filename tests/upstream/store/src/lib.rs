//! `SqliteProvider` as duroxide's own tests know it, on Cosmos DB: each database is a container of an emulator.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use cosmos_emulator::Emulator;
use duroxide::providers::ProviderError;
pub use duroxide_cosmos::CosmosDBProvider as SqliteProvider;
use duroxide_cosmos::CosmosDBProviderConfig;

/// The constructors of duroxide's SQLite provider.
#[allow(async_fn_in_trait)]
pub trait Sqlite: Sized {
    /// A store of its own.
    async fn new_in_memory() -> Result<Self, ProviderError>;

    /// The store of this name.
    async fn open<T>(url: &str, options: Option<T>) -> Result<Self, ProviderError>;
}

impl Sqlite for SqliteProvider {
    async fn new_in_memory() -> Result<Self, ProviderError> {
        new_in_memory().await
    }

    async fn open<T>(url: &str, options: Option<T>) -> Result<Self, ProviderError> {
        open(url, options).await
    }
}

/// See [`Sqlite::new_in_memory`].
///
/// # Errors
/// As [`SqliteProvider::new`].
pub async fn new_in_memory() -> Result<SqliteProvider, ProviderError> {
    container(format!("memory-{}", uuid::Uuid::new_v4().simple())).await
}

/// See [`Sqlite::open`].
///
/// # Errors
/// As [`SqliteProvider::new`].
pub async fn open<T>(url: &str, _options: Option<T>) -> Result<SqliteProvider, ProviderError> {
    if url.contains(":memory:") {
        return new_in_memory().await;
    }
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    container(format!("file-{:x}", hasher.finish())).await
}

async fn container(container: String) -> Result<SqliteProvider, ProviderError> {
    let emulator = emulator();
    SqliteProvider::new_with_config(CosmosDBProviderConfig {
        endpoint: emulator.endpoint().to_owned(),
        key: emulator.key().to_owned(),
        container,
        ..CosmosDBProviderConfig::default()
    })
    .await
}

/// The emulator of this test process, served from a runtime of its own: each test has another one, and they end.
fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| {
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                ready.send(Emulator::builder().start().await.expect("an emulator")).expect("the test waits");
                std::future::pending::<()>().await;
            });
        });
        started.recv().expect("the emulator starts")
    })
}
