//! Partition key definitions and the keys of logical partitions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::epk::{self, Component, Epk, Kind, Version};
use crate::error::ServiceError;
use crate::limits::{MAX_PARTITION_KEY_BYTES, MAX_PARTITION_KEY_PATHS};
use crate::value::{Object, Value};

/// The `partitionKey` of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionKeyDefinition {
    /// The paths as written, `/a/b`.
    texts: Vec<String>,
    /// The same paths as property names.
    paths: Vec<Vec<String>>,
    kind: Kind,
    version: Version,
}

/// The key of a logical partition, ordered as the service lays partitions out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionKey(Arc<Parts>);

impl PartialOrd for PartitionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PartitionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // The index compares keys of one partition more than anything else.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parts {
    epk: Epk,
    /// The values as header text: two keys with one hash are still two partitions.
    text: String,
}

impl PartitionKey {
    /// The place in the hash space.
    pub(crate) fn epk(&self) -> &Epk {
        &self.0.epk
    }

    /// The values as in `x-ms-documentdb-partitionkey`.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// A key that sorts directly before (or is) the first one of `epk`: a bound to start a scan at.
    pub(crate) fn floor(epk: Epk) -> Self {
        Self(Arc::new(Parts { epk, text: String::new() }))
    }

    /// Rebuilds a key from a continuation token.
    pub(crate) fn from_parts(epk: Epk, text: String) -> Self {
        Self(Arc::new(Parts { epk, text }))
    }
}

impl PartitionKeyDefinition {
    /// Reads the `partitionKey` member of a container.
    ///
    /// # Errors
    /// 400 when it is missing or malformed.
    pub(crate) fn parse(value: &Value) -> Result<Self, ServiceError> {
        let Value::Array(items) = value.get("paths") else {
            return Err(ServiceError::bad_request(
                "The partition key definition is missing: 'partitionKey' with 'paths' is required.",
            ));
        };
        let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let kind = match value.get("kind") {
            Value::Undefined => Kind::Hash,
            Value::String(kind) if kind.eq_ignore_ascii_case("hash") => Kind::Hash,
            Value::String(kind) if kind.eq_ignore_ascii_case("multihash") => Kind::MultiHash,
            other => return Err(invalid(format!("kind {other} is not supported"))),
        };
        // Clients that do not say are older than hash version 2.
        let version = match value.get("version") {
            Value::Undefined => Version::V1,
            Value::Number(1.0) => Version::V1,
            Value::Number(2.0) => Version::V2,
            other => return Err(invalid(format!("version {other} is not supported"))),
        };
        let paths = texts.iter().map(|path| parse_path(path)).collect::<Result<Vec<_>, _>>()?;
        let expected = match kind {
            Kind::Hash => 1..=1,
            Kind::MultiHash => 1..=MAX_PARTITION_KEY_PATHS,
        };
        if texts.len() != items.len() || !expected.contains(&paths.len()) {
            return Err(invalid(format!("{} paths for kind {kind:?}", items.len())));
        }
        if kind == Kind::MultiHash && version == Version::V1 {
            return Err(invalid("kind MultiHash needs version 2".into()));
        }
        Ok(Self { texts, paths, kind, version })
    }

    /// The JSON the service answers with.
    pub(crate) fn to_value(&self) -> Value {
        let paths: Vec<Value> = self.texts.iter().map(|path| Value::from(path.as_str())).collect();
        let mut object = Object::new();
        object.insert("paths", paths.into());
        object.insert("kind", Value::from(if self.kind == Kind::Hash { "Hash" } else { "MultiHash" }));
        object.insert("version", Value::Number(if self.version == Version::V1 { 1.0 } else { 2.0 }));
        object.into()
    }

    /// What a script's `getPartitionKeyDefinition()` gives, such as `[["name","first"]]`.
    pub(crate) fn script_text(&self) -> String {
        serde_json::to_string(&self.paths).unwrap_or_default()
    }

    /// The paths as property names.
    pub(crate) fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    /// The hash version.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether a key of fewer components than paths can be given.
    pub(crate) fn is_hierarchical(&self) -> bool {
        self.kind == Kind::MultiHash
    }

    /// The key of the partition `document` belongs to.
    ///
    /// # Errors
    /// 400 when a value at one of the paths cannot be part of a key.
    pub(crate) fn key_of(&self, document: &Value) -> Result<PartitionKey, ServiceError> {
        self.key(&epk::extract(document, &self.paths)?)
    }

    /// The key with these components, one for each path.
    ///
    /// # Errors
    /// 400 when the number of components is wrong or a string is too long.
    pub(crate) fn key(&self, components: &[Component]) -> Result<PartitionKey, ServiceError> {
        if components.len() != self.paths.len() {
            return Err(ServiceError::bad_request(format!(
                "Partition key provided either doesn't correspond to definition in the collection or doesn't match \
                 partition key field values specified in the document: {} components for {} paths.",
                components.len(),
                self.paths.len()
            )));
        }
        for component in components {
            if let Component::String(text) = component
                && text.len() > MAX_PARTITION_KEY_BYTES
            {
                return Err(ServiceError::bad_request(format!(
                    "The partition key value exceeds {MAX_PARTITION_KEY_BYTES} bytes."
                )));
            }
        }
        Ok(PartitionKey(Arc::new(Parts { epk: self.epk(components), text: header_text(components) })))
    }

    /// The effective key of these components; fewer than paths give the prefix of a hierarchical key.
    pub(crate) fn epk(&self, components: &[Component]) -> Epk {
        epk::effective(components, self.kind, self.version)
    }
}

/// `["a",1,{}]`: the components as a partition key header writes them.
fn header_text(components: &[Component]) -> String {
    let values: Vec<Value> = components
        .iter()
        .map(|component| match component {
            Component::Undefined => Object::new().into(),
            Component::Null => Value::Null,
            Component::Bool(flag) => (*flag).into(),
            // -0 and 0 are one value.
            Component::Number(number) => (*number + 0.0).into(),
            Component::String(text) => Value::from(&**text),
            Component::Infinity => Value::from("Infinity"),
        })
        .collect();
    Value::from(values).to_json()
}

/// `/a/"b c"` as names.
fn parse_path(path: &str) -> Result<Vec<String>, ServiceError> {
    let names = split_path(path).unwrap_or_default();
    if names.is_empty()
        || names.iter().any(|name| name.is_empty() || name == "*" || name == "?" || name == "[]")
    {
        return Err(invalid(format!("path '{path}' is not valid")));
    }
    Ok(names)
}

/// Splits a path at its slashes; names in double quotes may contain slashes. `None` when malformed.
pub(crate) fn split_path(path: &str) -> Option<Vec<String>> {
    let mut rest = path.strip_prefix('/')?;
    let mut names = Vec::new();
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            (quoted.get(..end)?, quoted.get(end + 1..)?)
        } else {
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        };
        names.push(name.to_owned());
        match after.strip_prefix('/') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(names),
            None => return None,
        }
    }
}

fn invalid(reason: String) -> ServiceError {
    ServiceError::bad_request(format!("The specified partition key definition is invalid: {reason}."))
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Result<PartitionKeyDefinition, ServiceError> {
        PartitionKeyDefinition::parse(&Value::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn version_defaults_to_one() {
        let parsed = definition(r#"{"paths":["/pk"]}"#).unwrap();
        assert_eq!(parsed.to_value().to_json(), r#"{"paths":["/pk"],"kind":"Hash","version":1}"#);
    }

    #[test]
    fn malformed_definitions_are_refused() {
        for text in [
            "{}",
            r#"{"paths":[]}"#,
            r#"{"paths":["pk"]}"#,
            r#"{"paths":["/a","/b"],"kind":"Hash"}"#,
            r#"{"paths":["/a","/b","/c","/d"],"kind":"MultiHash","version":2}"#,
            r#"{"paths":["/a"],"kind":"MultiHash","version":1}"#,
            r#"{"paths":["/a/*"]}"#,
            r#"{"paths":["/a"],"version":3}"#,
        ] {
            assert_eq!(definition(text).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn quoted_names_keep_their_slashes() {
        assert_eq!(split_path(r#"/a/"b/c"/?"#).unwrap(), ["a", "b/c", "?"]);
        assert_eq!(split_path(r#"/"a"b"#), None);
        assert_eq!(split_path("a"), None);
    }
}
