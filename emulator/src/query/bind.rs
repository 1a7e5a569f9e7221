//! Names to slots, calls to functions, and the checks that need both.
//!
//! While a query runs, the value of each source sits in a stack. The binder keeps the same stack of names, so
//! that the position of a name here is the slot of its value there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ast::{Aggregate, Bound, Expr, ExprKind, Origin, Projection, Segment, Select, SelectItem, Source};
use super::error::{Result, Span, located, unlocated};
use super::functions::{self, aggregate::AggregateKind};
use crate::error::ServiceError;

/// Joins and calls of user-defined functions one query may have.
const MAX_JOINS: usize = 10;
const MAX_UDF_CALLS: usize = 10;

/// What binding finds out about the whole query.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Parameters in use, with their first place.
    pub(super) parameters: Vec<(Arc<str>, Span)>,
    pub(super) joins: usize,
    pub(super) udf_calls: usize,
    pub(super) subqueries: usize,
}

/// Resolves everything in `select`, in place.
pub(super) fn bind(select: &mut Select) -> Result<Facts> {
    let mut binder = Binder::default();
    binder.select(select)?;
    check_order_by(select)?;
    let facts = binder.facts;
    if facts.udf_calls > MAX_UDF_CALLS {
        let message = format!(
            "The SQL query exceeded the maximum number of user-defined function calls. The allowed limit is {MAX_UDF_CALLS}."
        );
        return Err(located("SC3005", select.span, &message));
    }
    if facts.joins > MAX_JOINS {
        let message =
            format!("The SQL query exceeded the maximum number of joins. The allowed limit is {MAX_JOINS}.");
        return Err(located("SC3003", select.span, &message));
    }
    Ok(facts)
}

#[derive(Default)]
struct Binder {
    /// The name of each slot; a source without a name still takes one.
    scope: Vec<Option<Arc<str>>>,
    /// Whether an enclosing FROM has given the container its name.
    root_bound: bool,
    parameters: HashMap<Arc<str>, usize>,
    facts: Facts,
}

/// Where the aggregates of the clause at hand go; `None` where none may stand.
type Aggregates<'a> = Option<&'a mut Vec<Aggregate>>;

impl Binder {
    fn select(&mut self, select: &mut Select) -> Result<()> {
        let (base, root_bound) = (self.scope.len(), self.root_bound);
        for source in &mut select.from {
            self.source(source, base)?;
            self.root_bound = true;
        }
        self.facts.joins += select.from.len().saturating_sub(1);
        if let Some(filter) = &mut select.filter {
            self.expr(filter, None)?;
        }
        for expr in &mut select.group_by {
            self.expr(expr, None)?;
        }
        let mut aggregates = Vec::new();
        match &mut select.projection {
            Projection::Star(span) => {
                check_star(*span, select.from.len(), !select.group_by.is_empty())?;
            }
            Projection::Value(expr) => self.expr(expr, Some(&mut aggregates))?,
            Projection::List(items) => {
                for item in &mut *items {
                    self.expr(&mut item.expr, Some(&mut aggregates))?;
                }
                name_items(items)?;
            }
        }
        for item in &mut select.order_by {
            self.expr(&mut item.expr, Some(&mut aggregates))?;
        }
        let bounds = select.offset_limit.iter().flat_map(|(offset, limit)| [offset, limit]);
        for bound in select.top.iter().chain(bounds) {
            self.bound(bound);
        }
        select.aggregates = aggregates;
        check_groups(select, base)?;
        self.scope.truncate(base);
        self.root_bound = root_bound;
        Ok(())
    }

    fn bound(&mut self, bound: &Bound) {
        if let Some(name) = bound.parameter() {
            self.parameter(name, bound.span);
        }
    }

    /// The place of the parameter in the list.
    fn parameter(&mut self, name: &Arc<str>, span: Span) -> usize {
        let next = self.facts.parameters.len();
        let index = *self.parameters.entry(Arc::clone(name)).or_insert(next);
        if index == next {
            self.facts.parameters.push((Arc::clone(name), span));
        }
        index
    }

    fn source(&mut self, source: &mut Source, base: usize) -> Result<()> {
        let mut implied = None;
        match &mut source.origin {
            Origin::Subquery(select) => {
                self.facts.subqueries += 1;
                self.select(select)?;
            }
            Origin::Name(name) => {
                let name = Arc::clone(name);
                implied = match source.path.last() {
                    None => Some(Arc::clone(&name)),
                    Some(Segment::Name(last)) => Some(Arc::clone(last)),
                    Some(Segment::Index(_)) => None,
                };
                source.origin = match self.slot(&name) {
                    Some(slot) => Origin::Slot(name, slot),
                    // The container goes by any name, once.
                    None if !self.root_bound => Origin::Root(name),
                    None => return Err(unresolved(&name, source.origin_span)),
                };
            }
            Origin::Root(_) | Origin::Slot(..) => {}
        }
        let alias = source.alias.clone().or(implied);
        let here = self.scope.get(base..).unwrap_or_default();
        if let Some(name) = &alias
            && here.iter().any(|known| known.as_ref() == Some(name))
        {
            let message = format!("The input alias '{name}' is specified more than once in the FROM clause.");
            return Err(located("SC2011", source.span, &message));
        }
        self.scope.push(alias);
        Ok(())
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.scope.iter().rposition(|known| known.as_deref() == Some(name))
    }

    fn expr(&mut self, expr: &mut Expr, aggregates: Aggregates<'_>) -> Result<()> {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Name { name, slot } => {
                *slot = self.slot(name).ok_or_else(|| unresolved(name, span))?;
            }
            ExprKind::Parameter { name, index } => *index = self.parameter(name, span),
            ExprKind::Subquery(select) | ExprKind::Exists(select) | ExprKind::ArrayOf(select) => {
                self.facts.subqueries += 1;
                self.select(select)?;
            }
            ExprKind::UnboundCall { name, args } => {
                let (name, args) = (Arc::clone(name), std::mem::take(args));
                expr.kind = self.call(&name, args, span, aggregates)?;
            }
            ExprKind::Udf { .. } => {
                self.facts.udf_calls += 1;
                self.children(expr, aggregates)?;
            }
            _ => self.children(expr, aggregates)?,
        }
        Ok(())
    }

    fn children(&mut self, expr: &mut Expr, mut aggregates: Aggregates<'_>) -> Result<()> {
        expr.children_mut().into_iter().try_for_each(|child| self.expr(child, aggregates.as_deref_mut()))
    }

    fn call(
        &mut self,
        name: &str,
        mut args: Vec<Expr>,
        span: Span,
        mut aggregates: Aggregates<'_>,
    ) -> Result<ExprKind> {
        let name_span = Span::new(span.start, span.start + name.len());
        if let Some(kind) = AggregateKind::parse(name) {
            let Some(aggregates) = aggregates else {
                let message =
                    format!("The aggregate function {} is only allowed in the SELECT clause.", kind.name());
                return Err(located("SC2101", span, &message));
            };
            let Ok([mut arg]) = <[Expr; 1]>::try_from(args) else {
                let message = format!("The {} function requires 1 argument(s).", kind.name());
                return Err(located("SC2050", span, &message));
            };
            let mut inner = Vec::new();
            self.expr(&mut arg, Some(&mut inner))?;
            if !inner.is_empty() || contains_subquery(&arg) {
                let message = "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.";
                return Err(located("SC2101", span, message));
            }
            let index = aggregates.len();
            aggregates.push(Aggregate { kind, arg: arg.clone() });
            return Ok(ExprKind::Aggregate { kind, index, arg: Box::new(arg) });
        }
        let Some(function) = functions::find(name) else {
            if functions::is_unsupported(name) {
                let message =
                    format!("The {} function is not supported by this emulator.", name.to_uppercase());
                return Err(located("NotSupported", span, &message));
            }
            let message = format!("'{name}' is not a recognized built-in function name.");
            return Err(located("SC2005", name_span, &message));
        };
        if !function.accepts(args.len()) {
            let message =
                format!("The {} function requires {} argument(s).", function.name, function.arity());
            return Err(located("SC2050", span, &message));
        }
        for arg in &mut args {
            self.expr(arg, aggregates.as_deref_mut())?;
        }
        Ok(ExprKind::Call { function, args })
    }
}

fn unresolved(name: &str, span: Span) -> ServiceError {
    located("SC2001", span, &format!("Identifier '{name}' could not be resolved."))
}

fn contains_subquery(expr: &Expr) -> bool {
    let mut found = expr.subquery().is_some();
    expr.for_each_child(&mut |child| found = found || contains_subquery(child));
    found
}

fn check_star(span: Span, sources: usize, grouped: bool) -> Result<()> {
    if grouped {
        return Err(located("SC2041", span, "'SELECT *' is not allowed with GROUP BY."));
    }
    match sources {
        0 => Err(located("SC2040", span, "'SELECT *' is not valid if FROM clause is omitted.")),
        1 => Ok(()),
        _ => Err(located("SC2040", span, "'SELECT *' is only valid with a single input set.")),
    }
}

/// The alias, else the last step of the path, else `$1`, `$2`, … counted over the nameless only.
fn name_items(items: &mut [SelectItem]) -> Result<()> {
    let mut names = HashSet::new();
    let mut nameless = 0;
    for item in items {
        item.name = match (&item.alias, &item.expr.kind) {
            (Some(alias), _) => Arc::clone(alias),
            (None, ExprKind::Name { name, .. } | ExprKind::Member { name, .. }) => Arc::clone(name),
            (None, _) => {
                nameless += 1;
                format!("${nameless}").into()
            }
        };
        if !names.insert(Arc::clone(&item.name)) {
            let message =
                format!("Property name '{}' is specified more than once in the SELECT clause.", item.name);
            return Err(located("SC2022", item.span, &message));
        }
    }
    Ok(())
}

/// In a grouped query, what is neither grouped by nor aggregated has no one value.
fn check_groups(select: &Select, base: usize) -> Result<()> {
    if !select.is_grouped() {
        return Ok(());
    }
    let groups: Vec<String> = select.group_by.iter().map(ToString::to_string).collect();
    let check = |expr: &Expr, code: &str, place: &str| match ungrouped(expr, &groups, base) {
        None => Ok(()),
        Some(reference) => {
            let message = format!(
                "Property reference '{reference}' is invalid in the {place} because it is not contained in either an aggregate function or the GROUP BY clause."
            );
            Err(located(code, reference.span, &message))
        }
    };
    match &select.projection {
        Projection::Star(_) => {}
        Projection::Value(expr) => check(expr, "SC2102", "select list")?,
        Projection::List(items) => {
            items.iter().try_for_each(|item| check(&item.expr, "SC2102", "select list"))?;
        }
    }
    select.order_by.iter().try_for_each(|item| check(&item.expr, "SC2103", "ORDER BY clause"))
}

/// The first reference to a source of this SELECT that no group fixes.
fn ungrouped<'e>(expr: &'e Expr, groups: &[String], base: usize) -> Option<&'e Expr> {
    if groups.iter().any(|group| *group == expr.to_string()) {
        return None;
    }
    match &expr.kind {
        ExprKind::Aggregate { .. } => None,
        ExprKind::Name { slot, .. } => (*slot >= base).then_some(expr),
        // The whole path is reported, not only the alias it starts with.
        ExprKind::Member { base: inner, .. } => {
            ungrouped(inner, groups, base).map(|found| if is_path(inner) { expr } else { found })
        }
        _ => {
            let mut found = None;
            expr.for_each_child(&mut |child| found = found.or_else(|| ungrouped(child, groups, base)));
            found
        }
    }
}

/// Whether `expr` is an alias or a path below one.
fn is_path(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Name { .. } => true,
        ExprKind::Member { base, .. } => is_path(base),
        ExprKind::Index { base, index } => is_path(base) && matches!(index.kind, ExprKind::Literal(_)),
        _ => false,
    }
}

/// ORDER BY of the outermost SELECT is served by the index, hence takes paths of the document only.
fn check_order_by(select: &Select) -> Result<()> {
    if select.is_grouped() {
        return Ok(());
    }
    for item in &select.order_by {
        if !is_path(&item.expr) {
            let message = "Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a document path.";
            return Err(unlocated(Some("2206"), message));
        }
        if path_slot(&item.expr) != Some(0) {
            return Err(ServiceError::bad_request(
                "Message: {\"Errors\":[\"Order-by over correlated collections is not supported.\"]}",
            ));
        }
    }
    Ok(())
}

/// The slot a path starts at.
fn path_slot(expr: &Expr) -> Option<usize> {
    match &expr.kind {
        ExprKind::Name { slot, .. } => Some(*slot),
        ExprKind::Member { base, .. } | ExprKind::Index { base, .. } => path_slot(base),
        _ => None,
    }
}
