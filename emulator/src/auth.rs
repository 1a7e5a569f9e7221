//! Master-key authorization: every request is signed with the account's key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::error::ServiceError;
use crate::limits::MAX_CLOCK_SKEW;

/// The key that every emulator of the service knows.
pub const WELL_KNOWN_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// The account's key. Never printed.
pub(crate) struct MasterKey(Vec<u8>);

/// What a signature covers.
#[derive(Debug, Default)]
pub(crate) struct Signed<'a> {
    pub(crate) verb: &'a str,
    /// `docs`, `sprocs` and so on; empty for the account.
    pub(crate) resource_type: &'a str,
    /// The link that was signed: more than one where a client may have named it by id or by `_rid`.
    pub(crate) links: Vec<String>,
    pub(crate) authorization: Option<&'a str>,
    /// The header `x-ms-date`.
    pub(crate) x_ms_date: Option<&'a str>,
    /// The header `date`; counts only without the other.
    pub(crate) date: Option<&'a str>,
}

impl MasterKey {
    /// A key from its base64 text; `None` when that is malformed or empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok().filter(|key| !key.is_empty()).map(Self)
    }

    /// Checks the signature of a request.
    ///
    /// # Errors
    /// 401 when it is missing, malformed or wrong; 403 when its date is too far from `now_ms`.
    pub(crate) fn verify(&self, signed: &Signed<'_>, now_ms: i64) -> Result<(), ServiceError> {
        let header = signed.authorization.ok_or_else(|| {
            unauthorized(
                "Required Header authorization is missing. Ensure a valid Authorization token is passed.",
            )
        })?;
        let signature = signature(header)?;
        let (x_ms_date, date) = match (signed.x_ms_date, signed.date) {
            (Some(x_ms_date), _) => (x_ms_date, ""),
            (None, Some(date)) => ("", date),
            (None, None) => {
                return Err(unauthorized(
                    "Neither the x-ms-date header nor the date header is present. One of them is required.",
                ));
            }
        };
        let payload = |link: &str| {
            format!(
                "{}\n{}\n{link}\n{}\n{}\n",
                signed.verb.to_lowercase(),
                signed.resource_type,
                x_ms_date.to_lowercase(),
                date.to_lowercase()
            )
        };
        if !signed.links.iter().any(|link| self.matches(&payload(link), &signature)) {
            let shown = payload(signed.links.first().map_or("", String::as_str)).replace('\n', "\\n");
            return Err(unauthorized(&format!(
                "The input authorization token can't serve the request. The wrong key is being used or the expected \
                 payload is not built as per the protocol. For more info: https://aka.ms/cosmosdb-tsg-unauthorized. \
                 Server used the following payload to sign: '{shown}'"
            )));
        }
        check_date(if x_ms_date.is_empty() { date } else { x_ms_date }, now_ms)
    }

    /// In time that does not depend on where the signatures differ.
    fn matches(&self, payload: &str, signature: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return false };
        mac.update(payload.as_bytes());
        mac.verify_slice(signature).is_ok()
    }
}

/// The `authorization` of a request, as clients compute it.
#[cfg(any(test, fuzzing))]
pub(crate) fn sign(key: &str, payload: &str) -> String {
    let key = STANDARD.decode(key).unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(payload.as_bytes());
    format!("type=master&ver=1.0&sig={}", STANDARD.encode(mac.finalize().into_bytes()))
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The signature in an `authorization` header, percent-encoded or not.
fn signature(header: &str) -> Result<Vec<u8>, ServiceError> {
    let malformed = || {
        unauthorized(
            "Authorization header doesn't confirm to the required format. Please verify and try again: \
             type=master&ver=1.0&sig=<signature>",
        )
    };
    let text = percent_decode_str(header).decode_utf8().map_err(|_| malformed())?;
    let (mut kind, mut version, mut signature) = (None, None, None);
    for part in text.split('&') {
        match part.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("ver", value)) => version = Some(value),
            Some(("sig", value)) => signature = Some(value),
            _ => {}
        }
    }
    match kind {
        Some("master") => {}
        Some("aad") => {
            return Err(unauthorized("The emulator accepts the master key only, no Microsoft Entra tokens."));
        }
        Some("resource") => {
            return Err(unauthorized("The emulator accepts the master key only, no resource tokens."));
        }
        _ => return Err(malformed()),
    }
    if version != Some("1.0") {
        return Err(malformed());
    }
    STANDARD.decode(signature.ok_or_else(malformed)?).map_err(|_| malformed())
}

fn check_date(date: &str, now_ms: i64) -> Result<(), ServiceError> {
    let signed = httpdate::parse_http_date(date)
        .map_err(|_| unauthorized(&format!("The date '{date}' of the request is not an RFC 1123 date.")))?;
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let distance = |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_default();
    if distance(now, signed).max(distance(signed, now)) > MAX_CLOCK_SKEW {
        return Err(ServiceError::new(
            403,
            0,
            format!(
                "The authorization token is not valid at the current time. Please create another token and retry \
                 (token start time: {date}, current time: {}).",
                httpdate::fmt_http_date(now)
            ),
        ));
    }
    Ok(())
}

fn unauthorized(message: &str) -> ServiceError {
    ServiceError::new(401, 0, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // The example of the service's documentation.
    const KEY: &str =
        "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
    const DATE: &str = "Thu, 27 Apr 2017 00:51:12 GMT";
    const TOKEN: &str =
        "type%3dmaster%26ver%3d1.0%26sig%3dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2bc%2bc%3d";

    fn now() -> i64 {
        1_493_254_272_000
    }

    fn signed<'a>(authorization: &'a str, verb: &'a str) -> Signed<'a> {
        Signed {
            verb,
            resource_type: "dbs",
            links: vec!["dbs/ToDoList".into()],
            authorization: Some(authorization),
            x_ms_date: Some(DATE),
            date: None,
        }
    }

    #[test]
    fn the_documented_example() {
        let key = MasterKey::parse(KEY).unwrap();
        key.verify(&signed(TOKEN, "GET"), now()).unwrap();
        let raw = percent_decode_str(TOKEN).decode_utf8().unwrap();
        key.verify(&signed(&raw, "GET"), now()).unwrap();
        assert_eq!(key.verify(&signed(TOKEN, "PUT"), now()).unwrap_err().status, 401);
    }

    #[test]
    fn fifteen_minutes_of_skew() {
        let key = MasterKey::parse(KEY).unwrap();
        key.verify(&signed(TOKEN, "GET"), now() + 14 * 60_000).unwrap();
        assert_eq!(key.verify(&signed(TOKEN, "GET"), now() + 16 * 60_000).unwrap_err().status, 403);
        assert_eq!(key.verify(&signed(TOKEN, "GET"), now() - 16 * 60_000).unwrap_err().status, 403);
    }

    #[test]
    fn other_tokens_are_refused() {
        let key = MasterKey::parse(KEY).unwrap();
        for token in [
            "",
            "x",
            "type=aad&ver=1.0&sig=abc",
            "type=resource&ver=1&sig=abc",
            "type=master&ver=1.0&sig=%%%",
        ] {
            assert_eq!(key.verify(&signed(token, "GET"), now()).unwrap_err().status, 401, "{token}");
        }
        assert_eq!(key.verify(&Signed::default(), now()).unwrap_err().status, 401);
    }
}
