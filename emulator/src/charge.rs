//! Request charges: a model fitted to the points Microsoft publishes, not the service's own accounting.
//!
//! | operation | published | model |
//! |---|---|---|
//! | point read, 1 KB / 100 KB | 1 / 10 RU | 1 + (KB - 1) / 11 |
//! | write of 1 KB / 100 KB, not indexed | 5 / 50 RU | 5 + (KB - 1) x 0.45, less 0.5 below 1 KB |
//! | each indexed scalar | | 0.05 RU, at most 100 of them |
//! | replace | about twice an insert (10.3 measured for 2 KB) | x 1.9 |
//! | delete | as a replace of the old version | x 1 of an insert |
//! | query | 2.3 to 2.9 RU for each physical partition visited | 2.3 + 0.02 per index entry + 0.1 per document loaded + 0.1 per KB returned |
//! | aggregate that the index answers | by the two published, below | 2.3 + 0.0002 per document counted + 0.0013 per value aggregated |
//! | conditional read, not modified | 1 RU | 1 |
//! | read of nothing (404) | 1 RU | 1 |
//! | failed write (409, 412) | not published | 1.24 |
//! | procedure | operations + 3 to 5 RU | 4 + its operations |
//! | trigger | not published | 2 + its operations |
//! | batch | the sum of its operations | the sum |
//!
//! Of aggregates Microsoft published two charges on the same data, before and after they could be answered from the
//! index alone (<https://devblogs.microsoft.com/cosmosdb/april-query-improvements/>): a COUNT with one equality
//! went from 12,823 to 24.6 RU, a MAX with one range from 11,202 to 121.7 RU. How many documents these were is not
//! told; with 0.12 RU for an entry and its document before, it follows that one costs 0.0002 and 0.0013 RU after.

use crate::store::IndexingPolicy;
use crate::value::Value;

/// A conditional read that found nothing new, and every answer that costs the least.
pub(crate) const MINIMUM: f64 = 1.0;

/// A run of a stored procedure without its operations.
pub(crate) const PROCEDURE: f64 = 4.0;

/// A run of a trigger without its operations: not published, taken as a part of a procedure's.
pub(crate) const TRIGGER: f64 = 2.0;

/// A visit of one physical partition by a query.
const QUERY: f64 = 2.3;

/// Bytes in a KB of the published table.
const KB: f64 = 1024.0;

/// A point read of a document of `bytes`.
pub(crate) fn read(bytes: usize) -> f64 {
    MINIMUM + (kilobytes(bytes) - 1.0).max(0.0) / 11.0
}

/// A create, or a replace when `replaces`.
pub(crate) fn write(document: &Value, bytes: usize, policy: &IndexingPolicy, replaces: bool) -> f64 {
    insert(document, bytes, policy) * if replaces { 1.9 } else { 1.0 }
}

/// A delete of a document of `bytes`.
pub(crate) fn delete(document: &Value, bytes: usize, policy: &IndexingPolicy) -> f64 {
    insert(document, bytes, policy)
}

fn insert(document: &Value, bytes: usize, policy: &IndexingPolicy) -> f64 {
    const MOST_TERMS: usize = 100;
    let terms = policy.count_terms(document, MOST_TERMS);
    5.0 + (kilobytes(bytes) - 1.0).max(-1.0) * if bytes < 1024 { 0.5 } else { 0.45 } + float(terms) * 0.05
}

/// What a query did on one physical partition.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueryWork {
    pub(crate) index_entries: usize,
    pub(crate) documents: usize,
    pub(crate) bytes_returned: usize,
    /// Documents that an aggregate counted without loading them.
    pub(crate) counted: usize,
    /// Values that an aggregate read from the index.
    pub(crate) aggregated: usize,
}

/// A query or feed page.
pub(crate) fn query(work: QueryWork) -> f64 {
    QUERY
        + float(work.index_entries) * 0.02
        + float(work.documents) * 0.1
        + kilobytes(work.bytes_returned) * 0.1
        + float(work.counted) * 0.0002
        + float(work.aggregated) * 0.0013
}

fn kilobytes(bytes: usize) -> f64 {
    float(bytes) / KB
}

// Sizes are bounded by the service's limits, far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn policy(text: &str) -> IndexingPolicy {
        IndexingPolicy::parse(&Value::parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn published_points() {
        let none = policy(r#"{"indexingMode":"none"}"#);
        let document = Value::parse(br#"{"id":"a"}"#).unwrap();
        assert!((read(1024) - 1.0).abs() < 0.01);
        assert!((read(100 * 1024) - 10.0).abs() < 0.01);
        assert!((write(&document, 1024, &none, false) - 5.0).abs() < 0.01);
        assert!((write(&document, 100 * 1024, &none, false) - 50.0).abs() < 1.0);
    }

    /// The ratios of the published charges, whatever the number of documents.
    #[test]
    fn aggregates_from_the_index() {
        for (before, after, aggregated) in [(12_823.04, 24.58, 0), (11_201.54, 121.69, 1)] {
            let documents = (1..1_000_000)
                .find(|documents| {
                    let loaded = QueryWork {
                        index_entries: *documents,
                        documents: *documents,
                        ..QueryWork::default()
                    };
                    query(loaded) >= before
                })
                .unwrap();
            let work = match aggregated {
                0 => QueryWork { counted: documents, ..QueryWork::default() },
                _ => QueryWork { aggregated: documents, ..QueryWork::default() },
            };
            assert!((query(work) / after - 1.0).abs() < 0.1, "{documents} documents: {}", query(work));
        }
    }

    #[test]
    fn cheap_queries_cost_their_floor() {
        let work = QueryWork { index_entries: 1, documents: 1, bytes_returned: 500, ..QueryWork::default() };
        assert!((2.3..2.9).contains(&query(work)));
    }
}
