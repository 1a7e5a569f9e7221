//! Master-key signatures.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// An account's master key. Never printed: `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct MasterKey(Hmac<Sha256>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// # Errors
    /// A text without the key if `base64` is empty or no base64.
    pub(crate) fn parse(base64: &str) -> Result<Self, String> {
        let wrong = "the key must be the account's base64 key, as `az cosmosdb keys list` prints it";
        let bytes = BASE64.decode(base64.trim()).map_err(|_| format!("the key is not base64; {wrong}"))?;
        if bytes.is_empty() {
            return Err(format!("the key is empty; {wrong}"));
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| format!("the key cannot sign; {wrong}"))
    }

    /// The `Authorization` header for a request: `link` is the resource link as it is, not percent-encoded.
    pub(crate) fn authorize(
        &self,
        verb: &http::Method,
        resource_type: &str,
        link: &str,
        date: &str,
    ) -> String {
        let text = format!(
            "{}\n{resource_type}\n{link}\n{}\n\n",
            verb.as_str().to_ascii_lowercase(),
            date.to_ascii_lowercase()
        );
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        let token = format!("type=master&ver=1.0&sig={signature}");
        super::encode_segment(&token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the REST reference, "Access control on Azure Cosmos DB resources".
    #[test]
    #[allow(clippy::unwrap_used)]
    fn signs_the_documented_example() {
        let key = MasterKey::parse(
            "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==",
        )
        .unwrap();
        let header =
            key.authorize(&http::Method::GET, "dbs", "dbs/ToDoList", "Thu, 27 Apr 2017 00:51:12 GMT");
        assert_eq!(
            header,
            "type%3Dmaster%26ver%3D1.0%26sig%3Dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2Bc%2Bc%3D"
        );
    }

    #[test]
    fn refuses_what_is_no_key_without_repeating_it() {
        for bad in ["", "not base64 at all!", "secret-part-of-a-key"] {
            let error = MasterKey::parse(bad).expect_err("must be refused");
            assert!(error.contains("key"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
