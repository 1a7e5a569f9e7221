//! Continuation tokens: opaque to clients, refused for any other query.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::epk::Epk;
use crate::error::ServiceError;
use crate::value::Value;

use super::super::index::DocumentKey;
use super::super::partition_key::PartitionKey;
use super::sorted::SortedPosition;

/// Where a page starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Position {
    /// Behind `rows` rows of this document, or behind the document when `rows` is 0. `passed` counts the rows on
    /// earlier pages, and those that OFFSET skips.
    At { key: DocumentKey, rows: usize, passed: usize },
    /// Behind so many rows of the whole result.
    Offset(usize),
    /// At a document of an ordered result.
    Sorted(SortedPosition),
}

/// A decoded token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Continuation {
    /// The physical partition to go on with, where the gateway walks them.
    pub(crate) range: Option<u32>,
    pub(crate) position: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    /// Fingerprint of what is continued.
    q: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    o: Option<usize>,
    /// Effective key, key, id, rows, rows passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<(String, String, String, usize, usize)>,
    /// With `k`: the values in the order, as JSON (none for `undefined`).
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<(Option<Vec<Option<String>>>,)>,
}

impl Continuation {
    /// The token for the next page of `text`.
    pub(crate) fn encode(&self, text: &str) -> String {
        let (mut o, mut k, mut s) = (None, None, None);
        let place = |(key, id): &DocumentKey, rows, passed| {
            Some((key.epk().to_string(), key.text().to_owned(), id.to_string(), rows, passed))
        };
        match &self.position {
            Some(Position::Offset(offset)) => o = Some(*offset),
            Some(Position::At { key, rows, passed }) => k = place(key, *rows, *passed),
            Some(Position::Sorted(SortedPosition { values, key, rows, passed })) => {
                let text = |value: &Value| (!value.is_undefined()).then(|| value.to_json());
                k = place(key, *rows, *passed);
                s = Some((values.as_ref().map(|values| values.iter().map(text).collect()),));
            }
            None => {}
        }
        let token = Token { q: fingerprint(text), r: self.range, o, k, s };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// The physical partition that a token names, whatever it continues.
    pub(crate) fn range_of(token: &str) -> Option<u32> {
        let bytes = URL_SAFE_NO_PAD.decode(token.trim()).ok()?;
        serde_json::from_slice::<Token>(&bytes).ok()?.r
    }

    /// Reads a token for `text`.
    ///
    /// # Errors
    /// 400 when it is malformed or belongs to another query.
    pub(crate) fn decode(token: &str, text: &str) -> Result<Self, ServiceError> {
        let bytes = URL_SAFE_NO_PAD.decode(token.trim()).map_err(|_| invalid())?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        if token.q != fingerprint(text) {
            return Err(invalid());
        }
        let position = match (token.o, token.k, token.s) {
            (Some(offset), None, None) => Some(Position::Offset(offset)),
            (None, Some((epk, key, id, rows, passed)), sorted) => {
                let epk = Epk::parse(&epk).ok_or_else(invalid)?;
                let key = (PartitionKey::from_parts(epk, key), id.into());
                Some(match sorted {
                    None => Position::At { key, rows, passed },
                    Some((texts,)) => {
                        let values = texts.map(|texts| texts.iter().map(value).collect()).transpose()?;
                        Position::Sorted(SortedPosition { values, key, rows, passed })
                    }
                })
            }
            (None, None, None) => None,
            _ => return Err(invalid()),
        };
        Ok(Self { range: token.r, position })
    }
}

fn value(text: &Option<String>) -> Result<Value, ServiceError> {
    match text {
        None => Ok(Value::Undefined),
        Some(text) => Value::parse(text.as_bytes()).map_err(|_| invalid()),
    }
}

/// 400 for a token that does not fit.
pub(super) fn invalid() -> ServiceError {
    ServiceError::bad_request("Message: {\"Errors\":[\"Invalid Continuation Token\"]}")
}

/// FNV-1a: the same in every version and on every machine.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_for_their_query_only() {
        let epk = Epk::parse("05C1D9").unwrap();
        let key = (PartitionKey::from_parts(epk, "[\"a\"]".into()), "id".into());
        let sorted =
            |values| Some(Position::Sorted(SortedPosition { values, key: key.clone(), rows: 1, passed: 9 }));
        for position in [
            None,
            Some(Position::Offset(7)),
            sorted(None),
            sorted(Some(vec![Value::Undefined, Value::Null, "a".into()])),
            Some(Position::At { key: key.clone(), rows: 3, passed: 5 }),
        ] {
            let continuation = Continuation { range: Some(2), position };
            let token = continuation.encode("SELECT 1");
            assert_eq!(Continuation::decode(&token, "SELECT 1").unwrap(), continuation);
            assert_eq!(Continuation::decode(&token, "SELECT 2").unwrap_err().status, 400);
        }
        assert_eq!(Continuation::decode("!", "").unwrap_err().status, 400);
    }
}
