//! The emulator over real HTTP, as a client sees it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod batch;
mod bulk;
mod change_feed;
mod containers;
mod databases;
mod documents;
mod fuzz;
mod isolation;
mod limits;
mod partitions;
mod patch;
mod queries;
mod query_plans;
mod split;
mod sprocs;
mod support;
mod throughput;
#[cfg(feature = "tls")]
mod tls;
mod ttl;

#[cfg(all(feature = "persist", feature = "cli"))]
mod program;
