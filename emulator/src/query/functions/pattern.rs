//! LIKE and REGEXMATCH.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

/// Largest compiled expression, in bytes.
const MAX_REGEX_SIZE: usize = 1 << 20;

/// The compiled expressions of one run: the same one is matched against every document.
#[derive(Debug, Default)]
pub(in crate::query) struct RegexCache(RefCell<HashMap<(String, String), Option<Regex>>>);

impl RegexCache {
    /// Whether `text` has a match; `None` for an expression or modifier that is none.
    pub(super) fn is_match(&self, pattern: &str, modifiers: &str, text: &str) -> Option<bool> {
        let mut cache = self.0.borrow_mut();
        let compiled = cache
            .entry((pattern.to_owned(), modifiers.to_owned()))
            .or_insert_with(|| compile(pattern, modifiers));
        compiled.as_ref().map(|regex| regex.is_match(text))
    }
}

fn compile(pattern: &str, modifiers: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_REGEX_SIZE);
    for modifier in modifiers.chars() {
        match modifier {
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'i' => builder.case_insensitive(true),
            'x' => builder.ignore_whitespace(true),
            _ => return None,
        };
    }
    builder.build().ok()
}

/// One element of a LIKE pattern.
enum Element {
    /// `%`
    Any,
    /// `_`
    One,
    Char(char),
    /// `[a-f]`, `[^abc]`
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

/// SQL LIKE over the whole of `text`, case-sensitive.
pub(in crate::query) fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let elements = elements(pattern, escape);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut element) = (0, 0);
    // Where to resume when a later element fails: one character further into the last `%`.
    let mut resume: Option<(usize, usize)> = None;
    while at < text.len() {
        let matched = match (elements.get(element), text.get(at)) {
            (Some(Element::Any), _) => {
                resume = Some((element, at));
                element += 1;
                continue;
            }
            (Some(one), Some(c)) => one.accepts(*c),
            _ => false,
        };
        if matched {
            at += 1;
            element += 1;
        } else if let Some((star, from)) = resume {
            resume = Some((star, from + 1));
            element = star + 1;
            at = from + 1;
        } else {
            return false;
        }
    }
    elements.get(element..).unwrap_or_default().iter().all(|rest| matches!(rest, Element::Any))
}

impl Element {
    fn accepts(&self, c: char) -> bool {
        match self {
            Element::Any | Element::One => true,
            Element::Char(expected) => c == *expected,
            Element::Set { ranges, negated } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn elements(pattern: &str, escape: Option<char>) -> Vec<Element> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut elements = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        let next = chars.get(at).copied();
        elements.push(match c {
            c if Some(c) == escape => match next {
                Some(next) => {
                    at += 1;
                    Element::Char(next)
                }
                None => Element::Char(c),
            },
            '%' => Element::Any,
            '_' => Element::One,
            '[' => match set(chars.get(at..).unwrap_or_default()) {
                Some((set, len)) => {
                    at += len;
                    set
                }
                None => Element::Char('['),
            },
            c => Element::Char(c),
        });
    }
    elements
}

/// After `[`: the set and its length, closing bracket included.
fn set(chars: &[char]) -> Option<(Element, usize)> {
    let end = chars.iter().position(|c| *c == ']')?;
    let content = chars.get(..end)?;
    let (negated, content) = match content.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, content),
    };
    let mut ranges = Vec::new();
    let mut rest = content;
    loop {
        rest = match rest {
            [] => break,
            [low, '-', high, tail @ ..] => {
                ranges.push((*low, *high));
                tail
            }
            [one, tail @ ..] => {
                ranges.push((*one, *one));
                tail
            }
        };
    }
    (!ranges.is_empty()).then_some((Element::Set { ranges, negated }, end + 1))
}
