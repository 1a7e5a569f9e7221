//! How a query spreads over partitions: the "partitioned query execution info" that the gateway gives to SDKs,
//! which run the rewritten query on each physical partition and merge the results.
//!
//! The forms are those of the service's own answers, as the .NET SDK's query plan baselines have them.

mod keys;
mod rewrite;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::ast::{Expr, ExprKind, Origin, Projection, Select};
use super::error::Result;
use super::functions::aggregate::AggregateKind;
use super::{Context, Query, exec};
use crate::error::ServiceError;
use crate::value::{Object, Value};

pub(crate) use keys::KeyFilter;

/// What a client needs to run a query on many partitions.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionInfo {
    distinct: DistinctType,
    top: Option<usize>,
    offset: Option<usize>,
    limit: Option<usize>,
    /// Text of each ORDER BY item; `true` for descending.
    order_by: Vec<(String, bool)>,
    group_by: Vec<String>,
    /// Name and aggregate of each column, for results whose columns are merged one by one.
    columns: Vec<(String, Option<AggregateKind>)>,
    /// The aggregate of `SELECT VALUE`.
    aggregate: Option<AggregateKind>,
    /// `COUNT` of a `SELECT DISTINCT` subquery: what the count is called, empty under `SELECT VALUE`.
    distinct_count: Option<String>,
    /// Empty when the query can be sent as it is.
    rewritten: String,
    select_value: bool,
    keys: KeyFilter,
}

/// How equal rows of different partitions become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DistinctType {
    None,
    /// Equal rows follow each other.
    Ordered,
    Unordered,
}

impl Query {
    /// How the query spreads over a container with this partition key.
    ///
    /// # Errors
    /// 400 for a count that is none, and for what cannot be merged: aggregates inside larger expressions, and
    /// ORDER BY with GROUP BY.
    pub(crate) fn distribution(
        &self,
        key_paths: &[Vec<String>],
        context: &Context<'_>,
    ) -> Result<ExecutionInfo> {
        let keys = keys::key_filter(&self.select, &self.facts, key_paths, context);
        if self.select.from.is_empty() {
            return Ok(ExecutionInfo::passed_through(&self.select, keys));
        }
        describe(&self.select, keys, key_paths.len(), context)
    }
}

impl ExecutionInfo {
    /// For a query that any one partition answers.
    fn passed_through(select: &Select, keys: KeyFilter) -> Self {
        Self {
            distinct: DistinctType::None,
            top: None,
            offset: None,
            limit: None,
            order_by: Vec::new(),
            group_by: Vec::new(),
            columns: Vec::new(),
            aggregate: None,
            distinct_count: None,
            rewritten: String::new(),
            select_value: matches!(select.projection, Projection::Value(_)),
            keys,
        }
    }

    /// The partitions the query has to look at.
    pub(crate) fn keys(&self) -> &KeyFilter {
        &self.keys
    }

    /// Whether there are aggregates.
    pub(crate) fn has_aggregates(&self) -> bool {
        self.aggregate.is_some() || self.has_column_aggregates() || self.distinct_count.is_some()
    }

    /// Whether there are aggregates that are not alone under SELECT VALUE.
    pub(crate) fn has_column_aggregates(&self) -> bool {
        self.columns.iter().any(|(_, kind)| kind.is_some())
    }

    /// Whether there is a DISTINCT or GROUP BY, of which one page of a partition has only a part.
    pub(crate) fn needs_grouping(&self) -> bool {
        self.distinct != DistinctType::None || !self.group_by.is_empty()
    }

    /// Whether the partitions' results have to be merged, rather than strung together.
    pub(crate) fn needs_merge(&self) -> bool {
        self.has_aggregates()
            || self.needs_grouping()
            || !self.order_by.is_empty()
            || self.top.is_some()
            || self.offset.is_some()
    }

    /// What a client has to be able to do, in the names of `x-ms-cosmos-supported-query-features`.
    pub(crate) fn features(&self) -> Vec<&'static str> {
        let kinds: Vec<AggregateKind> =
            self.aggregate.into_iter().chain(self.columns.iter().filter_map(|(_, kind)| *kind)).collect();
        let lists = [AggregateKind::MakeList, AggregateKind::MakeSet];
        let needs = [
            ("Aggregate", self.aggregate.is_some()),
            ("CompositeAggregate", kinds.contains(&AggregateKind::Avg)),
            ("CountIf", kinds.contains(&AggregateKind::CountIf)),
            ("DCount", self.distinct_count.is_some()),
            ("Distinct", self.distinct != DistinctType::None),
            ("GroupBy", !self.group_by.is_empty()),
            ("ListAndSetAggregate", lists.iter().any(|kind| kinds.contains(kind))),
            ("MultipleAggregates", kinds.len() > 1),
            ("MultipleOrderBy", self.order_by.len() > 1),
            ("NonValueAggregate", self.has_column_aggregates()),
            ("OffsetAndLimit", self.offset.is_some()),
            ("OrderBy", !self.order_by.is_empty()),
            ("Top", self.top.is_some()),
        ];
        needs.into_iter().filter_map(|(name, needed)| needed.then_some(name)).collect()
    }

    /// `queryInfo`
    pub(crate) fn to_value(&self) -> Value {
        let texts = |items: &mut dyn Iterator<Item = &str>| -> Value {
            items.map(Value::from).collect::<Vec<Value>>().into()
        };
        let mut info = Object::new();
        info.insert("distinctType", format!("{:?}", self.distinct).into());
        info.insert("top", count_value(self.top));
        info.insert("offset", count_value(self.offset));
        info.insert("limit", count_value(self.limit));
        let direction = |descending: bool| if descending { "Descending" } else { "Ascending" };
        info.insert(
            "orderBy",
            texts(&mut self.order_by.iter().map(|(_, descending)| direction(*descending))),
        );
        info.insert("orderByExpressions", texts(&mut self.order_by.iter().map(|(text, _)| text.as_str())));
        info.insert("groupByExpressions", texts(&mut self.group_by.iter().map(String::as_str)));
        info.insert("groupByAliases", texts(&mut self.columns.iter().map(|(name, _)| name.as_str())));
        info.insert("aggregates", texts(&mut self.aggregate.iter().map(|kind| kind.plan_name())));
        let mut types = Object::new();
        for (name, kind) in &self.columns {
            types.insert(name.as_str(), kind.map_or(Value::Null, |kind| kind.plan_name().into()));
        }
        info.insert("groupByAliasToAggregateType", types.into());
        info.insert("rewrittenQuery", self.rewritten.as_str().into());
        info.insert("hasSelectValue", self.select_value.into());
        info.insert(
            "dCountInfo",
            self.distinct_count.as_ref().map_or(Value::Null, |alias| {
                let mut count = Object::new();
                count.insert("dCountAlias", alias.as_str().into());
                count.into()
            }),
        );
        info.insert("hasNonStreamingOrderBy", false.into());
        info.into()
    }
}

impl AggregateKind {
    /// The name of the aggregate in query plans.
    fn plan_name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::CountIf => "CountIf",
            Self::Sum => "Sum",
            Self::Avg => "Average",
            Self::Min => "Min",
            Self::Max => "Max",
            Self::MakeList => "MakeList",
            Self::MakeSet => "MakeSet",
        }
    }
}

fn count_value(count: Option<usize>) -> Value {
    // At most 32 bits: exact.
    #[allow(clippy::cast_precision_loss)]
    count.map_or(Value::Null, |count| Value::Number(count as f64))
}

fn describe(select: &Select, keys: KeyFilter, paths: usize, context: &Context<'_>) -> Result<ExecutionInfo> {
    check_aggregates(select)?;
    if !select.group_by.is_empty() && !select.order_by.is_empty() {
        return Err(refused("'ORDER BY' is not supported together with 'GROUP BY' across partitions."));
    }
    let single = keys.is_one_key(paths);
    let mut info = ExecutionInfo::passed_through(select, keys);
    info.group_by = select.group_by.iter().map(ToString::to_string).collect();
    info.top = select.top.as_ref().map(|top| exec::top(top, context)).transpose()?;
    let window =
        select.offset_limit.as_ref().map(|bounds| exec::offset_limit(bounds, context)).transpose()?;
    match &select.projection {
        Projection::Value(expr) => info.aggregate = aggregate_of(expr),
        Projection::List(items) if select.is_grouped() => {
            info.columns =
                items.iter().map(|item| (item.name.to_string(), aggregate_of(&item.expr))).collect();
        }
        Projection::List(_) | Projection::Star(_) => {}
    }
    if let Some((alias, inner)) = distinct_count(select) {
        (info.aggregate, info.columns, info.distinct) = (None, Vec::new(), DistinctType::Unordered);
        info.distinct_count = Some(alias);
        info.rewritten = rewrite::plain(inner, &rewrite::Window::None);
    }
    if select.distinct {
        info.distinct = distinct_type(select);
    }
    let merges = select.is_grouped() || info.distinct != DistinctType::None;
    if !select.is_grouped() {
        info.order_by = select.order_by.iter().map(|item| (item.expr.to_string(), item.descending)).collect();
    }
    // One partition applies OFFSET and LIMIT itself, unless rows are still to be merged behind it.
    if let (Some((offset, limit)), true) = (window, merges || !single) {
        (info.offset, info.limit) = (Some(offset), Some(limit));
    }
    if info.distinct_count.is_none() {
        let limits = rewrite::Window::of(&info, window, merges);
        info.rewritten = rewrite::rewrite(select, &limits, &info);
    }
    Ok(info)
}

/// The aggregate that an expression is.
fn aggregate_of(expr: &Expr) -> Option<AggregateKind> {
    match &expr.kind {
        ExprKind::Aggregate { kind, .. } => Some(*kind),
        _ => None,
    }
}

/// `SELECT COUNT(1) FROM (SELECT DISTINCT …)`, with what the count is called.
fn distinct_count(select: &Select) -> Option<(String, &Select)> {
    let [source] = &select.from[..] else { return None };
    let Origin::Subquery(inner) = &source.origin else { return None };
    let plain = select.filter.is_none() && select.group_by.is_empty() && source.path.is_empty();
    if !plain || !inner.distinct || !inner.order_by.is_empty() || inner.is_grouped() {
        return None;
    }
    match &select.projection {
        Projection::Value(expr) if aggregate_of(expr) == Some(AggregateKind::Count) => {
            Some((String::new(), inner))
        }
        Projection::List(items) => match &items[..] {
            [item] if aggregate_of(&item.expr) == Some(AggregateKind::Count) => {
                Some((item.name.to_string(), inner))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Rows that are made of the ORDER BY items alone come with equal ones side by side.
fn distinct_type(select: &Select) -> DistinctType {
    let mut order: Vec<String> = select.order_by.iter().map(|item| item.expr.to_string()).collect();
    let mut row: Vec<String> = match &select.projection {
        Projection::Value(expr) => vec![expr.to_string()],
        Projection::List(items) => items.iter().map(|item| item.expr.to_string()).collect(),
        Projection::Star(_) => Vec::new(),
    };
    order.sort();
    row.sort();
    if !order.is_empty() && order == row { DistinctType::Ordered } else { DistinctType::Unordered }
}

/// Partial results can be merged only where an aggregate is a column by itself.
fn check_aggregates(select: &Select) -> Result<()> {
    fn inside(expr: &Expr) -> bool {
        let mut found = false;
        expr.for_each_child(&mut |child| found = found || aggregate_of(child).is_some() || inside(child));
        found
    }
    let composed = match &select.projection {
        Projection::Star(_) => false,
        Projection::Value(expr) => inside(expr),
        Projection::List(items) => items.iter().any(|item| inside(&item.expr)),
    };
    if composed {
        return Err(refused("Compositions of aggregates and other expressions are not allowed."));
    }
    Ok(())
}

fn refused(message: &str) -> ServiceError {
    let message = Value::from(message).to_json();
    ServiceError::bad_request(format!("Message: {{\"Errors\":[{message}]}}"))
}
