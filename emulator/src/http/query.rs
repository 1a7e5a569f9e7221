//! Queries and the plain feed over documents, and what the gateway refuses to serve.

use std::sync::Arc;

use crate::charge;
use crate::epk::Epk;
use crate::error::ServiceError;
use crate::query::{Context, ExecutionInfo, KeyFilter, Query};
use crate::store::{
    Container, ContainerFunctions, Continuation, Found, LogPosition, PartitionKeyDefinition, PhysicalRange,
    Position, Scope, Search, Source,
};
use crate::value::Value;

use super::feed::QueryBody;
use super::headers;
use super::query_metrics::{self, with_index_metrics};
use super::query_plan;
use super::reply::{Failure, Reply};
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

/// Where a query or feed runs.
pub(super) enum Target {
    /// One logical partition.
    Partition(Scope),
    /// What a hierarchical key's prefix covers, or a part of one physical partition that the client named.
    Part(Scope),
    /// All physical partitions, one after another.
    Walk,
}

/// One page to find.
struct PageRequest<'a> {
    container: &'a Arc<Container>,
    target: Target,
    request: &'a Request,
    /// What the continuation belongs to.
    identity: &'a str,
}

impl Service {
    pub(super) fn list_documents(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let target = match target(&container, request)? {
            Some(target) => target,
            None => Target::Walk,
        };
        self.page(&PageRequest { container: &container, target, request, identity: "" }, |search| {
            search.feed()
        })
    }

    pub(super) fn query_documents(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.owner(path)?;
        let body = QueryBody::parse(request)?;
        let query = Query::parse(&body.text)?;
        let identity = query.continued_by().unwrap_or_else(|| body.identity());
        let functions = ContainerFunctions::new(&container);
        let context = Context { udfs: Some(&functions), ..self.query_context(body.parameters) };
        check_order(&query, &container)?;
        let target = match target(&container, request)? {
            // What headers name is served whatever the query: the .NET SDK sends its rewritten DISTINCT and GROUP BY
            // with a key alone, and clients without a merge of their own (Go, plain REST) count like that.
            Some(target) => target,
            None => routed(&query, &container, &context, request)?,
        };
        let page = PageRequest { container: &container, target, request, identity: &identity };
        let reply = self.page(&page, |search| search.query(&query, &context))?;
        Ok(with_index_metrics(reply, request, &query, &context, &container))
    }

    fn page(
        &self,
        page: &PageRequest<'_>,
        find: impl Fn(&Search<'_>) -> Result<Found, ServiceError>,
    ) -> Answer {
        let container = page.container;
        let start = match page.request.continuation() {
            Some(token) => Continuation::decode(token, page.identity)?,
            None => Continuation { range: None, position: None },
        };
        let ranges = container.ranges();
        let mut walk = None;
        let (scope, position) = match &page.target {
            Target::Partition(scope) | Target::Part(scope) => (scope.clone(), log_position(&ranges, scope)),
            Target::Walk => {
                let at = ranges.iter().position(|range| continues_in(range, &start)).ok_or_else(|| {
                    ServiceError::new(410, 1002, "The partition key range of the continuation is gone.")
                })?;
                let range = &ranges[at];
                walk = Some((range.id, ranges.get(at + 1).map(|next| next.id)));
                let scope = Scope::Range { min: range.min.clone(), max: range.max.clone() };
                (scope, LogPosition { range: range.id, lsn: range.lsn })
            }
        };
        page.request.check_session(position)?;
        if walk.is_none()
            && matches!(start.position, Some(Position::Offset(_)))
            && start.range.is_some_and(|range| range != position.range)
        {
            return Err(ServiceError::bad_request(SPLIT_MEANWHILE).into());
        }
        let started = std::time::Instant::now();
        let found = find(&Search {
            source: Source::Live { container, scope },
            now: self.account.shared().clock.now_s(),
            page_rows: page.request.page_rows()?,
            start: start.position,
        })
        .map_err(|error| Failure::from(error).at(position))?;
        let (units, here) = (charge::query(found.work), position.range);
        let mut reply = Reply::json(200, feed_body(container, &found))
            .charge(units)
            .at(position)
            .header(headers::ITEM_COUNT, &found.rows.len().to_string())
            .header(headers::OWNER_FULL_NAME, container.alt_link())
            .header(headers::OWNER_ID, &container.rid.text());
        if page.request.flag(headers::POPULATE_QUERY_METRICS) {
            reply = reply
                .header(headers::QUERY_METRICS, &query_metrics::query_metrics(&found, started.elapsed()));
        }
        let next = match (found.next, walk) {
            (Some(position), _) => Some(Continuation { range: Some(here), position: Some(position) }),
            (None, Some((_, Some(next)))) => Some(Continuation { range: Some(next), position: None }),
            (None, _) => None,
        };
        Ok(match next {
            Some(next) => reply.header(headers::CONTINUATION, &next.encode(page.identity)),
            None => reply,
        })
    }
}

const SPLIT_MEANWHILE: &str =
    "The continuation counts rows of a physical partition that was split meanwhile.";

/// Whether a walk goes on in `range`: in the one it stopped at, or the part of it that the position is in when
/// that was split meanwhile.
fn continues_in(range: &PhysicalRange, start: &Continuation) -> bool {
    let Some(id) = start.range else { return true };
    if range.id == id {
        return true;
    }
    range.parents.contains(&id)
        && match &start.position {
            None => true,
            Some(Position::At { key: (key, _), .. }) => *key.epk() < range.max,
            // Counted over, or ordered within, the whole of the old range.
            Some(Position::Offset(_) | Position::Sorted(_)) => false,
        }
}

/// Where the headers say that a request runs; `None` when they do not.
pub(super) fn target(container: &Container, request: &Request) -> Result<Option<Target>, ServiceError> {
    let definition = &container.meta().definition.partition_key;
    if let Some(components) = request.partition_key_components()? {
        if components.len() < definition.paths().len() && definition.is_hierarchical() {
            let prefix = definition.epk(&components).to_string();
            // Every full key of the prefix begins with its hash.
            let (min, max) = (parse_epk(&prefix)?, parse_epk(&format!("{prefix}FF"))?);
            return Ok(Some(Target::Part(Scope::Range { min, max })));
        }
        return Ok(Some(Target::Partition(Scope::Partition(definition.key(&components)?))));
    }
    let ranges = container.ranges();
    let named = match request.header(headers::PARTITION_KEY_RANGE_ID) {
        None => None,
        // `<collection rid>,<id>` is an older form.
        Some(text) => {
            let id = text.rsplit(',').next().unwrap_or(text).trim();
            let range = ranges.iter().find(|range| range.id.to_string() == id);
            Some(range.ok_or_else(|| {
                ServiceError::new(410, 1002, format!("The requested partition key range '{id}' is gone."))
            })?)
        }
    };
    let (start, end) = (bound(request, headers::START_EPK)?, bound(request, headers::END_EPK)?);
    if named.is_none() && start.is_none() && end.is_none() {
        return Ok(None);
    }
    check_key_type(request, start.is_some() || end.is_some())?;
    let (low, high) = match (named, ranges.first(), ranges.last()) {
        (Some(range), _, _) => (&range.min, &range.max),
        (None, Some(first), Some(last)) => (&first.min, &last.max),
        _ => return Ok(None),
    };
    let min = start.map_or_else(|| low.clone(), |start| start.max(low.clone()));
    let max = end.map_or_else(|| high.clone(), |end| end.min(high.clone()));
    Ok(Some(Target::Part(Scope::Range { min, max })))
}

fn bound(request: &Request, name: &'static str) -> Result<Option<Epk>, ServiceError> {
    request.header(name).map(|text| parse_epk(text.trim())).transpose()
}

fn parse_epk(text: &str) -> Result<Epk, ServiceError> {
    Epk::parse(text).ok_or_else(|| ServiceError::bad_request("One of the input values is invalid."))
}

/// The service takes bounds only with the key type of ranges.
fn check_key_type(request: &Request, bounds: bool) -> Result<(), ServiceError> {
    match request.header(headers::READ_KEY_TYPE) {
        Some(kind) if bounds && kind != "EffectivePartitionKeyRange" => {
            Err(ServiceError::bad_request("One of the input values is invalid."))
        }
        _ => Ok(()),
    }
}

/// Where the filter of a query sends it, or why the gateway refuses to: a page of it could not be continued, or
/// the partitions' results would have to be merged. SDKs take the refusal as the advice to do that themselves, by
/// the plan that comes with it.
fn routed(
    query: &Query,
    container: &Container,
    context: &Context<'_>,
    request: &Request,
) -> Result<Target, Failure> {
    let definition = &container.meta().definition.partition_key;
    let info = query.distribution(definition.paths(), context)?;
    if info.has_column_aggregates() {
        return Err(ServiceError::bad_request(ONLY_VALUE_AGGREGATES).into());
    }
    let refuse = |error: ServiceError| Failure::from(error).details(plan_text(&info, definition));
    let not_servable = || refuse(ServiceError::new(400, 1004, NOT_SERVABLE));
    let paths = definition.paths().len();
    if !info.keys().is_one_key(paths) {
        if !request.flag(headers::ENABLE_CROSS_PARTITION) {
            return Err(refuse(ServiceError::bad_request(DISABLED)));
        }
        if info.needs_merge() || request.flag(headers::PARALLELIZE) {
            return Err(not_servable());
        }
        return Ok(Target::Walk);
    }
    // A client that does not expect to continue wants the aggregate of all pages, which it has to add up.
    let partial = info.has_aggregates() && !request.flag(headers::IS_CONTINUATION_EXPECTED);
    if partial || info.needs_grouping() {
        return Err(not_servable());
    }
    let KeyFilter::Keys(keys) = info.keys() else {
        // No document is asked for: any partition will do.
        let first = container.ranges().into_iter().next();
        return Ok(
            first.map_or(Target::Walk, |range| Target::Part(Scope::Range { min: range.min, max: range.max }))
        );
    };
    let components: Vec<_> = keys.iter().flatten().map(query_plan::component).collect();
    Ok(Target::Partition(Scope::Partition(definition.key(&components)?)))
}

const DISABLED: &str = "Cross partition query is required but disabled. Please set \
    x-ms-documentdb-query-enablecrosspartition to true, specify x-ms-documentdb-partitionkey, or revise your query to \
    avoid this exception.";

const NOT_SERVABLE: &str = "The provided cross partition query can not be directly served by the gateway. This is a \
    first chance (internal) exception that all newer clients will know how to handle gracefully. This exception is \
    traced, but unless you see it bubble up as an exception (which only happens on older SDK clients), then you can \
    safely ignore this message.";

/// The service says it without a plan, which JavaScript knows how to take.
const ONLY_VALUE_AGGREGATES: &str = "Message: {\"Errors\":[\"Cross partition query only supports 'VALUE \
    <AggregateFunc>' for aggregates.\"]}";

/// ORDER BY needs an index that has the order.
fn check_order(query: &Query, container: &Container) -> Result<(), ServiceError> {
    let Some(paths) = query.order_by_paths() else { return Ok(()) };
    let policy = &container.meta().definition.indexing;
    match &paths[..] {
        [] => Ok(()),
        [(path, _)] if policy.includes(path) => Ok(()),
        [_] => Err(ServiceError::bad_request(
            "Message: {\"Errors\":[\"The index path corresponding to the specified order-by item is excluded.\"]}",
        )),
        _ if policy.serves_order(&paths) => Ok(()),
        _ => Err(ServiceError::bad_request(
            "Message: {\"Errors\":[\"The order by query does not have a corresponding composite index that it can be \
             served from.\"]}",
        )),
    }
}

/// `additionalErrorInfo`: the plan as JSON text.
fn plan_text(info: &ExecutionInfo, definition: &PartitionKeyDefinition) -> Value {
    query_plan::plan(info, definition).to_json().into()
}

fn log_position(ranges: &[PhysicalRange], scope: &Scope) -> LogPosition {
    let (key, _) = scope.first();
    ranges
        .iter()
        .rev()
        .find(|range| range.min <= *key.epk())
        .map_or(LogPosition { range: 0, lsn: 0 }, |range| LogPosition { range: range.id, lsn: range.lsn })
}

fn feed_body(container: &Container, found: &Found) -> String {
    format!(
        "{{\"_rid\":\"{}\",\"Documents\":{},\"_count\":{}}}",
        container.rid.text(),
        found.array(),
        found.rows.len()
    )
}
