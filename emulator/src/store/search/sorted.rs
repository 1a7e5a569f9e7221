//! Pages of ORDER BY queries.
//!
//! A page starts behind a document's place in the order, not behind a number of rows: clients that merge several
//! partitions go on with a narrower filter than the page before had, and documents may come and go in between.

use std::cmp::Ordering;

use crate::charge::QueryWork;
use crate::error::ServiceError;
use crate::query::{Context, Query};
use crate::value::Value;

use super::super::index::DocumentKey;
use super::access::{Ordered, is_scalar};
use super::{Candidate, Documents, Found, LEAST_READ, Position, Search, continuation};

/// The paths of ORDER BY, `true` for descending.
type Order = [(Vec<String>, bool)];

/// The row a page starts with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SortedPosition {
    /// The values the document is sorted by; `None` where they are too long to carry along.
    pub(crate) values: Option<Vec<Value>>,
    pub(crate) key: DocumentKey,
    /// Rows of this document on earlier pages.
    pub(crate) rows: usize,
    /// Rows on earlier pages, and those that OFFSET skips.
    pub(crate) passed: usize,
}

/// Values of more bytes than this are not carried along: tokens travel in headers.
const MAX_VALUE_BYTES: usize = 1024;

/// A document with its place in the order.
struct Placed {
    values: Vec<Value>,
    candidate: Candidate,
}

impl Search<'_> {
    /// A page of a query whose rows come in the order of their documents' values at these paths.
    pub(super) fn sorted(
        &self,
        query: &Query,
        order: &Order,
        context: &Context<'_>,
    ) -> Result<Found, ServiceError> {
        let start = match &self.start {
            None => None,
            Some(Position::Sorted(start)) => Some(self.resolve(start, order)?),
            Some(_) => return Err(continuation::invalid()),
        };
        let page = SortedPage { search: self, query: &query.without_window(), order, context, start };
        let window = query.window(context)?;
        let wanted = window.0.saturating_sub(page.passed()).saturating_add(self.page_rows).saturating_add(1);
        let limit = query.row_limit(context).unwrap_or(usize::MAX).saturating_sub(page.passed());
        let enough = limit.min(wanted);
        if let Some(by) = self.order(query, context, enough) {
            let by = page.rest(by);
            let mut take = enough.max(LEAST_READ);
            loop {
                let (documents, complete) = self.ordered(&by, take);
                let (found, ended) = page.cut(documents, window)?;
                if complete || ended {
                    return Ok(found);
                }
                take = take.saturating_mul(4);
            }
        }
        let documents = Documents::of(self, self.indexed(query, context)).all();
        Ok(page.cut(documents, window)?.0)
    }

    /// The position with its values.
    fn resolve(&self, start: &SortedPosition, order: &Order) -> Result<SortedPosition, ServiceError> {
        let mut start = start.clone();
        if start.values.is_none() {
            let document = self.get(&start.key).ok_or_else(continuation::invalid)?;
            start.values = Some(values(&document.value, order));
        }
        Ok(start)
    }
}

struct SortedPage<'a> {
    search: &'a Search<'a>,
    /// The query without its limits.
    query: &'a Query,
    order: &'a Order,
    context: &'a Context<'a>,
    start: Option<SortedPosition>,
}

impl SortedPage<'_> {
    fn passed(&self) -> usize {
        self.start.as_ref().map_or(0, |start| start.passed)
    }

    /// What is left of an order for this page.
    fn rest(&self, order: Ordered) -> Ordered {
        match self.start.as_ref().and_then(|start| start.values.as_ref()?.first()) {
            // Others are in no index.
            Some(value) if is_scalar(value) => {
                Ordered { range: order.range.from(value, order.descending), ..order }
            }
            _ => order,
        }
    }

    /// The page's rows out of those of `documents`, and whether it ends before they do.
    fn cut(
        &self,
        documents: Vec<Candidate>,
        (skip, take): (usize, usize),
    ) -> Result<(Found, bool), ServiceError> {
        let work =
            QueryWork { index_entries: documents.len(), documents: documents.len(), ..QueryWork::default() };
        let mut found = Found { work, ..Found::default() };
        let (last, mut passed) = (skip.saturating_add(take), self.passed());
        if take == 0 {
            return Ok((found, true));
        }
        for placed in self.place(documents) {
            let earlier = match &self.start {
                Some(start) if start.key == placed.candidate.0 => start.rows,
                _ => 0,
            };
            let document = &placed.candidate.1.value;
            let rows = self.query.run(std::iter::once(document), self.context)?;
            for (at, row) in rows.iter().enumerate().skip(earlier) {
                if passed >= last {
                    return Ok((found, true));
                }
                if passed >= skip && !found.push(row, self.search.page_rows) {
                    let carried = placed.values.iter().map(|value| value.to_json().len()).sum::<usize>();
                    found.next = Some(Position::Sorted(SortedPosition {
                        values: (carried <= MAX_VALUE_BYTES).then_some(placed.values),
                        key: placed.candidate.0,
                        rows: at,
                        passed,
                    }));
                    return Ok((found, true));
                }
                passed += 1;
            }
        }
        Ok((found, passed >= last))
    }

    /// The documents from the start of the page on, in order.
    fn place(&self, documents: Vec<Candidate>) -> Vec<Placed> {
        let place =
            |candidate: Candidate| Placed { values: values(&candidate.1.value, self.order), candidate };
        let mut placed: Vec<Placed> = documents.into_iter().map(place).collect();
        if let Some(SortedPosition { values: Some(values), key, .. }) = &self.start {
            placed
                .retain(|placed| self.compare((&placed.values, &placed.candidate.0), (values, key)).is_ge());
        }
        placed.sort_by(|a, b| self.compare((&a.values, &a.candidate.0), (&b.values, &b.candidate.0)));
        placed
    }

    /// By the values, then in the documents' natural order.
    fn compare(&self, left: (&[Value], &DocumentKey), right: (&[Value], &DocumentKey)) -> Ordering {
        let mut orders = left.0.iter().zip(right.0).zip(self.order).map(|((a, b), (_, descending))| {
            let order = a.total_cmp(b);
            if *descending { order.reverse() } else { order }
        });
        orders.find(|order| order.is_ne()).unwrap_or_else(|| left.1.cmp(right.1))
    }
}

fn values(document: &Value, order: &Order) -> Vec<Value> {
    order.iter().map(|(path, _)| path.iter().fold(document, |value, name| value.get(name)).clone()).collect()
}
