//! The index of a container: which documents have which scalar at which property path.
//!
//! Only paths made of property names are kept; values inside arrays are found by looking at the documents.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::value::{Object, Value};

use super::indexing::IndexingPolicy;
use super::partition_key::PartitionKey;
use super::scope::Scope;

/// Names a document across the container, in the order of plain scans.
pub(crate) type DocumentKey = (PartitionKey, Arc<str>);

/// Ends each name of a joined path. Names that contain it are not indexed, so that two paths never clash.
const SEPARATOR: char = '\u{0}';

/// A scalar in the order of the query language.
#[derive(Debug, Clone, PartialEq)]
struct Scalar(Value);

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The documents with one value. Most values of most paths belong to one document.
#[derive(Debug)]
enum Posting {
    One(DocumentKey),
    Many(BTreeSet<DocumentKey>),
}

/// Values at one path: in any of the spans, which are in order and do not overlap.
#[derive(Debug, Clone)]
pub(crate) struct ValueRange {
    pub(crate) path: Vec<String>,
    pub(crate) spans: Vec<(Bound<Value>, Bound<Value>)>,
}

/// The index of a container.
#[derive(Debug, Default)]
pub(crate) struct Index {
    paths: HashMap<String, Values>,
}

/// The scalars at one path.
#[derive(Debug, Default)]
struct Values {
    postings: BTreeMap<Scalar, Posting>,
    /// How many documents have one.
    documents: usize,
}

impl Index {
    /// Changes what `policy` includes of a document from its `old` version to its `new` one. Most replaces change
    /// few of the properties.
    pub(crate) fn update(
        &mut self,
        key: &DocumentKey,
        old: Option<&Value>,
        new: Option<&Value>,
        policy: &IndexingPolicy,
    ) {
        let mut walk = Walk { policy, path: Vec::new(), joined: String::new() };
        walk.changes(
            old.and_then(Value::as_object),
            new.and_then(Value::as_object),
            &mut |path, old, new| {
                if let Some(old) = old {
                    self.remove(path, old, key);
                }
                if let Some(new) = new {
                    self.insert(path, new, key);
                }
            },
        );
    }

    fn insert(&mut self, path: &str, value: &Value, key: &DocumentKey) {
        if !self.paths.contains_key(path) {
            self.paths.insert(path.to_owned(), Values::default());
        }
        let Some(values) = self.paths.get_mut(path) else { return };
        values.documents += 1;
        match values.postings.entry(Scalar(value.clone())) {
            Entry::Vacant(place) => {
                place.insert(Posting::One(key.clone()));
            }
            Entry::Occupied(mut posting) => posting.get_mut().insert(key),
        }
    }

    fn remove(&mut self, path: &str, value: &Value, key: &DocumentKey) {
        let Some(values) = self.paths.get_mut(path) else { return };
        values.documents = values.documents.saturating_sub(1);
        if let Entry::Occupied(mut posting) = values.postings.entry(Scalar(value.clone()))
            && posting.get_mut().remove(key)
        {
            posting.remove();
        }
        if values.postings.is_empty() {
            self.paths.remove(path);
        }
    }

    /// How many documents have a scalar at `path`.
    pub(crate) fn documents_with(&self, path: &[String]) -> usize {
        self.paths.get(&join(path)).map_or(0, |values| values.documents)
    }

    /// The cost of reading `range`: its entries, and the values it has to step over; `limit` at most. Those of a
    /// range of keys are not told apart from the others: counting them would cost as much as reading them.
    pub(crate) fn count(&self, range: &ValueRange, scope: &Scope, limit: usize) -> usize {
        let mut count = 0;
        for posting in self.postings(range) {
            count += match scope {
                Scope::Partition(_) => posting.behind(scope, None).take(limit - count).count().max(1),
                Scope::Range { .. } => posting.len(),
            };
            if count >= limit {
                return limit;
            }
        }
        count
    }

    /// Up to `most` documents in any of `ranges` behind `after`, in the order of their keys; none at the end.
    pub(crate) fn behind(
        &self,
        ranges: &[ValueRange],
        scope: &Scope,
        after: Option<&DocumentKey>,
        most: usize,
    ) -> Vec<DocumentKey> {
        let postings = ranges.iter().flat_map(|range| self.postings(range));
        let mut keys: Vec<&DocumentKey> =
            postings.flat_map(|posting| posting.behind(scope, after).take(most)).collect();
        if keys.len() > most {
            keys.select_nth_unstable(most);
            keys.truncate(most);
        }
        keys.sort_unstable();
        // A document may be in several ranges.
        keys.dedup();
        keys.into_iter().cloned().collect()
    }

    /// The documents in `range`, group by group of equal values, in the order of the values.
    pub(crate) fn groups(&self, range: &ValueRange, scope: &Scope, descending: bool) -> Groups<'_> {
        let postings: Box<dyn Iterator<Item = &Posting>> =
            if descending { Box::new(self.postings(range).rev()) } else { Box::new(self.postings(range)) };
        Groups { postings, scope: scope.clone() }
    }

    fn postings<'a>(&'a self, range: &ValueRange) -> impl DoubleEndedIterator<Item = &'a Posting> + use<'a> {
        let values = self.paths.get(&join(&range.path));
        let spans: Vec<_> = match values {
            Some(_) => range.spans.iter().filter_map(scalar_span).collect(),
            None => Vec::new(),
        };
        spans.into_iter().flat_map(move |span| {
            values
                .into_iter()
                .flat_map(move |values| values.postings.range(span.clone()))
                .map(|(_, posting)| posting)
        })
    }
}

impl ValueRange {
    /// The part from `value` on, in the order of the values or against it.
    pub(crate) fn from(mut self, value: &Value, descending: bool) -> Self {
        for (low, high) in &mut self.spans {
            let (bound, order) = if descending { (high, Ordering::Greater) } else { (low, Ordering::Less) };
            let beyond = match &*bound {
                Bound::Included(limit) | Bound::Excluded(limit) => limit.total_cmp(value) == order,
                Bound::Unbounded => true,
            };
            if beyond {
                *bound = Bound::Included(value.clone());
            }
        }
        self
    }
}

/// The span in the index's type; `None` when nothing can be in it, where `BTreeMap::range` would panic.
fn scalar_span((low, high): &(Bound<Value>, Bound<Value>)) -> Option<(Bound<Scalar>, Bound<Scalar>)> {
    let (low, high) = (low.clone().map(Scalar), high.clone().map(Scalar));
    let empty = match (&low, &high) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    };
    (!empty).then_some((low, high))
}

/// The documents of an index range; one item for each value.
pub(crate) struct Groups<'a> {
    postings: Box<dyn Iterator<Item = &'a Posting> + 'a>,
    scope: Scope,
}

impl Iterator for Groups<'_> {
    type Item = Vec<DocumentKey>;

    fn next(&mut self) -> Option<Self::Item> {
        let posting = self.postings.next()?;
        Some(posting.behind(&self.scope, None).cloned().collect())
    }
}

impl Posting {
    fn insert(&mut self, key: &DocumentKey) {
        match self {
            Posting::One(first) if first == key => {}
            Posting::One(first) => *self = Posting::Many(BTreeSet::from([first.clone(), key.clone()])),
            Posting::Many(keys) => {
                keys.insert(key.clone());
            }
        }
    }

    /// Whether nothing is left.
    fn remove(&mut self, key: &DocumentKey) -> bool {
        match self {
            Posting::One(only) => only == key,
            Posting::Many(keys) => {
                keys.remove(key);
                keys.is_empty()
            }
        }
    }

    /// In all of the container.
    fn len(&self) -> usize {
        match self {
            Posting::One(_) => 1,
            Posting::Many(keys) => keys.len(),
        }
    }

    /// Those in scope, behind `after`.
    fn behind(&self, scope: &Scope, after: Option<&DocumentKey>) -> impl Iterator<Item = &DocumentKey> {
        let (one, many) = match self {
            Posting::One(key) => {
                let wanted = scope.contains(&key.0) && after.is_none_or(|after| key > after);
                (wanted.then_some(key), None)
            }
            Posting::Many(keys) => {
                let first = scope.first();
                // After a split a page may be continued in a scope that begins behind its last document.
                let start = match after {
                    Some(after) if *after >= first => Bound::Excluded(after.clone()),
                    _ => Bound::Included(first),
                };
                (None, Some(keys.range((start, Bound::Unbounded))))
            }
        };
        let scope = scope.clone();
        one.into_iter().chain(many.into_iter().flatten().take_while(move |key| scope.contains(&key.0)))
    }
}

/// Whether values at `path` can be in an index.
pub(crate) fn is_indexable<S: AsRef<str>>(path: &[S]) -> bool {
    path.iter().all(|name| !name.as_ref().contains(SEPARATOR))
}

/// Up to this many members the versions of an object are compared; looking up each of more would take too long.
const COMPARED_MEMBERS: usize = 64;

/// A walk over the indexed scalars of one or two versions of a document.
struct Walk<'a> {
    policy: &'a IndexingPolicy,
    path: Vec<&'a str>,
    joined: String,
}

impl<'a> Walk<'a> {
    /// Calls `entry` for every path whose scalars are not the same, with the joined path, the old and the new one.
    fn changes(
        &mut self,
        old: Option<&'a Object>,
        new: Option<&'a Object>,
        entry: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
    ) {
        let (Some(before), Some(after)) = (old, new) else {
            for (name, value) in old.into_iter().flat_map(Object::iter) {
                self.member(name, Some(value), None, entry);
            }
            for (name, value) in new.into_iter().flat_map(Object::iter) {
                self.member(name, None, Some(value), entry);
            }
            return;
        };
        if before.len().max(after.len()) > COMPARED_MEMBERS {
            self.changes(Some(before), None, entry);
            self.changes(None, Some(after), entry);
            return;
        }
        for (name, value) in before.iter() {
            self.member(name, Some(value), after.get(name), entry);
        }
        for (name, value) in after.iter().filter(|(name, _)| before.get(name).is_none()) {
            self.member(name, None, Some(value), entry);
        }
    }

    fn member(
        &mut self,
        name: &'a str,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
        entry: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
    ) {
        let (old_scalar, new_scalar) = (old.filter(is_scalar), new.filter(is_scalar));
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        if name.contains(SEPARATOR) || (old_scalar == new_scalar && old.is_none() && new.is_none()) {
            return;
        }
        let length = self.joined.len();
        self.path.push(name);
        self.joined.push_str(name);
        self.joined.push(SEPARATOR);
        if old_scalar != new_scalar && self.policy.includes(&self.path) {
            entry(&self.joined, old_scalar, new_scalar);
        }
        if (old.is_some() || new.is_some()) && !self.policy.prunes(&self.path) {
            self.changes(old, new, entry);
        }
        self.path.pop();
        self.joined.truncate(length);
    }
}

fn is_scalar(value: &&Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
}

fn join(path: &[String]) -> String {
    let mut joined = String::new();
    for name in path {
        joined.push_str(name);
        joined.push(SEPARATOR);
    }
    joined
}
