//! What the service can store, and what becomes of what it cannot.

use duroxide::ErrorDetails;
use duroxide::providers::ProviderError;

use super::documents::Payload;

/// The service's limit for a document is 2 MB; the text's own document needs little beside it.
pub(crate) const TEXT_BYTES: usize = 2_000_000;

/// What a request holds beside each text: member names, ids, usual tags.
pub(crate) const BYTES_BESIDE_TEXT: usize = 100;

/// What is kept of the text of an error that cannot be stored: it always can, even if each byte of it takes seven.
const ERROR_BYTES: usize = 256 * 1024;

/// What an event or a message holds beside the text of an error: names, ids, times.
const BYTES_BESIDE_ERROR: usize = 16_384;

/// What a text takes in a request, with what surrounds it: it is JSON text inside JSON.
pub(crate) fn bytes_of(payload: &Payload) -> usize {
    match payload {
        Payload::Inline(text) => escaped(text) + BYTES_BESIDE_TEXT,
        Payload::Stored { .. } => 0,
    }
}

/// Length of a text as a JSON string, without writing it.
pub(crate) fn escaped(text: &str) -> usize {
    let beyond_itself = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(beyond_itself).sum::<usize>() + 2
}

/// # Errors
/// Permanent, if a text called `name` does not fit into a document.
pub(crate) fn check(operation: &str, name: &str, bytes: usize) -> Result<(), ProviderError> {
    if bytes <= TEXT_BYTES {
        return Ok(());
    }
    let what = format!(
        "{name} takes {bytes} bytes as it is stored, Cosmos DB takes {TEXT_BYTES} in one document; store large data elsewhere and pass a reference"
    );
    Err(ProviderError::permanent(operation, what))
}

/// Cuts the text of a failure that cannot be stored, such as a long message quoted for having been poisoned: a
/// failure that is refused would be tried for ever.
pub(crate) fn cut_failure(details: &mut ErrorDetails) {
    match details {
        ErrorDetails::Infrastructure { message, .. }
        | ErrorDetails::Application { message, .. }
        | ErrorDetails::Poison { message, .. }
        | ErrorDetails::Configuration { message: Some(message), .. } => cut(message),
        ErrorDetails::Configuration { message: None, .. } => {}
    }
}

/// Cuts the text of an error if an event or a message that quotes it could not be stored.
pub(crate) fn cut(text: &mut String) {
    let bytes = text.len();
    if bytes <= ERROR_BYTES {
        return;
    }
    let quoted = serde_json::Value::from(text.as_str()).to_string();
    if escaped(&quoted) + BYTES_BESIDE_ERROR <= TEXT_BYTES {
        return;
    }
    let end = (0..=ERROR_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text.push_str(&format!("… (cut: {bytes} bytes are more than Cosmos DB takes in one document)"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_json() {
        for text in ["", "plain", "q\"b\\n\nr\rt\tu\u{1}\u{8}\u{c}\u{1f}\u{7f}", "日本 🦀"] {
            assert_eq!(escaped(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_of_any_error_can_be_stored() {
        for (piece, fits) in [("x", 1_900_000), ("\"", 490_000), ("\u{1}", 280_000), ("🦀", 490_000)] {
            let full = piece.repeat(fits);
            let mut text = full.clone();
            cut(&mut text);
            assert!(text == full, "{piece:?} fits");
            let mut text = piece.repeat(2_500_000);
            cut(&mut text);
            assert!(text.starts_with(piece) && text.contains(&(2_500_000 * piece.len()).to_string()));
            let details =
                ErrorDetails::Infrastructure { operation: String::new(), message: text, retryable: false };
            assert!(escaped(&serde_json::to_string(&details).unwrap()) <= TEXT_BYTES, "{piece:?}");
        }
    }
}
