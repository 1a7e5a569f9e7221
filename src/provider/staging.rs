//! Commits that do not fit into one request. Their texts are sent ahead, where nobody sees them: long ones each
//! for itself, short ones in batches. The commit itself then refers to them and is small. It still is one commit:
//! all or nothing.

use duroxide::providers::ProviderError;
use serde::Serialize;
use serde_json::json;

use super::{Inner, unique};
use crate::model::documents::{AckTurn, Changed, NewMessage, Payload};
use crate::model::sizes::{self, BYTES_BESIDE_TEXT, bytes_of, escaped};
use crate::model::tokens::{self, TurnToken, WorkToken};

/// A request up to this size goes as it is; the service takes 2 MB.
const REQUEST_BYTES: usize = 1_700_000;

/// Shorter texts are not worth a document of their own; they go in batches.
const WORTH_STAGING_BYTES: usize = 4_096;

/// A batch of short texts is about so long.
const BATCH_BYTES: usize = 1_000_000;

/// Activities and messages that one commit takes: each becomes a document, and the service stops a procedure
/// after 5 s. 8,400 small ones are known to fit (docs/ARCHITECTURE.md).
const MAX_PARTS: usize = 5_000;

/// A text of a commit, and what to call it in an error.
type Named<'a> = (String, &'a mut Payload);

/// A document to send ahead.
#[derive(Debug, Serialize)]
struct Staged {
    id: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Content {
    Text(String),
    Texts(Vec<String>),
}

impl Staged {
    /// What it takes in a request.
    fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Text(text) => escaped(text),
            Content::Texts(texts) => texts.iter().map(|text| escaped(text) + 1).sum(),
        };
        content + BYTES_BESIDE_TEXT
    }
}

impl Inner {
    pub(super) async fn stage_turn(
        &self,
        token: &TurnToken,
        turn: &mut AckTurn,
    ) -> Result<(), ProviderError> {
        let operation = "ack_orchestration_item";
        let parts = turn.work.len() + turn.cancelled.len() + turn.messages.len() + turn.outbox.len();
        if parts > MAX_PARTS {
            let what = format!(
                "the turn schedules, cancels or sends {parts} activities, timers and messages, one commit takes {MAX_PARTS}; do less in one turn"
            );
            return Err(ProviderError::permanent(operation, what));
        }
        let size = texts_of_turn(turn).iter().map(|(_, payload)| bytes_of(payload)).sum();
        if size <= REQUEST_BYTES {
            return Ok(());
        }
        let mut batch = Batch::new();
        let mut left = batch.take_long(operation, size, texts_of_turn(turn))?;
        if left > REQUEST_BYTES {
            left -= batch.take_events(turn);
        }
        if left > REQUEST_BYTES {
            batch.take_short(turn);
        }
        turn.staged = true;
        self.send_ahead(operation, &token.partition, &token.lock, None, batch.staged).await
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
        let mut batch = Batch::new();
        let text = vec![("result of an activity".to_owned(), &mut completion.item)];
        batch.take_long(operation, size, text)?;
        self.send_ahead(operation, &token.partition, &token.lock, Some(&token.work), batch.staged).await
    }

    /// Sends texts ahead, as many at a time as a request takes.
    async fn send_ahead(
        &self,
        operation: &str,
        partition: &str,
        lock: &str,
        work: Option<&str>,
        staged: Vec<Staged>,
    ) -> Result<(), ProviderError> {
        let ids: Vec<&str> = staged.iter().map(|staged| staged.id.as_str()).collect();
        let mut rest = staged.as_slice();
        while let Some(first) = rest.first() {
            let mut size = first.bytes();
            let mut count = 1;
            while let Some(next) = rest.get(count)
                && size + next.bytes() <= REQUEST_BYTES
            {
                size += next.bytes();
                count += 1;
            }
            let (texts, later) = rest.split_at(count);
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

/// What is taken out of a commit, to be sent ahead.
struct Batch {
    id: String,
    staged: Vec<Staged>,
}

impl Batch {
    fn new() -> Self {
        Self { id: unique(), staged: Vec::new() }
    }

    /// Adds a document; answers its id.
    fn add(&mut self, content: Content) -> String {
        let id = format!("t:{}:{}", self.id, self.staged.len());
        self.staged.push(Staged { id: id.clone(), content });
        id
    }

    /// Takes the longest texts out of a commit of `size` bytes until the rest fits into a request, or is short;
    /// answers how much is left.
    ///
    /// # Errors
    /// Permanent, if one text does not fit into a document.
    fn take_long(
        &mut self,
        operation: &str,
        size: usize,
        mut texts: Vec<Named<'_>>,
    ) -> Result<usize, ProviderError> {
        texts.sort_by_cached_key(|(_, payload)| std::cmp::Reverse(bytes_of(payload)));
        let mut left = size;
        for (name, payload) in texts {
            let bytes = bytes_of(payload);
            if left <= REQUEST_BYTES || bytes < WORTH_STAGING_BYTES {
                break;
            }
            sizes::check(operation, &name, bytes)?;
            if let Payload::Inline(text) = payload {
                let id = self.add(Content::Text(std::mem::take(text)));
                *payload = Payload::stored(id);
                left -= bytes;
            }
        }
        Ok(left)
    }

    /// Takes all events that are left; one entry of the page then stands for many. Answers how much that was.
    fn take_events(&mut self, turn: &mut AckTurn) -> usize {
        let Some(page) = &mut turn.page else { return 0 };
        let (mut taken, mut run, mut events) = (0, Run::default(), Vec::new());
        for event in page.events.drain(..) {
            taken += bytes_of(&event);
            match event {
                Payload::Inline(text) => {
                    if run.is_full() {
                        events.push(Payload::stored(self.add(run.end())));
                    }
                    run.push(text);
                }
                stored => {
                    if !run.texts.is_empty() {
                        events.push(Payload::stored(self.add(run.end())));
                    }
                    events.push(stored);
                }
            }
        }
        if !run.texts.is_empty() {
            events.push(Payload::stored(self.add(run.end())));
        }
        page.events = events;
        taken
    }

    /// Takes all activities and messages that are left; each then refers to its place in a batch.
    fn take_short(&mut self, turn: &mut AckTurn) {
        let messages =
            turn.messages.iter_mut().chain(turn.outbox.iter_mut().map(|outbox| &mut outbox.message));
        let items = turn.work.iter_mut().map(|work| &mut work.item);
        let (mut run, mut places): (_, Vec<&mut Payload>) = (Run::default(), Vec::new());
        for payload in items.chain(messages.map(|message| &mut message.item)) {
            let Payload::Inline(text) = payload else { continue };
            let text = std::mem::take(text);
            if run.is_full() {
                refer(&self.add(run.end()), &mut places);
            }
            run.push(text);
            places.push(payload);
        }
        if !places.is_empty() {
            refer(&self.add(run.end()), &mut places);
        }
    }
}

/// Texts that go into one document.
#[derive(Debug, Default)]
struct Run {
    texts: Vec<String>,
    bytes: usize,
}

impl Run {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    fn push(&mut self, text: String) {
        self.bytes += escaped(&text);
        self.texts.push(text);
    }

    fn end(&mut self) -> Content {
        Content::Texts(std::mem::take(self).texts)
    }
}

/// Makes each of `places` refer to its text in the batch `id`.
fn refer(id: &str, places: &mut Vec<&mut Payload>) {
    for (at, place) in places.drain(..).enumerate() {
        *place = Payload::Stored { id: id.to_owned(), at: Some(at) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn staged(sizes: &[usize]) -> Result<Vec<bool>, ProviderError> {
        let mut payloads: Vec<Payload> =
            sizes.iter().map(|size| Payload::Inline("x".repeat(size - 2 - BYTES_BESIDE_TEXT))).collect();
        let named = payloads.iter_mut().map(|payload| ("part".to_owned(), payload)).collect();
        Batch::new().take_long("test", sizes.iter().sum(), named)?;
        Ok(payloads.iter().map(|payload| matches!(payload, Payload::Stored { .. })).collect())
    }

    #[test]
    fn the_longest_go_ahead_until_the_rest_fits() {
        assert_eq!(staged(&[200, 1_500_000, 400_000, 300_000]).unwrap(), vec![false, true, false, false]);
        assert_eq!(staged(&[1_900_000, 1_900_000, 1_900_000]).unwrap(), vec![true; 3]);
    }

    #[test]
    fn what_can_never_be_stored_is_named_with_size_and_limit() {
        let error = staged(&[2_500_000]).unwrap_err();
        assert!(!error.is_retryable());
        for part in ["part", "2500000", "2000000"] {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn runs_end_when_they_are_full() {
        let mut payloads: Vec<Payload> = vec![Payload::Inline("x".into()); 3];
        let mut places: Vec<&mut Payload> = payloads.iter_mut().collect();
        refer("t:1", &mut places);
        assert!(places.is_empty());
        assert!(matches!(&payloads[2], Payload::Stored { id, at: Some(2) } if id == "t:1"));
        let mut run = Run::default();
        run.push("x".repeat(BATCH_BYTES));
        assert!(run.is_full());
        assert!(matches!(run.end(), Content::Texts(texts) if texts.len() == 1));
        assert!(!run.is_full() && run.texts.is_empty());
    }
}
