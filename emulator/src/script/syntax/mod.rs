//! Finds syntax that is newer than the service's JavaScript engine.
//!
//! Scripts run here on an engine that knows all of today's language; the service's stopped at ES2017. This looks
//! at tokens alone, which is enough for the constructs that matter, and never misreads strings, templates,
//! regular expressions and comments for code.

mod scanner;
#[cfg(test)]
mod tests;

use scanner::{Kind, Scanner, Token};

/// What becomes of scripts in a language that the service does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ScriptSyntax {
    /// They run.
    Any,
    /// They run, and a warning is logged when they are stored.
    #[default]
    Warn,
    /// They fail as in the service, with 400/65535, and newer library functions are not there.
    Refuse,
}

/// The first newer construct of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newer {
    /// Its name.
    pub(crate) feature: &'static str,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// The first construct of `source` that is newer than ES2017, if there is one.
pub(crate) fn newer_syntax(source: &str) -> Option<Newer> {
    let mut detector = Detector::default();
    for token in Scanner::new(source) {
        if let Some(feature) = detector.see(&token) {
            return Some(Newer { feature, line: token.line });
        }
    }
    None
}

/// What an open bracket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Class,
    Braces,
    Other,
}

/// Looks at one token after the other.
#[derive(Default)]
struct Detector<'a> {
    scopes: Vec<Scope>,
    /// `class` was seen, and its body has not begun yet; the number of scopes then.
    class_at: Option<usize>,
    previous: Option<Token<'a>>,
    before: Option<Token<'a>>,
}

impl<'a> Detector<'a> {
    fn see(&mut self, token: &Token<'a>) -> Option<&'static str> {
        let found = match token.kind {
            Kind::Punctuator => self.punctuator(token.text),
            Kind::Number => number(token.text),
            Kind::Regex => regex(token.text),
            Kind::PrivateName => Some("a private class member"),
            Kind::Name => self.name(token),
            Kind::String | Kind::Template => None,
        };
        self.before = self.previous.take();
        self.previous = Some(*token);
        found
    }

    fn punctuator(&mut self, text: &str) -> Option<&'static str> {
        let in_class = self.scopes.last() == Some(&Scope::Class);
        let braces = self.scopes.last() == Some(&Scope::Braces);
        match text {
            "?." => return Some("optional chaining"),
            "??" => return Some("nullish coalescing"),
            "??=" | "||=" | "&&=" => return Some("logical assignment"),
            "..." if braces => return Some("object rest or spread"),
            "=" if in_class => return Some("a class field"),
            ";" | "}" if in_class && self.after_member_name() => return Some("a class field"),
            "*" if self.previous_is("function") && self.before_is("async") => {
                return Some("an async generator");
            }
            "*" if self.previous_is("async") && (in_class || braces) => return Some("an async generator"),
            "{" if in_class && self.previous_is("static") => return Some("a static initialization block"),
            "{" if self.previous_is("catch") && !self.before_is(".") => {
                return Some("an optional catch binding");
            }
            _ => {}
        }
        match text {
            "{" if self.class_at == Some(self.scopes.len()) => {
                self.class_at = None;
                self.scopes.push(Scope::Class);
            }
            "{" => self.scopes.push(Scope::Braces),
            "(" | "[" | "${" => self.scopes.push(Scope::Other),
            "}" | ")" | "]" => {
                self.scopes.pop();
            }
            _ => {}
        }
        None
    }

    fn name(&mut self, token: &Token<'_>) -> Option<&'static str> {
        let property = self.previous_is(".");
        match token.text {
            "class" if !property => {
                self.class_at = Some(self.scopes.len());
                None
            }
            "await" if self.previous_is("for") && !self.before_is(".") => Some("asynchronous iteration"),
            // Two names in a row, but for the words that begin a member.
            _ if self.scopes.last() == Some(&Scope::Class)
                && self.after_member_name()
                && !["static", "async", "get", "set"].iter().any(|word| self.previous_is(word)) =>
            {
                Some("a class field")
            }
            _ => None,
        }
    }

    /// Whether the token before is the name of a class member.
    fn after_member_name(&self) -> bool {
        self.previous.is_some_and(|token| match token.kind {
            Kind::Name | Kind::String | Kind::Number => true,
            Kind::Punctuator => token.text == "]",
            Kind::Template | Kind::Regex | Kind::PrivateName => false,
        })
    }

    fn previous_is(&self, text: &str) -> bool {
        self.previous.is_some_and(|token| token.is(text))
    }

    fn before_is(&self, text: &str) -> bool {
        self.before.is_some_and(|token| token.is(text))
    }
}

fn number(text: &str) -> Option<&'static str> {
    if text.contains('_') {
        Some("a numeric separator")
    } else if text.ends_with('n') {
        Some("a BigInt")
    } else {
        None
    }
}

/// `/pattern/flags`
fn regex(text: &str) -> Option<&'static str> {
    let (pattern, flags) = text.rsplit_once('/')?;
    let pattern = pattern.strip_prefix('/')?;
    if flags.contains('s') {
        return Some("the dotAll flag of a regular expression");
    }
    if flags.contains(['d', 'v']) {
        return Some("a newer flag of a regular expression");
    }
    let mut rest = pattern;
    let mut in_set = false;
    while let Some(first) = rest.chars().next() {
        match first {
            '\\' if flags.contains('u') && (rest.starts_with("\\p{") || rest.starts_with("\\P{")) => {
                return Some("a Unicode property escape");
            }
            '\\' => rest = &rest[first.len_utf8()..],
            '[' => in_set = true,
            ']' => in_set = false,
            '(' if !in_set && (rest.starts_with("(?<=") || rest.starts_with("(?<!")) => {
                return Some("a lookbehind assertion");
            }
            '(' if !in_set && rest.starts_with("(?<") => return Some("a named group"),
            _ => {}
        }
        let next = rest.chars().next().map_or(0, char::len_utf8);
        rest = &rest[next..];
    }
    None
}
