//! The query each partition runs instead, so that its rows carry what merging needs.

use std::fmt::Write as _;

use super::super::ast::{Expr, ExprKind, Projection, Segment, Select, Source};
use super::super::functions::aggregate::AggregateKind;
use super::ExecutionInfo;
use crate::value::Value;

/// What clients replace by `true`, or by where they resume.
const FILTER_PLACEHOLDER: &str = "({documentdb-formattableorderbyquery-filter})";

/// Which rows a partition may leave out.
pub(super) enum Window {
    None,
    Top(usize),
    /// OFFSET and LIMIT.
    Part(usize, usize),
}

impl Window {
    pub(super) fn of(info: &ExecutionInfo, written: Option<(usize, usize)>, merges: bool) -> Self {
        match (written, info.top) {
            // Rows that merge with others later must all come.
            _ if merges => Self::None,
            (Some((offset, limit)), _) if info.offset.is_some() => {
                Self::Part(0, offset.saturating_add(limit))
            }
            (Some((offset, limit)), _) => Self::Part(offset, limit),
            (None, Some(top)) => Self::Top(top),
            (None, None) => Self::None,
        }
    }
}

/// The text for each partition; empty when the query itself will do.
pub(super) fn rewrite(select: &Select, window: &Window, info: &ExecutionInfo) -> String {
    if !select.group_by.is_empty() {
        return grouped(select);
    }
    if select.is_grouped() {
        return aggregated(select);
    }
    if !select.order_by.is_empty() {
        return ordered(select, window);
    }
    let shortened = info.offset.is_some() || (select.distinct && info.top.is_some());
    if shortened { plain(select, window) } else { String::new() }
}

/// The query with other limits.
pub(super) fn plain(select: &Select, window: &Window) -> String {
    let mut text = String::from("SELECT ");
    if select.distinct {
        text.push_str("DISTINCT ");
    }
    push_top(&mut text, window);
    match &select.projection {
        Projection::Star(_) => text.push('*'),
        Projection::Value(expr) => push(&mut text, format_args!("VALUE {expr}")),
        Projection::List(items) => {
            let items = items.iter().map(|item| match &item.alias {
                Some(alias) => format!("{} AS {alias}", item.expr),
                None => item.expr.to_string(),
            });
            text.push_str(&items.collect::<Vec<_>>().join(", "));
        }
    }
    push_from(&mut text, select);
    if let Some(filter) = &select.filter {
        push(&mut text, format_args!("\nWHERE {filter}"));
    }
    push_limits(&mut text, window);
    text
}

/// Every row with the values it is merged by.
fn ordered(select: &Select, window: &Window) -> String {
    let mut text = String::from("SELECT ");
    push_top(&mut text, window);
    let root = select.from.first().map(source_name).unwrap_or_default();
    let items = items(select.order_by.iter().map(|item| &item.expr));
    push(
        &mut text,
        format_args!("{root}._rid, {items} AS orderByItems, {} AS payload", payload(select, &root)),
    );
    push_from(&mut text, select);
    let filter = match &select.filter {
        Some(filter) => format!("({filter} AND {FILTER_PLACEHOLDER})"),
        None => FILTER_PLACEHOLDER.to_owned(),
    };
    match &select.projection {
        // A row without a value is none, which the object around it would hide.
        Projection::Value(expr) => {
            push(&mut text, format_args!("\nWHERE ({filter} AND IS_DEFINED({expr}))"));
        }
        _ => push(&mut text, format_args!("\nWHERE {filter}")),
    }
    push_order(&mut text, select);
    push_limits(&mut text, window);
    text
}

fn grouped(select: &Select) -> String {
    let groups = items(select.group_by.iter());
    let payload = match &select.projection {
        Projection::Value(expr) => value_payload(expr),
        _ => payload(select, ""),
    };
    let mut text = format!("SELECT {groups} AS groupByItems, {payload} AS payload");
    push_from(&mut text, select);
    if let Some(filter) = &select.filter {
        push(&mut text, format_args!("\nWHERE {filter}"));
    }
    let names: Vec<String> = select.group_by.iter().map(ToString::to_string).collect();
    push(&mut text, format_args!("\nGROUP BY {}", names.join(", ")));
    text
}

fn aggregated(select: &Select) -> String {
    let mut text = match &select.projection {
        Projection::Value(expr) => format!("SELECT VALUE {}", value_payload(expr)),
        _ => format!("SELECT {} AS payload", payload(select, "")),
    };
    push_from(&mut text, select);
    if let Some(filter) = &select.filter {
        push(&mut text, format_args!("\nWHERE {filter}"));
    }
    push_order(&mut text, select);
    text
}

/// `[{"item": a}, {"item": b}]`
fn items<'e>(exprs: impl Iterator<Item = &'e Expr>) -> String {
    let items: Vec<String> = exprs.map(|expr| format!("{{\"item\": {expr}}}")).collect();
    format!("[{}]", items.join(", "))
}

/// What the client makes the row of.
fn payload(select: &Select, root: &str) -> String {
    match &select.projection {
        Projection::Star(_) => root.to_owned(),
        Projection::Value(expr) => expr.to_string(),
        Projection::List(items) => {
            let members: Vec<String> = items
                .iter()
                .map(|item| format!("{}: {}", Value::from(&*item.name).to_json(), column(&item.expr)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// The payload of `SELECT VALUE` in a grouped query: aggregates come in a list of one.
fn value_payload(expr: &Expr) -> String {
    if super::aggregate_of(expr).is_some() { format!("[{}]", column(expr)) } else { expr.to_string() }
}

/// A column, with an aggregate as the partial result that can be merged.
fn column(expr: &Expr) -> String {
    let ExprKind::Aggregate { kind, arg, .. } = &expr.kind else { return expr.to_string() };
    match kind {
        AggregateKind::Avg => format!("{{\"item\": {{\"sum\": SUM({arg}), \"count\": COUNT({arg})}}}}"),
        AggregateKind::Min | AggregateKind::Max => {
            let (name, call) = if *kind == AggregateKind::Min { ("min", "MIN") } else { ("max", "MAX") };
            format!(
                "{{\"item\": {call}({arg}), \"item2\": {{\"{name}\": {call}({arg}), \"count\": COUNT({arg})}}}}"
            )
        }
        _ => format!("{{\"item\": {expr}}}"),
    }
}

fn push_from(text: &mut String, select: &Select) {
    for (at, source) in select.from.iter().enumerate() {
        push(text, format_args!("\n{} {source}", if at == 0 { "FROM" } else { "JOIN" }));
    }
}

fn push_order(text: &mut String, select: &Select) {
    if select.order_by.is_empty() {
        return;
    }
    let items: Vec<String> = select.order_by.iter().map(ToString::to_string).collect();
    push(text, format_args!("\nORDER BY {}", items.join(", ")));
}

fn push_top(text: &mut String, window: &Window) {
    if let Window::Top(count) = window {
        push(text, format_args!("TOP {count} "));
    }
}

fn push_limits(text: &mut String, window: &Window) {
    if let Window::Part(offset, limit) = window {
        push(text, format_args!("\nOFFSET {offset} LIMIT {limit}"));
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}

/// What expressions call the rows of a source.
fn source_name(source: &Source) -> String {
    use super::super::ast::Origin;
    let own = match (&source.origin, source.path.last()) {
        (_, Some(Segment::Name(name))) => Some(name),
        (Origin::Name(name) | Origin::Root(name) | Origin::Slot(name, _), None) => Some(name),
        _ => None,
    };
    source.alias.as_ref().or(own).map(ToString::to_string).unwrap_or_default()
}
