//! Tokens of JavaScript, as far as they are needed to tell code from text.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifiers and keywords.
    Name,
    /// `#name`
    PrivateName,
    Number,
    String,
    /// The text parts of a template; `${` and its `}` are punctuators between them.
    Template,
    Regex,
    Punctuator,
}

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// From 1.
    pub(super) line: usize,
}

impl Token<'_> {
    /// Whether this is the name or punctuator `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Name | Kind::Punctuator) && self.text == text
    }
}

/// What a bracket was opened as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `(` of `if`, `while`, `for` or `with`: a statement follows its end.
    Condition,
    /// An object literal: an operator follows its end.
    Object,
    /// `${`: the template goes on after its end.
    Template,
    Other,
}

/// Splits source into tokens; malformed source gives some tokens and never an error.
pub(super) struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    open: Vec<Open>,
    previous: Option<Token<'a>>,
    /// Whether a `/` begins a regular expression.
    regex_allowed: bool,
    /// A placeholder has ended: the text of its template goes on.
    in_template: bool,
}

/// Punctuators of more than one character that matter, the longest first.
const PUNCTUATORS: [&str; 12] =
    ["??=", "||=", "&&=", "...", "===", "!==", "=>", "==", "!=", "<=", ">=", "??"];

/// Keywords that an expression follows.
const BEFORE_EXPRESSION: [&str; 14] = [
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "else",
    "do",
    "instanceof",
    "yield",
    "await",
];

impl<'a> Scanner<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self {
            rest: source,
            line: 1,
            open: Vec::new(),
            previous: None,
            regex_allowed: true,
            in_template: false,
        }
    }

    /// Takes `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        self.line += taken.matches('\n').count();
        taken
    }

    fn skip_blank(&mut self) {
        loop {
            let blank =
                self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len();
            self.take(blank);
            if self.rest.starts_with("//") {
                let end = self.rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").map_or(self.rest.len(), |at| at + 2);
                self.take(end);
            } else if blank == 0 {
                return;
            }
        }
    }

    fn scan(&mut self) -> Option<(Kind, usize)> {
        let first = self.rest.chars().next()?;
        Some(match first {
            '\'' | '"' => (Kind::String, quoted(self.rest, first)),
            '`' => (Kind::Template, template(self.rest, 1)),
            '#' if self.rest[1..].starts_with(is_name_start) => {
                (Kind::PrivateName, 1 + name_length(&self.rest[1..]))
            }
            _ if is_name_start(first) => (Kind::Name, name_length(self.rest)),
            _ if first.is_ascii_digit() || (first == '.' && digit_at(self.rest, 1)) => {
                (Kind::Number, number_length(self.rest))
            }
            '/' if self.regex_allowed => match regex_length(self.rest) {
                Some(length) => (Kind::Regex, length),
                None => (Kind::Punctuator, 1),
            },
            // `a?.5:1` is a conditional.
            '?' if self.rest.starts_with("?.") && !digit_at(self.rest, 2) => (Kind::Punctuator, 2),
            _ => {
                let known = PUNCTUATORS.iter().find(|text| self.rest.starts_with(**text));
                (Kind::Punctuator, known.map_or(first.len_utf8(), |text| text.len()))
            }
        })
    }

    /// A placeholder's beginning after the text of a template, or the text after a placeholder's end.
    fn template_part(&mut self) -> Option<Token<'a>> {
        let previous = self.previous?;
        let line = self.line;
        let token = if previous.kind == Kind::Template && self.rest.starts_with("${") {
            self.open.push(Open::Template);
            self.regex_allowed = true;
            Token { kind: Kind::Punctuator, text: self.take(2), line }
        } else if std::mem::take(&mut self.in_template) {
            self.regex_allowed = false;
            Token { kind: Kind::Template, text: self.take(template(self.rest, 0)), line }
        } else {
            return None;
        };
        self.previous = Some(token);
        Some(token)
    }

    /// Follows brackets, and what may come next.
    fn note(&mut self, token: Token<'a>) {
        let was_regex_allowed = self.regex_allowed;
        let property = self.previous.is_some_and(|previous| previous.is(".") || previous.is("?."));
        self.regex_allowed = match token.kind {
            Kind::Name => !property && BEFORE_EXPRESSION.contains(&token.text),
            Kind::PrivateName | Kind::Number | Kind::String | Kind::Template | Kind::Regex => false,
            Kind::Punctuator => match token.text {
                "(" => {
                    let condition = !property
                        && self.previous.is_some_and(|previous| {
                            ["if", "while", "for", "with"].iter().any(|word| previous.is(word))
                        });
                    self.open.push(if condition { Open::Condition } else { Open::Other });
                    true
                }
                "{" => {
                    // Where an expression may begin, except after what ends a statement or its head.
                    let statement = self.previous.is_none_or(|previous| {
                        [";", "{", "}", ")", "=>", "else", "do"].iter().any(|text| previous.is(text))
                    });
                    let object = was_regex_allowed && !statement;
                    self.open.push(if object { Open::Object } else { Open::Other });
                    true
                }
                "[" => {
                    self.open.push(Open::Other);
                    true
                }
                ")" => self.open.pop() == Some(Open::Condition),
                "]" => {
                    self.open.pop();
                    false
                }
                "}" => {
                    let opened = self.open.pop();
                    self.in_template = opened == Some(Open::Template);
                    opened != Some(Open::Object)
                }
                _ => true,
            },
        };
        self.previous = Some(token);
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(token) = self.template_part() {
            return Some(token);
        }
        self.skip_blank();
        let line = self.line;
        let (kind, length) = self.scan()?;
        let token = Token { kind, text: self.take(length), line };
        self.note(token);
        Some(token)
    }
}

fn is_name_start(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '_' | '$' | '\\')
}

fn name_length(text: &str) -> usize {
    text.find(|character: char| !(is_name_start(character) || character.is_alphanumeric()))
        .unwrap_or(text.len())
}

fn digit_at(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).is_some_and(u8::is_ascii_digit)
}

/// Digits, letters of exponents, radixes and suffixes, separators, and the signs of exponents.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hexadecimal = bytes.get(1).is_some_and(|letter| matches!(letter, b'x' | b'X'));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let sign = matches!(byte, b'+' | b'-')
            && !hexadecimal
            && at > 0
            && matches!(bytes.get(at - 1), Some(b'e' | b'E'));
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign) {
            break;
        }
        at += 1;
    }
    at
}

/// A string with its quotes; one that is not closed ends with its line.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return at,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The text of a template from `start` on, its closing quote included, up to a placeholder.
fn template(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(start) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '`' => return at + 1,
            '$' if text[at..].starts_with("${") => return at,
            _ => {}
        }
    }
    text.len()
}

/// A regular expression with its flags; `None` when the line ends before it.
fn regex_length(text: &str) -> Option<usize> {
    let (mut escaped, mut in_set) = (false, false);
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' | '\r' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_set = true,
            ']' => in_set = false,
            '/' if !in_set => return Some(at + 1 + name_length(&text[at + 1..])),
            _ => {}
        }
    }
    None
}
