//! An embeddable Azure Cosmos DB for NoSQL emulator that runs stored procedures.

mod epk;
mod error;
mod script;
mod value;

pub use error::ServiceError;
