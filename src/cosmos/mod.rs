//! A small client of the Cosmos DB REST interface: requests, signatures, failures, retries.
//!
//! Invariant: nothing in here knows about workflows.

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod failure;
pub(crate) mod http;
#[cfg(feature = "emulator")]
pub(crate) mod in_process;
pub(crate) mod ranges;
pub(crate) mod retry;
pub(crate) mod session;
pub(crate) mod stats;
pub(crate) mod transport;

pub(crate) use client::Client;
pub(crate) use failure::Failure;

/// Percent-encodes one segment of a path, or a header value: all but unreserved characters.
pub(crate) fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The partition key header for a key of one string: a JSON array in pure ASCII, as headers must be.
pub(crate) fn partition_key_header(key: &str) -> String {
    let json = serde_json::Value::from(key).to_string();
    let mut header = String::with_capacity(json.len() + 2);
    header.push('[');
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if (0x20..0x7f).contains(&byte) => header.push(char::from(byte)),
            _ => header.push_str(&format!("\\u{unit:04x}")),
        }
    }
    header.push(']');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_of_any_text_are_ascii_json() {
        for key in ["", "plain", "a/b\\c?d#e\"f'g", "tab\tnewline\n\u{1}\u{7f}", "grüße 日本 🦀"] {
            let header = partition_key_header(key);
            assert!(header.is_ascii() && !header.bytes().any(|byte| byte < 0x20 || byte == 0x7f), "{header}");
            let back: Vec<String> = serde_json::from_str(&header).expect("JSON");
            assert_eq!(back, [key]);
        }
    }
}
