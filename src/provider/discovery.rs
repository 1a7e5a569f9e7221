//! Finding documents that deserve a dispatcher: one narrow index range per physical partition.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use duroxide::TagFilter;
use serde::Deserialize;
use tokio::sync::Notify;

use super::Inner;
use crate::cosmos::Failure;
use crate::cosmos::client::Query;

/// Candidates asked of each physical partition at a time.
pub(crate) const PAGE: usize = 32;

/// A document that is ready, as far as its index entry says; the lock procedure decides.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Candidate {
    #[serde(rename = "instanceId")]
    pub(crate) partition: String,
    pub(crate) id: String,
    #[serde(rename = "at")]
    pub(crate) ready_at: f64,
    pub(crate) slot: u8,
    pub(crate) session: Option<String>,
}

/// Versions a dispatcher can replay, packed; see `items::packed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct VersionRange {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Inner {
    /// Instances that are ready for a turn, the one that waits longest first.
    pub(crate) async fn ready_turns(&self, filter: Option<VersionRange>) -> Result<Vec<Candidate>, Failure> {
        let pinned = match filter {
            Some(_) => " AND (NOT IS_DEFINED(c.pinned) OR (c.pinned >= @min AND c.pinned <= @max))",
            None => "",
        };
        let mut query = Query::new(
            "discoverTurns",
            format!(
                "SELECT TOP {PAGE} c.instanceId, c.id, c.turnReadyAt AS at, c.slot FROM c \
                 WHERE c.turnReadyAt <= GetCurrentTimestampStatic(){pinned} ORDER BY c.turnReadyAt"
            ),
        );
        if let Some(range) = filter {
            query = query.bind("@min", range.min).bind("@max", range.max);
        }
        self.candidates(&query).await
    }

    /// Work items that are ready and that the filter allows, the one that waits longest first. Items of the
    /// sessions in `foreign` are left out; without `sessions`, items of any session.
    pub(crate) async fn ready_work(
        &self,
        tags: &TagFilter,
        sessions: bool,
        foreign: &[String],
    ) -> Result<Vec<Candidate>, Failure> {
        let mut conditions = String::new();
        let names: Vec<String> = tag_names(tags).iter().map(|(name, _)| name.clone()).collect();
        match tags {
            TagFilter::Any => {}
            TagFilter::DefaultOnly => conditions.push_str(" AND NOT IS_DEFINED(c.tag)"),
            TagFilter::Tags(_) => conditions.push_str(&format!(" AND c.tag IN ({})", names.join(", "))),
            TagFilter::DefaultAnd(_) => conditions
                .push_str(&format!(" AND (NOT IS_DEFINED(c.tag) OR c.tag IN ({}))", names.join(", "))),
            TagFilter::None => return Ok(Vec::new()),
        }
        if !sessions {
            conditions.push_str(" AND NOT IS_DEFINED(c.session)");
        } else if !foreign.is_empty() {
            conditions
                .push_str(" AND (NOT IS_DEFINED(c.session) OR NOT ARRAY_CONTAINS(@foreign, c.session))");
        }
        let mut query = Query::new(
            "discoverWork",
            format!(
                "SELECT TOP {PAGE} c.instanceId, c.id, c.workReadyAt AS at, c.slot, c.session FROM c \
                 WHERE c.workReadyAt <= GetCurrentTimestampStatic(){conditions} ORDER BY c.workReadyAt"
            ),
        );
        for (name, tag) in tag_names(tags) {
            query = query.bind(name, tag);
        }
        if sessions && !foreign.is_empty() {
            query = query.bind("@foreign", foreign);
        }
        self.candidates(&query).await
    }

    async fn candidates(&self, query: &Query) -> Result<Vec<Candidate>, Failure> {
        let mut found: Vec<Candidate> = self.client.query_all(query).await?;
        found.sort_by(|a, b| a.ready_at.total_cmp(&b.ready_at));
        Ok(found)
    }
}

/// Parameters for the tags of a filter, in a stable order so that the query text is too.
fn tag_names(tags: &TagFilter) -> Vec<(String, String)> {
    let (TagFilter::Tags(set) | TagFilter::DefaultAnd(set)) = tags else {
        return Vec::new();
    };
    let mut sorted: Vec<&String> = set.iter().collect();
    sorted.sort();
    sorted.into_iter().enumerate().map(|(i, tag)| (format!("@tag{i}"), tag.clone())).collect()
}

/// Candidates that some dispatcher of this process is locking right now: the others need not try.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    candidates: Mutex<HashSet<(String, String)>>,
    released: Notify,
}

/// Gives the candidate free again when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    all: &'a InFlight,
    candidate: (String, String),
}

impl InFlight {
    pub(crate) fn claim(&self, candidate: &Candidate) -> Option<Claim<'_>> {
        let key = (candidate.partition.clone(), candidate.id.clone());
        let fresh = self.candidates.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then_some(Claim { all: self, candidate: key })
    }

    /// Waits for the next claim to be given free, from the time of this call on.
    pub(crate) fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.released.notified()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.all.candidates.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.candidate);
        self.all.released.notify_waiters();
    }
}

/// How a search for work ended.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// This is locked now.
    Locked(T),
    /// Nothing is left that this caller could take.
    Nothing,
    /// All that is left is being locked by others of this process, who may yet fail.
    Busy,
}

/// A full page means more work than the process can take at once: each process then starts at its own place,
/// so that they rarely try for the same documents. A page that is not full is taken in order.
pub(crate) fn spread(candidates: &mut [Candidate], start: u8) {
    if candidates.len() >= PAGE {
        candidates.sort_by_key(|candidate| candidate.slot.wrapping_sub(start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(slot: u8) -> Candidate {
        Candidate {
            partition: format!("p{slot}"),
            id: "head".into(),
            ready_at: f64::from(slot),
            slot,
            session: None,
        }
    }

    #[test]
    fn a_claim_excludes_others_until_it_is_dropped() {
        let all = InFlight::default();
        let first = all.claim(&candidate(1));
        assert!(first.is_some() && all.claim(&candidate(1)).is_none() && all.claim(&candidate(2)).is_some());
        drop(first);
        assert!(all.claim(&candidate(1)).is_some());
    }

    #[test]
    fn few_candidates_keep_their_order_and_many_start_at_the_own_slot() {
        let mut few: Vec<Candidate> = (0..3).map(candidate).collect();
        spread(&mut few, 2);
        assert_eq!(few.iter().map(|c| c.slot).collect::<Vec<_>>(), [0, 1, 2]);
        let mut many: Vec<Candidate> = (0..40).map(candidate).collect();
        spread(&mut many, 38);
        assert_eq!(many.iter().map(|c| c.slot).take(4).collect::<Vec<_>>(), [38, 39, 0, 1]);
    }
}
