//! An embeddable Azure Cosmos DB for NoSQL emulator that runs stored procedures.
//!
//! It speaks the service's REST interface over HTTP/1.1 and verifies the master key. Stored procedures run in
//! QuickJS with the service's server-side API, each as one transaction over one logical partition. What the
//! emulator does not have answers 501 or 400 and says so.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), cosmos_emulator::StartError> {
//! let emulator = cosmos_emulator::Emulator::builder().start().await?;
//! println!("{} {}", emulator.endpoint(), emulator.key());
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Features: `persist` (default) keeps data on disk, `cli` (default) builds the `cosmos-emulator` program, `tls`
//! serves HTTPS.

mod auth;
mod binary_json;
mod builder;
mod charge;
mod emulator;
mod epk;
mod error;
mod faults;
// Public for `cargo fuzz` alone, which sets `fuzzing`.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod limits;
mod names;
#[cfg(feature = "persist")]
mod persist;
mod query;
mod rid;
mod script;
mod stats;
mod store;
mod value;

pub use auth::WELL_KNOWN_KEY;
pub use builder::{Builder, StartError};
pub use emulator::{Emulator, Faults};
pub use faults::{Dropped, Fault, FaultRule, RequestRecord};
pub use script::ScriptSyntax;
pub use stats::{Counter, Stats};
pub use store::{Isolation, SplitError};
