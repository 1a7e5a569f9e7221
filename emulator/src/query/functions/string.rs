//! String functions. Positions and lengths count Unicode code points, from 0.

use super::array::usize_saturating;
use super::{ANY, Call, Function, defined, from_count, function};
use crate::value::Value;

/// REPLICATE gives no string longer than this.
const MAX_REPLICATED: usize = 10_000;
/// REPLACE and STRINGJOIN give none longer than this, in bytes, far above any document: nested calls would
/// otherwise multiply their way through the memory.
const MAX_STRING: usize = 16 << 20;

pub(super) const TABLE: &[Function] = &[
    function("CONCAT", 2, ANY, concat),
    function("CONTAINS", 2, 3, |c| search(c, |text, part| text.contains(part))),
    function("CONTAINS_ALL_CI", 2, ANY, |c| contains_each(c, true, true)),
    function("CONTAINS_ALL_CS", 2, ANY, |c| contains_each(c, true, false)),
    function("CONTAINS_ANY_CI", 2, ANY, |c| contains_each(c, false, true)),
    function("CONTAINS_ANY_CS", 2, ANY, |c| contains_each(c, false, false)),
    function("ENDSWITH", 2, 3, |c| search(c, |text, part| text.ends_with(part))),
    function("INDEX_OF", 2, 3, index_of),
    function("LASTINDEXOF", 2, 3, last_index_of),
    function("LEFT", 2, 2, left),
    function("LENGTH", 1, 1, |c| c.text(0).map_or(Value::Undefined, |text| from_count(text.chars().count()))),
    function("LOWER", 1, 1, |c| defined(c.text(0).map(str::to_lowercase))),
    function("LTRIM", 1, 2, |c| trim(c, |text, set| text.trim_start_matches(set))),
    function("REGEXMATCH", 2, 3, regex_match),
    function("REPLACE", 3, 3, replace),
    function("REPLICATE", 2, 2, replicate),
    function("REVERSE", 1, 1, |c| defined(c.text(0).map(|text| text.chars().rev().collect::<String>()))),
    function("RIGHT", 2, 2, right),
    function("RTRIM", 1, 2, |c| trim(c, |text, set| text.trim_end_matches(set))),
    function("STARTSWITH", 2, 3, |c| search(c, |text, part| text.starts_with(part))),
    function("STRINGEQUALS", 2, 3, |c| search(c, |text, part| text == part)),
    function("STRINGJOIN", 2, 2, join),
    function("STRINGSPLIT", 2, 2, split),
    function("STRINGTOARRAY", 1, 1, |c| parsed(c, |value| matches!(value, Value::Array(_)))),
    function("STRINGTOBOOLEAN", 1, 1, |c| parsed(c, |value| matches!(value, Value::Bool(_)))),
    function("STRINGTONULL", 1, 1, |c| parsed(c, |value| matches!(value, Value::Null))),
    function("STRINGTONUMBER", 1, 1, |c| parsed(c, |value| matches!(value, Value::Number(_)))),
    function("STRINGTOOBJECT", 1, 1, |c| parsed(c, |value| matches!(value, Value::Object(_)))),
    function("SUBSTRING", 3, 3, substring),
    function("TOSTRING", 1, 1, to_string),
    function("TRIM", 1, 2, |c| trim(c, |text, set| text.trim_start_matches(set).trim_end_matches(set))),
    function("UPPER", 1, 1, |c| defined(c.text(0).map(str::to_uppercase))),
];

fn concat(call: &Call<'_>) -> Value {
    defined(call.args.iter().map(Value::as_str).collect::<Option<String>>())
}

/// A test of a string against another, with the optional flag to ignore case.
fn search(call: &Call<'_>, test: impl Fn(&str, &str) -> bool) -> Value {
    let (Some(text), Some(part), Some(ignore_case)) = (call.text(0), call.text(1), call.flag(2, false))
    else {
        return Value::Undefined;
    };
    if ignore_case { test(&text.to_lowercase(), &part.to_lowercase()) } else { test(text, part) }.into()
}

fn contains_each(call: &Call<'_>, all: bool, ignore_case: bool) -> Value {
    let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let parts: Option<Vec<String>> = call.args.iter().skip(1).map(|part| part.as_str().map(fold)).collect();
    let (Some(text), Some(parts)) = (call.text(0).map(fold), parts) else { return Value::Undefined };
    let has = |part: &String| text.contains(part.as_str());
    if all { parts.iter().all(has).into() } else { parts.iter().any(has).into() }
}

/// The position of the first occurrence at or after the start, or -1.
fn index_of(call: &Call<'_>) -> Value {
    let start = if call.given(2) { call.number(2) } else { Some(0.0) };
    let (Some(text), Some(part), Some(start)) = (call.text(0), call.text(1), start) else {
        return Value::Undefined;
    };
    let skipped: usize = text.chars().take(usize_saturating(start)).map(char::len_utf8).sum();
    match text.get(skipped..).and_then(|rest| rest.find(part)) {
        Some(at) => from_count(text.get(..skipped + at).unwrap_or_default().chars().count()),
        None => Value::Number(-1.0),
    }
}

/// The search begins at a position and goes towards the beginning: the part ends there at the latest.
fn last_index_of(call: &Call<'_>) -> Value {
    let last = if call.given(2) { call.number(2) } else { Some(f64::INFINITY) };
    let (Some(text), Some(part), Some(last)) = (call.text(0), call.text(1), last) else {
        return Value::Undefined;
    };
    let kept = if last < 0.0 { 0 } else { usize_saturating(last).saturating_add(1) };
    let kept: usize = text.chars().take(kept).map(char::len_utf8).sum();
    match text.get(..kept).and_then(|searched| searched.rfind(part)) {
        Some(at) => from_count(text.get(..at).unwrap_or_default().chars().count()),
        None => Value::Number(-1.0),
    }
}

fn left(call: &Call<'_>) -> Value {
    let (Some(text), Some(count)) = (call.text(0), call.number(1)) else { return Value::Undefined };
    text.chars().take(usize_saturating(count)).collect::<String>().into()
}

fn right(call: &Call<'_>) -> Value {
    let (Some(text), Some(count)) = (call.text(0), call.number(1)) else { return Value::Undefined };
    let skipped = text.chars().count().saturating_sub(usize_saturating(count));
    text.chars().skip(skipped).collect::<String>().into()
}

fn substring(call: &Call<'_>) -> Value {
    let (Some(text), Some(start), Some(length)) = (call.text(0), call.number(1), call.number(2)) else {
        return Value::Undefined;
    };
    let part = text.chars().skip(usize_saturating(start)).take(usize_saturating(length));
    part.collect::<String>().into()
}

/// White space, or the characters of the second argument.
fn trim(call: &Call<'_>, cut: impl for<'t> Fn(&'t str, &dyn Fn(char) -> bool) -> &'t str) -> Value {
    let Some(text) = call.text(0) else { return Value::Undefined };
    if !call.given(1) {
        return cut(text, &char::is_whitespace).into();
    }
    match call.text(1) {
        Some(set) => cut(text, &|c| set.contains(c)).into(),
        None => Value::Undefined,
    }
}

fn replace(call: &Call<'_>) -> Value {
    match (call.text(0), call.text(1), call.text(2)) {
        (Some(text), Some(""), Some(_)) => text.into(),
        (Some(text), Some(from), Some(to)) => {
            let added = text.matches(from).count().saturating_mul(to.len());
            if fits(text.len().saturating_add(added)) {
                text.replace(from, to).into()
            } else {
                Value::Undefined
            }
        }
        _ => Value::Undefined,
    }
}

fn replicate(call: &Call<'_>) -> Value {
    let (Some(text), Some(count)) = (call.text(0), call.number(1)) else { return Value::Undefined };
    if count < 0.0 {
        return Value::Undefined;
    }
    let count = usize_saturating(count);
    match text.chars().count().checked_mul(count) {
        Some(0) => "".into(),
        Some(length) if length <= MAX_REPLICATED => text.repeat(count).into(),
        _ => Value::Undefined,
    }
}

fn join(call: &Call<'_>) -> Value {
    let (Some(items), Some(separator)) = (call.array(0), call.text(1)) else { return Value::Undefined };
    let parts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let length = |parts: &Vec<&str>| {
        let separators = parts.len().saturating_mul(separator.len());
        parts.iter().map(|part| part.len()).fold(separators, usize::saturating_add)
    };
    defined(parts.filter(|parts| fits(length(parts))).map(|parts| parts.join(separator)))
}

fn fits(length: usize) -> bool {
    length <= MAX_STRING
}

fn split(call: &Call<'_>) -> Value {
    let (Some(text), Some(delimiter)) = (call.text(0), call.text(1)) else { return Value::Undefined };
    if delimiter.is_empty() {
        return vec![Value::from(text)].into();
    }
    text.split(delimiter).map(Value::from).collect::<Vec<_>>().into()
}

/// The JSON the string holds, if it is of the wanted type.
fn parsed(call: &Call<'_>, wanted: impl Fn(&Value) -> bool) -> Value {
    let value = call.text(0).and_then(|text| Value::parse(text.as_bytes()).ok());
    value.filter(wanted).unwrap_or_default()
}

fn to_string(call: &Call<'_>) -> Value {
    match call.arg(0) {
        Value::Undefined => Value::Undefined,
        text @ Value::String(_) => text.clone(),
        other => other.to_json().into(),
    }
}

fn regex_match(call: &Call<'_>) -> Value {
    let modifiers = if call.given(2) { call.text(2) } else { Some("") };
    let (Some(text), Some(pattern), Some(modifiers)) = (call.text(0), call.text(1), modifiers) else {
        return Value::Undefined;
    };
    defined(call.regexes.is_match(pattern, modifiers, text))
}
