//! Lock tokens: they carry the address of what they lock, so that no request searches for a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use duroxide::providers::ProviderError;
use serde::{Deserialize, Serialize};

/// The lock of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnToken {
    #[serde(rename = "p")]
    pub(crate) partition: String,
    #[serde(rename = "t")]
    pub(crate) lock: String,
    /// Who waits for the instance.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Parent>,
    /// What starts with this turn.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts: Option<Orchestration>,
}

/// Name and version of an orchestration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orchestration {
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "v")]
    pub(crate) version: String,
}

/// The place in another instance's history where a child was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    #[serde(rename = "i")]
    pub(crate) instance: String,
    #[serde(rename = "e")]
    pub(crate) execution: u64,
    /// Number of the event.
    #[serde(rename = "n")]
    pub(crate) event: u64,
}

impl TurnToken {
    pub(crate) fn new(partition: &str, lock: String) -> Self {
        Self { partition: partition.to_owned(), lock, parent: None, starts: None }
    }
}

/// The lock of a work item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkToken {
    #[serde(rename = "p")]
    pub(crate) partition: String,
    /// Id of the work document.
    #[serde(rename = "w")]
    pub(crate) work: String,
    #[serde(rename = "l")]
    pub(crate) lock: String,
    /// The session the item belongs to.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Etag of the session if it was claimed for this item.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<String>,
}

/// The token's text. The two kinds have different members, so one never passes for the other.
pub(crate) fn encode(token: &impl Serialize) -> String {
    BASE64.encode(serde_json::to_vec(token).unwrap_or_default())
}

/// # Errors
/// Permanent, for a text this provider did not make.
pub(crate) fn decode<'a, T>(operation: &str, text: &'a str) -> Result<T, ProviderError>
where
    T: for<'de> Deserialize<'de> + 'a,
{
    BASE64
        .decode(text)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| ProviderError::permanent(operation, "Invalid lock token: not one of this provider's"))
}

/// What is said of a lock that is not held any more.
pub(crate) const LOST: &str = "Invalid lock token: the lock expired, was taken over, or its item is gone";

/// A lock that is not held any more.
pub(crate) fn lost(operation: &str) -> ProviderError {
    ProviderError::permanent(operation, LOST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_kinds_do_not_mix() {
        let parent = Some(Parent { instance: "b".into(), execution: 1, event: 2 });
        let starts = Some(Orchestration { name: "o".into(), version: "1.0.0".into() });
        let turn = TurnToken { partition: "a\"b/ü".into(), lock: "l1".into(), parent, starts };
        let work = WorkToken {
            partition: "p".into(),
            work: "w:1:2".into(),
            lock: "l".into(),
            session: Some("s".into()),
            claim: Some("e".into()),
        };
        assert_eq!(decode::<TurnToken>("t", &encode(&turn)).unwrap(), turn);
        assert_eq!(decode::<WorkToken>("t", &encode(&work)).unwrap(), work);
        assert!(decode::<WorkToken>("t", &encode(&turn)).is_err());
        assert!(decode::<TurnToken>("t", &encode(&work)).is_err());
        for text in ["", "invalid-token", "e30", "\u{1F980}"] {
            let error = decode::<TurnToken>("ack", text).unwrap_err();
            assert!(!error.is_retryable() && error.message.contains("Invalid lock token"));
        }
    }
}
