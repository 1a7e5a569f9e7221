//! An embeddable Azure Cosmos DB for NoSQL emulator that runs stored procedures.
#![allow(dead_code)]

mod charge;
mod epk;
mod error;
mod limits;
#[cfg(feature = "persist")]
mod persist;
mod query;
mod rid;
mod script;
mod store;
mod value;

pub use error::ServiceError;
