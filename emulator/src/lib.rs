//! An embeddable Azure Cosmos DB for NoSQL emulator that runs stored procedures.

mod epk;
mod error;
#[cfg(feature = "persist")]
mod persist;
mod script;
mod value;

pub use error::ServiceError;
