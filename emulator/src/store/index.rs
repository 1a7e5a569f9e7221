//! The index of a container: which documents have which scalar at which property path.
//!
//! Only paths made of property names are kept; values inside arrays are found by looking at the documents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::value::Value;

use super::indexing::IndexingPolicy;
use super::partition_key::PartitionKey;
use super::scope::Scope;

/// Names a document across the container, in the order of plain scans.
pub(crate) type DocumentKey = (PartitionKey, Arc<str>);

/// Joins the names of a path; cannot occur in the JSON names people use, and a clash only widens a result.
const SEPARATOR: char = '\u{0}';

/// A scalar in the order of the query language.
#[derive(Debug, Clone, PartialEq)]
struct Scalar(Value);

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
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
    paths: HashMap<String, BTreeMap<Scalar, Posting>>,
}

impl Index {
    /// Adds what `policy` includes of a document.
    pub(crate) fn insert(&mut self, key: &DocumentKey, document: &Value, policy: &IndexingPolicy) {
        walk(document, policy, &mut Vec::new(), &mut |path, value| {
            let values = self.paths.entry(path).or_default();
            match values.get_mut(&Scalar(value.clone())) {
                None => {
                    values.insert(Scalar(value.clone()), Posting::One(key.clone()));
                }
                Some(posting) => posting.insert(key),
            }
        });
    }

    /// Takes out what [`Self::insert`] put in for the same document.
    pub(crate) fn remove(&mut self, key: &DocumentKey, document: &Value, policy: &IndexingPolicy) {
        walk(document, policy, &mut Vec::new(), &mut |path, value| {
            let Some(values) = self.paths.get_mut(&path) else { return };
            let scalar = Scalar(value.clone());
            if values.get_mut(&scalar).is_some_and(|posting| posting.remove(key)) {
                values.remove(&scalar);
            }
            if values.is_empty() {
                self.paths.remove(&path);
            }
        });
    }

    /// The cost of reading `range`: its entries in scope, and the values it has to step over; `limit` at most.
    pub(crate) fn count(&self, range: &ValueRange, scope: &Scope, limit: usize) -> usize {
        let mut count = 0;
        for posting in self.postings(range) {
            count += posting.within(scope).take(limit - count).count().max(1);
            if count >= limit {
                return limit;
            }
        }
        count
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
            values.into_iter().flat_map(move |values| values.range(span.clone())).map(|(_, posting)| posting)
        })
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
        Some(posting.within(&self.scope).cloned().collect())
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

    fn within(&self, scope: &Scope) -> impl Iterator<Item = &DocumentKey> {
        let (one, many) = match self {
            Posting::One(key) => (scope.contains(&key.0).then_some(key), None),
            Posting::Many(keys) => {
                (None, Some(keys.range((Bound::Included(scope.first()), Bound::Unbounded))))
            }
        };
        let scope = scope.clone();
        one.into_iter().chain(many.into_iter().flatten().take_while(move |key| scope.contains(&key.0)))
    }
}

/// Calls `entry` for every indexed scalar of a document.
fn walk<'a>(
    value: &'a Value,
    policy: &IndexingPolicy,
    path: &mut Vec<&'a str>,
    entry: &mut impl FnMut(String, &Value),
) {
    let Value::Object(members) = value else { return };
    for (name, member) in members.iter() {
        path.push(name);
        match member {
            Value::Object(_) if !policy.prunes(path) => walk(member, policy, path, entry),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) if policy.includes(path) => {
                entry(join(path), member);
            }
            _ => {}
        }
        path.pop();
    }
}

fn join<S: AsRef<str>>(path: &[S]) -> String {
    let mut joined = String::new();
    for name in path {
        joined.push_str(name.as_ref());
        joined.push(SEPARATOR);
    }
    joined
}
