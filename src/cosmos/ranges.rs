//! The physical partitions of the container.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Client, Query, RETRY_BUDGET};
use super::{Failure, retry};

/// Physical partitions asked at the same time.
const AT_ONCE: usize = 16;

/// Ids of the container's partition key ranges, read once and again when the service says they are gone.
#[derive(Debug, Default)]
pub(crate) struct RangeCache(Mutex<Option<Arc<Vec<String>>>>);

impl RangeCache {
    fn get(&self) -> Option<Arc<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, ranges: Option<Arc<Vec<String>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ranges;
    }
}

impl Client {
    /// Runs a query in every physical partition and collects the rows; order across partitions is the
    /// caller's business. The gateway itself refuses ORDER BY and TOP over several partitions.
    pub(crate) async fn query_all<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>, Failure> {
        // A split between two attempts means another one with fresh ranges.
        const ATTEMPTS: usize = 5;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.query_ranges(query).await {
                Err(failure) if failure.is_stale_range() && attempt < ATTEMPTS => {
                    self.ranges.set(None);
                    self.session.forget();
                }
                other => return other,
            }
        }
    }

    async fn query_ranges<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>, Failure> {
        let mut rows = Vec::new();
        for ranges in self.range_ids().await?.chunks(AT_ONCE) {
            let asked = ranges.iter().map(|range| self.query_range(range, query));
            for found in join_all(asked).await {
                rows.extend(found?);
            }
        }
        Ok(rows)
    }

    async fn range_ids(&self) -> Result<Arc<Vec<String>>, Failure> {
        #[derive(Deserialize)]
        struct Feed {
            #[serde(rename = "PartitionKeyRanges")]
            ranges: Vec<Range>,
        }
        #[derive(Deserialize)]
        struct Range {
            id: String,
        }
        if let Some(known) = self.ranges.get() {
            return Ok(known);
        }
        let target = self.feed(Method::GET, "pkranges");
        let headers = vec![("x-ms-max-item-count", "-1".to_owned())];
        let response =
            retry::until(RETRY_BUDGET, || self.send("pkranges", &target, &headers, Bytes::new())).await?;
        let feed: Feed = serde_json::from_slice(response.body()).map_err(|error| {
            Failure::unexpected("pkranges", format!("the answer has an unexpected form: {error}"))
        })?;
        let ids = Arc::new(feed.ranges.into_iter().map(|range| range.id).collect());
        self.ranges.set(Some(Arc::clone(&ids)));
        Ok(ids)
    }
}
