//! Commits that do not fit into one request. Their longest texts are sent ahead, where nobody sees them; the
//! commit itself then refers to them and is small. It still is one commit: all or nothing.

use duroxide::providers::ProviderError;
use serde_json::json;

use super::{Inner, unique};
use crate::model::documents::{AckTurn, Changed, NewMessage, Payload};
use crate::model::tokens::{self, TurnToken, WorkToken};

/// A request up to this size goes as it is; the service takes 2 MB.
const REQUEST_BYTES: usize = 1_700_000;

/// The service's limit for a document is 2 MB; the text's own document needs little beside it.
const TEXT_BYTES: usize = 2_000_000;

/// What a request holds beside each text: member names, ids, usual tags.
const BYTES_BESIDE_TEXT: usize = 100;

/// Shorter texts are not worth a document of their own.
const WORTH_STAGING_BYTES: usize = 256;

/// A text of a commit, and what to call it in an error.
type Named<'a> = (String, &'a mut Payload);

impl Inner {
    pub(super) async fn stage_turn(
        &self,
        token: &TurnToken,
        turn: &mut AckTurn,
    ) -> Result<(), ProviderError> {
        let operation = "ack_orchestration_item";
        let texts = texts_of_turn(turn);
        let size = texts.iter().map(|(_, payload)| bytes_of(payload) + BYTES_BESIDE_TEXT).sum();
        if size <= REQUEST_BYTES {
            return Ok(());
        }
        let staged = stage(operation, size, texts)?;
        self.send_ahead(operation, &token.partition, &token.lock, None, staged).await
    }

    pub(super) async fn stage_completion(
        &self,
        token: &WorkToken,
        completion: &mut NewMessage,
    ) -> Result<(), ProviderError> {
        let operation = "ack_work_item";
        let size = bytes_of(&completion.item);
        if size <= REQUEST_BYTES {
            return Ok(());
        }
        let text = vec![("result of an activity".to_owned(), &mut completion.item)];
        let staged = stage(operation, size, text)?;
        self.send_ahead(operation, &token.partition, &token.lock, Some(&token.work), staged).await
    }

    /// Sends texts ahead, as many at a time as a request takes.
    async fn send_ahead(
        &self,
        operation: &str,
        partition: &str,
        lock: &str,
        work: Option<&str>,
        staged: Vec<(String, String)>,
    ) -> Result<(), ProviderError> {
        let ids: Vec<&str> = staged.iter().map(|(id, _)| id.as_str()).collect();
        let mut rest = staged.as_slice();
        while let Some((_, first)) = rest.first() {
            let mut size = escaped(first);
            let mut count = 1;
            while let Some((_, text)) = rest.get(count)
                && size + escaped(text) <= REQUEST_BYTES
            {
                size += escaped(text);
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            let texts: Vec<_> = now.iter().map(|(id, text)| json!({ "id": id, "text": text })).collect();
            let mut argument = json!({ "instanceId": partition, "lockId": lock, "ids": ids, "texts": texts });
            if let Some(work) = work {
                argument["workId"] = work.into();
            }
            let (changed, _): (Changed, _) =
                self.under_lock(operation, lock, "stageTexts", partition, &argument).await?;
            if changed.status != "staged" {
                return Err(tokens::lost(operation));
            }
            rest = later;
        }
        Ok(())
    }
}

/// Every text of a turn that may be long.
fn texts_of_turn(turn: &mut AckTurn) -> Vec<Named<'_>> {
    let mut texts: Vec<Named<'_>> = Vec::new();
    if let Some(page) = &mut turn.page {
        let first = page.first;
        let events = page.events.iter_mut().enumerate();
        texts
            .extend(events.map(|(i, event)| (format!("event {} (or a later one)", first + i as u64), event)));
    }
    texts.extend(turn.work.iter_mut().map(|work| (format!("activity {}", work.id), &mut work.item)));
    texts.extend(turn.messages.iter_mut().map(|message| ("message to itself".to_owned(), &mut message.item)));
    let outbox = turn.outbox.iter_mut();
    texts.extend(outbox.map(|message| (format!("message to {:?}", message.to), &mut message.message.item)));
    texts.extend(turn.output.iter_mut().map(|output| ("output".to_owned(), output)));
    let status = turn.custom_status.iter_mut().filter_map(|status| status.text.as_mut());
    texts.extend(status.map(|text| ("custom status".to_owned(), text)));
    for change in &mut turn.kv {
        let name = format!("value of key {:?}", change.key.as_deref().unwrap_or_default());
        texts.extend(change.value.iter_mut().map(|value| (name.clone(), value)));
    }
    texts
}

/// Takes the longest texts out of a commit of `size` bytes until the rest fits into a request; answers id and
/// text of those taken out.
///
/// # Errors
/// Permanent, if one text does not fit into a document, or the rest does not fit into a request.
fn stage(
    operation: &str,
    size: usize,
    mut texts: Vec<Named<'_>>,
) -> Result<Vec<(String, String)>, ProviderError> {
    texts.sort_by_cached_key(|(_, payload)| std::cmp::Reverse(bytes_of(payload)));
    let batch = unique();
    let mut left = size;
    let mut staged = Vec::new();
    for (name, payload) in texts {
        let bytes = bytes_of(payload);
        if left <= REQUEST_BYTES || bytes < WORTH_STAGING_BYTES {
            break;
        }
        if bytes > TEXT_BYTES {
            return Err(ProviderError::permanent(
                operation,
                format!(
                    "{name} takes {bytes} bytes as it is stored, Cosmos DB takes {TEXT_BYTES} in one document; store large data elsewhere and pass a reference"
                ),
            ));
        }
        let id = format!("t:{batch}:{}", staged.len());
        if let Payload::Inline(text) = std::mem::replace(payload, Payload::Stored { id: id.clone() }) {
            left -= bytes;
            staged.push((id, text));
        }
    }
    if left > REQUEST_BYTES {
        return Err(ProviderError::permanent(
            operation,
            format!(
                "the turn takes {size} bytes in many small parts, one commit takes {REQUEST_BYTES}; schedule less in one turn"
            ),
        ));
    }
    Ok(staged)
}

/// What a text takes in a request: it is JSON text inside JSON.
fn bytes_of(payload: &Payload) -> usize {
    match payload {
        Payload::Inline(text) => escaped(text),
        Payload::Stored { .. } => 0,
    }
}

/// Length of a text as a JSON string, without writing it.
fn escaped(text: &str) -> usize {
    let beyond_itself = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(beyond_itself).sum::<usize>() + 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn staged(sizes: &[usize]) -> Result<(usize, Vec<bool>), ProviderError> {
        let mut payloads: Vec<Payload> =
            sizes.iter().map(|size| Payload::Inline("x".repeat(size - 2))).collect();
        let named = payloads.iter_mut().map(|payload| ("part".to_owned(), payload)).collect();
        let sent = stage("test", sizes.iter().sum(), named)?;
        let stored = payloads.iter().map(|payload| matches!(payload, Payload::Stored { .. })).collect();
        Ok((sent.len(), stored))
    }

    #[test]
    fn lengths_are_those_of_the_json() {
        for text in ["", "plain", "q\"b\\n\nr\rt\tu\u{1}\u{8}\u{c}\u{1f}\u{7f}", "日本 🦀"] {
            assert_eq!(escaped(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_go_ahead_until_the_rest_fits() {
        assert_eq!(
            staged(&[100, 1_500_000, 400_000, 300_000]).unwrap(),
            (1, vec![false, true, false, false])
        );
        let all = staged(&[1_900_000, 1_900_000, 1_900_000]).unwrap();
        assert_eq!(all, (3, vec![true; 3]));
    }

    #[test]
    fn what_can_never_be_stored_is_named_with_size_and_limit() {
        let error = staged(&[2_500_000]).unwrap_err();
        assert!(!error.is_retryable());
        for part in ["part", "2500000", "2000000"] {
            assert!(error.message.contains(part), "{error}");
        }
        let error = staged(&[200; 15_000]).unwrap_err();
        assert!(!error.is_retryable() && error.message.contains("many small parts"), "{error}");
    }
}
