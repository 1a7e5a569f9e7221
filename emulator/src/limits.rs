//! The service's published limits (learn: `concepts-limits`), one constant each.

use std::time::Duration;

/// Largest request body in bytes; above it the answer is 413.
pub(crate) const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// Largest document as UTF-8 JSON in bytes; above it the answer is 413.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

/// A query or feed page is cut before it grows beyond this many bytes.
pub(crate) const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Rows of a page when the client does not say.
pub(crate) const DEFAULT_PAGE_ROWS: usize = 100;

/// Largest query text in bytes; above it the answer is 400.
pub(crate) const MAX_QUERY_BYTES: usize = 512 * 1024;

/// Operations of a transactional batch; above it the answer is 400.
pub(crate) const MAX_BATCH_OPERATIONS: usize = 100;

/// Operations of one patch request; above it the answer is 400.
pub(crate) const MAX_PATCH_OPERATIONS: usize = 10;

/// Longest document id in bytes; above it the answer is 400.
pub(crate) const MAX_DOCUMENT_ID_BYTES: usize = 1023;

/// Longest id of a database, container or script in characters; above it the answer is 400.
pub(crate) const MAX_RESOURCE_ID_CHARS: usize = 255;

/// Largest string of a partition key in bytes; above it the answer is 400.
pub(crate) const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// Levels of a hierarchical partition key.
pub(crate) const MAX_PARTITION_KEY_PATHS: usize = 3;

/// Procedures of a container; creating one more answers 400.
pub(crate) const MAX_PROCEDURES: usize = 100;

/// Triggers of a container; creating one more answers 400.
pub(crate) const MAX_TRIGGERS: usize = 25;

/// User-defined functions of a container; creating one more answers 400.
pub(crate) const MAX_FUNCTIONS: usize = 50;

/// Runs in a row above their share of time after which a script is blocked with 403. Microsoft's tests run a
/// script six times above its limit, and expect the seventh run to be refused.
pub(crate) const MAX_STRIKES: u32 = 6;

/// Time on the processor that a procedure may use without a strike.
pub(crate) const MAX_PROCEDURE_CHARGE: Duration = Duration::from_secs(2);

/// Largest `ttl` and `defaultTtl` in seconds; above it the answer is 400.
pub(crate) const MAX_TTL_SECONDS: f64 = 2_147_483_647.0;

/// Time of one operation, procedures included; above it the answer is 408.
pub(crate) const MAX_OPERATION_TIME: Duration = Duration::from_secs(5);

/// How far the date of a signed request may be from the server's clock; beyond it the answer is 403.
pub(crate) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// Least RU/s of an offer, and what a container gets without asking.
pub(crate) const MIN_THROUGHPUT: u64 = 400;

/// Least maximum of an offer with autoscale, in RU/s.
pub(crate) const MIN_AUTOSCALE_THROUGHPUT: u64 = 1000;
