//! Numeric functions. A result that is no finite number is `undefined`: JSON could not carry it.

use std::hash::{BuildHasher, Hasher};

use super::{Call, Function, from_integer, function};
use crate::value::Value;

pub(super) const TABLE: &[Function] = &[
    function("ABS", 1, 1, |c| real(c, f64::abs)),
    function("ACOS", 1, 1, |c| real(c, f64::acos)),
    function("ASIN", 1, 1, |c| real(c, f64::asin)),
    function("ATAN", 1, 1, |c| real(c, f64::atan)),
    function("ATN2", 2, 2, |c| real2(c, |y, x| Some(y.atan2(x)))),
    function("CEILING", 1, 1, |c| real(c, f64::ceil)),
    function("COS", 1, 1, |c| real(c, f64::cos)),
    function("COT", 1, 1, |c| real(c, |x| 1.0 / x.tan())),
    function("DEGREES", 1, 1, |c| real(c, f64::to_degrees)),
    function("EXP", 1, 1, |c| real(c, f64::exp)),
    function("FLOOR", 1, 1, |c| real(c, f64::floor)),
    function("INTADD", 2, 2, |c| int2(c, |a, b| Some(a.wrapping_add(b)))),
    function("INTBITAND", 2, 2, |c| int2(c, |a, b| Some(a & b))),
    function("INTBITLEFTSHIFT", 2, 2, |c| int2(c, |a, b| Some(a.wrapping_shl(shift(b))))),
    function("INTBITNOT", 1, 1, |c| c.integer(0).map_or(Value::Undefined, |a| from_integer(!a))),
    function("INTBITOR", 2, 2, |c| int2(c, |a, b| Some(a | b))),
    function("INTBITRIGHTSHIFT", 2, 2, |c| int2(c, |a, b| Some(a.wrapping_shr(shift(b))))),
    function("INTBITXOR", 2, 2, |c| int2(c, |a, b| Some(a ^ b))),
    function("INTDIV", 2, 2, |c| int2(c, i64::checked_div)),
    function("INTMOD", 2, 2, |c| int2(c, i64::checked_rem)),
    function("INTMUL", 2, 2, |c| int2(c, |a, b| Some(a.wrapping_mul(b)))),
    function("INTSUB", 2, 2, |c| int2(c, |a, b| Some(a.wrapping_sub(b)))),
    function("LOG", 1, 2, log),
    function("LOG10", 1, 1, |c| real(c, f64::log10)),
    function("NUMBERBIN", 1, 2, number_bin),
    function("PI", 0, 0, |_| std::f64::consts::PI.into()),
    function("POWER", 2, 2, |c| real2(c, |x, y| Some(x.powf(y)))),
    function("RADIANS", 1, 1, |c| real(c, f64::to_radians)),
    function("RAND", 0, 0, |_| random().into()),
    // Halves away from zero.
    function("ROUND", 1, 1, |c| real(c, f64::round)),
    function("SIGN", 1, 1, |c| real(c, |x| if x == 0.0 { 0.0 } else { x.signum() })),
    function("SIN", 1, 1, |c| real(c, f64::sin)),
    function("SQRT", 1, 1, |c| real(c, f64::sqrt)),
    function("SQUARE", 1, 1, |c| real(c, |x| x * x)),
    function("TAN", 1, 1, |c| real(c, f64::tan)),
    function("TRUNC", 1, 1, |c| real(c, f64::trunc)),
];

fn finite(number: Option<f64>) -> Value {
    match number {
        Some(number) if number.is_finite() => Value::Number(number),
        _ => Value::Undefined,
    }
}

fn real(call: &Call<'_>, apply: impl Fn(f64) -> f64) -> Value {
    finite(call.number(0).map(apply))
}

fn real2(call: &Call<'_>, apply: impl Fn(f64, f64) -> Option<f64>) -> Value {
    match (call.number(0), call.number(1)) {
        (Some(a), Some(b)) => finite(apply(a, b)),
        _ => Value::Undefined,
    }
}

/// On 64-bit integers; a fraction makes the result `undefined`.
fn int2(call: &Call<'_>, apply: impl Fn(i64, i64) -> Option<i64>) -> Value {
    match (call.integer(0), call.integer(1)) {
        (Some(a), Some(b)) => apply(a, b).map_or(Value::Undefined, from_integer),
        _ => Value::Undefined,
    }
}

/// The count of a shift, modulo 64.
fn shift(count: i64) -> u32 {
    u32::try_from(count.rem_euclid(64)).unwrap_or_default()
}

fn log(call: &Call<'_>) -> Value {
    if call.given(1) { real2(call, |x, base| Some(x.ln() / base.ln())) } else { real(call, f64::ln) }
}

/// The multiple of the bin size at or below the number.
fn number_bin(call: &Call<'_>) -> Value {
    if !call.given(1) {
        return real(call, f64::floor);
    }
    real2(call, |x, size| (size != 0.0).then(|| (x / size).floor() * size))
}

/// In [0, 1). Every `RandomState` has fresh keys, so its hash of nothing is a random number.
fn random() -> f64 {
    let bits = std::hash::RandomState::new().build_hasher().finish() >> 11;
    #[allow(clippy::cast_precision_loss)]
    let number = bits as f64;
    number / 9_007_199_254_740_992.0
}
