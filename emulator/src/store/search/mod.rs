//! Queries and feeds over the documents of a container or of a snapshot, page by page.
//!
//! Whatever way the documents are found, the rows are the same as those of looking at every document in scope in
//! the order of their keys: the index only leaves out documents that the filter would drop, and only stops early
//! where the rest sorts behind.

mod access;
mod continuation;
mod sorted;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::Arc;

use crate::charge::QueryWork;
use crate::error::ServiceError;
use crate::limits::MAX_PAGE_BYTES;
use crate::query::{Context, Query};
use crate::value::Value;

use super::container::{Container, State, is_live};
use super::document::Document;
use super::index::{DocumentKey, ValueRange};
use super::partition::Partition;
use super::partition_key::PartitionKey;
use super::scope::Scope;
pub(crate) use continuation::{Continuation, Position};

/// Documents that are taken from the store at a time, so that commits need not wait for a long scan.
const CHUNK: usize = 256;

/// Documents that are read in order at least: they cost less than another look.
const LEAST_READ: usize = 16;

/// Where documents come from.
pub(crate) enum Source<'a> {
    /// The container as it is now.
    Live { container: &'a Container, scope: Scope },
    /// One logical partition as a transaction sees it.
    Snapshot { container: &'a Container, key: &'a PartitionKey, partition: &'a Arc<Partition> },
}

/// A search for one page.
pub(crate) struct Search<'a> {
    pub(crate) source: Source<'a>,
    /// Second for which expired documents are invisible.
    pub(crate) now: i64,
    pub(crate) page_rows: usize,
    pub(crate) start: Option<Position>,
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The rows as JSON.
    pub(crate) rows: Vec<String>,
    /// Where the next page starts, if there may be one.
    pub(crate) next: Option<Position>,
    pub(crate) work: QueryWork,
}

impl Found {
    /// The rows as one JSON array.
    pub(crate) fn array(&self) -> String {
        let bytes: usize = self.rows.iter().map(|row| row.len() + 1).sum();
        let mut array = String::with_capacity(bytes + 2);
        array.push('[');
        for (at, row) in self.rows.iter().enumerate() {
            if at > 0 {
                array.push(',');
            }
            array.push_str(row);
        }
        array.push(']');
        array
    }

    /// Adds a row unless the page is full with it.
    fn push(&mut self, row: &Value, page_rows: usize) -> bool {
        if self.rows.len() >= page_rows {
            return false;
        }
        let row = row.to_json();
        if !self.rows.is_empty() && self.work.bytes_returned + row.len() > MAX_PAGE_BYTES {
            return false;
        }
        self.work.bytes_returned += row.len();
        self.rows.push(row);
        true
    }
}

type Candidate = (DocumentKey, Arc<Document>);

impl Search<'_> {
    /// All documents, unfiltered.
    ///
    /// # Errors
    /// 400 for a continuation of something else.
    pub(crate) fn feed(&self) -> Result<Found, ServiceError> {
        self.stream(Documents::of(self, None), (0, usize::MAX), |document, rows| {
            rows.push(document.value.clone());
            Ok(())
        })
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What the query engine refuses, and 400 for a continuation of another query.
    pub(crate) fn query(&self, query: &Query, context: &Context<'_>) -> Result<Found, ServiceError> {
        if let Some(order) = query.sorted_by() {
            return self.sorted(query, &order, context);
        }
        let shape = query.shape();
        // Without FROM, and where a subquery reads the documents, rows do not belong to one document.
        let whole = shape.order_by
            || shape.aggregate
            || shape.distinct
            || shape.group_by
            || shape.subquery
            || !shape.from;
        if whole {
            return self.whole(query, context);
        }
        // A missing parameter is an error even where there are no documents.
        query.run(std::iter::empty(), context)?;
        let window = query.window(context)?;
        let query = query.without_window();
        self.stream(Documents::of(self, self.indexed(&query, context)), window, |document, rows| {
            rows.extend(query.run(std::iter::once(&document.value), context)?);
            Ok(())
        })
    }

    /// Rows document by document, without those that `window` skips and those behind it: the next page starts
    /// behind the last document, whatever changed in between.
    fn stream(
        &self,
        mut documents: Documents<'_>,
        (skipped, taken): (usize, usize),
        mut run: impl FnMut(&Document, &mut Vec<Value>) -> Result<(), ServiceError>,
    ) -> Result<Found, ServiceError> {
        let (mut last, mut skip, mut passed) = match &self.start {
            None => (None, 0, 0),
            // A document with rows left over is looked at again.
            Some(Position::At { key, rows, passed }) => (Some(key.clone()), *rows, *passed),
            Some(_) => return Err(continuation::invalid()),
        };
        let end = skipped.saturating_add(taken);
        let mut resume = last.clone().filter(|_| skip > 0);
        let mut found = Found::default();
        let mut rows = Vec::new();
        while passed < end {
            let next = match resume.take() {
                Some(key) => self.get(&key).map(|document| (key, document)),
                None => documents.next(last.as_ref()),
            };
            let Some((key, document)) = next else {
                if skip > 0 {
                    // The document is gone; go on behind it.
                    skip = 0;
                    continue;
                }
                break;
            };
            rows.clear();
            run(&document, &mut rows)?;
            found.work.documents += 1;
            found.work.index_entries += 1;
            for (at, row) in rows.iter().enumerate().skip(skip) {
                if passed >= end {
                    break;
                }
                if passed >= skipped && !found.push(row, self.page_rows) {
                    let (key, rows) = if at > 0 { (Some(key), at) } else { (last, 0) };
                    found.next = key.map(|key| Position::At { key, rows, passed });
                    return Ok(found);
                }
                passed += 1;
            }
            skip = 0;
            last = Some(key);
        }
        Ok(found)
    }

    /// Rows of a query whose pages are cut out of the whole result, by offset.
    fn whole(&self, query: &Query, context: &Context<'_>) -> Result<Found, ServiceError> {
        let offset = match &self.start {
            None => 0,
            Some(Position::Offset(offset)) => *offset,
            Some(_) => return Err(continuation::invalid()),
        };
        let (rows, work) = self.all_rows(query, context)?;
        let mut found = Found { work, ..Found::default() };
        for (at, row) in rows.iter().enumerate().skip(offset) {
            if !found.push(row, self.page_rows) {
                found.next = Some(Position::Offset(at));
                break;
            }
        }
        Ok(found)
    }

    fn all_rows(
        &self,
        query: &Query,
        context: &Context<'_>,
    ) -> Result<(Vec<Value>, QueryWork), ServiceError> {
        let documents = Documents::of(self, self.indexed(query, context)).all();
        let rows = query.run(documents.iter().map(|(_, document)| &document.value), context)?;
        let (documents, none) = (documents.len(), QueryWork::default());
        let work = match self.read_from_index(query) {
            Some(0) => QueryWork { counted: documents, ..none },
            Some(values) => QueryWork { aggregated: documents * values, ..none },
            None => QueryWork { index_entries: documents, documents, ..none },
        };
        Ok((rows, work))
    }

    /// How many values of each document an aggregate reads that the index alone answers; what it is filtered by comes
    /// with it. Here the index only finds the documents, but the service would not load them.
    fn read_from_index(&self, query: &Query) -> Option<usize> {
        let policy = &self.container().meta().definition.indexing;
        let paths = query.aggregated_paths()?;
        let indexed = paths.filtered.iter().chain(&paths.values).all(|path| policy.includes(path));
        indexed.then_some(paths.values.len())
    }

    /// Whether a document is there for this search.
    fn sees(&self, document: &Document) -> bool {
        is_live(document, self.container().meta().definition.default_ttl, self.now)
    }

    fn container(&self) -> &Container {
        match &self.source {
            Source::Live { container, .. } | Source::Snapshot { container, .. } => container,
        }
    }

    fn scope(&self) -> Scope {
        match &self.source {
            Source::Live { scope, .. } => scope.clone(),
            Source::Snapshot { key, .. } => Scope::Partition((*key).clone()),
        }
    }

    fn get(&self, key: &DocumentKey) -> Option<Arc<Document>> {
        let document = match &self.source {
            Source::Snapshot { partition, .. } => partition.get(&key.1).cloned(),
            Source::Live { container, .. } => container.with_state(|state| state.get(key)),
        };
        document.filter(|document| self.sees(document))
    }

    /// Up to `most` documents behind `after`, expired ones included.
    fn collect_after(&self, after: Option<&DocumentKey>, most: usize) -> Vec<Candidate> {
        match &self.source {
            Source::Snapshot { key, partition, .. } => partition
                .documents_after(after.map(|(_, id)| &**id))
                .take(most)
                .map(|document| (((*key).clone(), Arc::clone(&document.id)), Arc::clone(document)))
                .collect(),
            Source::Live { container, scope } => {
                container.with_state(|state| state.collect(scope, after, most))
            }
        }
    }
}

/// Documents one after another in the order of their keys: all in scope, or those in ranges of the index.
struct Documents<'a> {
    search: &'a Search<'a>,
    ranges: Option<Vec<ValueRange>>,
    buffer: std::vec::IntoIter<Candidate>,
}

impl<'a> Documents<'a> {
    fn of(search: &'a Search<'a>, ranges: Option<Vec<ValueRange>>) -> Self {
        Self { search, ranges, buffer: Vec::new().into_iter() }
    }

    /// The first one behind `after`, which is the one before or where the search starts.
    fn next(&mut self, after: Option<&DocumentKey>) -> Option<Candidate> {
        let mut after = after.cloned();
        loop {
            for candidate in self.buffer.by_ref() {
                if self.search.sees(&candidate.1) {
                    return Some(candidate);
                }
                after = Some(candidate.0);
            }
            let chunk = self.chunk(after.as_ref(), CHUNK);
            if chunk.is_empty() {
                return None;
            }
            self.buffer = chunk.into_iter();
        }
    }

    /// All of them.
    fn all(mut self) -> Vec<Candidate> {
        let mut all = self.chunk(None, usize::MAX);
        all.retain(|(_, document)| self.search.sees(document));
        all
    }

    /// Up to `most` behind `after`, expired ones included; none at the end.
    fn chunk(&mut self, after: Option<&DocumentKey>, most: usize) -> Vec<Candidate> {
        let found = self.ranges.as_ref().map(|ranges| self.search.found(ranges, after, most));
        if let Some(Some(found)) = found {
            return found;
        }
        self.ranges = None;
        self.search.collect_after(after, most)
    }
}

impl State {
    fn get(&self, (key, id): &DocumentKey) -> Option<Arc<Document>> {
        self.partitions.get(key)?.get(id).cloned()
    }

    fn collect(&self, scope: &Scope, after: Option<&DocumentKey>, most: usize) -> Vec<Candidate> {
        // After a split a page may be continued in a scope that begins behind its last document.
        let (first, _) = scope.first();
        let start = after.map_or_else(|| first.clone(), |(key, _)| key.clone().max(first.clone()));
        let mut found = Vec::new();
        for (key, partition) in self.partitions.range(start..).take_while(|(key, _)| scope.contains(key)) {
            let behind = after.filter(|(last, _)| last == key).map(|(_, id)| &**id);
            for document in partition.documents_after(behind) {
                if found.len() >= most {
                    return found;
                }
                found.push(((key.clone(), Arc::clone(&document.id)), Arc::clone(document)));
            }
        }
        found
    }
}
