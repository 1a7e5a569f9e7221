//! Tokens to tree: clauses in `query`, expressions (Pratt) in `expr`.

mod expr;
mod query;

use std::sync::Arc;

use super::ast::Select;
use super::error::{Result, Span, located, with_hint};
use super::keywords::Keyword;
use super::lexer::{Kind, Token, tokenize};
use crate::error::ServiceError;

/// Parser and evaluator recurse, so nesting is bounded by the stack it needs: 64 levels of parentheses, literals
/// or calls, or 9 of subqueries, less if every level has operators of many ranks.
const MAX_DEPTH: usize = 64 * NESTED_DEPTH;
/// What a parenthesis, a literal or a call counts for. An operand of an operator counts 1.
const NESTED_DEPTH: usize = 3;
/// What a subquery counts for.
const SUBQUERY_DEPTH: usize = 6 * NESTED_DEPTH;
/// Height of an expression tree; left-associative chains such as `1 + 1 + …` grow it without nesting.
const MAX_HEIGHT: usize = 256;

/// Parses one query; nothing may follow it.
pub(super) fn parse(text: &str) -> Result<Select> {
    let mut parser = Parser { text, tokens: tokenize(text), at: 0, depth: 0 };
    let select = parser.select()?;
    match parser.peek() {
        Kind::End => Ok(select),
        _ => Err(parser.unexpected("the end of the query")),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn token(&self, ahead: usize) -> (&Kind, Span) {
        match self.tokens.get(self.at + ahead).or(self.tokens.last()) {
            Some(token) => (&token.kind, token.span),
            None => (&Kind::End, Span::default()),
        }
    }

    fn peek(&self) -> &Kind {
        self.token(0).0
    }

    fn span(&self) -> Span {
        self.token(0).1
    }

    /// The span of the token before the current one.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|token| token.span).unwrap_or_default()
    }

    /// The text of the current token.
    fn text(&self) -> &str {
        let span = self.span();
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn advance(&mut self) {
        self.at += 1;
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Kind::Symbol(found) if *found == symbol)
    }

    fn at_keyword(&self, keyword: Keyword) -> bool {
        *self.peek() == Kind::Keyword(keyword)
    }

    /// Whether the current token is this word, which is not reserved.
    fn at_word(&self, word: &str) -> bool {
        *self.peek() == Kind::Identifier && self.text().eq_ignore_ascii_case(word)
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn eat_keyword(&mut self, keyword: Keyword) -> bool {
        let found = self.at_keyword(keyword);
        self.at += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    fn expect_keyword(&mut self, keyword: Keyword) -> Result<()> {
        if self.eat_keyword(keyword) { Ok(()) } else { Err(self.unexpected(&keyword.text())) }
    }

    /// A name that is no reserved word.
    fn name(&mut self) -> Result<Arc<str>> {
        if *self.peek() != Kind::Identifier {
            return Err(self.unexpected("a name"));
        }
        let name = self.text().into();
        self.advance();
        Ok(name)
    }

    /// One or more items between commas.
    fn comma_list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Runs `parse` some levels deeper, or refuses.
    fn nested<T>(&mut self, levels: usize, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth + levels > MAX_DEPTH {
            return Err(self.too_deep(self.span()));
        }
        self.depth += levels;
        let result = parse(self);
        self.depth -= levels;
        result
    }

    fn too_deep(&self, span: Span) -> ServiceError {
        located("SC3000", span, "The SQL query text is nested too deeply to be processed.")
    }

    /// The syntax error at the current token.
    fn unexpected(&self, expected: &str) -> ServiceError {
        let (kind, span) = self.token(0);
        let text = self.text();
        let reserved = matches!(kind, Kind::Keyword(_)) && expected == "a name";
        let hint = if reserved {
            format!("expected a name; '{text}' is a reserved word, in a path it is written [\"{text}\"]")
        } else {
            format!("expected {expected}")
        };
        match kind {
            Kind::BadString => {
                let message = format!("Syntax error, invalid string literal token '{text}'.");
                located("SC1010", span, &message)
            }
            Kind::BadNumber => {
                let message = format!("Syntax error, invalid numeric value token '{text}'.");
                located("SC1012", span, &message)
            }
            Kind::BadCharacter => {
                let message = format!("Syntax error, invalid token '{text}'.");
                located("SC1010", span, &message)
            }
            // The service has a code of its own for a text without any token.
            Kind::End if self.at == 0 => {
                with_hint("SC1002", span, "Syntax error, unexpected end of query.", Some(&hint))
            }
            Kind::End => with_hint("SC1001", span, "Syntax error, unexpected end of query.", Some(&hint)),
            _ => {
                let message = format!("Syntax error, incorrect syntax near '{text}'.");
                with_hint("SC1001", span, &message, Some(&hint))
            }
        }
    }
}
