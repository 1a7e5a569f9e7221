//! An embeddable Azure Cosmos DB for NoSQL emulator that runs stored procedures.

mod error;
mod query;
mod value;

pub use error::ServiceError;
