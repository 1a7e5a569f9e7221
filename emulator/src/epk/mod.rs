//! Effective partition keys: where a partition key value lies in the hash space that physical partitions
//! divide between them.
// Until the store uses it.
#![allow(dead_code)]

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use crate::error::ServiceError;
use crate::value::Value;

mod murmur;
#[cfg(test)]
mod tests;

/// One value of a partition key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Component {
    /// The document has no such property; `{}` in the header.
    Undefined,
    /// JSON `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    String(String),
    /// Above every value; only an end of a range.
    Infinity,
}

/// The version of the hash function, a property of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The first 100 characters of strings count.
    V1,
    /// Large keys.
    V2,
}

/// How a container's partition key is made of its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One hash of all components.
    Hash,
    /// Hierarchical: a hash a component, so that a prefix of the key is a range.
    MultiHash,
}

/// An effective partition key. Trailing zero bytes do not matter to the order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epk(Vec<u8>);

/// How much of a string V1 hashes, in UTF-16 units, and keeps behind the hash, in bytes.
const V1_STRING_LIMIT: usize = 100;

/// The effective partition key of `components`. None at all give the lowest one.
pub(crate) fn effective(components: &[Component], kind: Kind, version: Version) -> Epk {
    match (components, kind, version) {
        ([], ..) => Epk::min(),
        ([Component::Infinity], ..) => Epk::max(),
        (_, Kind::MultiHash, _) => {
            Epk(components.iter().flat_map(|component| hash_v2(std::slice::from_ref(component))).collect())
        }
        (_, Kind::Hash, Version::V2) => Epk(hash_v2(components).to_vec()),
        (_, Kind::Hash, Version::V1) => Epk(hash_v1(components)),
    }
}

/// The components in a `x-ms-documentdb-partitionkey` header, none for `[]` and for an empty header.
pub(crate) fn parse_header(header: &str) -> Result<Vec<Component>, ServiceError> {
    let invalid = || {
        let text = Value::from(format!("Partition key {header} is invalid.")).to_json();
        ServiceError::bad_request(format!("Message: {{\"Errors\":[{text}]}}"))
    };
    if header.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Ok(Value::Array(items)) = Value::parse(header.as_bytes()) else {
        return Err(invalid());
    };
    items
        .iter()
        .map(|item| match item {
            Value::Object(object) if object.is_empty() => Ok(Component::Undefined),
            other => Component::from_scalar(other).ok_or_else(invalid),
        })
        .collect()
}

/// The names in a partition key path: `/a/b`, or `/"a b"/c` for names that need quotes.
pub(crate) fn parse_path(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = path;
    while let Some(tail) = rest.strip_prefix('/') {
        let quoted = tail.strip_prefix('"').and_then(|tail| tail.split_once('"'));
        let (name, after) = quoted.unwrap_or_else(|| tail.split_at(tail.find('/').unwrap_or(tail.len())));
        names.push(name.to_owned());
        rest = after;
    }
    names
}

/// The partition key of `document`, whose parts are at `paths`.
pub(crate) fn extract(document: &Value, paths: &[Vec<String>]) -> Result<Vec<Component>, ServiceError> {
    paths
        .iter()
        .map(|path| {
            let value = path.iter().fold(document, |value, name| value.get(name));
            Component::from_scalar(value).ok_or_else(|| {
                ServiceError::bad_request(
                    "Message: {\"Errors\":[\"The partition key value of a document must be a string, a number, \
                     a boolean, null or undefined.\"]}",
                )
            })
        })
        .collect()
}

impl Component {
    /// None for arrays and objects.
    pub(crate) fn from_scalar(value: &Value) -> Option<Self> {
        match value {
            Value::Undefined => Some(Self::Undefined),
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Some(Self::Number(*number)),
            Value::String(text) => Some(Self::String((**text).to_owned())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Undefined => 0x00,
            Self::Null => 0x01,
            Self::Bool(false) => 0x02,
            Self::Bool(true) => 0x03,
            Self::Number(_) => 0x05,
            Self::String(_) => 0x08,
            Self::Infinity => 0xFF,
        }
    }

    /// The bytes that are hashed. `end` follows strings.
    fn write_for_hash(&self, end: u8, bytes: &mut Vec<u8>) {
        bytes.push(self.tag());
        match self {
            Self::Number(number) => bytes.extend(number.to_le_bytes()),
            Self::String(text) => {
                bytes.extend(text.as_bytes());
                bytes.push(end);
            }
            _ => {}
        }
    }

    /// The bytes V1 puts behind the hash; their order is the order of the values.
    fn write_ordered(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.tag());
        match self {
            Self::Number(number) => write_ordered_number(*number, bytes),
            Self::String(text) => {
                // One more than the limit tells a long string from one that ends there.
                let short = text.len() <= V1_STRING_LIMIT;
                let kept = &text.as_bytes()[..text.len().min(V1_STRING_LIMIT + 1)];
                bytes.extend(kept.iter().map(|byte| byte.saturating_add(1)));
                if short {
                    bytes.push(0);
                }
            }
            _ => {}
        }
    }

    /// What V1 sees of a component.
    fn truncated(&self) -> Self {
        match self {
            Self::String(text) => {
                let mut units = 0;
                let kept = text.chars().take_while(|character| {
                    units += character.len_utf16();
                    units <= V1_STRING_LIMIT
                });
                Self::String(kept.collect())
            }
            other => other.clone(),
        }
    }
}

/// Eight bits of the number, then seven at a time with the lowest bit set in all bytes but the last.
fn write_ordered_number(number: f64, bytes: &mut Vec<u8>) {
    const SIGN: u64 = 1 << 63;
    let bits = number.to_bits();
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits + 1 };
    let top = |payload: u64| (payload >> 56).to_le_bytes()[0];
    bytes.push(top(ordered));
    let mut payload = ordered << 8;
    // A number without more bits still gets a last byte, of nothing.
    let mut last = 0;
    let mut more = false;
    while payload != 0 {
        if more {
            bytes.push(last);
        }
        more = true;
        last = top(payload) | 1;
        payload <<= 7;
    }
    bytes.push(last & 0xFE);
}

fn hash_v2(components: &[Component]) -> [u8; 16] {
    let mut bytes = Vec::new();
    for component in components {
        component.write_for_hash(0xFF, &mut bytes);
    }
    let [low, high] = murmur::x64_128(&bytes);
    let mut hash = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    // Keeps every key below "40".
    hash[0] &= 0x3F;
    hash
}

fn hash_v1(components: &[Component]) -> Vec<u8> {
    let truncated: Vec<Component> = components.iter().map(Component::truncated).collect();
    let mut bytes = Vec::new();
    for component in &truncated {
        component.write_for_hash(0x00, &mut bytes);
    }
    let hash = f64::from(murmur::x86_32(&bytes));
    let mut epk = Vec::new();
    Component::Number(hash).write_ordered(&mut epk);
    for component in &truncated {
        component.write_ordered(&mut epk);
    }
    epk
}

impl Epk {
    /// The lowest key, where the first range begins: `""`.
    pub(crate) fn min() -> Self {
        Self::default()
    }

    /// Above every key, where the last range ends: `"FF"`.
    pub(crate) fn max() -> Self {
        Self(vec![0xFF])
    }

    /// Parses the hexadecimal form; none if it is not one.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        if !hex.len().is_multiple_of(2) || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok());
        bytes.collect::<Option<Vec<u8>>>().map(Self)
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn significant(&self) -> &[u8] {
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &self.0[..end]
    }
}

impl fmt::Display for Epk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            write!(hex, "{byte:02X}")?;
        }
        f.pad(&hex)
    }
}

impl PartialEq for Epk {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Epk {}

impl PartialOrd for Epk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Epk {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

impl Hash for Epk {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}
