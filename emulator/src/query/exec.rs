//! Running a SELECT: sources and joins, filter, groups, order, projection, limits.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use super::Context;
use super::ast::{Bound, BoundValue, Expr, OrderItem, Origin, Projection, Segment, Select, Source};
use super::error::{Result, located};
use super::eval::Machine;
use super::functions::aggregate::Accumulator;
use crate::value::{Object, Value};

/// Largest TOP, OFFSET or LIMIT.
const MAX_COUNT: f64 = 4_294_967_295.0;

/// The documents of the container, for the first source of the outermost SELECT.
pub(super) type Documents<'d> = &'d mut dyn Iterator<Item = Value>;

/// What a visited row wants next.
type Step = Result<ControlFlow<()>>;

/// Values that are compared by the total order, as a key of sets and maps.
#[derive(PartialEq)]
struct Key(Vec<Value>);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let unequal = self.0.iter().zip(&other.0).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
        unequal.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

/// A result row and what it is sorted by.
struct Row {
    keys: Vec<Value>,
    value: Value,
}

/// One group: the sources of its first row, for the grouped expressions, and its aggregates.
struct Group {
    slots: Vec<Value>,
    accumulators: Vec<Accumulator>,
}

/// The number a count stands for.
fn count(bound: &Bound, code: &str, clause: &str, context: &Context<'_>) -> Result<usize> {
    let number = match &bound.value {
        BoundValue::Number(number) => Some(*number),
        BoundValue::Parameter(name) => context.parameter(name).and_then(Value::as_f64),
    };
    match number {
        // Whole and at most 32 bits, so exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(number) if number.fract() == 0.0 && (0.0..=MAX_COUNT).contains(&number) => Ok(number as usize),
        _ => {
            let message = format!("The count value provided for a {clause} clause must be an integer.");
            Err(located(code, bound.span, &message))
        }
    }
}

/// Rows to skip and rows to return.
pub(super) fn window(select: &Select, context: &Context<'_>) -> Result<(usize, usize)> {
    let (mut skip, mut take) = (0, usize::MAX);
    if let Some(bounds) = &select.offset_limit {
        (skip, take) = offset_limit(bounds, context)?;
    }
    if let Some(bound) = &select.top {
        take = take.min(top(bound, context)?);
    }
    Ok((skip, take))
}

/// The rows of TOP.
pub(super) fn top(bound: &Bound, context: &Context<'_>) -> Result<usize> {
    count(bound, "SC2060", "TOP", context)
}

/// The rows of OFFSET and of LIMIT.
pub(super) fn offset_limit(
    (offset, limit): &(Bound, Bound),
    context: &Context<'_>,
) -> Result<(usize, usize)> {
    Ok((count(offset, "SC2062", "OFFSET", context)?, count(limit, "SC2061", "LIMIT", context)?))
}

impl Machine<'_> {
    /// The rows of a subquery.
    pub(super) fn select(&mut self, select: &Select) -> Result<Vec<Value>> {
        let documents = Rc::clone(&self.documents);
        self.select_from(select, &mut documents.iter().cloned())
    }

    /// The rows of `select`, whose container is `documents`.
    pub(super) fn select_from(&mut self, select: &Select, documents: Documents<'_>) -> Result<Vec<Value>> {
        let (skip, take) = window(select, self.context)?;
        let wanted = skip.saturating_add(take);
        if take == 0 {
            return Ok(Vec::new());
        }
        // A subquery has aggregates of its own.
        let outer = std::mem::take(&mut self.aggregates);
        let rows = if select.is_grouped() {
            self.grouped_rows(select, documents)
        } else {
            self.plain_rows(select, documents, wanted)
        };
        self.aggregates = outer;
        let mut rows = rows?;
        sort(&mut rows, &select.order_by);
        let mut values: Vec<Value> = rows.into_iter().map(|row| row.value).collect();
        if select.distinct {
            let mut seen = BTreeSet::new();
            values.retain(|value| seen.insert(Key(vec![value.clone()])));
        }
        Ok(values.into_iter().skip(skip).take(take).collect())
    }

    fn plain_rows(&mut self, select: &Select, documents: Documents<'_>, wanted: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        // DISTINCT could drop rows, and ORDER BY needs all of them.
        let stop_early = !select.distinct && select.order_by.is_empty();
        let _ = self.visit(&select.from, select.filter.as_ref(), documents, &mut |machine| {
            let row = machine.row(select)?;
            if !row.value.is_undefined() {
                rows.push(row);
            }
            let done = stop_early && rows.len() >= wanted;
            Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(rows)
    }

    fn grouped_rows(&mut self, select: &Select, documents: Documents<'_>) -> Result<Vec<Row>> {
        let base = self.slots.len();
        let mut places: BTreeMap<Key, usize> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        if select.group_by.is_empty() {
            // Aggregates over no rows still give one.
            let slots = vec![Value::Undefined; select.from.len()];
            groups.push(Group { slots, accumulators: accumulators(select) });
            places.insert(Key(Vec::new()), 0);
        }
        let _ = self.visit(&select.from, select.filter.as_ref(), documents, &mut |machine| {
            let key = Key(machine.each(&select.group_by)?);
            let at = *places.entry(key).or_insert_with(|| {
                let slots = machine.slots.get(base..).unwrap_or_default().to_vec();
                groups.push(Group { slots, accumulators: accumulators(select) });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(at) {
                for (accumulator, aggregate) in group.accumulators.iter_mut().zip(&select.aggregates) {
                    accumulator.add(machine.eval(&aggregate.arg)?);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut rows = Vec::with_capacity(groups.len());
        for group in groups {
            self.slots.extend(group.slots);
            self.aggregates = group.accumulators.into_iter().map(Accumulator::finish).collect();
            let row = self.row(select);
            self.slots.truncate(base);
            let row = row?;
            if !row.value.is_undefined() {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn each<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Vec<Value>> {
        exprs.into_iter().map(|expr| self.eval(expr)).collect()
    }

    /// The result of the sources at hand.
    fn row(&mut self, select: &Select) -> Result<Row> {
        let value = match &select.projection {
            Projection::Star(_) => self.slots.last().cloned().unwrap_or_default(),
            Projection::Value(expr) => self.eval(expr)?,
            Projection::List(items) => {
                let mut object = Object::new();
                for item in items {
                    object.insert(Arc::clone(&item.name), self.eval(&item.expr)?);
                }
                object.into()
            }
        };
        let keys = self.each(select.order_by.iter().map(|item| &item.expr))?;
        Ok(Row { keys, value })
    }

    /// Calls `found` for every combination of the sources for which the filter holds, with the sources in the
    /// slots. Without sources there is one, empty, combination.
    fn visit(
        &mut self,
        sources: &[Source],
        filter: Option<&Expr>,
        documents: Documents<'_>,
        found: &mut dyn FnMut(&mut Self) -> Step,
    ) -> Step {
        let Some((source, rest)) = sources.split_first() else {
            let holds = match filter {
                Some(filter) => self.holds(filter)?,
                None => true,
            };
            return if holds { found(self) } else { Ok(ControlFlow::Continue(())) };
        };
        match &source.origin {
            Origin::Root(_) => {
                for document in documents {
                    // Only the first source can be the container, so the rest needs no documents.
                    if self.spread(source, &document, rest, filter, found)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            Origin::Slot(_, slot) => {
                let value = self.slots.get(*slot).cloned().unwrap_or_default();
                return self.spread(source, &value, rest, filter, found);
            }
            Origin::Subquery(select) => {
                for value in self.select_from(select, documents)? {
                    if self.spread(source, &value, rest, filter, found)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            // The binder leaves none behind.
            Origin::Name(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes on with each value the source has below `value`.
    fn spread(
        &mut self,
        source: &Source,
        value: &Value,
        rest: &[Source],
        filter: Option<&Expr>,
        found: &mut dyn FnMut(&mut Self) -> Step,
    ) -> Step {
        let below = source.path.iter().fold(value, |value, segment| match segment {
            Segment::Name(name) => value.get(name),
            Segment::Index(index) => value.at(*index),
        });
        let single = std::slice::from_ref(below);
        let values: &[Value] = match below {
            Value::Undefined => &[],
            Value::Array(items) if source.iterate => items,
            // The rows of `x IN (SELECT …)` that are no arrays stand for themselves.
            _ if source.iterate && !matches!(source.origin, Origin::Subquery(_)) => &[],
            _ => single,
        };
        for value in values {
            let base = self.slots.len();
            self.slots.push(value.clone());
            let step = self.visit(rest, filter, &mut std::iter::empty(), found);
            self.slots.truncate(base);
            if step?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn accumulators(select: &Select) -> Vec<Accumulator> {
    select.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind)).collect()
}

/// Stable, so that rows with equal keys stay in their natural order.
fn sort(rows: &mut [Row], order_by: &[OrderItem]) {
    if order_by.is_empty() {
        return;
    }
    rows.sort_by(|left, right| {
        let orders = left.keys.iter().zip(&right.keys).zip(order_by).map(|((a, b), item)| {
            let order = a.total_cmp(b);
            if item.descending { order.reverse() } else { order }
        });
        orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
}
