//! Finding documents through the index.

use std::ops::Bound;
use std::sync::Arc;

use crate::query::{Context, Limit, Predicate, Query, Test};
use crate::value::Value;

use super::super::container::{State, is_live};
use super::super::index::{DocumentKey, ValueRange, is_indexable};
use super::super::indexing::IndexingPolicy;
use super::super::scope::Scope;
use super::{Candidate, Documents, Search, Source};

impl Search<'_> {
    /// The ranges of the index that hold every result: that of the most selective predicate, or those of the
    /// alternatives of a disjunction; `None` when looking at all documents is as good.
    pub(super) fn indexed(&self, query: &Query, context: &Context<'_>) -> Option<Vec<ValueRange>> {
        let scope = self.scope();
        self.with_index(|state| {
            let policy = &self.container().meta().definition.indexing;
            let ranges = value_ranges(query.sargable(context), policy);
            match most_selective(state, &ranges, &scope) {
                Some(range) => Some(vec![range.clone()]),
                None => union(state, query.disjunctions(context), policy, &scope),
            }
        })?
    }

    /// Up to `most` documents in `ranges` behind `after`, expired ones included; none at the end. `None` when the
    /// index does no longer tell.
    pub(super) fn found(
        &self,
        ranges: &[ValueRange],
        after: Option<&DocumentKey>,
        most: usize,
    ) -> Option<Vec<Candidate>> {
        let scope = self.scope();
        self.with_index(|state| {
            let policy = &self.container().meta().definition.indexing;
            if !ranges.iter().all(|range| policy.includes(&range.path)) {
                return None;
            }
            let keys = state.index.behind(ranges, &scope, after, most).into_iter();
            Some(keys.filter_map(|key| state.get(&key).map(|document| (key, document))).collect())
        })?
    }

    /// The index range whose order is the query's, when reading it until there are `enough` rows gives the same
    /// as sorting: the filter keeps out documents that are not in the range, or there are none.
    pub(super) fn order(&self, query: &Query, context: &Context<'_>, enough: usize) -> Option<Ordered> {
        let shape = query.shape();
        if shape.aggregate || shape.distinct || shape.group_by {
            return None;
        }
        let (path, descending) = query.order_by_paths()?.into_iter().next()?;
        let definition = &self.container().meta().definition.indexing;
        if !definition.includes(&path) || !is_indexable(&path) {
            return None;
        }
        let ranges = value_ranges(query.sargable(context), definition);
        let filtered = ranges.iter().find(|range| range.path == path).cloned();
        let scope = self.scope();
        self.with_index(|state| {
            let best = most_selective(state, &ranges, &scope);
            if let Some(range) = filtered {
                // A predicate that leaves few documents beats the order.
                let few =
                    best.is_some_and(|best| best.path != path && state.index.count(best, &scope, FEW) < FEW);
                return (!few).then_some(Ordered { range, descending, all: false });
            }
            let all = ValueRange { path, spans: vec![(Bound::Unbounded, Bound::Unbounded)] };
            let count = match best {
                Some(best) => state.index.count(best, &scope, state.documents),
                None => scope_size(state, &scope),
            };
            // Reading in order goes over all partitions and meets one wanted document in so many.
            let read = enough.saturating_mul(state.documents) / count.max(1);
            (all_have(state, &all) && read < count).then_some(Ordered { range: all, descending, all: true })
        })?
    }

    /// The first `take` documents of a range (more when values are equal), and whether these are all.
    pub(super) fn ordered(&self, order: &Ordered, take: usize) -> (Vec<Candidate>, bool) {
        let Ordered { range, descending, all } = order;
        let scope = self.scope();
        self.with_index(|state| {
            if !self.container().meta().definition.indexing.includes(&range.path)
                || (*all && !all_have(state, range))
            {
                // Changed since the range was chosen.
                return None;
            }
            let mut found = Vec::new();
            for group in state.index.groups(range, &scope, *descending) {
                if found.len() >= take {
                    return Some((found, false));
                }
                found.extend(self.load(state, std::iter::once(group)));
            }
            Some((found, true))
        })
        .flatten()
        .unwrap_or_else(|| (Documents::of(self, None).all(), true))
    }

    /// Looks at the index, if it describes what this search sees: a transaction's snapshot may be older.
    fn with_index<T>(&self, look: impl FnOnce(&State) -> T) -> Option<T> {
        self.container().with_state(|state| match &self.source {
            Source::Live { .. } => Some(look(state)),
            Source::Snapshot { key, partition, .. } => state
                .partitions
                .get(*key)
                .is_some_and(|current| Arc::ptr_eq(current, partition))
                .then(|| look(state)),
        })
    }

    fn load<'s>(
        &self,
        state: &'s State,
        groups: impl Iterator<Item = Vec<DocumentKey>> + 's,
    ) -> impl Iterator<Item = Candidate> + 's {
        let default_ttl = self.container().meta().definition.default_ttl;
        let now = self.now;
        groups
            .flatten()
            .filter_map(|key| state.get(&key).map(|document| (key, document)))
            .filter(move |(_, document)| is_live(document, default_ttl, now))
    }
}

/// Documents in the order of an index.
pub(super) struct Ordered {
    pub(super) range: ValueRange,
    pub(super) descending: bool,
    /// The range, with what earlier pages have passed of it, is to hold every document.
    pub(super) all: bool,
}

/// Up to this many documents are sorted rather than read in order.
const FEW: usize = 64;

/// Whether every document of the container has a scalar at the path. Others have a place in the order, too, but
/// none in the index.
fn all_have(state: &State, range: &ValueRange) -> bool {
    state.index.documents_with(&range.path) == state.documents
}

/// The documents in scope, or of all partitions where they are not counted.
fn scope_size(state: &State, scope: &Scope) -> usize {
    match scope {
        Scope::Partition(key) => state.partitions.get(key).map_or(0, |partition| partition.len()),
        Scope::Range { .. } => state.documents,
    }
}

/// The range with the fewest documents, unless looking at the whole scope is cheaper.
fn most_selective<'r>(state: &State, ranges: &'r [ValueRange], scope: &Scope) -> Option<&'r ValueRange> {
    let mut least = scope_size(state, scope);
    let mut best = None;
    for range in ranges {
        let count = state.index.count(range, scope, least);
        if count < least {
            (least, best) = (count, Some(range));
        }
    }
    best
}

/// The ranges that hold all alternatives of a disjunction together, unless looking at the whole scope is cheaper.
fn union(
    state: &State,
    disjunctions: Vec<Vec<Vec<Predicate>>>,
    policy: &IndexingPolicy,
    scope: &Scope,
) -> Option<Vec<ValueRange>> {
    let all = scope_size(state, scope);
    disjunctions.into_iter().find_map(|alternatives| {
        let mut ranges = Vec::with_capacity(alternatives.len());
        for predicates in alternatives {
            ranges.push(most_selective(state, &value_ranges(predicates, policy), scope)?.clone());
        }
        let count: usize = ranges.iter().map(|range| state.index.count(range, scope, all)).sum();
        (count < all).then_some(ranges)
    })
}

/// The conditions that the index can answer.
fn value_ranges(predicates: Vec<Predicate>, policy: &IndexingPolicy) -> Vec<ValueRange> {
    predicates
        .into_iter()
        .filter(|predicate| policy.includes(&predicate.path) && is_indexable(&predicate.path))
        .filter_map(|predicate| {
            let spans = match predicate.test {
                Test::Eq(value) => vec![point(&value)?],
                Test::In(mut values) => {
                    values.sort_by(Value::total_cmp);
                    values.dedup();
                    values.iter().map(point).collect::<Option<_>>()?
                }
                Test::Range { min, max } => vec![span(min, max)?],
                // Arrays and objects are defined, too, but not in the index.
                Test::Defined => return None,
            };
            Some(ValueRange { path: predicate.path, spans })
        })
        .collect()
}

fn point(value: &Value) -> Option<(Bound<Value>, Bound<Value>)> {
    is_scalar(value).then(|| (Bound::Included(value.clone()), Bound::Included(value.clone())))
}

/// The values of the limits' type between them.
fn span(min: Option<Limit>, max: Option<Limit>) -> Option<(Bound<Value>, Bound<Value>)> {
    let of_type = min.as_ref().or(max.as_ref())?.value.clone();
    if !is_scalar(&of_type) {
        return None;
    }
    let bound = |limit: Limit| {
        if limit.inclusive { Bound::Included(limit.value) } else { Bound::Excluded(limit.value) }
    };
    let rank = of_type.type_rank();
    let low = min.map_or_else(|| Bound::Included(least(rank)), bound);
    let high = max.map_or_else(|| Bound::Excluded(least(rank + 1)), bound);
    Some((low, high))
}

pub(super) fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
}

/// The least value of a type in the order of values.
fn least(rank: u8) -> Value {
    match rank {
        0 | 1 => Value::Null,
        2 => false.into(),
        3 => f64::NEG_INFINITY.into(),
        4 => "".into(),
        _ => Vec::new().into(),
    }
}
