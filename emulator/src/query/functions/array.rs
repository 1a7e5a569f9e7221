//! Functions on arrays and sets.

use std::sync::Arc;

use super::{ANY, Call, Function, defined, from_count, function, to_integer};
use crate::value::{Object, Value};

pub(super) const TABLE: &[Function] = &[
    function("ARRAY_AVG", 1, 1, |c| numbers(c, |n| Some(n.iter().sum::<f64>() / count(n)?))),
    function("ARRAY_CONCAT", 2, ANY, concat),
    function("ARRAY_CONTAINS", 2, 3, contains),
    function("ARRAY_CONTAINS_ALL", 2, ANY, |c| contains_each(c, true)),
    function("ARRAY_CONTAINS_ANY", 2, ANY, |c| contains_each(c, false)),
    function("ARRAY_LENGTH", 1, 1, |c| c.array(0).map_or(Value::Undefined, |items| from_count(items.len()))),
    function("ARRAY_MAX", 1, 1, |c| extreme(c, |new, old| new.total_cmp(old).is_gt())),
    function("ARRAY_MEDIAN", 1, 1, |c| numbers(c, median)),
    function("ARRAY_MIN", 1, 1, |c| extreme(c, |new, old| new.total_cmp(old).is_lt())),
    function("ARRAY_SLICE", 2, 3, slice),
    function("ARRAY_SUM", 1, 1, |c| numbers(c, |n| Some(n.iter().sum()))),
    function("CHOOSE", 2, ANY, choose),
    function("OBJECTTOARRAY", 1, 3, object_to_array),
    function("SETDIFFERENCE", 2, 2, |c| set(c, |a, b| a.iter().filter(|x| !b.contains(x)).collect())),
    function("SETEQUAL", 2, 2, set_equal),
    function("SETINTERSECT", 2, 2, |c| set(c, |a, b| a.iter().filter(|x| b.contains(x)).collect())),
    function("SETUNION", 2, 2, |c| set(c, |a, b| a.iter().chain(b).collect())),
];

fn concat(call: &Call<'_>) -> Value {
    let mut joined = Vec::new();
    for at in 0..call.args.len() {
        match call.array(at) {
            Some(items) => joined.extend_from_slice(items),
            None => return Value::Undefined,
        }
    }
    joined.into()
}

fn contains(call: &Call<'_>) -> Value {
    let (Some(items), needle, Some(partial)) = (call.array(0), call.arg(1), call.flag(2, false)) else {
        return Value::Undefined;
    };
    if needle.is_undefined() {
        return Value::Undefined;
    }
    items.iter().any(|item| item == needle || partial && includes(item, needle)).into()
}

/// Partial match: every member of the object `part` is in `whole`, at every depth.
fn includes(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|found| includes(found, value)))
        }
        _ => whole == part,
    }
}

/// Whether the array has all (or any) of the other arguments.
fn contains_each(call: &Call<'_>, all: bool) -> Value {
    let (Some(items), Some(wanted)) = (call.array(0), call.args.get(1..)) else { return Value::Undefined };
    let has = |value: &Value| items.contains(value);
    if all { wanted.iter().all(has).into() } else { wanted.iter().any(has).into() }
}

/// A negative start counts from the end; the length is cut to what there is.
fn slice(call: &Call<'_>) -> Value {
    let (Some(items), Some(start)) = (call.array(0), call.number(1)) else { return Value::Undefined };
    let length = if call.given(2) { call.number(2) } else { Some(f64::INFINITY) };
    let Some(length) = length else { return Value::Undefined };
    let whole = usize_saturating(start.abs());
    let first = if start < 0.0 { items.len().saturating_sub(whole) } else { whole };
    let taken: Vec<Value> = items.iter().skip(first).take(usize_saturating(length)).cloned().collect();
    taken.into()
}

/// Negative becomes 0, and too large becomes the largest.
pub(super) fn usize_saturating(number: f64) -> usize {
    // `as` saturates, which is what is wanted.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let clamped = number as usize;
    clamped
}

/// `CHOOSE(2, 'a', 'b')` is 'b'.
fn choose(call: &Call<'_>) -> Value {
    let at = call.number(0).and_then(to_integer).and_then(|at| usize::try_from(at).ok());
    match at {
        Some(at) if at >= 1 => call.arg(at).clone(),
        _ => Value::Undefined,
    }
}

/// Members as `{"k": name, "v": value}`; the two names can be given.
fn object_to_array(call: &Call<'_>) -> Value {
    let name = |at: usize, default: &'static str| if call.given(at) { call.text(at) } else { Some(default) };
    let (Some(object), Some(key), Some(value)) = (call.arg(0).as_object(), name(1, "k"), name(2, "v")) else {
        return Value::Undefined;
    };
    let pairs: Vec<Value> = object
        .iter()
        .map(|(member, content)| {
            let mut pair = Object::new();
            pair.insert(key, Value::String(Arc::clone(member)));
            pair.insert(value, content.clone());
            pair.into()
        })
        .collect();
    pairs.into()
}

/// A set operation on two arrays; the result has no duplicates.
fn set(call: &Call<'_>, pick: impl for<'v> Fn(&'v [Value], &'v [Value]) -> Vec<&'v Value>) -> Value {
    let (Some(left), Some(right)) = (call.array(0), call.array(1)) else { return Value::Undefined };
    let mut result: Vec<Value> = Vec::new();
    for value in pick(left, right) {
        if !result.contains(value) {
            result.push(value.clone());
        }
    }
    result.into()
}

fn set_equal(call: &Call<'_>) -> Value {
    let (Some(left), Some(right)) = (call.array(0), call.array(1)) else { return Value::Undefined };
    let within = |part: &[Value], whole: &[Value]| part.iter().all(|value| whole.contains(value));
    (within(left, right) && within(right, left)).into()
}

/// Over an array of numbers only.
fn numbers(call: &Call<'_>, fold: impl Fn(&[f64]) -> Option<f64>) -> Value {
    let all: Option<Vec<f64>> = call.array(0).and_then(|items| items.iter().map(Value::as_f64).collect());
    defined(all.and_then(|numbers| fold(&numbers)).filter(|number| number.is_finite()))
}

#[allow(clippy::cast_precision_loss)]
fn count(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then_some(numbers.len() as f64)
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

fn extreme(call: &Call<'_>, better: impl Fn(&Value, &Value) -> bool) -> Value {
    let Some(items) = call.array(0) else { return Value::Undefined };
    let best = items.iter().reduce(|best, item| if better(item, best) { item } else { best });
    best.cloned().unwrap_or_default()
}
