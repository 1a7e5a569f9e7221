//! Query plans: what SDKs ask for before they send a query to each partition by themselves.

use crate::epk::{Component, Epk};
use crate::error::ServiceError;
use crate::query::{ExecutionInfo, KeyFilter, Query};
use crate::store::PartitionKeyDefinition;
use crate::value::{Object, Value};

use super::feed::QueryBody;
use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

impl Service {
    pub(super) fn query_plan(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let body = QueryBody::parse(request)?;
        let query = Query::parse(&body.text)?;
        let definition = &container.meta().definition.partition_key;
        let info = query.distribution(definition.paths(), &self.query_context(body.parameters))?;
        check_features(&info, request)?;
        Ok(Reply::json(200, plan(&info, definition).to_json()))
    }
}

/// The answer to a query plan request, and the `additionalErrorInfo` of refused queries.
pub(super) fn plan(info: &ExecutionInfo, definition: &PartitionKeyDefinition) -> Value {
    let mut plan = Object::new();
    plan.insert("partitionedQueryExecutionInfoVersion", Value::Number(2.0));
    plan.insert("queryInfo", info.to_value());
    plan.insert("queryRanges", ranges(info.keys(), definition).into());
    plan.insert("hybridSearchQueryInfo", Value::Null);
    plan.into()
}

/// One component of a key in a filter. Arrays and objects are no keys: documents that hold one there count as
/// having none.
pub(super) fn component(value: &Value) -> Component {
    Component::from_scalar(value).unwrap_or(Component::Undefined)
}

/// The hash ranges of the keys, in the order of their lower ends.
fn ranges(keys: &KeyFilter, definition: &PartitionKeyDefinition) -> Vec<Value> {
    let keys = match keys {
        KeyFilter::Any => return vec![range("", "FF", false)],
        // Any partition can give no rows; clients take the first.
        KeyFilter::Nowhere => return vec![range("", "", true)],
        KeyFilter::Keys(keys) => keys,
    };
    let mut ranges: Vec<(Epk, Value)> = keys
        .iter()
        .map(|key| {
            let components: Vec<Component> = key.iter().map(component).collect();
            let epk = definition.epk(&components);
            let text = epk.to_string();
            let whole = components.len() == definition.paths().len();
            // Every full key of a prefix begins with its hash.
            let value =
                if whole { range(&text, &text, true) } else { range(&text, &format!("{text}FF"), false) };
            (epk, value)
        })
        .collect();
    ranges.sort_by(|(left, _), (right, _)| left.cmp(right));
    ranges.dedup_by(|(left, _), (right, _)| left == right);
    ranges.into_iter().map(|(_, value)| value).collect()
}

fn range(min: &str, max: &str, with_max: bool) -> Value {
    let mut range = Object::new();
    range.insert("min", min.into());
    range.insert("max", max.into());
    range.insert("isMinInclusive", true.into());
    range.insert("isMaxInclusive", with_max.into());
    range.into()
}

/// Refuses a plan that the client says it could not run.
fn check_features(info: &ExecutionInfo, request: &Request) -> Result<(), ServiceError> {
    let supported = request.header(headers::SUPPORTED_QUERY_FEATURES).unwrap_or_default();
    let supports =
        |feature: &str| supported.split(',').any(|known| known.trim().eq_ignore_ascii_case(feature));
    let missing: Vec<String> = info
        .features()
        .into_iter()
        .filter(|feature| !supports(feature) && !is_implied(feature, &supports))
        .map(|feature| format!("\r\nQuery contained {feature}, which the calling client does not support."))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ServiceError::bad_request(format!(
        "Query contains 1 or more unsupported features. Upgrade your SDK to a version that does support the \
         requested features:{}",
        missing.concat()
    )))
}

/// Features that older clients do not name, as they came with another one.
fn is_implied(feature: &str, supports: &dyn Fn(&str) -> bool) -> bool {
    match feature {
        "CountIf" | "ListAndSetAggregate" => supports("Aggregate"),
        _ => false,
    }
}
