//! The query language: text to tree (`lexer`, `parse`), names and checks (`bind`), evaluation (`eval`, `exec`),
//! what the store may use to find candidates (`plan`), and how clients spread a query over partitions
//! (`distribution`).
//!
//! Nothing here does I/O or knows HTTP. Recursion is bounded by the parser, so no query can exhaust the stack.
//!
//! Where the service's behaviour is not documented, or the documentation and what clients rely on disagree:
//! - `=` and `!=` between different types give false and true, not `undefined` as the reference's table has it:
//!   the interpreter that Microsoft checks the service's answers with (the .NET SDK's test project) does so, and
//!   `c.x != null` is how the SDKs' LINQ finds values. Only `undefined` itself makes them `undefined`.
//! - `NOT` binds weaker than comparisons.
//! - String positions and lengths count code points.
//! - A result that JSON cannot carry, such as `1/0`, is `undefined`.
//! - ORDER BY several paths keeps documents that lack one of the paths; that it needs a composite index is for the
//!   gateway to check.
//! - A member of an array literal that is `undefined` becomes `null`, and a parameter without a value is `undefined`:
//!   recorded from the service.
//! - Aggregates may stand inside larger expressions, and GROUP BY may be combined with ORDER BY.

// Comes off when the store and the gateway use the module.
#![allow(dead_code)]

mod ast;
mod bind;
mod display;
mod distribution;
mod error;
mod eval;
mod exec;
mod functions;
mod keywords;
mod lexer;
mod parse;
mod plan;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use crate::error::ServiceError;
use crate::value::Value;

pub(crate) use distribution::{ExecutionInfo, KeyFilter};
// The store takes predicates apart.
#[allow(unused_imports)]
pub(crate) use plan::{AggregatedPaths, Limit, Predicate, Test};

use ast::{Origin, Projection, Select};

/// A parsed and checked query.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    select: Select,
    facts: Arc<bind::Facts>,
    /// Documents go through one by one; else they are collected first, for subqueries that read them.
    streams: bool,
}

/// Which clauses a query has, as far as it decides how the query can be served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Shape {
    pub(crate) top: bool,
    pub(crate) order_by: bool,
    /// COUNT, SUM and so on in the outermost SELECT.
    pub(crate) aggregate: bool,
    /// An aggregate not by itself under SELECT VALUE, or inside a larger expression.
    pub(crate) non_value_aggregate: bool,
    pub(crate) distinct: bool,
    pub(crate) offset_limit: bool,
    pub(crate) group_by: bool,
    pub(crate) join: bool,
    pub(crate) subquery: bool,
    pub(crate) udf: bool,
    /// `SELECT VALUE`
    pub(crate) value: bool,
    /// `SELECT *`
    pub(crate) star: bool,
    /// Whether there is a FROM clause.
    pub(crate) from: bool,
}

/// `@name` and its value.
pub(crate) type Parameters = Vec<(String, Value)>;

/// The user-defined functions of the container.
pub(crate) trait Udfs {
    /// Calls `udf.name(args)`.
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, ServiceError>;
}

/// What a query sees besides the documents.
#[derive(Default)]
pub(crate) struct Context<'u> {
    pub(crate) parameters: Parameters,
    /// Milliseconds since 1970; all functions that ask for the time see this one.
    pub(crate) now_ms: f64,
    pub(crate) udfs: Option<&'u dyn Udfs>,
}

impl Context<'_> {
    /// The value of `@name`.
    fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl Query {
    /// Parses and checks a query.
    ///
    /// # Errors
    /// 400 with the service's codes: SC1001 syntax, SC2001 unknown name, SC2005 unknown function, SC2050 number
    /// of arguments, SC2060 to SC2062 counts, SC2102 reference outside the groups.
    pub(crate) fn parse(text: &str) -> Result<Query, ServiceError> {
        let mut select = parse::parse(text)?;
        let facts = bind::bind(&mut select)?;
        let streams = matches!(select.from.first().map(|source| &source.origin), Some(Origin::Root(_)));
        Ok(Query { select, facts: Arc::new(facts), streams })
    }

    /// Which clauses the query has.
    pub(crate) fn shape(&self) -> Shape {
        let select = &self.select;
        let aggregate = !select.aggregates.is_empty();
        let plain = matches!(&select.projection, Projection::Value(expr)
            if matches!(expr.kind, ast::ExprKind::Aggregate { .. }));
        Shape {
            top: select.top.is_some(),
            order_by: !select.order_by.is_empty(),
            aggregate,
            non_value_aggregate: aggregate && !plain,
            distinct: select.distinct,
            offset_limit: select.offset_limit.is_some(),
            group_by: !select.group_by.is_empty(),
            join: select.from.len() > 1,
            subquery: self.facts.subqueries > 0,
            udf: self.facts.udf_calls > 0,
            value: matches!(select.projection, Projection::Value(_)),
            star: matches!(select.projection, Projection::Star(_)),
            from: !select.from.is_empty(),
        }
    }

    /// The rows over `documents`, which come in their natural order. Rows without a value are dropped. Without
    /// ORDER BY, DISTINCT and aggregates, no more documents are taken than the rows need.
    ///
    /// # Errors
    /// 400 for a count that is none, and for what a user-defined function throws. A parameter without a value is
    /// `undefined`.
    pub(crate) fn run<'a>(
        &self,
        documents: impl Iterator<Item = &'a Value>,
        context: &Context<'_>,
    ) -> Result<Vec<Value>, ServiceError> {
        let mut machine = eval::Machine::new(&self.facts, context);
        if self.streams {
            return machine.select_from(&self.select, &mut documents.cloned());
        }
        machine.documents = Rc::new(documents.cloned().collect());
        machine.select(&self.select)
    }

    /// Conditions on paths of the document that every result meets, with parameters and the time filled in.
    pub(crate) fn sargable(&self, context: &Context<'_>) -> Vec<Predicate> {
        plan::sargable(&self.select, &self.facts, context)
    }

    /// Conditions of the form `a OR b`: predicates of each alternative, one of which every result meets.
    pub(crate) fn disjunctions(&self, context: &Context<'_>) -> Vec<Vec<Vec<Predicate>>> {
        plan::disjunctions(&self.select, &self.facts, context)
    }

    /// What an aggregate asks of documents, if it is no more than comparing and adding up properties.
    pub(crate) fn aggregated_paths(&self) -> Option<AggregatedPaths> {
        plan::aggregated_paths(&self.select)
    }

    /// The ORDER BY paths, `true` for descending, if all are plain paths of the document.
    pub(crate) fn order_by_paths(&self) -> Option<Vec<(Vec<String>, bool)>> {
        plan::order_by_paths(&self.select)
    }

    /// The ORDER BY paths as in [`Self::order_by_paths`], if the rows come document by document in that order.
    pub(crate) fn sorted_by(&self) -> Option<Vec<(Vec<String>, bool)>> {
        if self.select.distinct { None } else { self.order_by_paths() }
    }

    /// What a page of the query can be continued with: the order alone where pages start at a place in it, as
    /// clients change the filter on the way.
    pub(crate) fn continued_by(&self) -> Option<String> {
        let items: Vec<String> = self.select.order_by.iter().map(ToString::to_string).collect();
        self.sorted_by().map(|_| format!("ORDER BY {}", items.join(", ")))
    }

    /// The query without TOP, OFFSET and LIMIT.
    pub(crate) fn without_window(&self) -> Query {
        let mut query = self.clone();
        (query.select.top, query.select.offset_limit) = (None, None);
        query
    }

    /// The rows to skip and the rows to return at most.
    ///
    /// # Errors
    /// 400 for a count that is none.
    pub(crate) fn window(&self, context: &Context<'_>) -> Result<(usize, usize), ServiceError> {
        exec::window(&self.select, context)
    }

    /// The rows TOP or OFFSET and LIMIT ask for, skipped ones included. These are rows, not documents: with
    /// DISTINCT, GROUP BY or a JOIN the two differ, and with ORDER BY all documents are needed unless they come
    /// in that order.
    pub(crate) fn row_limit(&self, context: &Context<'_>) -> Option<usize> {
        let (skip, take) = exec::window(&self.select, context).ok()?;
        (take != usize::MAX).then(|| skip.saturating_add(take))
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.select.fmt(f)
    }
}
