//! The worker queue, at both.

use std::time::Duration;

use duroxide::providers::{Provider, SessionFetchConfig, WorkItem};
use duroxide::{AppErrorKind, ErrorDetails};

use super::{HIDDEN, INSTANCES, LOCK, Pair, Token, Work, pick, tag, tag_filter};
use crate::answers::{self, agree};
use crate::ops::{Activity, Outcome, Stale, Tags};

impl Pair {
    pub(super) async fn enqueue_work(&mut self, instance: usize, activity: &Activity) -> Result<(), String> {
        if !self.has_room_for_work().await {
            return Ok(());
        }
        let item = WorkItem::ActivityExecute {
            instance: INSTANCES[instance].to_owned(),
            execution_id: 1,
            // duroxide numbers activities by their event; these are beyond.
            id: 1_000_000 + self.counter,
            name: "activity".to_owned(),
            input: self.text(false),
            session_id: activity.session.map(|n| format!("session{n}")),
            tag: activity.tag.map(tag),
        };
        both!(self, enqueue_for_worker(item.clone()), answers::same).map(drop)
    }

    pub(super) async fn fetch_work(&mut self, tags: &Tags, owner: Option<u8>) -> Result<(), String> {
        let session =
            owner.map(|owner| SessionFetchConfig { owner_id: format!("owner{owner}"), lock_timeout: LOCK });
        let tags = tag_filter(tags);
        let ours = self.ours.fetch_work_item(LOCK, Duration::ZERO, session.as_ref(), &tags).await;
        let theirs = self.theirs.fetch_work_item(LOCK, Duration::ZERO, session.as_ref(), &tags).await;
        type Fetched = Option<(WorkItem, String, u32)>;
        let view =
            |fetched: &Fetched| fetched.as_ref().map(|(item, _, attempts)| (answers::work(item), *attempts));
        agree(
            "fetch_work_item",
            ours.as_ref().map(view).map_err(Clone::clone),
            theirs.as_ref().map(view).map_err(Clone::clone),
        )?;
        if let (Ok(Some((item, ours, _))), Ok(Some((_, theirs, _)))) = (ours, theirs) {
            self.works.push(Work { token: Token { ours, theirs }, item });
        }
        Ok(())
    }

    pub(super) async fn ack_work(&mut self, index: u8, outcome: &Outcome) -> Result<(), String> {
        let Some(at) = pick(&self.works, index) else { return Ok(()) };
        let Work { token, item } = self.works.remove(at);
        let WorkItem::ActivityExecute { instance, execution_id, id, .. } = item else {
            return Err("not an activity".to_owned());
        };
        let known = INSTANCES.iter().position(|known| *known == instance).expect("one of ours");
        let completion = match outcome {
            // See `message`.
            _ if !self.known[known].started => None,
            Outcome::Completed { long } => {
                Some(WorkItem::ActivityCompleted { instance, execution_id, id, result: self.text(*long) })
            }
            Outcome::Failed => {
                let details = ErrorDetails::Application {
                    kind: AppErrorKind::ActivityFailed,
                    message: self.text(false),
                    retryable: false,
                };
                Some(WorkItem::ActivityFailed { instance, execution_id, id, details })
            }
            Outcome::Dropped => None,
        };
        // Cancelled meanwhile or deleted with its instance: both must refuse.
        agree(
            "ack_work_item",
            self.ours.ack_work_item(&token.ours, completion.clone()).await,
            self.theirs.ack_work_item(&token.theirs, completion).await,
        )?;
        self.old_works.push(token);
        Ok(())
    }

    pub(super) async fn abandon_work(
        &mut self,
        index: u8,
        ignore_attempt: bool,
        hide: bool,
    ) -> Result<(), String> {
        let Some(at) = pick(&self.works, index) else { return Ok(()) };
        let token = self.works.remove(at).token;
        let delay = hide.then_some(HIDDEN);
        agree(
            "abandon_work_item",
            self.ours.abandon_work_item(&token.ours, delay, ignore_attempt).await,
            self.theirs.abandon_work_item(&token.theirs, delay, ignore_attempt).await,
        )?;
        self.old_works.push(token);
        Ok(())
    }

    pub(super) async fn renew_work(&mut self, index: u8) -> Result<(), String> {
        let Some(at) = pick(&self.works, index) else { return Ok(()) };
        let token = &self.works[at].token;
        agree(
            "renew_work_item_lock",
            self.ours.renew_work_item_lock(&token.ours, LOCK).await,
            self.theirs.renew_work_item_lock(&token.theirs, LOCK).await,
        )
        .map(drop)
    }

    pub(super) async fn stale_work(&mut self, index: u8, what: &Stale) -> Result<(), String> {
        let Some(at) = pick(&self.old_works, index) else { return Ok(()) };
        let Token { ours, theirs } = self.old_works[at].clone();
        let answer = match what {
            Stale::Ack => agree(
                "ack_work_item with an old token",
                self.ours.ack_work_item(&ours, None).await,
                self.theirs.ack_work_item(&theirs, None).await,
            ),
            Stale::Abandon => agree(
                "abandon_work_item with an old token",
                self.ours.abandon_work_item(&ours, None, false).await,
                self.theirs.abandon_work_item(&theirs, None, false).await,
            ),
            Stale::Renew => agree(
                "renew_work_item_lock with an old token",
                self.ours.renew_work_item_lock(&ours, LOCK).await,
                self.theirs.renew_work_item_lock(&theirs, LOCK).await,
            ),
        };
        answer?.map_or(Ok(()), |()| Err("an old token was good".to_owned()))
    }

    pub(super) async fn renew_sessions(&self, owner: u8) -> Result<(), String> {
        let owner = format!("owner{owner}");
        both!(self, renew_session_lock(&[&owner], LOCK, HIDDEN), answers::same)?;
        both!(self, cleanup_orphaned_sessions(HIDDEN), answers::same).map(drop)
    }
}
