//! The tree as query text. Two expressions mean the same path or call if their texts are equal, which is what
//! GROUP BY compares.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    BinaryOp, Bound, BoundValue, Expr, ExprKind, OrderItem, Origin, Projection, Segment, Select, Source,
    UnaryOp,
};
use crate::value::Value;

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        if self.distinct {
            f.write_str("DISTINCT ")?;
        }
        if let Some(top) = &self.top {
            write!(f, "TOP {top} ")?;
        }
        match &self.projection {
            Projection::Star(_) => f.write_str("*")?,
            Projection::Value(expr) => write!(f, "VALUE {expr}")?,
            Projection::List(items) => separated(f, ", ", items.iter(), |f, item| {
                write!(f, "{}", item.expr)?;
                item.alias.iter().try_for_each(|alias| write!(f, " AS {alias}"))
            })?,
        }
        for (at, source) in self.from.iter().enumerate() {
            write!(f, " {} {source}", if at == 0 { "FROM" } else { "JOIN" })?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            list(f, &self.group_by)?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            list(f, &self.order_by)?;
        }
        if let Some((offset, limit)) = &self.offset_limit {
            write!(f, " OFFSET {offset} LIMIT {limit}")?;
        }
        Ok(())
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            BoundValue::Number(number) => write!(f, "{number}"),
            BoundValue::Parameter(name) => f.write_str(name),
        }
    }
}

impl Display for OrderItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.expr, if self.descending { "DESC" } else { "ASC" })
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let named = |f: &mut Formatter<'_>| match &self.origin {
            Origin::Name(name) | Origin::Root(name) | Origin::Slot(name, _) => f.write_str(name),
            Origin::Subquery(select) => write!(f, "({select})"),
        };
        if let (true, Some(alias)) = (self.iterate, &self.alias) {
            write!(f, "{alias} IN ")?;
        }
        named(f)?;
        for segment in &self.path {
            match segment {
                Segment::Name(name) => member(f, name)?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        match &self.alias {
            Some(alias) if !self.iterate => write!(f, " AS {alias}"),
            _ => Ok(()),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use ExprKind as K;
        match &self.kind {
            K::Literal(Value::Undefined) => f.write_str("undefined"),
            K::Literal(value) => write!(f, "{value}"),
            K::Parameter { name, .. } | K::Name { name, .. } => f.write_str(name),
            K::Member { base, name } => {
                write!(f, "{base}")?;
                member(f, name)
            }
            K::Index { base, index } => write!(f, "{base}[{index}]"),
            K::Unary { op: UnaryOp::Not, operand } => write!(f, "(NOT {operand})"),
            K::Unary { op, operand } => write!(f, "({}{operand})", op.text()),
            K::Binary { op, left, right } => write!(f, "({left} {} {right})", op.text()),
            K::And(items) => chain(f, " AND ", items),
            K::Or(items) => chain(f, " OR ", items),
            K::Concat(items) => chain(f, " || ", items),
            K::Conditional { test, then, otherwise } => write!(f, "({test} ? {then} : {otherwise})"),
            K::In { operand, list: items, negated } => {
                write!(f, "({operand} {}IN (", not(*negated))?;
                list(f, items)?;
                f.write_str("))")
            }
            K::Between { operand, low, high, negated } => {
                write!(f, "({operand} {}BETWEEN {low} AND {high})", not(*negated))
            }
            K::Like { operand, pattern, escape, negated } => {
                write!(f, "({operand} {}LIKE {pattern}", not(*negated))?;
                if let Some(escape) = escape {
                    write!(f, " ESCAPE {}", Value::from(escape.to_string()))?;
                }
                f.write_str(")")
            }
            K::UnboundCall { name, args } => call(f, name, args),
            K::Call { function, args } => call(f, function.name, args),
            K::Aggregate { kind, arg, .. } => call(f, kind.name(), std::slice::from_ref(arg)),
            K::Udf { name, args } => {
                f.write_str("udf.")?;
                call(f, name, args)
            }
            K::Array(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            K::Object(members) => {
                f.write_str("{")?;
                separated(f, ", ", members.iter(), |f, (name, expr)| {
                    write!(f, "{}: {expr}", Value::from(name.as_ref()))
                })?;
                f.write_str("}")
            }
            K::Subquery(select) => write!(f, "({select})"),
            K::Exists(select) => write!(f, "EXISTS({select})"),
            K::ArrayOf(select) => write!(f, "ARRAY({select})"),
        }
    }
}

/// `.name`, or `["name"]` for what is no plain name.
fn member(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let plain = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && super::keywords::Keyword::parse(name).is_none();
    if plain { write!(f, ".{name}") } else { write!(f, "[{}]", Value::from(name)) }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn call<E: Display>(f: &mut Formatter<'_>, name: &str, args: &[E]) -> fmt::Result {
    write!(f, "{name}(")?;
    list(f, args)?;
    f.write_str(")")
}

fn chain(f: &mut Formatter<'_>, separator: &str, items: &[Expr]) -> fmt::Result {
    f.write_str("(")?;
    separated(f, separator, items.iter(), |f, item| write!(f, "{item}"))?;
    f.write_str(")")
}

fn list<E: Display>(f: &mut Formatter<'_>, items: &[E]) -> fmt::Result {
    separated(f, ", ", items.iter(), |f, item| write!(f, "{item}"))
}

fn separated<T>(
    f: &mut Formatter<'_>,
    separator: &str,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        write(f, item)?;
    }
    Ok(())
}

impl UnaryOp {
    fn text(self) -> &'static str {
        match self {
            UnaryOp::Not => "NOT ",
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
            UnaryOp::BitNot => "~",
        }
    }
}

impl BinaryOp {
    pub(super) fn text(self) -> &'static str {
        match self {
            BinaryOp::Coalesce => "??",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::BitAnd => "&",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::ShiftRightZero => ">>>",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        }
    }
}
