//! Text to tokens. What is no token becomes one of the `Bad…` kinds, so that the parser reports it in order.

use std::sync::Arc;

use super::error::Span;
use super::keywords::Keyword;

/// One token with its place.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// What a token is. The text of names is taken from the query by the token's span.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Identifier,
    Keyword(Keyword),
    /// `@name`.
    Parameter,
    String(Arc<str>),
    Number(f64),
    Symbol(&'static str),
    /// A string without its closing quote or with a wrong escape.
    BadString,
    /// A number such as `1e` or `12ab`.
    BadNumber,
    /// A character that starts no token.
    BadCharacter,
    /// After the last token.
    End,
}

/// Longest first, so that the first match is the right one.
const SYMBOLS: &[&str] = &[
    ">>>", "<<", ">>", "<=", ">=", "<>", "!=", "||", "??", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|",
    "^", "~", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}",
];

/// All tokens of `text`; the last is always [`Kind::End`].
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let kind = lexer.next_kind();
        let done = kind == Kind::End;
        tokens.push(Token { kind, span: Span::new(start, lexer.at) });
        if done {
            return tokens;
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    /// White space and `-- line` comments. The service has no block comments.
    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|c| c.is_whitespace() || c == '\u{feff}');
            if !self.rest().starts_with("--") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn next_kind(&mut self) -> Kind {
        let Some(first) = self.peek() else { return Kind::End };
        let second = self.rest().chars().nth(1);
        match first {
            '\'' | '"' => self.string(first),
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '@' => {
                self.bump();
                if self.take_while(is_name_part).is_empty() { Kind::BadCharacter } else { Kind::Parameter }
            }
            c if is_name_start(c) => {
                let name = self.take_while(is_name_part);
                Keyword::parse(name).map_or(Kind::Identifier, Kind::Keyword)
            }
            _ => match SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Kind::Symbol(symbol)
                }
                None => {
                    self.bump();
                    Kind::BadCharacter
                }
            },
        }
    }

    fn number(&mut self) -> Kind {
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.at += 2;
            let digits = self.take_while(is_name_part);
            return match u64::from_str_radix(digits, 16) {
                // Every number is a double; what is above 53 bits is rounded, as in the service.
                #[allow(clippy::cast_precision_loss)]
                Ok(number) => Kind::Number(number as f64),
                Err(_) => Kind::BadNumber,
            };
        }
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.peek() == Some('.') {
            self.bump();
            self.take_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.bump();
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                self.take_while(is_name_part);
                return Kind::BadNumber;
            }
        }
        if !self.take_while(is_name_part).is_empty() {
            return Kind::BadNumber;
        }
        match self.text.get(start..self.at).unwrap_or_default().parse::<f64>() {
            Ok(number) if number.is_finite() => Kind::Number(number),
            _ => Kind::BadNumber,
        }
    }

    fn string(&mut self, quote: char) -> Kind {
        self.bump();
        let mut content = String::new();
        let mut good = true;
        loop {
            match self.bump() {
                None => return Kind::BadString,
                Some(c) if c == quote => {
                    return if good { Kind::String(content.into()) } else { Kind::BadString };
                }
                Some('\\') => match self.escape() {
                    Some(c) => content.push(c),
                    None => good = false,
                },
                Some(c) => content.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.bump()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            c @ ('\'' | '"' | '\\' | '/') => c,
            _ => return None,
        })
    }

    /// After `\u`: four hexadecimal digits, and a second `\uXXXX` when the first is a high surrogate.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.rest().starts_with("\\u") {
            return None;
        }
        self.at += 2;
        let second = self.hex4()?;
        char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(second).ok()?]).next()?.ok()
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_name_part(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
