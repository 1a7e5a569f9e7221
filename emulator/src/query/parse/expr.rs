//! Scalar expressions: one loop over a table of binding powers.

use std::sync::Arc;

use super::super::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use super::super::error::{Result, Span};
use super::super::keywords::Keyword;
use super::super::lexer::Kind;
use super::{MAX_HEIGHT, Parser};
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
        self.nested(1, |parser| parser.operators(0))
    }

    /// An operand and all operators after it that bind tighter than `floor`.
    fn operators(&mut self, floor: u8) -> Result<Expr> {
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

    /// The operator is consumed; parses what follows it.
    fn infix_rest(&mut self, left: Expr, infix: Infix, power: u8, negated: bool) -> Result<Expr> {
        let start = left.span;
        let kind = match infix {
            Infix::Binary(op) => {
                let right = self.operators(power)?;
                ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }
            }
            Infix::And => ExprKind::And(self.chain(left, Keyword::And, AND)?),
            Infix::Or => ExprKind::Or(self.chain(left, Keyword::Or, OR)?),
            Infix::Concat => {
                let mut operands = vec![left, self.operators(CONCAT)?];
                while self.eat_symbol("||") {
                    operands.push(self.operators(CONCAT)?);
                }
                ExprKind::Concat(operands)
            }
            Infix::Conditional => {
                let then = self.expr()?;
                self.expect_symbol(":")?;
                // Right-associative, and nested like a parenthesis.
                let otherwise = self.nested(1, |parser| parser.operators(CONDITIONAL - 1))?;
                let (test, then, otherwise) = (Box::new(left), Box::new(then), Box::new(otherwise));
                ExprKind::Conditional { test, then, otherwise }
            }
            Infix::In => {
                self.expect_symbol("(")?;
                let list = self.comma_list(Self::expr)?;
                self.expect_symbol(")")?;
                ExprKind::In { operand: Box::new(left), list, negated }
            }
            Infix::Between => {
                let low = self.operators(COMPARISON)?;
                self.expect_keyword(Keyword::And)?;
                let high = self.operators(COMPARISON)?;
                ExprKind::Between {
                    operand: Box::new(left),
                    low: Box::new(low),
                    high: Box::new(high),
                    negated,
                }
            }
            Infix::Like => {
                let pattern = self.operators(COMPARISON)?;
                let escape = self.like_escape()?;
                ExprKind::Like { operand: Box::new(left), pattern: Box::new(pattern), escape, negated }
            }
        };
        Ok(Expr::new(kind, start.to(self.last_span())))
    }

    /// `a AND b AND c` as one list.
    fn chain(&mut self, first: Expr, keyword: Keyword, power: u8) -> Result<Vec<Expr>> {
        let mut operands = vec![first, self.operators(power)?];
        while self.eat_keyword(keyword) {
            operands.push(self.operators(power)?);
        }
        Ok(operands)
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
        let start = self.span();
        let op = match self.peek() {
            Kind::Keyword(Keyword::Not) => UnaryOp::Not,
            Kind::Symbol("+") => UnaryOp::Plus,
            Kind::Symbol("-") => UnaryOp::Minus,
            Kind::Symbol("~") => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        self.advance();
        let operand = self
            .nested(1, |parser| if op == UnaryOp::Not { parser.operators(NOT) } else { parser.prefix() })?;
        let span = start.to(operand.span);
        Ok(Expr::new(ExprKind::Unary { op, operand: Box::new(operand) }, span))
    }

    /// A primary and its `.name` and `[index]` steps.
    fn postfix(&mut self) -> Result<Expr> {
        let mut expr = self.primary()?;
        loop {
            let base_span = expr.span;
            let base = |expr| Box::new(expr);
            let kind = if self.eat_symbol(".") {
                ExprKind::Member { name: self.name()?, base: base(expr) }
            } else if self.eat_symbol("[") {
                let index = self.expr()?;
                self.expect_symbol("]")?;
                match index.kind {
                    // c["x"] is c.x
                    ExprKind::Literal(Value::String(name)) => ExprKind::Member { base: base(expr), name },
                    _ => ExprKind::Index { base: base(expr), index: Box::new(index) },
                }
            } else {
                return Ok(expr);
            };
            expr = Expr::new(kind, base_span.to(self.last_span()));
            if expr.height > MAX_HEIGHT {
                return Err(self.too_deep(expr.span));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let start = self.span();
        let literal = match self.peek() {
            Kind::Number(number) => Some(Value::Number(*number)),
            Kind::String(text) => Some(Value::String(Arc::clone(text))),
            Kind::Keyword(Keyword::True) => Some(Value::Bool(true)),
            Kind::Keyword(Keyword::False) => Some(Value::Bool(false)),
            Kind::Keyword(Keyword::Null) => Some(Value::Null),
            Kind::Keyword(Keyword::Undefined) => Some(Value::Undefined),
            _ => None,
        };
        if let Some(value) = literal {
            self.advance();
            return Ok(Expr::new(ExprKind::Literal(value), start));
        }
        let kind = match self.peek() {
            Kind::Parameter => {
                let name = self.text().into();
                self.advance();
                ExprKind::Parameter(name)
            }
            Kind::Identifier => self.name_or_call()?,
            Kind::Keyword(Keyword::Udf) => {
                self.advance();
                self.expect_symbol(".")?;
                ExprKind::Udf { name: self.name()?, args: self.args()? }
            }
            Kind::Keyword(Keyword::Exists) => {
                self.advance();
                ExprKind::Exists(Box::new(self.parenthesized_select()?))
            }
            Kind::Keyword(Keyword::Array) => {
                self.advance();
                ExprKind::ArrayOf(Box::new(self.parenthesized_select()?))
            }
            Kind::Symbol("(") => return self.parenthesized(start),
            Kind::Symbol("[") => self.array()?,
            Kind::Symbol("{") => self.object()?,
            _ => return Err(self.unexpected("an expression")),
        };
        Ok(Expr::new(kind, start.to(self.last_span())))
    }

    fn name_or_call(&mut self) -> Result<ExprKind> {
        let name = self.name()?;
        if self.at_symbol("(") {
            return Ok(ExprKind::UnboundCall { name, args: self.args()? });
        }
        Ok(ExprKind::Name { name, slot: usize::MAX })
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

    fn parenthesized(&mut self, start: Span) -> Result<Expr> {
        if *self.token(1).0 == Kind::Keyword(Keyword::Select) {
            let select = self.parenthesized_select()?;
            return Ok(Expr::new(ExprKind::Subquery(Box::new(select)), start.to(self.last_span())));
        }
        self.advance();
        let inner = self.expr()?;
        self.expect_symbol(")")?;
        Ok(inner)
    }

    fn array(&mut self) -> Result<ExprKind> {
        self.expect_symbol("[")?;
        if self.eat_symbol("]") {
            return Ok(ExprKind::Array(Vec::new()));
        }
        let items = self.comma_list(Self::expr)?;
        self.expect_symbol("]")?;
        Ok(ExprKind::Array(items))
    }

    fn object(&mut self) -> Result<ExprKind> {
        self.expect_symbol("{")?;
        if self.eat_symbol("}") {
            return Ok(ExprKind::Object(Vec::new()));
        }
        let members = self.comma_list(|parser| {
            let name = match parser.peek() {
                Kind::String(name) => {
                    let name = Arc::clone(name);
                    parser.advance();
                    name
                }
                _ => parser.name()?,
            };
            parser.expect_symbol(":")?;
            Ok((name, parser.expr()?))
        })?;
        self.expect_symbol("}")?;
        Ok(ExprKind::Object(members))
    }
}
