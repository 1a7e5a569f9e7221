//! Partial updates of a document.

use std::sync::Arc;

use crate::error::ServiceError;
use crate::limits::MAX_PATCH_OPERATIONS;
use crate::query::Query;
use crate::store::{Document, Transaction};
use crate::value::Value;

use super::Service;

impl Service {
    /// Applies `{"condition": "from c where …", "operations": […]}` to a document.
    ///
    /// # Errors
    /// 400 for operations that do not fit the document, 404, and 412 when the etag or the condition does not hold.
    pub(super) fn patch(
        &self,
        txn: &mut Transaction,
        id: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Arc<Document>, ServiceError> {
        // Without a condition clients may send the operations alone.
        let operations = match (body, body.get("operations")) {
            (Value::Array(operations), _) | (_, Value::Array(operations)) if !operations.is_empty() => {
                operations
            }
            _ => return Err(ServiceError::bad_request("A patch needs an array of 'operations'.")),
        };
        if operations.len() > MAX_PATCH_OPERATIONS {
            return Err(ServiceError::bad_request(format!(
                "The number of patch operations can't exceed '{MAX_PATCH_OPERATIONS}'."
            )));
        }
        let old = txn.visible(id).ok_or_else(ServiceError::not_found)?;
        if let Some(condition) = body.get("condition").as_str() {
            let query = Query::parse(&format!("SELECT * {condition}"))?;
            let rows = query.run(std::iter::once(&old.value), &self.query_context(Vec::new()))?;
            if rows.is_empty() {
                return Err(ServiceError { sub_status: 1110, ..ServiceError::precondition_failed() });
            }
        }
        let mut patched = old.value.clone();
        for operation in operations.iter() {
            apply(&mut patched, operation)?;
        }
        if patched.get("id").as_str() != Some(id) {
            return Err(ServiceError::bad_request("The id of a document cannot be patched."));
        }
        txn.replace(id, &patched, if_match)
    }
}

fn apply(document: &mut Value, operation: &Value) -> Result<(), ServiceError> {
    let path = pointer(operation.get("path"))?;
    let value = operation.get("value");
    let kind = operation.get("op").as_str().unwrap_or_default();
    if matches!(kind, "add" | "set" | "replace" | "incr") && value.is_undefined() {
        return Err(refused(kind, &path, "it has no value"));
    }
    match kind {
        "add" => put(document, &path, value.clone(), Put::Add),
        "set" => put(document, &path, value.clone(), Put::Set),
        "replace" => put(document, &path, value.clone(), Put::Replace),
        "remove" => take(document, &path).map(drop),
        "incr" => increment(document, &path, value),
        "move" => {
            let from = pointer(operation.get("from"))?;
            if path.starts_with(&from) {
                return Err(refused(kind, &path, "it lies below the path it is moved from"));
            }
            let value = take(document, &from)?;
            put(document, &path, value, Put::Add)
        }
        _ => Err(ServiceError::bad_request(format!("The patch operation '{kind}' is not supported."))),
    }
}

/// How a value is put where there may be one.
#[derive(Clone, Copy, PartialEq)]
enum Put {
    /// Members are set, elements are inserted.
    Add,
    /// Members are set, elements are set; behind the last one they are appended.
    Set,
    /// There must be one.
    Replace,
}

fn put(document: &mut Value, path: &[String], value: Value, how: Put) -> Result<(), ServiceError> {
    let (parent, name) = parent(document, path)?;
    match parent {
        Value::Object(members) => {
            if how == Put::Replace && members.get(name).is_none() {
                return Err(refused("replace", path, "there is nothing at the path"));
            }
            Arc::make_mut(members).insert(name, value);
            Ok(())
        }
        Value::Array(items) => {
            let items = Arc::make_mut(items);
            let at = index(name, items.len())
                .ok_or_else(|| refused("patch", path, "the index is out of range"))?;
            match how {
                Put::Add => items.insert(at, value),
                _ if at < items.len() => items[at] = value,
                Put::Set => items.push(value),
                Put::Replace => return Err(refused("replace", path, "there is nothing at the path")),
            }
            Ok(())
        }
        _ => Err(refused("patch", path, "the parent is neither an object nor an array")),
    }
}

fn take(document: &mut Value, path: &[String]) -> Result<Value, ServiceError> {
    let missing = || refused("remove", path, "there is nothing at the path");
    let (parent, name) = parent(document, path)?;
    match parent {
        Value::Object(members) => Arc::make_mut(members).remove(name).ok_or_else(missing),
        Value::Array(items) => match index(name, items.len()) {
            Some(at) if at < items.len() => Ok(Arc::make_mut(items).remove(at)),
            _ => Err(missing()),
        },
        _ => Err(missing()),
    }
}

fn increment(document: &mut Value, path: &[String], by: &Value) -> Result<(), ServiceError> {
    let by = by.as_f64().ok_or_else(|| refused("incr", path, "the value is not a number"))?;
    let current = path.iter().fold(document.clone(), |value, name| match &value {
        Value::Array(items) => {
            name.parse().ok().and_then(|at: usize| items.get(at).cloned()).unwrap_or_default()
        }
        _ => value.get(name).clone(),
    });
    let sum = match current {
        Value::Undefined => by,
        Value::Number(number) => number + by,
        _ => return Err(refused("incr", path, "the target is not a number")),
    };
    if !sum.is_finite() {
        return Err(refused("incr", path, "the sum is not finite"));
    }
    put(document, path, sum.into(), Put::Set)
}

/// The value that holds the last name of `path`, and that name.
fn parent<'a, 'p>(
    document: &'a mut Value,
    path: &'p [String],
) -> Result<(&'a mut Value, &'p str), ServiceError> {
    let (name, above) = path.split_last().ok_or_else(|| refused("patch", path, "the path is empty"))?;
    let mut at = document;
    for step in above {
        at = match at {
            Value::Object(members) => Arc::make_mut(members).get_mut(step),
            Value::Array(items) => {
                step.parse().ok().and_then(|index: usize| Arc::make_mut(items).get_mut(index))
            }
            _ => None,
        }
        .ok_or_else(|| refused("patch", path, "the parent does not exist"))?;
    }
    Ok((at, name))
}

/// An element's index, `-` for behind the last one; at most `len`.
fn index(name: &str, len: usize) -> Option<usize> {
    if name == "-" { Some(len) } else { name.parse().ok().filter(|at| *at <= len) }
}

/// The names of a JSON pointer.
fn pointer(path: &Value) -> Result<Vec<String>, ServiceError> {
    let text = path.as_str().and_then(|text| text.strip_prefix('/')).filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| ServiceError::bad_request(format!("The patch path {path} is not valid.")))?;
    Ok(text.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
}

fn refused(kind: &str, path: &[String], reason: &str) -> ServiceError {
    ServiceError::bad_request(format!(
        "For Operation({kind}): the path '/{}' cannot be patched: {reason}.",
        path.join("/")
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn patched(document: &str, operation: &str) -> Result<String, ServiceError> {
        let mut document = Value::parse(document.as_bytes()).unwrap();
        apply(&mut document, &Value::parse(operation.as_bytes()).unwrap())?;
        Ok(document.to_json())
    }

    #[test]
    fn every_operation() {
        for (document, operation, expected) in [
            (r#"{"a":1}"#, r#"{"op":"add","path":"/b","value":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":[1,3]}"#, r#"{"op":"add","path":"/a/1","value":2}"#, r#"{"a":[1,2,3]}"#),
            (r#"{"a":[1]}"#, r#"{"op":"add","path":"/a/-","value":2}"#, r#"{"a":[1,2]}"#),
            (r#"{"a":[1,3]}"#, r#"{"op":"set","path":"/a/1","value":2}"#, r#"{"a":[1,2]}"#),
            (r#"{"a":{"b":1}}"#, r#"{"op":"replace","path":"/a/b","value":2}"#, r#"{"a":{"b":2}}"#),
            (r#"{"a":1,"b":2}"#, r#"{"op":"remove","path":"/a"}"#, r#"{"b":2}"#),
            (r#"{"a":1}"#, r#"{"op":"incr","path":"/a","value":-3}"#, r#"{"a":-2}"#),
            (r#"{}"#, r#"{"op":"incr","path":"/a","value":1.5}"#, r#"{"a":1.5}"#),
            (r#"{"a":1}"#, r#"{"op":"move","from":"/a","path":"/b"}"#, r#"{"b":1}"#),
            (r#"{"a/b":1}"#, r#"{"op":"set","path":"/a~1b","value":2}"#, r#"{"a/b":2}"#),
        ] {
            assert_eq!(patched(document, operation).unwrap(), expected, "{operation}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (document, operation) in [
            (r#"{"a":1}"#, r#"{"op":"replace","path":"/b","value":2}"#),
            (r#"{"a":1}"#, r#"{"op":"remove","path":"/b"}"#),
            (r#"{"a":1}"#, r#"{"op":"add","path":"/b/c","value":2}"#),
            (r#"{"a":[1]}"#, r#"{"op":"add","path":"/a/5","value":2}"#),
            (r#"{"a":"x"}"#, r#"{"op":"incr","path":"/a","value":1}"#),
            (r#"{"a":{}}"#, r#"{"op":"move","from":"/a","path":"/a/b"}"#),
            (r#"{"a":1}"#, r#"{"op":"test","path":"/a","value":1}"#),
            (r#"{"a":1}"#, r#"{"op":"set","path":"a","value":1}"#),
            (r#"{"a":1}"#, r#"{"op":"set","path":"/a"}"#),
        ] {
            assert_eq!(patched(document, operation).unwrap_err().status, 400, "{operation}");
        }
    }
}
