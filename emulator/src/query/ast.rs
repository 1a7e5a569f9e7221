//! The syntax tree. `Display` writes it back as query text, in one canonical form.

use std::sync::Arc;

use super::error::Span;
use super::functions::Function;
use super::functions::aggregate::AggregateKind;
use crate::value::Value;

/// One SELECT, the whole query or a subquery.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) span: Span,
    pub(super) distinct: bool,
    pub(super) top: Option<Bound>,
    pub(super) projection: Projection,
    /// The FROM source and the JOINs, in order.
    pub(super) from: Vec<Source>,
    pub(super) filter: Option<Expr>,
    pub(super) group_by: Vec<Expr>,
    pub(super) order_by: Vec<OrderItem>,
    pub(super) offset_limit: Option<(Bound, Bound)>,
    /// The aggregates of the projection and ORDER BY; filled by the binder.
    pub(super) aggregates: Vec<Aggregate>,
}

/// What a row becomes.
#[derive(Debug, Clone)]
pub(super) enum Projection {
    /// `*`
    Star(Span),
    /// `VALUE expr`
    Value(Expr),
    /// `expr [AS name], …`
    List(Vec<SelectItem>),
}

/// One member of the result object.
#[derive(Debug, Clone)]
pub(super) struct SelectItem {
    pub(super) expr: Expr,
    pub(super) alias: Option<Arc<str>>,
    /// The member name; set by the binder.
    pub(super) name: Arc<str>,
    /// From the expression to the end of the alias.
    pub(super) span: Span,
}

/// The count of TOP, OFFSET or LIMIT.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) value: BoundValue,
    pub(super) span: Span,
}

/// A count is written out or given as a parameter.
#[derive(Debug, Clone)]
pub(super) enum BoundValue {
    Number(f64),
    Parameter(Arc<str>),
}

/// One FROM or JOIN item.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) origin: Origin,
    /// The path below the origin.
    pub(super) path: Vec<Segment>,
    /// `alias IN …`: one row for each element.
    pub(super) iterate: bool,
    pub(super) alias: Option<Arc<str>>,
    /// The place of the origin's name or subquery.
    pub(super) origin_span: Span,
    pub(super) span: Span,
}

/// Where a source starts.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A name not resolved yet; gone after binding.
    Name(Arc<str>),
    /// The documents of the container, under this name.
    Root(Arc<str>),
    /// An alias of an enclosing or earlier source.
    Slot(Arc<str>, usize),
    /// `(SELECT …)`
    Subquery(Box<Select>),
}

/// One step of a path in FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Name(Arc<str>),
    Index(usize),
}

/// One ORDER BY item.
#[derive(Debug, Clone)]
pub(super) struct OrderItem {
    pub(super) expr: Expr,
    pub(super) descending: bool,
}

/// An aggregate call; its place in the projection holds its index.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) kind: AggregateKind,
    pub(super) arg: Expr,
}

/// A scalar expression.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) span: Span,
    /// Levels of the tree from here down; bounded, as evaluation recurses.
    pub(super) height: usize,
}

#[derive(Debug, Clone)]
pub(super) enum ExprKind {
    Literal(Value),
    /// `@name`; its place in the list of parameters is set by the binder.
    Parameter {
        name: Arc<str>,
        index: usize,
    },
    /// An alias; the slot is set by the binder.
    Name {
        name: Arc<str>,
        slot: usize,
    },
    Member {
        base: Box<Expr>,
        name: Arc<str>,
    },
    Index {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Flat, so that a chain of a thousand ORs is not a thousand levels deep.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Concat(Vec<Expr>),
    Conditional {
        test: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    In {
        operand: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    Between {
        operand: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
    },
    Like {
        operand: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        negated: bool,
    },
    /// A function by its name; replaced by `Call` or `Aggregate` when bound.
    UnboundCall {
        name: Arc<str>,
        args: Vec<Expr>,
    },
    Call {
        function: &'static Function,
        args: Vec<Expr>,
    },
    Aggregate {
        kind: AggregateKind,
        index: usize,
        /// For the text only; the evaluated copy is in [`Select::aggregates`].
        arg: Box<Expr>,
    },
    Udf {
        name: Arc<str>,
        args: Vec<Expr>,
    },
    Array(Vec<Expr>),
    Object(Vec<(Arc<str>, Expr)>),
    /// `(SELECT …)` as a value.
    Subquery(Box<Select>),
    Exists(Box<Select>),
    /// `ARRAY(SELECT …)`
    ArrayOf(Box<Select>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnaryOp {
    Not,
    Plus,
    Minus,
    BitNot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Coalesce,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    BitOr,
    BitXor,
    BitAnd,
    ShiftLeft,
    ShiftRight,
    ShiftRightZero,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expr {
    pub(super) fn new(kind: ExprKind, span: Span) -> Self {
        let mut expr = Self { kind, span, height: 1 };
        let mut below = 0;
        expr.for_each_child(&mut |child| below = below.max(child.height));
        if let Some(select) = expr.subquery() {
            select.for_each_expr(&mut |child| below = below.max(child.height));
        }
        expr.height = below + 1;
        expr
    }

    /// The SELECT of a subquery expression.
    pub(super) fn subquery(&self) -> Option<&Select> {
        match &self.kind {
            ExprKind::Subquery(select) | ExprKind::Exists(select) | ExprKind::ArrayOf(select) => Some(select),
            _ => None,
        }
    }

    /// Calls `visit` for each direct operand, not going into subqueries.
    pub(super) fn for_each_child<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        use ExprKind as K;
        match &self.kind {
            K::Literal(_) | K::Parameter { .. } | K::Name { .. } => {}
            K::Subquery(_) | K::Exists(_) | K::ArrayOf(_) => {}
            K::Member { base, .. } => visit(base),
            K::Index { base, index } => [base, index].into_iter().for_each(|e| visit(e)),
            K::Unary { operand, .. } => visit(operand),
            K::Binary { left, right, .. } => [left, right].into_iter().for_each(|e| visit(e)),
            K::Conditional { test, then, otherwise } => {
                [test, then, otherwise].into_iter().for_each(|e| visit(e));
            }
            K::In { operand, list, .. } => {
                visit(operand);
                list.iter().for_each(visit);
            }
            K::Between { operand, low, high, .. } => {
                [operand, low, high].into_iter().for_each(|e| visit(e));
            }
            K::Like { operand, pattern, .. } => [operand, pattern].into_iter().for_each(|e| visit(e)),
            K::Aggregate { arg, .. } => visit(arg),
            K::And(items) | K::Or(items) | K::Concat(items) | K::Array(items) => items.iter().for_each(visit),
            K::UnboundCall { args, .. } | K::Call { args, .. } | K::Udf { args, .. } => {
                args.iter().for_each(visit)
            }
            K::Object(members) => members.iter().for_each(|(_, e)| visit(e)),
        }
    }

    /// The direct operands for change, not those of subqueries.
    pub(super) fn children_mut(&mut self) -> Vec<&mut Expr> {
        use ExprKind as K;
        match &mut self.kind {
            K::Literal(_) | K::Parameter { .. } | K::Name { .. } => Vec::new(),
            K::Subquery(_) | K::Exists(_) | K::ArrayOf(_) => Vec::new(),
            K::Member { base, .. } => vec![base],
            K::Index { base, index } => vec![base, index],
            K::Unary { operand, .. } => vec![operand],
            K::Binary { left, right, .. } => vec![left, right],
            K::Conditional { test, then, otherwise } => vec![test, then, otherwise],
            K::In { operand, list, .. } => {
                let mut all: Vec<&mut Expr> = vec![operand];
                all.extend(list);
                all
            }
            K::Between { operand, low, high, .. } => vec![operand, low, high],
            K::Like { operand, pattern, .. } => vec![operand, pattern],
            K::Aggregate { arg, .. } => vec![arg],
            K::And(items) | K::Or(items) | K::Concat(items) | K::Array(items) => items.iter_mut().collect(),
            K::UnboundCall { args, .. } | K::Call { args, .. } | K::Udf { args, .. } => {
                args.iter_mut().collect()
            }
            K::Object(members) => members.iter_mut().map(|(_, e)| e).collect(),
        }
    }
}

impl Select {
    /// Calls `visit` for each expression of the clauses, those of FROM subqueries included.
    pub(super) fn for_each_expr<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        for source in &self.from {
            if let Origin::Subquery(select) = &source.origin {
                select.for_each_expr(visit);
            }
        }
        match &self.projection {
            Projection::Star(_) => {}
            Projection::Value(expr) => visit(expr),
            Projection::List(items) => items.iter().for_each(|item| visit(&item.expr)),
        }
        self.filter.iter().for_each(&mut *visit);
        self.group_by.iter().for_each(&mut *visit);
        self.order_by.iter().for_each(|item| visit(&item.expr));
    }

    /// Whether rows are folded into groups before they are projected.
    pub(super) fn is_grouped(&self) -> bool {
        !self.group_by.is_empty() || !self.aggregates.is_empty()
    }
}

impl Bound {
    /// The parameter that gives the count, if one does.
    pub(super) fn parameter(&self) -> Option<&Arc<str>> {
        match &self.value {
            BoundValue::Parameter(name) => Some(name),
            BoundValue::Number(_) => None,
        }
    }
}
