//! Cosmos binary JSON, in which newer SDKs send documents. Answers are text, which they accept as well.
//!
//! A value is a marker byte with what belongs to it, little-endian. Understood is what SDKs write; strings that the
//! service itself abbreviates (its dictionary, packed digits, back references) are not.

use std::sync::Arc;

use crate::error::ServiceError;
use crate::value::{Object, Value};

/// The first byte; no UTF-8 text begins with it.
const PREAMBLE: u8 = 0x80;
/// Levels of arrays and objects.
const MAX_DEPTH: usize = 256;

/// Whether `bytes` are binary JSON.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    bytes.first() == Some(&PREAMBLE)
}

/// Reads one value.
///
/// # Errors
/// 400 for bytes that are none, and for forms that are not understood.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, ServiceError> {
    let mut reader = Reader { rest: bytes.get(1..).unwrap_or_default() };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(malformed("there is more behind the value")) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, ServiceError> {
        if depth > MAX_DEPTH {
            return Err(malformed("it is nested too deeply"));
        }
        let marker = self.byte()?;
        if let Some(text) = self.string(marker)? {
            return Ok(Value::from(text));
        }
        if let Some(number) = self.number(marker)? {
            return Ok(Value::Number(number));
        }
        match marker {
            0xD0 => Ok(Value::Null),
            0xD1 => Ok(false.into()),
            0xD2 => Ok(true.into()),
            0xE0..=0xE7 => self.array(marker - 0xE0, depth),
            0xE8..=0xEF => self.object(marker - 0xE8, depth),
            _ => Err(malformed(&format!("the form {marker:#04X} is not supported by the emulator"))),
        }
    }

    /// The string of `marker`, unless that is for something else.
    fn string(&mut self, marker: u8) -> Result<Option<&'a str>, ServiceError> {
        let length = match marker {
            0x80..=0xBF => usize::from(marker & 0x3F),
            0xC0 => self.length(1)?,
            0xC1 => self.length(2)?,
            0xC2 => self.length(4)?,
            _ => return Ok(None),
        };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| malformed("a string is not UTF-8"))?;
        Ok(Some(text))
    }

    /// The number of `marker`, unless that is for something else. All are doubles to the service.
    // Whole numbers beyond 2^53 lose their last digits, as they do in text.
    #[allow(clippy::cast_precision_loss)]
    fn number(&mut self, marker: u8) -> Result<Option<f64>, ServiceError> {
        let number = match marker {
            0x00..=0x1F => f64::from(marker),
            0xC7 => u64::from_le_bytes(self.array_of()?) as f64,
            0xC8 | 0xD7 => f64::from(self.byte()?),
            0xC9 | 0xD9 => f64::from(i16::from_le_bytes(self.array_of()?)),
            0xCA | 0xDA => f64::from(i32::from_le_bytes(self.array_of()?)),
            0xCB | 0xDB => i64::from_le_bytes(self.array_of()?) as f64,
            0xCC | 0xCE => f64::from_le_bytes(self.array_of()?),
            0xCD => f64::from(f32::from_le_bytes(self.array_of()?)),
            0xD8 => f64::from(i8::from_le_bytes(self.array_of()?)),
            0xDC => f64::from(u32::from_le_bytes(self.array_of()?)),
            _ => return Ok(None),
        };
        if number.is_finite() { Ok(Some(number)) } else { Err(malformed("a number is not finite")) }
    }

    fn array(&mut self, form: u8, depth: usize) -> Result<Value, ServiceError> {
        let mut items = Vec::new();
        self.members(form, |reader| {
            items.push(reader.value(depth + 1)?);
            Ok(())
        })?;
        Ok(items.into())
    }

    fn object(&mut self, form: u8, depth: usize) -> Result<Value, ServiceError> {
        let mut members: Vec<(Arc<str>, Value)> = Vec::new();
        self.members(form, |reader| {
            let marker = reader.byte()?;
            let name = reader.string(marker)?.ok_or_else(|| {
                malformed(&format!("the form {marker:#04X} of a name is not supported by the emulator"))
            })?;
            members.push((name.into(), reader.value(depth + 1)?));
            Ok(())
        })?;
        Ok(Value::from(members.into_iter().collect::<Object>()))
    }

    /// Calls `member` for each member of an array or object: none, one, as many as fit a length, or the same with
    /// their number.
    fn members(
        &mut self,
        form: u8,
        mut member: impl FnMut(&mut Self) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let width = match form {
            0 => return Ok(()),
            1 => return member(self),
            2 | 5 => 1,
            3 | 6 => 2,
            _ => 4,
        };
        let length = self.length(width)?;
        let count = if form >= 5 { Some(self.length(width)?) } else { None };
        let mut inner = Reader { rest: self.take(length)? };
        let mut found = 0;
        while !inner.rest.is_empty() {
            member(&mut inner)?;
            found += 1;
        }
        if count.is_some_and(|count| count != found) {
            return Err(malformed("a container has another number of members than it says"));
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ServiceError> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ServiceError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], ServiceError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An unsigned number of up to four bytes.
    fn length(&mut self, width: usize) -> Result<usize, ServiceError> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

fn malformed(reason: &str) -> ServiceError {
    ServiceError::bad_request(format!("The binary JSON of the request is not valid: {reason}."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> String {
        decode(bytes).unwrap().to_json()
    }

    #[test]
    fn values() {
        assert_eq!(json(&[0x80, 0xD0]), "null");
        assert_eq!(json(&[0x80, 0x1F]), "31");
        assert_eq!(json(&[0x80, 0xCB, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), "-2");
        assert_eq!(json(&[0x80, 0xCC, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]), "1.5");
        assert_eq!(json(&[0x80, 0x82, b'h', b'i']), "\"hi\"");
        assert_eq!(json(&[0x80, 0xC1, 2, 0, b'h', b'i']), "\"hi\"");
        assert_eq!(json(&[0x80, 0xE1, 0xD2]), "[true]");
        assert_eq!(json(&[0x80, 0xE5, 2, 2, 1, 2]), "[1,2]");
        assert_eq!(json(&[0x80, 0xEA, 3, 0x81, b'a', 7]), "{\"a\":7}");
        assert_eq!(json(&[0x80, 0xED, 3, 1, 0x81, b'a', 0xE8]), "{\"a\":{}}");
    }

    #[test]
    fn anything_else_is_refused() {
        let deep: Vec<u8> = std::iter::once(0x80).chain(std::iter::repeat_n(0xE1, 100_000)).collect();
        let cases: [&[u8]; 9] = [
            &[],
            &[0x80],
            &[0x80, 0x20],
            &[0x80, 0x82, b'h'],
            &[0x80, 0x81, 0xFF],
            &[0x80, 0xE5, 2, 3, 1, 2],
            &[0x80, 0xC2, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x80, 1, 2],
            &deep,
        ];
        for bytes in cases {
            assert_eq!(decode(bytes).unwrap_err().status, 400);
        }
    }
}
