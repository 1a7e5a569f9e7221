//! The clauses of a SELECT.

use std::sync::Arc;

use super::super::ast::{
    Bound, BoundValue, OrderItem, Origin, Projection, Segment, Select, SelectItem, Source,
};
use super::super::error::{Result, located};
use super::super::keywords::Keyword;
use super::super::lexer::Kind;
use super::{Parser, SUBQUERY_DEPTH};

/// TOP, OFFSET and LIMIT counts have 32 bits.
const MAX_COUNT: f64 = 4_294_967_295.0;

impl Parser<'_> {
    pub(super) fn select(&mut self) -> Result<Select> {
        let start = self.span();
        self.expect_keyword(Keyword::Select)?;
        let distinct = self.eat_keyword(Keyword::Distinct);
        let top = if self.eat_keyword(Keyword::Top) {
            Some(self.bound("SC2060", "The count value provided for a TOP clause must be an integer.")?)
        } else {
            None
        };
        let projection = self.projection()?;
        let from = if self.eat_keyword(Keyword::From) { self.sources()? } else { Vec::new() };
        let filter = if self.eat_keyword(Keyword::Where) { Some(self.expr()?) } else { None };
        let group_by = if self.eat_keyword(Keyword::Group) {
            self.expect_keyword(Keyword::By)?;
            self.comma_list(Self::expr)?
        } else {
            Vec::new()
        };
        let order_by = if self.eat_keyword(Keyword::Order) { self.order_by()? } else { Vec::new() };
        let offset_limit = if self.eat_keyword(Keyword::Offset) { Some(self.offset_limit()?) } else { None };
        Ok(Select {
            span: start.to(self.last_span()),
            distinct,
            top,
            projection,
            from,
            filter,
            group_by,
            order_by,
            offset_limit,
            aggregates: Vec::new(),
        })
    }

    fn projection(&mut self) -> Result<Projection> {
        let span = self.span();
        if self.eat_symbol("*") {
            return Ok(Projection::Star(span));
        }
        if self.eat_keyword(Keyword::Value) {
            return Ok(Projection::Value(self.expr()?));
        }
        Ok(Projection::List(self.comma_list(Self::select_item)?))
    }

    fn select_item(&mut self) -> Result<SelectItem> {
        let expr = self.expr()?;
        let alias = self.alias()?;
        let span = expr.span.to(self.last_span());
        Ok(SelectItem { expr, alias, name: "".into(), span })
    }

    /// `[AS] name`
    fn alias(&mut self) -> Result<Option<Arc<str>>> {
        if self.eat_keyword(Keyword::As) || *self.peek() == Kind::Identifier {
            return Ok(Some(self.name()?));
        }
        Ok(None)
    }

    fn sources(&mut self) -> Result<Vec<Source>> {
        let mut sources = vec![self.source()?];
        while self.eat_keyword(Keyword::Join) {
            sources.push(self.source()?);
        }
        Ok(sources)
    }

    /// `path [[AS] alias]`, `alias IN path`, and both with a subquery in place of the path.
    fn source(&mut self) -> Result<Source> {
        let start = self.span();
        let iterated = *self.peek() == Kind::Identifier && *self.token(1).0 == Kind::Keyword(Keyword::In);
        let mut alias = None;
        if iterated {
            alias = Some(self.name()?);
            self.expect_keyword(Keyword::In)?;
        }
        let origin_span = self.span();
        let (origin, path) = if self.at_symbol("(") {
            let select = self.parenthesized_select()?;
            (Origin::Subquery(Box::new(select)), Vec::new())
        } else {
            (Origin::Name(self.name()?), self.path()?)
        };
        if !iterated {
            alias = self.alias()?;
        }
        Ok(Source { origin, path, iterate: iterated, alias, origin_span, span: start.to(self.last_span()) })
    }

    fn path(&mut self) -> Result<Vec<Segment>> {
        let mut path = Vec::new();
        loop {
            if self.eat_symbol(".") {
                path.push(Segment::Name(self.name()?));
            } else if self.eat_symbol("[") {
                let segment = match self.peek() {
                    Kind::String(name) => Segment::Name(Arc::clone(name)),
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    Kind::Number(n) if n.fract() == 0.0 && *n <= MAX_COUNT => Segment::Index(*n as usize),
                    _ => return Err(self.unexpected("a property name or an array index")),
                };
                self.advance();
                self.expect_symbol("]")?;
                path.push(segment);
            } else {
                return Ok(path);
            }
        }
    }

    /// `(SELECT …)`
    pub(super) fn parenthesized_select(&mut self) -> Result<Select> {
        self.expect_symbol("(")?;
        let select = self.nested(SUBQUERY_DEPTH, Self::select)?;
        self.expect_symbol(")")?;
        Ok(select)
    }

    fn order_by(&mut self) -> Result<Vec<OrderItem>> {
        self.expect_keyword(Keyword::By)?;
        let next_is_call = matches!(self.token(1).0, Kind::Identifier);
        if self.at_word("RANK") && next_is_call {
            let message = "ORDER BY RANK is not supported by this emulator.";
            return Err(located("NotSupported", self.span(), message));
        }
        self.comma_list(|parser| {
            let expr = parser.expr()?;
            let descending = parser.eat_keyword(Keyword::Desc);
            if !descending {
                parser.eat_keyword(Keyword::Asc);
            }
            Ok(OrderItem { expr, descending })
        })
    }

    fn offset_limit(&mut self) -> Result<(Bound, Bound)> {
        let offset = self.bound("SC2062", "The OFFSET count value exceeds the maximum allowed value.")?;
        self.expect_keyword(Keyword::Limit)?;
        let limit = self.bound("SC2061", "The LIMIT count value exceeds the maximum allowed value.")?;
        Ok((offset, limit))
    }

    /// A count: a whole number of 32 bits, or a parameter.
    fn bound(&mut self, code: &str, message: &str) -> Result<Bound> {
        let span = self.span();
        let value = match self.peek() {
            Kind::Number(number) if number.fract() == 0.0 && *number <= MAX_COUNT => {
                BoundValue::Number(*number)
            }
            Kind::Number(_) => return Err(located(code, span, message)),
            Kind::Parameter => BoundValue::Parameter(self.text().into()),
            _ => return Err(self.unexpected("a number or a parameter")),
        };
        self.advance();
        Ok(Bound { value, span })
    }
}
