//! The change feed: the documents of a physical partition in the order of their last commits.

use std::sync::Arc;

use crate::limits::MAX_PAGE_BYTES;

use super::container::{Container, LogPosition, is_live};
use super::document::Document;
use super::scope::Scope;

/// A page to read. Of a document that was written several times only the last version is there.
pub(crate) struct ChangeFeed<'a> {
    pub(crate) container: &'a Container,
    /// The physical partition whose log is read.
    pub(crate) range: u32,
    /// The part of it that counts.
    pub(crate) scope: Scope,
    /// Number of the first commit to look at.
    pub(crate) first: u64,
    /// Only documents with this `_ts` or a later one, in seconds.
    pub(crate) since: Option<i64>,
    pub(crate) page_rows: usize,
}

/// A page of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) documents: Vec<Arc<Document>>,
    /// Number of the last commit that the page covers, or of the log's last one.
    pub(crate) last: u64,
    /// Entries of the log that were looked at.
    pub(crate) entries: usize,
}

impl ChangeFeed<'_> {
    /// Reads the page; `None` when the physical partition is gone.
    ///
    /// A commit is never cut in two: its documents come in one page, even when that makes the page longer than
    /// asked for.
    pub(crate) fn read(&self) -> Option<(Changes, LogPosition)> {
        let default_ttl = self.container.meta().definition.default_ttl;
        let now = self.container.shared().clock.now_s();
        self.container.with_state(|state| {
            let range = state.ranges.iter().find(|range| range.id == self.range)?;
            let mut changes = Changes { last: range.lsn, ..Changes::default() };
            let (mut bytes, mut at) = (0, self.first);
            for (lsn, (key, id)) in state.log.since(self.range, self.first) {
                let full = changes.documents.len() >= self.page_rows || bytes >= MAX_PAGE_BYTES;
                if full && *lsn != at {
                    changes.last = at;
                    break;
                }
                changes.entries += 1;
                at = *lsn;
                let document = state.partitions.get(key).and_then(|partition| partition.get(id));
                let wanted = document.filter(|document| {
                    self.scope.contains(key)
                        && is_live(document, default_ttl, now)
                        && self.since.is_none_or(|since| document.ts.is_some_and(|ts| ts >= since))
                });
                if let Some(document) = wanted {
                    bytes += document.size;
                    changes.documents.push(Arc::clone(document));
                }
            }
            Some((changes, LogPosition { range: range.id, lsn: range.lsn }))
        })
    }
}
