//! The built-in functions, one table per family.

pub(super) mod aggregate;
mod array;
mod date;
mod math;
mod pattern;
mod string;
mod types;

pub(super) use pattern::{RegexCache, like};

use super::Context;
use crate::value::Value;

/// One row of a table.
pub(super) struct Function {
    /// The official name, in upper case; calls may use any case.
    pub(super) name: &'static str,
    min: usize,
    /// `usize::MAX`: any number.
    max: usize,
    pub(super) body: Body,
}

/// A function never fails: what it cannot do gives `undefined`.
pub(super) type Body = fn(&Call<'_>) -> Value;

/// The arguments of a call, and what else a few functions look at.
pub(super) struct Call<'a> {
    pub(super) args: &'a [Value],
    pub(super) context: &'a Context<'a>,
    pub(super) regexes: &'a RegexCache,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const ANY: usize = usize::MAX;

/// A table row.
const fn function(name: &'static str, min: usize, max: usize, body: Body) -> Function {
    Function { name, min, max, body }
}

/// The function called `name`, in any case.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// Every function.
pub(super) fn all() -> impl Iterator<Item = &'static Function> {
    [string::TABLE, array::TABLE, types::TABLE, math::TABLE, date::TABLE].into_iter().flatten()
}

/// Functions the service has and this emulator has not: spatial, vector and full-text search, those that need the
/// storage engine, and those that no public text describes well enough to give the same results.
pub(super) fn is_unsupported(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.starts_with("ST_")
        || matches!(
            name.as_str(),
            "VECTORDISTANCE"
                | "FULLTEXTCONTAINS"
                | "FULLTEXTCONTAINSALL"
                | "FULLTEXTCONTAINSANY"
                | "FULLTEXTSCORE"
                | "RRF"
                | "DOCUMENTID"
                | "DATETIMEFORMAT"
                | "LASTSUBSTRINGAFTER"
                | "LASTSUBSTRINGBEFORE"
                | "REGEXEXTRACT"
                | "REGEXEXTRACTALL"
                | "SUBSTRINGAFTER"
                | "SUBSTRINGBEFORE"
        )
}

impl Function {
    pub(super) fn accepts(&self, count: usize) -> bool {
        (self.min..=self.max).contains(&count)
    }

    /// The number of arguments in the words of the error message.
    pub(super) fn arity(&self) -> String {
        match (self.min, self.max) {
            (min, max) if min == max => min.to_string(),
            (min, ANY) => format!("at least {min}"),
            (min, max) => format!("{min} to {max}"),
        }
    }

    /// Whether equal arguments always give an equal result.
    pub(super) fn is_deterministic(&self) -> bool {
        self.name != "RAND"
    }
}

impl<'a> Call<'a> {
    /// The argument `at`; `undefined` if it was left out.
    fn arg(&self, at: usize) -> &'a Value {
        self.args.get(at).unwrap_or(&Value::Undefined)
    }

    fn given(&self, at: usize) -> bool {
        at < self.args.len()
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        self.arg(at).as_str()
    }

    fn number(&self, at: usize) -> Option<f64> {
        self.arg(at).as_f64()
    }

    /// A number without a fraction that a 64-bit integer holds.
    fn integer(&self, at: usize) -> Option<i64> {
        to_integer(self.number(at)?)
    }

    fn array(&self, at: usize) -> Option<&'a [Value]> {
        match self.arg(at) {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// An optional flag: `default` if left out, nothing if it is no boolean.
    fn flag(&self, at: usize, default: bool) -> Option<bool> {
        match (self.given(at), self.arg(at)) {
            (false, _) => Some(default),
            (true, Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }
}

/// `number` as an integer, if it is one.
fn to_integer(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() != 0.0 || !(-LIMIT..LIMIT).contains(&number) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)]
    Some(number as i64)
}

/// An integer as a number; beyond 53 bits it is rounded, as every number in the service is a double.
#[allow(clippy::cast_precision_loss)]
fn from_integer(number: i64) -> Value {
    Value::Number(number as f64)
}

#[allow(clippy::cast_precision_loss)]
fn from_count(count: usize) -> Value {
    Value::Number(count as f64)
}

/// `None` as `undefined`.
fn defined(value: Option<impl Into<Value>>) -> Value {
    value.map_or(Value::Undefined, Into::into)
}
