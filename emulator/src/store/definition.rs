//! What a client defines about a container.

use crate::error::ServiceError;
use crate::limits::MAX_RESOURCE_ID_CHARS;
use crate::value::{Object, Value};

use super::indexing::IndexingPolicy;
use super::partition_key::{PartitionKeyDefinition, split_path};
use super::ttl;

/// The client's part of a container: everything but the system properties.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) id: String,
    pub(crate) partition_key: PartitionKeyDefinition,
    pub(crate) indexing: IndexingPolicy,
    /// `defaultTtl` in seconds, -1 for "only documents that say so", `None` for off.
    pub(crate) default_ttl: Option<i64>,
    /// The paths of each unique key.
    pub(crate) unique_keys: Vec<Vec<Vec<String>>>,
    json: Object,
}

/// Members that are passed through as they came.
const OPAQUE: [&str; 6] = [
    "conflictResolutionPolicy",
    "geospatialConfig",
    "computedProperties",
    "vectorEmbeddingPolicy",
    "fullTextPolicy",
    "changeFeedPolicy",
];

/// Unique keys of a container; above it the answer is 400.
const MAX_UNIQUE_KEYS: usize = 10;

impl Definition {
    /// Reads the body of a container create or replace.
    ///
    /// # Errors
    /// 400 when something in it is missing or malformed.
    pub(crate) fn parse(body: &Value) -> Result<Self, ServiceError> {
        let id = resource_id(body)?;
        let partition_key = PartitionKeyDefinition::parse(body.get("partitionKey"))?;
        let indexing = IndexingPolicy::parse(body.get("indexingPolicy"))?;
        let default_ttl = ttl::parse(body.get("defaultTtl"), "defaultTtl")?;
        let unique_keys = unique_keys(body.get("uniqueKeyPolicy"))?;
        check_conflict_resolution(body.get("conflictResolutionPolicy"))?;
        check_analytical(body.get("analyticalStorageTtl"))?;
        let mut json = Object::new();
        json.insert("id", Value::from(&*id));
        json.insert("indexingPolicy", indexing.to_value());
        json.insert("partitionKey", partition_key.to_value());
        // Widening would only matter beyond 2^53.
        #[allow(clippy::cast_precision_loss)]
        if let Some(seconds) = default_ttl {
            json.insert("defaultTtl", Value::Number(seconds as f64));
        }
        json.insert("uniqueKeyPolicy", body.get("uniqueKeyPolicy").clone());
        json.insert("conflictResolutionPolicy", default_conflict_resolution());
        json.insert("geospatialConfig", geography());
        for name in OPAQUE {
            if let value @ (Value::Object(_) | Value::Array(_) | Value::Number(_)) = body.get(name) {
                json.insert(name, value.clone());
            }
        }
        Ok(Self { id, partition_key, indexing, default_ttl, unique_keys, json })
    }

    /// Refuses what a replace may not change.
    ///
    /// # Errors
    /// 400 for another id, partition key or unique keys.
    pub(crate) fn check_replacement(&self, new: &Self) -> Result<(), ServiceError> {
        if new.id != self.id {
            return Err(ServiceError::bad_request("The id of a container cannot be changed."));
        }
        if new.partition_key != self.partition_key {
            return Err(ServiceError::bad_request(
                "Document collection partition key cannot be changed. Partition key definition is immutable.",
            ));
        }
        if new.unique_keys != self.unique_keys {
            return Err(ServiceError::bad_request("The unique key policy of a container cannot be changed."));
        }
        Ok(())
    }

    /// The members a client defined, normalised.
    pub(crate) fn members(&self) -> &Object {
        &self.json
    }
}

/// The `id` of a database, container or script.
///
/// # Errors
/// 400 when it is missing, too long or contains a character that cannot be part of a link.
pub(crate) fn resource_id(body: &Value) -> Result<String, ServiceError> {
    let Value::String(id) = body.get("id") else { return Err(missing("id")) };
    if id.is_empty() {
        return Err(missing("id"));
    }
    if id.contains(['/', '\\', '?', '#']) || id.ends_with(' ') {
        return Err(ServiceError::bad_request(format!(
            "The input name '{id}' is invalid. Ensure to provide a unique non-empty string less than \
             '{MAX_RESOURCE_ID_CHARS}' characters, without '/', '\\', '?', '#' and a trailing space."
        )));
    }
    if id.chars().count() > MAX_RESOURCE_ID_CHARS {
        return Err(ServiceError::bad_request(format!(
            "The input name is invalid. Ensure to provide a unique non-empty string less than \
             '{MAX_RESOURCE_ID_CHARS}' characters."
        )));
    }
    Ok(id.to_string())
}

/// 400 in the service's words for a body without `name`.
pub(crate) fn missing(name: &str) -> ServiceError {
    ServiceError::bad_request(format!(
        "Message: {{\"Errors\":[\"The input content is invalid because the required properties - '{name}; ' - are \
         missing\"]}}"
    ))
}

fn unique_keys(policy: &Value) -> Result<Vec<Vec<Vec<String>>>, ServiceError> {
    let keys = match policy.get("uniqueKeys") {
        Value::Undefined => return Ok(Vec::new()),
        Value::Array(keys) => keys,
        other => {
            return Err(ServiceError::bad_request(format!("The unique key policy is not valid: {other}")));
        }
    };
    if keys.len() > MAX_UNIQUE_KEYS {
        return Err(ServiceError::bad_request(format!(
            "The unique key policy has {} unique keys; {MAX_UNIQUE_KEYS} are possible.",
            keys.len()
        )));
    }
    keys.iter()
        .map(|key| match key.get("paths") {
            Value::Array(paths) => paths
                .iter()
                .map(|path| {
                    path.as_str().and_then(split_path).ok_or_else(|| {
                        ServiceError::bad_request(format!("The unique key path {path} is not valid."))
                    })
                })
                .collect(),
            other => Err(ServiceError::bad_request(format!("The unique key paths are not valid: {other}"))),
        })
        .collect()
}

/// Conflicts cannot happen with one region, but what is written about them must make sense.
fn check_conflict_resolution(policy: &Value) -> Result<(), ServiceError> {
    match policy.get("mode") {
        Value::Undefined | Value::Null => Ok(()),
        Value::String(mode)
            if mode.eq_ignore_ascii_case("LastWriterWins") || mode.eq_ignore_ascii_case("Custom") =>
        {
            Ok(())
        }
        other => {
            Err(ServiceError::bad_request(format!("The conflict resolution mode {other} is not valid.")))
        }
    }
}

/// The analytical store is an option of accounts, which this one has not.
fn check_analytical(ttl: &Value) -> Result<(), ServiceError> {
    match ttl {
        Value::Undefined | Value::Null | Value::Number(0.0) => Ok(()),
        _ => Err(ServiceError::bad_request(
            "The account has no analytical store: 'analyticalStorageTtl' cannot be set.",
        )),
    }
}

fn default_conflict_resolution() -> Value {
    let mut policy = Object::new();
    policy.insert("mode", "LastWriterWins".into());
    policy.insert("conflictResolutionPath", "/_ts".into());
    policy.insert("conflictResolutionProcedure", "".into());
    policy.into()
}

fn geography() -> Value {
    let mut config = Object::new();
    config.insert("type", "Geography".into());
    config.into()
}
