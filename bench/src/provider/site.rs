//! Where a provider stores its data while it is measured, and how it is opened there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cosmos_emulator::{Emulator, WELL_KNOWN_KEY};
use duroxide::providers::Provider;
use duroxide::providers::sqlite::SqliteProvider;
use duroxide_cosmos::{CosmosDBProvider, CosmosDBProviderConfig};

use crate::Error;

use super::counts::ByOperation;
use super::postgres;
use super::proxy::{Meter, Proxy};

/// Database and container of the providers on Cosmos DB.
pub(super) const CONTAINER: (&str, &str) = ("duroxide", "duroxide");

/// A provider of duroxide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// duroxide-cosmos, this project.
    Cosmos,
    /// duroxide-cdb on the same emulator.
    Cdb,
    /// duroxide's own, in a file.
    Sqlite,
    /// duroxide-pg on the server at DATABASE_URL.
    Postgres,
}

impl Kind {
    /// What it is called in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cosmos => "duroxide-cosmos",
            Self::Cdb => "duroxide-cdb 0.1.10",
            Self::Sqlite => "duroxide SQLite",
            Self::Postgres => "duroxide-pg",
        }
    }

    /// Whether it speaks to the emulator, so that its requests are seen.
    pub(super) fn is_counted(self) -> bool {
        matches!(self, Self::Cosmos | Self::Cdb)
    }
}

/// How many dispatchers of each sort a runtime has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dispatchers {
    pub(super) orchestration: u32,
    pub(super) worker: u32,
}

impl Default for Dispatchers {
    /// duroxide's own defaults.
    fn default() -> Self {
        Self { orchestration: 2, worker: 2 }
    }
}

/// How to find a site; also from another process.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Address {
    /// The provider to open.
    #[arg(long)]
    pub(super) kind: Kind,
    /// Endpoint, URL or schema.
    #[arg(long)]
    pub(super) location: String,
}

impl Address {
    /// A provider of its own on the site.
    pub(super) async fn open(&self, dispatchers: Dispatchers) -> Result<Arc<dyn Provider>, Error> {
        let (database, container) = (CONTAINER.0.to_owned(), CONTAINER.1.to_owned());
        match self.kind {
            Kind::Cosmos => {
                let config = CosmosDBProviderConfig {
                    endpoint: self.location.clone(),
                    key: WELL_KNOWN_KEY.to_owned(),
                    database,
                    container,
                    ..CosmosDBProviderConfig::default()
                };
                Ok(Arc::new(CosmosDBProvider::new_with_config(config).await.map_err(Error::other)?))
            }
            Kind::Cdb => {
                let config = duroxide_cdb::CosmosDBProviderConfig {
                    endpoint: self.location.clone(),
                    key: WELL_KNOWN_KEY.to_owned(),
                    database,
                    container,
                    orch_concurrency: dispatchers.orchestration,
                    worker_concurrency: dispatchers.worker,
                    ..duroxide_cdb::CosmosDBProviderConfig::default()
                };
                let opened = duroxide_cdb::CosmosDBProvider::new_with_config(config).await;
                Ok(Arc::new(opened.map_err(Error::other)?))
            }
            Kind::Sqlite => {
                Ok(Arc::new(SqliteProvider::new(&self.location, None).await.map_err(Error::other)?))
            }
            Kind::Postgres => postgres::open(&self.location).await,
        }
    }
}

/// An empty place for one provider.
#[derive(Debug)]
pub(super) struct Site {
    address: Address,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Emulated { emulator: Emulator, proxy: Proxy },
    Files(PathBuf),
    Server,
}

impl Site {
    /// A place for `kind`; on Cosmos DB with so many physical partitions.
    pub(super) async fn start(kind: Kind, partitions: u32) -> Result<Self, Error> {
        let own = format!("bench_{}", uuid::Uuid::new_v4().simple());
        let (location, place) = match kind {
            Kind::Cosmos | Kind::Cdb => {
                let emulator =
                    Emulator::builder().partitions(partitions).start().await.map_err(Error::other)?;
                let proxy = Proxy::start(emulator.endpoint()).await?;
                (proxy.endpoint().to_owned(), Place::Emulated { emulator, proxy })
            }
            Kind::Sqlite => {
                let directory = std::env::temp_dir().join(own);
                std::fs::create_dir_all(&directory)
                    .map_err(|error| Error::Io(directory.display().to_string(), error))?;
                let url = format!("sqlite:{}?mode=rwc", directory.join("duroxide.db").display());
                (url, Place::Files(directory))
            }
            Kind::Postgres => (own, Place::Server),
        };
        Ok(Self { address: Address { kind, location }, place })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The counters, if requests can be seen.
    pub(super) fn meter(&self) -> Option<&Meter> {
        match &self.place {
            Place::Emulated { proxy, .. } => Some(proxy.meter()),
            Place::Files(_) | Place::Server => None,
        }
    }

    /// The emulator itself, beside the proxy.
    pub(super) fn emulator(&self) -> Option<&Emulator> {
        match &self.place {
            Place::Emulated { emulator, .. } => Some(emulator),
            Place::Files(_) | Place::Server => None,
        }
    }

    /// Requests so far; nothing where they cannot be seen.
    pub(super) fn by_operation(&self) -> ByOperation {
        self.meter().map(Meter::by_operation).unwrap_or_default()
    }

    /// Makes each request slower from now on.
    pub(super) fn set_delay(&self, delay: Duration) {
        if let Some(meter) = self.meter() {
            meter.set_delay(delay);
        }
    }

    /// Removes everything.
    pub(super) async fn stop(self) {
        match self.place {
            Place::Emulated { emulator, proxy } => {
                drop(proxy);
                emulator.shutdown().await;
            }
            Place::Files(directory) => {
                let _ = std::fs::remove_dir_all(directory);
            }
            Place::Server => postgres::remove(&self.address.location).await,
        }
    }
}
