//! What a query cost and which indexes it used, in the headers that clients ask for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::query::{Context, Query};
use crate::store::{Container, Found};
use crate::value::{Object, Value};

use super::headers;
use super::reply::Reply;
use super::request::Request;

/// The `name=value` list of `x-ms-documentdb-query-metrics`. Times are in milliseconds; the emulator does not tell
/// the phases of a query apart, so that all of its time is that of the engine.
pub(super) fn query_metrics(found: &Found, elapsed: Duration) -> String {
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    let work = found.work;
    let (documents, bytes, rows) = (work.documents, work.bytes_returned, found.rows.len());
    // Documents that came out of those that were looked at.
    #[allow(clippy::cast_precision_loss)]
    let used = if documents == 0 { 1.0 } else { (rows as f64 / documents as f64).min(1.0) };
    format!(
        "totalExecutionTimeInMs={milliseconds:.2};queryCompileTimeInMs=0.00;queryLogicalPlanBuildTimeInMs=0.00;\
         queryPhysicalPlanBuildTimeInMs=0.00;queryOptimizationTimeInMs=0.00;VMExecutionTimeInMs={milliseconds:.2};\
         indexLookupTimeInMs=0.00;instructionCount=0;documentLoadTimeInMs=0.00;systemFunctionExecuteTimeInMs=0.00;\
         userFunctionExecuteTimeInMs=0.00;retrievedDocumentCount={documents};retrievedDocumentSize={bytes};\
         outputDocumentCount={rows};outputDocumentSize={bytes};writeOutputTimeInMs=0.00;\
         indexUtilizationRatio={used:.2}"
    )
}

/// Adds `x-ms-cosmos-index-utilization` in the form that the request's header stands for.
pub(super) fn with_index_metrics(
    reply: Reply,
    request: &Request,
    query: &Query,
    context: &Context<'_>,
    container: &Container,
) -> Reply {
    // Clients of the second version read JSON with percent escapes, those of the first one base64.
    if request.flag(headers::POPULATE_INDEX_METRICS_V2) {
        let metrics = Usage::of(query, context, container).second_version().to_json();
        let text = utf8_percent_encode(&metrics, NON_ALPHANUMERIC).to_string();
        return reply.header(headers::INDEX_UTILIZATION, &text);
    }
    if request.flag(headers::POPULATE_INDEX_METRICS) {
        let metrics = Usage::of(query, context, container).first_version().to_json();
        return reply.header(headers::INDEX_UTILIZATION, &STANDARD.encode(metrics));
    }
    reply
}

/// Index paths of a query.
struct Usage {
    /// Those that the policy has.
    utilized: Vec<String>,
    /// Those that it would take.
    potential: Vec<String>,
    /// The composite index of an ORDER BY.
    composite: Vec<String>,
}

impl Usage {
    fn of(query: &Query, context: &Context<'_>, container: &Container) -> Self {
        let policy = &container.meta().definition.indexing;
        let order = query.order_by_paths().unwrap_or_default();
        let mut usage = Self { utilized: Vec::new(), potential: Vec::new(), composite: Vec::new() };
        let filters = query.sargable(context).into_iter().map(|predicate| predicate.path);
        let single_order =
            order.iter().take(if order.len() == 1 { 1 } else { 0 }).map(|(path, _)| path.clone());
        for path in filters.chain(single_order) {
            let place = if policy.includes(&path) { &mut usage.utilized } else { &mut usage.potential };
            let spec = format!("/{}/?", path.join("/"));
            if !place.contains(&spec) {
                place.push(spec);
            }
        }
        if order.len() > 1 {
            let spec = |(path, descending): &(Vec<String>, bool)| {
                format!("/{} {}", path.join("/"), if *descending { "DESC" } else { "ASC" })
            };
            usage.composite = order.iter().map(spec).collect();
        }
        usage
    }

    fn second_version(&self) -> Value {
        let part = |singles: &[String], composite: &[String]| {
            let single = |spec: &String| object([("IndexSpec", spec.as_str().into())]);
            let mut composites = Vec::new();
            if !composite.is_empty() {
                composites.push(object([("IndexSpecs", texts(composite))]));
            }
            let singles: Vec<Value> = singles.iter().map(single).collect();
            object([("SingleIndexes", singles.into()), ("CompositeIndexes", composites.into())])
        };
        object([
            ("UtilizedIndexes", part(&self.utilized, &self.composite)),
            ("PotentialIndexes", part(&self.potential, &[])),
        ])
    }

    fn first_version(&self) -> Value {
        let rated = |name, spec: Value| {
            object([
                (name, spec),
                ("FilterPreciseSet", true.into()),
                ("IndexPreciseSet", true.into()),
                ("IndexImpactScore", "High".into()),
            ])
        };
        let singles = |specs: &[String]| -> Value {
            specs.iter().map(|spec| rated("IndexSpec", spec.as_str().into())).collect::<Vec<_>>().into()
        };
        let mut composites = Vec::new();
        if !self.composite.is_empty() {
            composites.push(rated("IndexSpecs", texts(&self.composite)));
        }
        object([
            ("UtilizedSingleIndexes", singles(&self.utilized)),
            ("PotentialSingleIndexes", singles(&self.potential)),
            ("UtilizedCompositeIndexes", composites.into()),
            ("PotentialCompositeIndexes", Vec::new().into()),
        ])
    }
}

fn texts(items: &[String]) -> Value {
    items.iter().map(|item| Value::from(item.as_str())).collect::<Vec<_>>().into()
}

fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    object.into()
}
