//! Queries against small sets of documents, expectations as JSON. They follow the documented behaviour of the
//! service; where the documentation is silent, the test says so.
#![allow(clippy::unwrap_used)]

mod clauses;
mod errors;
mod expressions;
mod functions;
mod plan;

use super::{Context, Query, Udfs};
use crate::error::ServiceError;
use crate::value::Value;

/// 2024-02-03T04:05:06.789Z
pub(super) const NOW_MS: f64 = 1_706_933_106_789.0;

/// `udf.twice(x)`; everything else fails.
struct Twice;

impl Udfs for Twice {
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, ServiceError> {
        match (name, args.first()) {
            ("twice", Some(Value::Number(number))) => Ok(Value::Number(number * 2.0)),
            ("twice", _) => Ok(Value::Undefined),
            _ => Err(ServiceError::bad_request("no such function")),
        }
    }
}

pub(super) fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text}"))
}

pub(super) fn context() -> Context<'static> {
    let parameters = [("@one", "1"), ("@name", "\"b\""), ("@list", "[1,2,3]"), ("@nothing", "null")];
    Context {
        parameters: parameters.iter().map(|(name, text)| ((*name).to_owned(), json(text))).collect(),
        now_ms: NOW_MS,
        udfs: Some(&Twice),
    }
}

/// The rows as one JSON array.
pub(super) fn run(query: &str, documents: &str) -> Result<Value, ServiceError> {
    let documents = match json(documents) {
        Value::Array(items) => items.to_vec(),
        other => vec![other],
    };
    Ok(Query::parse(query)?.run(documents.iter(), &context())?.into())
}

/// Runs every query over `documents` and compares the rows, member order included.
pub(super) fn check(documents: &str, cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        match run(query, documents) {
            Ok(rows) => assert_eq!(rows.to_json(), json(expected).to_json(), "{query}"),
            Err(error) => panic!("{query}: {error}"),
        }
    }
}

/// `SELECT VALUE <expr>` gives this, or nothing for `""`.
pub(super) fn check_values(documents: &str, cases: &[(&str, &str)]) {
    for (expr, expected) in cases {
        let from = if json(documents) == Value::Null { "" } else { " FROM c" };
        let query = format!("SELECT VALUE {expr}{from}");
        check(documents, &[(query.as_str(), format!("[{expected}]").as_str())]);
    }
}
