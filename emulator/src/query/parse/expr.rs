//! Scalar expressions: one loop over a table of binding powers.

use std::sync::Arc;

use super::super::ast::{BinaryOp, Expr, ExprKind, Select, UnaryOp};
use super::super::error::{Result, Span};
use super::super::keywords::Keyword;
use super::super::lexer::Kind;
use super::{MAX_HEIGHT, NESTED_DEPTH, Parser};
use crate::value::Value;

/// Binding powers, weakest first.
const CONDITIONAL: u8 = 1;
const COALESCE: u8 = 2;
const OR: u8 = 3;
const AND: u8 = 4;
const NOT: u8 = 5;
const COMPARISON: u8 = 6;
const CONCAT: u8 = 7;
const BIT_OR: u8 = 8;
const BIT_XOR: u8 = 9;
const BIT_AND: u8 = 10;
const SHIFT: u8 = 11;
const ADDITIVE: u8 = 12;
const MULTIPLICATIVE: u8 = 13;

/// What stands between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Binary(BinaryOp),
    And,
    Or,
    Concat,
    Conditional,
    In,
    Between,
    Like,
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.nested(NESTED_DEPTH - 1, |parser| parser.operators(0))
    }

    /// An operand and all operators after it that bind tighter than `floor`.
    fn operators(&mut self, floor: u8) -> Result<Expr> {
        self.nested(1, |parser| parser.operators_here(floor))
    }

    fn operators_here(&mut self, floor: u8) -> Result<Expr> {
        let mut left = self.prefix()?;
        loop {
            // `NOT` between operands belongs to IN, BETWEEN or LIKE.
            let negated = self.at_keyword(Keyword::Not);
            let Some((infix, power)) = self.infix(usize::from(negated)) else { return Ok(left) };
            if negated && !matches!(infix, Infix::In | Infix::Between | Infix::Like) {
                return Ok(left);
            }
            if power <= floor {
                return Ok(left);
            }
            self.at += 1 + usize::from(negated);
            left = self.infix_rest(left, infix, power, negated)?;
            if left.height > MAX_HEIGHT {
                return Err(self.too_deep(left.span));
            }
        }
    }

    fn infix(&self, ahead: usize) -> Option<(Infix, u8)> {
        use BinaryOp as B;
        Some(match self.token(ahead).0 {
            Kind::Keyword(Keyword::And) => (Infix::And, AND),
            Kind::Keyword(Keyword::Or) => (Infix::Or, OR),
            Kind::Keyword(Keyword::In) => (Infix::In, COMPARISON),
            Kind::Keyword(Keyword::Between) => (Infix::Between, COMPARISON),
            Kind::Keyword(Keyword::Like) => (Infix::Like, COMPARISON),
            Kind::Symbol(symbol) => match *symbol {
                "?" => (Infix::Conditional, CONDITIONAL),
                "||" => (Infix::Concat, CONCAT),
                "??" => (Infix::Binary(B::Coalesce), COALESCE),
                "=" => (Infix::Binary(B::Equal), COMPARISON),
                "!=" | "<>" => (Infix::Binary(B::NotEqual), COMPARISON),
                "<" => (Infix::Binary(B::Less), COMPARISON),
                "<=" => (Infix::Binary(B::LessOrEqual), COMPARISON),
                ">" => (Infix::Binary(B::Greater), COMPARISON),
                ">=" => (Infix::Binary(B::GreaterOrEqual), COMPARISON),
                "|" => (Infix::Binary(B::BitOr), BIT_OR),
                "^" => (Infix::Binary(B::BitXor), BIT_XOR),
                "&" => (Infix::Binary(B::BitAnd), BIT_AND),
                "<<" => (Infix::Binary(B::ShiftLeft), SHIFT),
                ">>" => (Infix::Binary(B::ShiftRight), SHIFT),
                ">>>" => (Infix::Binary(B::ShiftRightZero), SHIFT),
                "+" => (Infix::Binary(B::Add), ADDITIVE),
                "-" => (Infix::Binary(B::Subtract), ADDITIVE),
                "*" => (Infix::Binary(B::Multiply), MULTIPLICATIVE),
                "/" => (Infix::Binary(B::Divide), MULTIPLICATIVE),
                "%" => (Infix::Binary(B::Remainder), MULTIPLICATIVE),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The operator is consumed; parses what follows it. Each branch is a function of its own: without
    /// optimization the frame of this one would otherwise hold the locals of them all, at every level.
    fn infix_rest(&mut self, left: Expr, infix: Infix, power: u8, negated: bool) -> Result<Expr> {
        match infix {
            Infix::Binary(op) => self.binary_rest(left, op, power),
            Infix::And => {
                self.chain_rest(left, ExprKind::And, AND, |parser| parser.eat_keyword(Keyword::And))
            }
            Infix::Or => self.chain_rest(left, ExprKind::Or, OR, |parser| parser.eat_keyword(Keyword::Or)),
            Infix::Concat => {
                self.chain_rest(left, ExprKind::Concat, CONCAT, |parser| parser.eat_symbol("||"))
            }
            Infix::Conditional => self.conditional_rest(left),
            Infix::In => self.in_rest(left, negated),
            Infix::Between => self.between_rest(left, negated),
            Infix::Like => self.like_rest(left, negated),
        }
    }

    /// The expression from `start` up to here.
    fn finished(&self, start: Span, kind: ExprKind) -> Expr {
        Expr::new(kind, start.to(self.last_span()))
    }

    fn boxed(&mut self, floor: u8) -> Result<Box<Expr>> {
        Ok(Box::new(self.operators(floor)?))
    }

    fn binary_rest(&mut self, left: Expr, op: BinaryOp, power: u8) -> Result<Expr> {
        let (start, left) = (left.span, Box::new(left));
        let right = self.boxed(power)?;
        Ok(self.finished(start, ExprKind::Binary { op, left, right }))
    }

    /// `a AND b AND c` as one list.
    fn chain_rest(
        &mut self,
        first: Expr,
        kind: fn(Vec<Expr>) -> ExprKind,
        power: u8,
        eat: fn(&mut Self) -> bool,
    ) -> Result<Expr> {
        let start = first.span;
        let mut operands = vec![first];
        loop {
            operands.push(self.operators(power)?);
            if !eat(self) {
                return Ok(self.finished(start, kind(operands)));
            }
        }
    }

    /// Right-associative, and nested like a parenthesis.
    fn conditional_rest(&mut self, test: Expr) -> Result<Expr> {
        let (start, test) = (test.span, Box::new(test));
        let then = Box::new(self.expr()?);
        self.expect_symbol(":")?;
        let otherwise = self.nested(1, |parser| parser.boxed(CONDITIONAL - 1))?;
        Ok(self.finished(start, ExprKind::Conditional { test, then, otherwise }))
    }

    fn in_rest(&mut self, operand: Expr, negated: bool) -> Result<Expr> {
        let (start, operand) = (operand.span, Box::new(operand));
        self.expect_symbol("(")?;
        let list = self.comma_list(Self::expr)?;
        self.expect_symbol(")")?;
        Ok(self.finished(start, ExprKind::In { operand, list, negated }))
    }

    fn between_rest(&mut self, operand: Expr, negated: bool) -> Result<Expr> {
        let (start, operand) = (operand.span, Box::new(operand));
        let low = self.boxed(COMPARISON)?;
        self.expect_keyword(Keyword::And)?;
        let high = self.boxed(COMPARISON)?;
        Ok(self.finished(start, ExprKind::Between { operand, low, high, negated }))
    }

    fn like_rest(&mut self, operand: Expr, negated: bool) -> Result<Expr> {
        let (start, operand) = (operand.span, Box::new(operand));
        let pattern = self.boxed(COMPARISON)?;
        let escape = self.like_escape()?;
        Ok(self.finished(start, ExprKind::Like { operand, pattern, escape, negated }))
    }

    /// `ESCAPE 'c'`
    fn like_escape(&mut self) -> Result<Option<char>> {
        if !self.at_word("ESCAPE") {
            return Ok(None);
        }
        self.advance();
        let escape = match self.peek() {
            Kind::String(text) if text.chars().count() == 1 => text.chars().next(),
            _ => return Err(self.unexpected("a string of one character")),
        };
        self.advance();
        Ok(escape)
    }

    fn prefix(&mut self) -> Result<Expr> {
        let op = match self.peek() {
            Kind::Keyword(Keyword::Not) => UnaryOp::Not,
            Kind::Symbol("+") => UnaryOp::Plus,
            Kind::Symbol("-") => UnaryOp::Minus,
            Kind::Symbol("~") => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        self.unary(op)
    }

    fn unary(&mut self, op: UnaryOp) -> Result<Expr> {
        let start = self.span();
        self.advance();
        let operand = self
            .nested(1, |parser| if op == UnaryOp::Not { parser.operators(NOT) } else { parser.prefix() })?;
        Ok(self.finished(start, ExprKind::Unary { op, operand: Box::new(operand) }))
    }

    /// A primary and its `.name` and `[index]` steps.
    fn postfix(&mut self) -> Result<Expr> {
        let mut expr = self.primary()?;
        while self.at_symbol(".") || self.at_symbol("[") {
            expr = self.step(expr)?;
            if expr.height > MAX_HEIGHT {
                return Err(self.too_deep(expr.span));
            }
        }
        Ok(expr)
    }

    fn step(&mut self, base: Expr) -> Result<Expr> {
        let (start, base) = (base.span, Box::new(base));
        if self.eat_symbol(".") {
            let name = self.name()?;
            return Ok(self.finished(start, ExprKind::Member { base, name }));
        }
        self.expect_symbol("[")?;
        let index = self.expr()?;
        self.expect_symbol("]")?;
        Ok(self.finished(
            start,
            match index.kind {
                // c["x"] is c.x
                ExprKind::Literal(Value::String(name)) => ExprKind::Member { base, name },
                _ => ExprKind::Index { base, index: Box::new(index) },
            },
        ))
    }

    fn primary(&mut self) -> Result<Expr> {
        match self.peek() {
            Kind::Identifier => self.name_or_call(),
            Kind::Keyword(Keyword::Udf) => self.udf(),
            Kind::Keyword(Keyword::Exists) => self.keyword_subquery(ExprKind::Exists),
            Kind::Keyword(Keyword::Array) => self.keyword_subquery(ExprKind::ArrayOf),
            Kind::Symbol("(") => self.parenthesized(),
            Kind::Symbol("[") => self.array(),
            Kind::Symbol("{") => self.object(),
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Expr> {
        let span = self.span();
        let kind = match self.peek() {
            Kind::Number(number) => ExprKind::Literal(Value::Number(*number)),
            Kind::String(text) => ExprKind::Literal(Value::String(Arc::clone(text))),
            Kind::Keyword(Keyword::True) => ExprKind::Literal(Value::Bool(true)),
            Kind::Keyword(Keyword::False) => ExprKind::Literal(Value::Bool(false)),
            Kind::Keyword(Keyword::Null) => ExprKind::Literal(Value::Null),
            Kind::Keyword(Keyword::Undefined) => ExprKind::Literal(Value::Undefined),
            Kind::Parameter => ExprKind::Parameter { name: self.text().into(), index: usize::MAX },
            _ => return Err(self.unexpected("an expression")),
        };
        self.advance();
        Ok(Expr::new(kind, span))
    }

    fn udf(&mut self) -> Result<Expr> {
        let start = self.span();
        self.advance();
        self.expect_symbol(".")?;
        let (name, args) = (self.name()?, self.args()?);
        Ok(self.finished(start, ExprKind::Udf { name, args }))
    }

    /// `EXISTS(SELECT …)` or `ARRAY(SELECT …)`
    fn keyword_subquery(&mut self, kind: fn(Box<Select>) -> ExprKind) -> Result<Expr> {
        let start = self.span();
        self.advance();
        let select = Box::new(self.parenthesized_select()?);
        Ok(self.finished(start, kind(select)))
    }

    fn name_or_call(&mut self) -> Result<Expr> {
        let start = self.span();
        let name = self.name()?;
        let kind = if self.at_symbol("(") {
            ExprKind::UnboundCall { name, args: self.args()? }
        } else {
            ExprKind::Name { name, slot: usize::MAX }
        };
        Ok(self.finished(start, kind))
    }

    fn args(&mut self) -> Result<Vec<Expr>> {
        self.expect_symbol("(")?;
        if self.eat_symbol(")") {
            return Ok(Vec::new());
        }
        let args = self.comma_list(Self::expr)?;
        self.expect_symbol(")")?;
        Ok(args)
    }

    fn parenthesized(&mut self) -> Result<Expr> {
        let start = self.span();
        if *self.token(1).0 == Kind::Keyword(Keyword::Select) {
            let select = Box::new(self.parenthesized_select()?);
            return Ok(self.finished(start, ExprKind::Subquery(select)));
        }
        self.advance();
        let inner = self.expr()?;
        self.expect_symbol(")")?;
        Ok(inner)
    }

    fn array(&mut self) -> Result<Expr> {
        let start = self.span();
        self.expect_symbol("[")?;
        let mut items = Vec::new();
        if !self.eat_symbol("]") {
            items = self.comma_list(Self::expr)?;
            self.expect_symbol("]")?;
        }
        Ok(self.finished(start, ExprKind::Array(items)))
    }

    fn object(&mut self) -> Result<Expr> {
        let start = self.span();
        self.expect_symbol("{")?;
        let mut members = Vec::new();
        if !self.eat_symbol("}") {
            members = self.comma_list(Self::object_member)?;
            self.expect_symbol("}")?;
        }
        Ok(self.finished(start, ExprKind::Object(members)))
    }

    /// `name: value` or `"name": value`
    fn object_member(&mut self) -> Result<(Arc<str>, Expr)> {
        let name = match self.peek() {
            Kind::String(name) => {
                let name = Arc::clone(name);
                self.advance();
                name
            }
            _ => self.name()?,
        };
        self.expect_symbol(":")?;
        Ok((name, self.expr()?))
    }
}
