//! The emulator over real HTTP, as a client sees it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod batch;
mod bulk;
mod change_feed;
mod containers;
mod databases;
mod documentation;
mod documents;
mod faults;
mod functions;
mod isolation;
mod languages;
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
mod triggers;
mod ttl;

#[cfg(all(feature = "persist", feature = "cli"))]
mod program;
