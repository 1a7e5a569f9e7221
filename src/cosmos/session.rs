//! Session tokens: what this client has written, it also reads, whichever replica answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// More than this does not go into a header; the tokens of that many partitions are left out, and reads may
/// then lag behind writes.
const MAX_HEADER_BYTES: usize = 8192;

/// The newest token of each physical partition, as the service gave it.
#[derive(Debug, Default)]
pub(crate) struct SessionTokens(Mutex<BTreeMap<String, Token>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    lsn: u64,
    /// The whole token, `<range>:<version>#<lsn>[#<region>=<lsn>...]`.
    text: String,
}

impl SessionTokens {
    /// Takes note of the `x-ms-session-token` of an answer.
    pub(crate) fn saw(&self, header: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in header.split(',').map(str::trim) {
            let Some((range, lsn)) = parse(text) else { continue };
            let newer = known.get(range).is_none_or(|token| token.lsn <= lsn);
            if newer {
                known.insert(range.to_owned(), Token { lsn, text: text.to_owned() });
            }
        }
    }

    /// The header for a read; `None` before anything is known.
    pub(crate) fn header(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<&str> = known.values().map(|token| token.text.as_str()).collect();
        let header = all.join(",");
        (!header.is_empty() && header.len() <= MAX_HEADER_BYTES).then_some(header)
    }

    /// Forgets the tokens of partitions that have been split.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Range and log sequence number of `<range>:<version>#<lsn>...` or the old `<range>:<lsn>`.
fn parse(token: &str) -> Option<(&str, u64)> {
    let (range, rest) = token.split_once(':')?;
    let lsn = match rest.split_once('#') {
        Some((_, lsns)) => lsns.split('#').next()?,
        None => rest,
    };
    Some((range, lsn.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_token_of_each_partition_is_kept() {
        let tokens = SessionTokens::default();
        assert_eq!(tokens.header(), None);
        for header in ["0:-1#12", "1:-1#7", "0:-1#11", "1:2#9#3=8", "garbage", "", "2:5"] {
            tokens.saw(header);
        }
        assert_eq!(tokens.header().as_deref(), Some("0:-1#12,1:2#9#3=8,2:5"));
        tokens.forget();
        assert_eq!(tokens.header(), None);
    }

    #[test]
    fn too_many_partitions_for_a_header_are_left_out() {
        let tokens = SessionTokens::default();
        for range in 0..2000 {
            tokens.saw(&format!("{range}:-1#1"));
        }
        assert_eq!(tokens.header(), None);
    }
}
