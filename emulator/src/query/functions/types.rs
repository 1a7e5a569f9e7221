//! Type checks and IIF. They always answer, even about `undefined`.

use super::{Call, Function, function, to_integer};
use crate::value::Value;

pub(super) const TABLE: &[Function] = &[
    function("IS_ARRAY", 1, 1, |c| matches!(c.arg(0), Value::Array(_)).into()),
    function("IS_BOOL", 1, 1, |c| matches!(c.arg(0), Value::Bool(_)).into()),
    function("IS_DEFINED", 1, 1, |c| (!c.arg(0).is_undefined()).into()),
    function("IS_FINITE_NUMBER", 1, 1, |c| c.number(0).is_some_and(f64::is_finite).into()),
    function("IS_INTEGER", 1, 1, |c| c.number(0).and_then(to_integer).is_some().into()),
    function("IS_NULL", 1, 1, |c| matches!(c.arg(0), Value::Null).into()),
    function("IS_NUMBER", 1, 1, |c| matches!(c.arg(0), Value::Number(_)).into()),
    function("IS_OBJECT", 1, 1, |c| matches!(c.arg(0), Value::Object(_)).into()),
    function("IS_PRIMITIVE", 1, 1, is_primitive),
    function("IS_STRING", 1, 1, |c| matches!(c.arg(0), Value::String(_)).into()),
    function("IIF", 3, 3, iif),
];

fn is_primitive(call: &Call<'_>) -> Value {
    matches!(call.arg(0), Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)).into()
}

/// Only `true` takes the second argument; what is no boolean counts as false.
fn iif(call: &Call<'_>) -> Value {
    let chosen = if matches!(call.arg(0), Value::Bool(true)) { 1 } else { 2 };
    call.arg(chosen).clone()
}
