//! JSON values as Cosmos DB sees them: with `undefined`, doubles only, and objects that keep their order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::names;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// A JSON value, or the `undefined` that a missing property evaluates to.
///
/// Cloning is cheap: strings, arrays and objects are shared.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// A property that is not there. Never part of a stored document.
    #[default]
    Undefined,
    /// JSON `null`.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// Every number is an IEEE-754 double, as in the service.
    Number(f64),
    /// A string.
    String(Arc<str>),
    /// An array.
    Array(Arc<Vec<Value>>),
    /// An object in insertion order.
    Object(Arc<Object>),
}

/// The members of an object in insertion order; names are unique.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(Arc<str>, Value)>);

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The member `name`, if present.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// The member `name` to change, if present.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Sets `name`, in its old place if it was there. `Undefined` removes it.
    ///
    /// Looks through all members: collect an iterator to build a large object.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Value) {
        let name = name.into();
        if matches!(value, Value::Undefined) {
            self.remove(&name);
            return;
        }
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(key, _)| &**key == name)?;
        Some(self.0.remove(at).1)
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Arc<str>, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(members: I) -> Self {
        let members = members.into_iter();
        let mut builder = ObjectBuilder::default();
        builder.object.0.reserve(members.size_hint().0);
        for (name, value) in members {
            builder.insert(name, value);
        }
        builder.object
    }
}

/// Up to this many members a look through them all is cheaper than hashing.
const SMALL_OBJECT: usize = 32;

/// Builds an object in linear time: a body with 100,000 names must not take minutes.
#[derive(Default)]
struct ObjectBuilder {
    object: Object,
    /// Where each name is; filled once the object is no longer small.
    places: HashMap<Arc<str>, usize>,
}

impl ObjectBuilder {
    fn insert(&mut self, name: Arc<str>, value: Value) {
        let members = &mut self.object.0;
        if members.len() < SMALL_OBJECT || value.is_undefined() {
            self.places.clear();
            self.object.insert(name, value);
            return;
        }
        if self.places.is_empty() {
            self.places = members.iter().enumerate().map(|(at, (key, _))| (Arc::clone(key), at)).collect();
        }
        match self.places.get(&name) {
            Some(&at) => members[at].1 = value,
            None => {
                self.places.insert(Arc::clone(&name), members.len());
                members.push((name, value));
            }
        }
    }
}

impl Value {
    /// Parses JSON text. Nesting deeper than 128 levels is an error, as in the service.
    ///
    /// # Errors
    /// When `text` is not one JSON value.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The JSON text; `undefined` becomes `null`, as there is no other way to write it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The JSON text, in memory for about `bytes` of it from the start.
    pub(crate) fn to_json_of(&self, bytes: usize) -> String {
        let mut text = Vec::with_capacity(bytes);
        match serde_json::to_writer(&mut text, self) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// The length of the JSON text in bytes.
    pub(crate) fn json_len(&self) -> usize {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self).map_or(0, |()| length.0)
    }

    /// The member `name` of an object, else `Undefined`.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Value::Object(object) => object.get(name).unwrap_or(&Value::Undefined),
            _ => &Value::Undefined,
        }
    }

    /// The element `index` of an array, else `Undefined`.
    #[must_use]
    pub fn at(&self, index: usize) -> &Value {
        match self {
            Value::Array(items) => items.get(index).unwrap_or(&Value::Undefined),
            _ => &Value::Undefined,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether this is `Undefined`.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined)
    }

    /// The place of the type in the order of `ORDER BY`:
    /// undefined, null, booleans, numbers, strings, arrays, objects.
    #[must_use]
    pub fn type_rank(&self) -> u8 {
        match self {
            Value::Undefined => 0,
            Value::Null => 1,
            Value::Bool(_) => 2,
            Value::Number(_) => 3,
            Value::String(_) => 4,
            Value::Array(_) => 5,
            Value::Object(_) => 6,
        }
    }

    /// The total order of `ORDER BY`: by type, then by value; strings by code point.
    #[must_use]
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            // 0 and -0 are one value.
            (Value::Number(a), Value::Number(b)) => {
                if a == b {
                    Ordering::Equal
                } else {
                    a.total_cmp(b)
                }
            }
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Array(a), Value::Array(b)) => a
                .iter()
                .zip(b.iter())
                .map(|(x, y)| x.total_cmp(y))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len())),
            (Value::Object(a), Value::Object(b)) => {
                let (mut left, mut right): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
                left.sort_by(|x, y| x.0.cmp(y.0));
                right.sort_by(|x, y| x.0.cmp(y.0));
                left.iter()
                    .zip(right.iter())
                    .map(|(x, y)| x.0.cmp(y.0).then_with(|| x.1.total_cmp(y.1)))
                    .find(|order| order.is_ne())
                    .unwrap_or_else(|| left.len().cmp(&right.len()))
            }
            _ => self.type_rank().cmp(&other.type_rank()),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.total_cmp(other).is_eq()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(Arc::new(object))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(Arc::new(items))
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// Largest integer a double holds exactly: up to here numbers are written without a fraction.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Undefined | Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Number(n) if n.fract() == 0.0 && n.abs() <= MAX_SAFE_INTEGER => {
                // Exact: the guard keeps it within 53 bits.
                #[allow(clippy::cast_possible_truncation)]
                serializer.serialize_i64(*n as i64)
            }
            Value::Number(n) => serializer.serialize_f64(*n),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => serializer.collect_seq(items.iter()),
            Value::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.len()))?;
                for (name, value) in object.iter() {
                    map.serialize_entry(&**name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    // The service keeps doubles only, so losing bits beyond 53 is its behaviour, not an accident.
    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut builder = ObjectBuilder::default();
        while let Some((Name(name), value)) = map.next_entry()? {
            builder.insert(name, value);
        }
        // Most documents are kept for long, and objects rarely grow.
        builder.object.0.shrink_to_fit();
        Ok(builder.object.into())
    }
}

/// The name of a member.
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
        Ok(Name(names::shared(text)))
    }
}
