//! What the store may know before it runs a query: conditions an index can serve, order and row limit.

use super::Context;
use super::ast::{BinaryOp, Expr, ExprKind, Origin, Select, UnaryOp};
use super::bind::Facts;
use super::eval::Machine;
use super::functions::aggregate::AggregateKind;
use crate::value::Value;

/// A condition every result document meets. The store may use any of them, or none, to find candidates; the
/// query still checks its whole WHERE.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Predicate {
    /// Member names from the root of the document.
    pub(crate) path: Vec<String>,
    pub(crate) test: Test,
}

/// What the value at the path has to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// Equal to this.
    Eq(Value),
    /// Equal to one of these.
    In(Vec<Value>),
    /// Of the type of the limits, and between them; at least one limit is given.
    Range { min: Option<Limit>, max: Option<Limit> },
    /// Anything but absent.
    Defined,
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) value: Value,
    pub(crate) inclusive: bool,
}

/// The predicates of WHERE, for a query that goes over the documents themselves.
pub(super) fn sargable(select: &Select, facts: &Facts, context: &Context<'_>) -> Vec<Predicate> {
    let mut predicates = Vec::new();
    if let (true, Some(filter)) = (is_over_documents(select), &select.filter) {
        collect(filter, &mut Machine::new(facts, context), &mut predicates);
    }
    predicates
}

/// Conditions whose alternatives are on different paths: every result document meets all predicates of one of the
/// alternatives of each.
pub(super) fn disjunctions(
    select: &Select,
    facts: &Facts,
    context: &Context<'_>,
) -> Vec<Vec<Vec<Predicate>>> {
    let Some(filter) = select.filter.as_ref().filter(|_| is_over_documents(select)) else {
        return Vec::new();
    };
    let machine = &mut Machine::new(facts, context);
    let conditions = match &filter.kind {
        ExprKind::And(operands) => operands.as_slice(),
        _ => std::slice::from_ref(filter),
    };
    let alternatives = |condition: &Expr| match &condition.kind {
        ExprKind::Or(operands) => Some(
            operands
                .iter()
                .map(|operand| {
                    let mut predicates = Vec::new();
                    collect(operand, machine, &mut predicates);
                    predicates
                })
                .collect(),
        ),
        _ => None,
    };
    conditions.iter().filter_map(alternatives).collect()
}

/// The paths of ORDER BY with their direction, `true` for descending.
pub(super) fn order_by_paths(select: &Select) -> Option<Vec<(Vec<String>, bool)>> {
    if select.order_by.is_empty() || select.is_grouped() || !is_over_documents(select) {
        return None;
    }
    select.order_by.iter().map(|item| Some((document_path(&item.expr)?, item.descending))).collect()
}

/// The properties an aggregate needs to know of each document, if that is all it needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregatedPaths {
    /// Those that the filter compares with constants.
    pub(crate) filtered: Vec<Vec<String>>,
    /// Those that are counted, added up and so on.
    pub(crate) values: Vec<Vec<String>>,
}

/// The properties that decide the result of a query made of aggregates over all documents that meet its filter.
pub(super) fn aggregated_paths(select: &Select) -> Option<AggregatedPaths> {
    let plain = is_over_documents(select)
        && select.from.len() == 1
        && select.group_by.is_empty()
        && !select.aggregates.is_empty();
    if !plain {
        return None;
    }
    let mut paths = AggregatedPaths { filtered: Vec::new(), values: Vec::new() };
    if !select.filter.as_ref().is_none_or(|filter| compares(filter, &mut paths.filtered)) {
        return None;
    }
    for aggregate in &select.aggregates {
        use AggregateKind as K;
        match aggregate.kind {
            K::Count | K::Sum | K::Avg | K::Min | K::Max if is_constant(&aggregate.arg) => {}
            K::Count | K::Sum | K::Avg | K::Min | K::Max => {
                paths.values.push(document_path(&aggregate.arg)?);
            }
            _ => return None,
        }
    }
    Some(paths)
}

/// Whether a condition does nothing but compare properties with constants; which ones goes into `paths`.
fn compares(expr: &Expr, paths: &mut Vec<Vec<String>>) -> bool {
    use BinaryOp as B;
    let mut property = |expr: &Expr| document_path(expr).map(|path| paths.push(path)).is_some();
    match &expr.kind {
        _ if is_constant(expr) => true,
        ExprKind::Member { .. } => property(expr),
        ExprKind::And(operands) | ExprKind::Or(operands) => {
            operands.iter().all(|operand| compares(operand, paths))
        }
        ExprKind::Unary { op: UnaryOp::Not, operand } => compares(operand, paths),
        ExprKind::Binary {
            op: B::Equal | B::NotEqual | B::Less | B::LessOrEqual | B::Greater | B::GreaterOrEqual,
            left,
            right,
        } => (is_constant(left) || property(left)) && (is_constant(right) || property(right)),
        ExprKind::In { operand, list, .. } => property(operand) && list.iter().all(is_constant),
        ExprKind::Between { operand, low, high, .. } => {
            property(operand) && is_constant(low) && is_constant(high)
        }
        ExprKind::Call { function, args } => match (function.name, args.as_slice()) {
            ("IS_DEFINED" | "IS_NULL", [value]) => property(value),
            ("STARTSWITH", [value, prefix]) => property(value) && is_constant(prefix),
            _ => false,
        },
        _ => false,
    }
}

pub(super) fn is_over_documents(select: &Select) -> bool {
    let first = select.from.first();
    first.is_some_and(|first| {
        matches!(first.origin, Origin::Root(_)) && first.path.is_empty() && !first.iterate
    })
}

/// `c.a.b` as `["a", "b"]`; nothing for the document itself.
pub(super) fn document_path(expr: &Expr) -> Option<Vec<String>> {
    match &expr.kind {
        ExprKind::Member { base, name } => {
            let mut path = match &base.kind {
                ExprKind::Name { slot: 0, .. } => Vec::new(),
                _ => document_path(base)?,
            };
            path.push(name.to_string());
            Some(path)
        }
        _ => None,
    }
}

/// The value of an expression that is the same for every document.
pub(super) fn constant(expr: &Expr, machine: &mut Machine<'_>) -> Option<Value> {
    if !is_constant(expr) {
        return None;
    }
    // A parameter that is missing is `undefined` here, and an error when the query runs.
    machine.eval(expr).ok().filter(|value| !value.is_undefined())
}

pub(super) fn is_constant(expr: &Expr) -> bool {
    let mut all = match &expr.kind {
        ExprKind::Name { .. } | ExprKind::Udf { .. } | ExprKind::Aggregate { .. } => false,
        ExprKind::Call { function, .. } => function.is_deterministic(),
        _ => expr.subquery().is_none(),
    };
    expr.for_each_child(&mut |child| all = all && is_constant(child));
    all
}

fn collect(expr: &Expr, machine: &mut Machine<'_>, into: &mut Vec<Predicate>) {
    match &expr.kind {
        ExprKind::And(operands) => operands.iter().for_each(|operand| collect(operand, machine, into)),
        ExprKind::Or(operands) => into.extend(alternatives(operands, machine)),
        ExprKind::Binary { op, left, right } => comparison(*op, left, right, machine, into),
        ExprKind::In { operand, list, negated: false } => {
            let Some(path) = document_path(operand) else { return };
            let values: Option<Vec<Value>> = list.iter().map(|item| constant(item, machine)).collect();
            into.extend(values.map(|values| Predicate { path, test: Test::In(values) }));
        }
        ExprKind::Between { operand, low, high, negated: false } => {
            let Some(path) = document_path(operand) else { return };
            let mut limit = |expr| constant(expr, machine).map(|value| Limit { value, inclusive: true });
            let (min, max) = (limit(low), limit(high));
            add_range(path, min, max, into);
        }
        ExprKind::Call { function, args } => call(function.name, args, machine, into),
        // A bare `WHERE c.flag` asks for `true`.
        ExprKind::Member { .. } => {
            let path = document_path(expr);
            into.extend(path.map(|path| Predicate { path, test: Test::Eq(Value::Bool(true)) }));
        }
        _ => {}
    }
}

/// `c.a = 1 OR c.a = 2` as `c.a IN (1, 2)`.
fn alternatives(operands: &[Expr], machine: &mut Machine<'_>) -> Option<Predicate> {
    let mut path: Option<Vec<String>> = None;
    let mut values = Vec::new();
    for operand in operands {
        let mut found = Vec::new();
        collect(operand, machine, &mut found);
        let predicate = found.pop().filter(|_| found.is_empty())?;
        if path.as_ref().is_some_and(|known| *known != predicate.path) {
            return None;
        }
        path = Some(predicate.path);
        match predicate.test {
            Test::Eq(value) => values.push(value),
            Test::In(more) => values.extend(more),
            Test::Range { .. } | Test::Defined => return None,
        }
    }
    Some(Predicate { path: path?, test: Test::In(values) })
}

fn call(name: &str, args: &[Expr], machine: &mut Machine<'_>, into: &mut Vec<Predicate>) {
    let Some(path) = args.first().and_then(document_path) else { return };
    match (name, args) {
        ("IS_DEFINED", _) => into.push(Predicate { path, test: Test::Defined }),
        ("IS_NULL", _) => into.push(Predicate { path, test: Test::Eq(Value::Null) }),
        ("STARTSWITH", [_, prefix]) => {
            if let Some(Value::String(prefix)) = constant(prefix, machine) {
                let max = after_prefix(&prefix).map(|end| Limit { value: end.into(), inclusive: false });
                add_range(path, Some(Limit { value: Value::String(prefix), inclusive: true }), max, into);
            }
        }
        _ => {}
    }
}

/// The least string above all that start with `prefix`, if there is one.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The step over the surrogates is taken by the range, not by arithmetic.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn comparison(op: BinaryOp, left: &Expr, right: &Expr, machine: &mut Machine<'_>, into: &mut Vec<Predicate>) {
    use BinaryOp as B;
    let (path, value, op) = match (document_path(left), document_path(right)) {
        (Some(path), None) => (path, constant(right, machine), op),
        (None, Some(path)) => (path, constant(left, machine), mirrored(op)),
        _ => return,
    };
    let Some(value) = value else { return };
    let limit = |inclusive| Some(Limit { value: value.clone(), inclusive });
    match op {
        B::Equal => into.push(Predicate { path, test: Test::Eq(value) }),
        B::Less => add_range(path, None, limit(false), into),
        B::LessOrEqual => add_range(path, None, limit(true), into),
        B::Greater => add_range(path, limit(false), None, into),
        B::GreaterOrEqual => add_range(path, limit(true), None, into),
        _ => {}
    }
}

/// `1 < c.a` is `c.a > 1`.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

/// Adds a range, narrowing the one already known for the path.
fn add_range(path: Vec<String>, min: Option<Limit>, max: Option<Limit>, into: &mut Vec<Predicate>) {
    if min.is_none() && max.is_none() {
        return;
    }
    let known = into.iter_mut().find(|known| known.path == path && matches!(known.test, Test::Range { .. }));
    match known {
        Some(Predicate { test: Test::Range { min: old_min, max: old_max }, .. }) => {
            *old_min = tighter(old_min.take(), min, true);
            *old_max = tighter(old_max.take(), max, false);
        }
        _ => into.push(Predicate { path, test: Test::Range { min, max } }),
    }
}

/// The limit that leaves less; for lower limits the greater one.
fn tighter(left: Option<Limit>, right: Option<Limit>, lower: bool) -> Option<Limit> {
    let (Some(left), Some(right)) = (&left, &right) else { return left.or(right) };
    let order = left.value.total_cmp(&right.value);
    let left_wins = if order.is_eq() { !left.inclusive } else { order.is_gt() == lower };
    Some(if left_wins { left.clone() } else { right.clone() })
}
