//! Values of expressions. `undefined` goes through nearly everything; the exceptions are spelled out here.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Context;
use super::ast::{BinaryOp, Expr, ExprKind, Select, UnaryOp};
use super::bind::Facts;
use super::error::{Result, unlocated};
use super::functions::{Call, Function, RegexCache, like};
use crate::error::ServiceError;
use crate::value::{Object, Value};

/// What one run carries along.
pub(super) struct Machine<'c> {
    pub(super) context: &'c Context<'c>,
    /// The values of the query's parameters, in its own order.
    parameters: Vec<Value>,
    /// The value of each source in scope, innermost last.
    pub(super) slots: Vec<Value>,
    /// The aggregates of the group at hand.
    pub(super) aggregates: Vec<Value>,
    /// The documents, for the rare query that reads the container in a subquery.
    pub(super) documents: Rc<Vec<Value>>,
    pub(super) regexes: RegexCache,
}

impl<'c> Machine<'c> {
    pub(super) fn new(facts: &Facts, context: &'c Context<'c>) -> Self {
        let given: HashMap<&str, &Value> =
            context.parameters.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let value = |name: &str| given.get(name).map(|value| (*value).clone()).unwrap_or_default();
        Self {
            context,
            parameters: facts.parameters.iter().map(|(name, _)| value(name)).collect(),
            slots: Vec::new(),
            aggregates: Vec::new(),
            documents: Rc::default(),
            regexes: RegexCache::default(),
        }
    }

    /// Whether a WHERE condition holds: only `true` does.
    pub(super) fn holds(&mut self, expr: &Expr) -> Result<bool> {
        Ok(matches!(self.eval(expr)?, Value::Bool(true)))
    }

    /// Only hands on: the frame of this function is on the stack once for every level of the expression, and
    /// without optimization a frame holds the locals of all its branches.
    pub(super) fn eval(&mut self, expr: &Expr) -> Result<Value> {
        match &expr.kind {
            ExprKind::Literal(value) => Ok(value.clone()),
            ExprKind::Parameter { index, .. } => Ok(self.parameter(*index)),
            ExprKind::Name { slot, .. } => Ok(self.slot(*slot)),
            ExprKind::Member { base, name } => match self.path(expr) {
                Some(value) => Ok(value.clone()),
                None => self.member(base, name),
            },
            ExprKind::Index { base, index } => self.index(base, index),
            ExprKind::Unary { op, operand } => self.unary(*op, operand),
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right),
            ExprKind::And(operands) => self.logical(operands, false),
            ExprKind::Or(operands) => self.logical(operands, true),
            ExprKind::Concat(operands) => self.concat(operands),
            ExprKind::Conditional { test, then, otherwise } => self.conditional(test, then, otherwise),
            ExprKind::In { operand, list, negated } => self.is_in(operand, list, *negated),
            ExprKind::Between { operand, low, high, negated } => self.between(operand, low, high, *negated),
            ExprKind::Like { operand, pattern, escape, negated } => {
                self.like(operand, pattern, *escape, *negated)
            }
            ExprKind::Call { function, args } => self.call(function, args),
            ExprKind::Aggregate { index, .. } => Ok(self.aggregate(*index)),
            ExprKind::Udf { name, args } => self.udf(name, args),
            ExprKind::Array(items) => self.array(items),
            ExprKind::Object(members) => self.object(members),
            ExprKind::Subquery(select) => self.scalar(select),
            ExprKind::Exists(select) => self.exists(select),
            ExprKind::ArrayOf(select) => self.rows(select),
            // The binder leaves none behind.
            ExprKind::UnboundCall { .. } => Ok(Value::Undefined),
        }
    }

    fn parameter(&self, index: usize) -> Value {
        self.parameters.get(index).cloned().unwrap_or_default()
    }

    fn slot(&self, slot: usize) -> Value {
        self.slots.get(slot).cloned().unwrap_or_default()
    }

    /// The value of a plain path below an alias, without a copy of what lies on the way.
    fn path(&self, expr: &Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Name { slot, .. } => self.slots.get(*slot),
            ExprKind::Member { base, name } => Some(self.path(base)?.get(name)),
            _ => None,
        }
    }

    fn aggregate(&self, index: usize) -> Value {
        self.aggregates.get(index).cloned().unwrap_or_default()
    }

    fn member(&mut self, base: &Expr, name: &str) -> Result<Value> {
        Ok(self.eval(base)?.get(name).clone())
    }

    /// `base[index]`: a member by string, an element by whole number.
    fn index(&mut self, base: &Expr, index: &Expr) -> Result<Value> {
        let base = self.eval(base)?;
        Ok(element(&base, &self.eval(index)?))
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr) -> Result<Value> {
        Ok(unary(op, &self.eval(operand)?))
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Value> {
        let left = self.eval(left)?;
        Ok(binary(op, &left, &self.eval(right)?))
    }

    fn concat(&mut self, operands: &[Expr]) -> Result<Value> {
        let joined: Option<String> = self.eval_all(operands)?.iter().map(Value::as_str).collect();
        Ok(joined.map_or(Value::Undefined, Value::from))
    }

    /// Only `true` takes the first branch.
    fn conditional(&mut self, test: &Expr, then: &Expr, otherwise: &Expr) -> Result<Value> {
        let branch = if self.holds(test)? { then } else { otherwise };
        self.eval(branch)
    }

    fn between(&mut self, operand: &Expr, low: &Expr, high: &Expr, negated: bool) -> Result<Value> {
        let operand = self.eval(operand)?;
        let above = binary(BinaryOp::GreaterOrEqual, &operand, &self.eval(low)?);
        let below = binary(BinaryOp::LessOrEqual, &operand, &self.eval(high)?);
        Ok(negate_if(negated, both(&above, &below)))
    }

    fn like(&mut self, operand: &Expr, pattern: &Expr, escape: Option<char>, negated: bool) -> Result<Value> {
        let operand = self.eval(operand)?;
        Ok(match (&operand, &self.eval(pattern)?) {
            (Value::String(text), Value::String(pattern)) => {
                Value::Bool(like(text, pattern, escape) != negated)
            }
            _ => Value::Undefined,
        })
    }

    fn call(&mut self, function: &Function, args: &[Expr]) -> Result<Value> {
        let args = self.eval_all(args)?;
        Ok((function.body)(&Call { args: &args, context: self.context, regexes: &self.regexes }))
    }

    /// Elements that are `undefined` are left out.
    fn array(&mut self, items: &[Expr]) -> Result<Value> {
        let values = self.eval_all(items)?;
        let kept = values.into_iter().map(|value| if value.is_undefined() { Value::Null } else { value });
        Ok(kept.collect::<Vec<_>>().into())
    }

    /// Members that are `undefined` are left out.
    fn object(&mut self, members: &[(Arc<str>, Expr)]) -> Result<Value> {
        let mut object = Object::new();
        for (name, expr) in members {
            object.insert(Arc::clone(name), self.eval(expr)?);
        }
        Ok(object.into())
    }

    fn exists(&mut self, select: &Select) -> Result<Value> {
        Ok((!self.select(select)?.is_empty()).into())
    }

    fn rows(&mut self, select: &Select) -> Result<Value> {
        Ok(self.select(select)?.into())
    }

    fn eval_all(&mut self, exprs: &[Expr]) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.eval(expr)?);
        }
        Ok(values)
    }

    /// AND (`decisive` false) and OR (`decisive` true) in three-valued logic: one decisive operand decides, else
    /// one operand that is no boolean makes it `undefined`.
    fn logical(&mut self, operands: &[Expr], decisive: bool) -> Result<Value> {
        let mut unknown = false;
        for operand in operands {
            match self.eval(operand)? {
                Value::Bool(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Value::Bool(_) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Value::Undefined } else { Value::Bool(!decisive) })
    }

    /// As a chain of `=` with OR between them.
    fn is_in(&mut self, operand: &Expr, list: &[Expr], negated: bool) -> Result<Value> {
        let operand = self.eval(operand)?;
        let mut unknown = operand.is_undefined();
        for item in list {
            match binary(BinaryOp::Equal, &operand, &self.eval(item)?) {
                Value::Bool(true) => return Ok(Value::Bool(!negated)),
                Value::Undefined => unknown = true,
                _ => {}
            }
        }
        Ok(if unknown { Value::Undefined } else { Value::Bool(negated) })
    }

    fn scalar(&mut self, select: &Select) -> Result<Value> {
        let mut rows = self.select(select)?;
        if rows.len() > 1 {
            let message = "The cardinality of a scalar subquery result set cannot be greater than one.";
            return Err(unlocated(None, message));
        }
        Ok(rows.pop().unwrap_or_default())
    }

    fn udf(&mut self, name: &str, args: &[Expr]) -> Result<Value> {
        let args = self.eval_all(args)?;
        match self.context.udfs {
            Some(udfs) => udfs.call(name, &args),
            None => Err(ServiceError::bad_request(format!(
                "Message: {{\"Errors\":[\"Encountered exception while executing function. Exception = Error: The user-defined function '{name}' is not available.\"]}}"
            ))),
        }
    }
}

/// `base[index]`: a member by string, an element by whole number.
fn element(base: &Value, index: &Value) -> Value {
    match index {
        Value::String(name) => base.get(name).clone(),
        Value::Number(at) if at.fract() == 0.0 && *at >= 0.0 => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let at = *at as usize;
            base.at(at).clone()
        }
        _ => Value::Undefined,
    }
}

fn negate_if(negated: bool, value: Value) -> Value {
    match value {
        Value::Bool(flag) => Value::Bool(flag != negated),
        other => other,
    }
}

fn both(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
        (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
        _ => Value::Undefined,
    }
}

fn unary(op: UnaryOp, value: &Value) -> Value {
    match (op, value) {
        (UnaryOp::Not, Value::Bool(flag)) => Value::Bool(!flag),
        (UnaryOp::Plus, Value::Number(number)) => Value::Number(*number),
        (UnaryOp::Minus, Value::Number(number)) => Value::Number(-number),
        (UnaryOp::BitNot, Value::Number(number)) => Value::Number(f64::from(!to_int32(*number))),
        _ => Value::Undefined,
    }
}

/// Every binary operator, on evaluated operands.
pub(super) fn binary(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match op {
        BinaryOp::Coalesce => if left.is_undefined() { right } else { left }.clone(),
        // Values of different types are unequal; `undefined` is neither equal nor unequal to anything.
        BinaryOp::Equal | BinaryOp::NotEqual => {
            if left.is_undefined() || right.is_undefined() {
                return Value::Undefined;
            }
            Value::Bool((left == right) == (op == BinaryOp::Equal))
        }
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => {
            match order(left, right) {
                None => Value::Undefined,
                Some(order) => Value::Bool(match op {
                    BinaryOp::Less => order.is_lt(),
                    BinaryOp::LessOrEqual => order.is_le(),
                    BinaryOp::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }),
            }
        }
        _ => match (left, right) {
            (Value::Number(left), Value::Number(right)) => arithmetic(op, *left, *right),
            _ => Value::Undefined,
        },
    }
}

/// The order of two primitives of one type; anything else has none.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    let comparable = left.type_rank() == right.type_rank()
        && matches!(left, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_));
    comparable.then(|| left.total_cmp(right))
}

/// Numbers only. What JSON could not carry, such as 1/0, is `undefined`.
fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Value {
    let (a, b) = (to_int32(left), to_int32(right));
    // Five bits, as in JavaScript; the mask makes the conversion exact.
    #[allow(clippy::cast_sign_loss)]
    let shift = (b & 31) as u32;
    let number = match op {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Remainder => left % right,
        BinaryOp::BitOr => f64::from(a | b),
        BinaryOp::BitXor => f64::from(a ^ b),
        BinaryOp::BitAnd => f64::from(a & b),
        BinaryOp::ShiftLeft => f64::from(a.wrapping_shl(shift)),
        BinaryOp::ShiftRight => f64::from(a.wrapping_shr(shift)),
        BinaryOp::ShiftRightZero => f64::from(a.cast_unsigned().wrapping_shr(shift)),
        _ => return Value::Undefined,
    };
    if number.is_finite() { Value::Number(number) } else { Value::Undefined }
}

/// The 32-bit integer of JavaScript's bitwise operators: the fraction is cut, the rest taken modulo 2^32.
fn to_int32(number: f64) -> i32 {
    const MODULUS: f64 = 4_294_967_296.0;
    // In range after the remainder, and `as` makes no number 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bits = number.trunc().rem_euclid(MODULUS) as u32;
    bits.cast_signed()
}
