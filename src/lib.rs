//! Durable workflows on Azure Cosmos DB: a storage provider for [`duroxide`].
//!
//! All atomic steps of a workflow (locking a turn, committing it, completing an activity) run as stored
//! procedures inside one partition; this crate finds the work, delivers messages between partitions and talks
//! REST. `docs/ARCHITECTURE.md` in the repository has the data model and the life of a turn.
//!
//! ```no_run
//! # async fn example() -> Result<(), duroxide::providers::ProviderError> {
//! use std::sync::Arc;
//! use duroxide::providers::Provider;
//! use duroxide_cosmos::CosmosDBProvider;
//!
//! let endpoint = "https://my-account.documents.azure.com:443/";
//! let key = std::env::var("COSMOS_KEY").unwrap_or_default();
//! let provider: Arc<dyn Provider> = Arc::new(CosmosDBProvider::new(endpoint, &key, "workflows").await?);
//! // let runtime = duroxide::runtime::Runtime::start_with_store(provider, activities, orchestrations).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! * `rustls` (default): TLS by rustls with aws-lc-rs; builds with a C compiler alone.
//! * `native-tls`: TLS by the operating system's library instead.
//! * `emulator`: [`CosmosDBProvider::embedded`], a Cosmos DB emulator inside this process.
//!
//! # Limits
//! * The account must have one write region.
//! * Instance and session ids: any text, at most 2048 bytes.
//! * One text (an activity's input or result, an output, a value) takes at most 2 MB as it is stored; a client's
//!   start or event must fit into one 2 MB request.

mod config;
mod cosmos;
mod model;
mod provider;
mod schema;

pub use config::{CosmosDBProviderConfig, Deployment};
pub use cosmos::http::HttpTransport;
pub use cosmos::stats::OperationStats;
pub use cosmos::transport::{Request, Response, Transport, TransportError};
pub use provider::{CosmosDBProvider, Counters};

/// The stored procedures of this version as id and body, for deployment by other means (ARM, Bicep, Terraform).
pub fn procedures() -> impl Iterator<Item = (&'static str, &'static str)> {
    schema::procedures::PROCEDURES.iter().map(|procedure| (procedure.id.as_str(), procedure.body.as_str()))
}
