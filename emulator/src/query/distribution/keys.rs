//! Which partition keys a filter leaves.

use super::super::Context;
use super::super::ast::{BinaryOp, Expr, ExprKind, Select, UnaryOp};
use super::super::bind::Facts;
use super::super::eval::Machine;
use super::super::plan::{constant, document_path, is_constant, is_over_documents};
use crate::value::Value;

/// More keys than this are no narrowing worth the client's while.
const MAX_KEYS: usize = 2000;

/// The partition keys that the rows of a query can have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyFilter {
    Any,
    /// No row can come of any document.
    Nowhere,
    /// One of these; fewer values than paths are the beginning of a hierarchical key.
    Keys(Vec<Vec<Value>>),
}

impl KeyFilter {
    /// Whether all rows come from one logical partition.
    pub(crate) fn is_one_key(&self, paths: usize) -> bool {
        match self {
            Self::Any => false,
            Self::Nowhere => true,
            Self::Keys(keys) => matches!(&keys[..], [key] if key.len() == paths),
        }
    }
}

/// A value for some of the paths.
type Point = Vec<Option<Value>>;

/// The points a condition allows; `None` for any.
type Points = Option<Vec<Point>>;

/// The keys that WHERE leaves.
pub(super) fn key_filter(
    select: &Select,
    facts: &Facts,
    paths: &[Vec<String>],
    context: &Context<'_>,
) -> KeyFilter {
    if select.from.is_empty() {
        return KeyFilter::Nowhere;
    }
    let Some(filter) = select.filter.as_ref().filter(|_| is_over_documents(select)) else {
        return KeyFilter::Any;
    };
    let mut reader = Reader { paths, machine: Machine::new(facts, context) };
    let Some(points) = reader.points(filter) else { return KeyFilter::Any };
    if points.is_empty() {
        return KeyFilter::Nowhere;
    }
    let mut keys: Vec<Vec<Value>> = Vec::new();
    for point in points {
        let key: Vec<Value> = point.into_iter().map_while(|value| value).collect();
        if key.is_empty() {
            return KeyFilter::Any;
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    KeyFilter::Keys(keys)
}

struct Reader<'a> {
    paths: &'a [Vec<String>],
    machine: Machine<'a>,
}

impl Reader<'_> {
    fn points(&mut self, expr: &Expr) -> Points {
        if is_constant(expr) {
            // What is not true drops every document. An error shows when the query runs.
            let holds = self.machine.eval(expr).map_or(true, |value| value == Value::Bool(true));
            return if holds { None } else { Some(Vec::new()) };
        }
        match &expr.kind {
            ExprKind::And(operands) => {
                operands.iter().fold(None, |known, operand| both(known, self.points(operand)))
            }
            ExprKind::Or(operands) => {
                let mut all = Vec::new();
                for operand in operands {
                    all.extend(self.points(operand)?);
                    if all.len() > MAX_KEYS {
                        return None;
                    }
                }
                Some(all)
            }
            ExprKind::Unary { op: UnaryOp::Not, operand } => self.values(operand, vec![Value::Bool(false)]),
            ExprKind::Binary { op: BinaryOp::Equal, left, right } => {
                let (path, value) = if is_constant(right) { (left, right) } else { (right, left) };
                let value = constant(value, &mut self.machine)?;
                self.values(path, vec![value])
            }
            ExprKind::In { operand, list, negated: false } => {
                let values: Option<Vec<Value>> =
                    list.iter().map(|item| constant(item, &mut self.machine)).collect();
                self.values(operand, values?)
            }
            ExprKind::Call { function, args } => match (function.name, &args[..]) {
                ("ARRAY_CONTAINS", [list, operand]) => match constant(list, &mut self.machine)? {
                    Value::Array(items) => self.values(operand, items.to_vec()),
                    _ => None,
                },
                ("IS_NULL", [operand]) => self.values(operand, vec![Value::Null]),
                ("IS_BOOL", [operand]) => self.values(operand, vec![Value::Bool(false), Value::Bool(true)]),
                _ => None,
            },
            // A bare `WHERE c.flag` asks for `true`.
            ExprKind::Member { .. } => self.values(expr, vec![Value::Bool(true)]),
            _ => None,
        }
    }

    /// The points where the path of a partition key has one of `values`.
    fn values(&self, path: &Expr, values: Vec<Value>) -> Points {
        let path = document_path(path)?;
        let at = self.paths.iter().position(|known| *known == path)?;
        if values.len() > MAX_KEYS {
            return None;
        }
        let point = |value| {
            let mut point = vec![None; self.paths.len()];
            if let Some(place) = point.get_mut(at) {
                *place = Some(value);
            }
            point
        };
        Some(values.into_iter().map(point).collect())
    }
}

fn both(left: Points, right: Points) -> Points {
    let (Some(left), Some(right)) = (&left, &right) else { return left.or(right) };
    if left.len().saturating_mul(right.len()) > MAX_KEYS {
        return Some(if left.len() <= right.len() { left.clone() } else { right.clone() });
    }
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
    Some(pairs.filter_map(|(a, b)| joined(a, b)).collect())
}

/// The point that both name, if they do not contradict each other.
fn joined(left: &Point, right: &Point) -> Option<Point> {
    left.iter()
        .zip(right)
        .map(|pair| match pair {
            (Some(a), Some(b)) => (a == b).then(|| Some(a.clone())),
            (a, b) => Some(a.clone().or_else(|| b.clone())),
        })
        .collect()
}
