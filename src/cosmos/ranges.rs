//! The physical partitions of the container.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Client, Query, RETRY_BUDGET};
use super::transport::TransportError;
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

/// What the physical partitions answer to a query, in any order.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    pub(crate) rows: Vec<T>,
    /// Physical partitions that answered.
    pub(crate) answered: usize,
    /// What went wrong with one that did not.
    pub(crate) failure: Option<Failure>,
}

impl Client {
    /// Runs a query in every physical partition and collects the rows; order across partitions is the
    /// caller's business. The gateway itself refuses ORDER BY and TOP over several partitions.
    pub(crate) async fn query_all<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>, Failure> {
        let Answers { rows, failure, .. } = self.query_each(query, None).await?;
        failure.map_or(Ok(rows), Err)
    }

    /// The same where a physical partition that fails, or does not answer within `patience`, costs only its own rows.
    pub(crate) async fn query_each<T: DeserializeOwned>(
        &self,
        query: &Query,
        patience: Option<Duration>,
    ) -> Result<Answers<T>, Failure> {
        // A split between two attempts means another one with fresh ranges.
        const ATTEMPTS: usize = 5;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let ranges = self.range_ids().await?;
            let asked: Vec<_> = ranges.iter().map(|range| self.ask_range(range, query, patience)).collect();
            let found: Vec<Result<Vec<T>, Failure>> = iter(asked).buffered(AT_ONCE).collect().await;
            let stale = found.iter().any(|found| found.as_ref().is_err_and(Failure::is_stale_range));
            if stale && attempt < ATTEMPTS {
                self.ranges.set(None);
                self.session.forget();
                continue;
            }
            let mut answers = Answers { rows: Vec::new(), answered: 0, failure: None };
            for found in found {
                match found {
                    Ok(rows) => {
                        answers.answered += 1;
                        answers.rows.extend(rows);
                    }
                    Err(failure) => answers.failure = Some(failure),
                }
            }
            return Ok(answers);
        }
    }

    async fn ask_range<T: DeserializeOwned>(
        &self,
        range: &str,
        query: &Query,
        patience: Option<Duration>,
    ) -> Result<Vec<T>, Failure> {
        let asked = self.query_range(range, query);
        let Some(patience) = patience else {
            return asked.await;
        };
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| {
            let late = format!("physical partition {range} has not answered within {patience:?}");
            Err(Failure::of_transport(query.operation(), &TransportError::OutcomeUnknown(late)))
        })
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
