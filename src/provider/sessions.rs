//! Sessions pin activities to one worker. A session is known by its id alone, over all instances, so it has a
//! partition of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duroxide::providers::{ProviderError, SessionFetchConfig};
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use serde_json::json;
use tokio::time::Instant;

use super::{Inner, millis};
use crate::cosmos::client::{DISPATCH_BUDGET, Query};
use crate::model::documents::{Changed, SESSION, Session};
use crate::model::keys;
use crate::model::tokens::WorkToken;

/// Sessions that other owners hold, as far as this process has learnt: discovery leaves their items out.
#[derive(Debug, Default)]
pub(crate) struct ForeignSessions(Mutex<HashMap<String, (String, Instant)>>);

impl ForeignSessions {
    /// Sessions held by others than `owner`.
    pub(crate) fn of_others(&self, owner: &str) -> Vec<String> {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| *until > now);
        known.iter().filter(|(_, (holder, _))| holder != owner).map(|(session, _)| session.clone()).collect()
    }

    /// When the first of these may be free.
    pub(crate) fn first_end(&self, owner: &str) -> Option<Instant> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|(holder, _)| holder != owner).map(|(_, until)| *until).min()
    }

    /// Whether somebody else than `owner` holds it.
    pub(crate) fn is_foreign(&self, session: &str, owner: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(session).is_some_and(|(holder, until)| holder != owner && *until > Instant::now())
    }

    fn learn(&self, session: &str, holder: String, until: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session.to_owned(), (holder, until));
    }

    fn forget(&self, session: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }
}

/// A renewal or completion waits so long for its session to be marked as active, which normally is there then.
const TOUCH_WAIT: Duration = Duration::from_millis(500);

/// Sessions renewed at the same time.
const AT_ONCE: usize = 16;

/// A session that the caller holds.
#[derive(Debug)]
pub(super) struct Claim {
    /// Its etag, if the caller did not hold it before.
    pub(super) etag: Option<String>,
}

impl Inner {
    /// Makes the owner the holder of the session. `None`: another one holds it.
    pub(super) async fn claim_session(
        &self,
        session: &str,
        owner: &SessionFetchConfig,
    ) -> Result<Option<Claim>, ProviderError> {
        let partition = keys::session_partition("fetch_work_item", session)?;
        let argument = json!({
            "instanceId": partition,
            "session": session,
            "owner": owner.owner_id,
            "lockMs": millis(owner.lock_timeout),
        });
        let deadline = Instant::now() + DISPATCH_BUDGET;
        let (changed, _): (Changed, _) =
            self.procedure_before(|| deadline, "claimSession", &partition, &argument).await?;
        if changed.status == "claimed" {
            self.foreign_sessions.forget(session);
            return Ok(Some(Claim { etag: changed.etag }));
        }
        if let (Some(holder), Some(until), Some(now)) = (changed.owner, changed.until, changed.now) {
            let left = Duration::try_from_secs_f64((until - now).max(0.0) / 1000.0).unwrap_or_default();
            self.foreign_sessions.learn(session, holder, Instant::now() + left);
        }
        Ok(None)
    }

    /// Lets go of a session that was claimed for an item which then was not run, unless it has been used since: its
    /// worker may not ask for sessions any more, or be gone, while others are free. Comes before the item is given
    /// back, or others would find an item that they may not have. Best effort: the claim expires.
    pub(super) async fn release_session(&self, token: &WorkToken) {
        let (Some(session), Some(claim)) = (&token.session, &token.claim) else {
            return;
        };
        let release = async {
            let partition = keys::session_partition("abandon_work_item", session)?;
            Ok::<_, ProviderError>(self.client.delete(&partition, SESSION, claim).await?)
        };
        if let Err(error) = release.await {
            tracing::debug!(session, %error, "could not let go of a session");
        }
    }

    /// Marks activity in a session. Best effort: the item itself is safe without, and its renewal must not come late
    /// because of this.
    pub(super) async fn touch_session(self: &Arc<Self>, session: &str) {
        let (this, session) = (Arc::clone(self), session.to_owned());
        let touched = tokio::spawn(async move {
            let touch = async {
                let partition = keys::session_partition("touch_session", &session)?;
                let touched = json!({ "touch": true });
                Ok::<_, ProviderError>(this.procedure::<Changed>("renewSession", &partition, &touched).await?)
            };
            if let Err(error) = touch.await {
                tracing::warn!(session, %error, "could not mark activity in a session");
            }
        });
        let _ = tokio::time::timeout(TOUCH_WAIT, touched).await;
    }

    pub(crate) async fn renew_sessions(
        &self,
        owners: &[&str],
        extend_for: Duration,
        idle_timeout: Duration,
    ) -> Result<usize, ProviderError> {
        if owners.is_empty() {
            return Ok(0);
        }
        let query = Query::new(
            "listSessions",
            "SELECT c.instanceId, c.session, c._etag FROM c WHERE c.type = 'session' \
             AND ARRAY_CONTAINS(@owners, c.owner) AND c.sessionUntil > GetCurrentTimestampStatic()",
        )
        .bind("@owners", owners);
        let held: Vec<Session> = self.client.query_all(&query).await?;
        let argument = json!({
            "owners": owners,
            "extendMs": millis(extend_for),
            "idleMs": millis(idle_timeout),
        });
        // One that cannot be renewed costs the others nothing.
        let renewals: Vec<_> = held
            .iter()
            .map(|session| self.procedure::<Changed>("renewSession", &session.partition, &argument))
            .collect();
        let outcomes: Vec<_> = iter(renewals).buffer_unordered(AT_ONCE).collect().await;
        let mut renewed = 0;
        for outcome in outcomes {
            renewed += usize::from(outcome?.status == "renewed");
        }
        Ok(renewed)
    }

    /// Removes expired sessions without pending items.
    pub(crate) async fn remove_orphaned_sessions(&self) -> Result<usize, ProviderError> {
        let query = Query::new(
            "listSessions",
            "SELECT c.instanceId, c.session, c._etag FROM c WHERE c.type = 'session' \
             AND c.sessionUntil < GetCurrentTimestampStatic()",
        );
        let expired: Vec<Session> = self.client.query_all(&query).await?;
        let mut removed = 0;
        for session in expired {
            let pending = Query::new(
                "pendingOfSession",
                "SELECT TOP 1 c.id FROM c WHERE c.session = @session AND c.type = 'work'",
            )
            .bind("@session", session.session.as_str());
            let items: Vec<serde_json::Value> = self.client.query_all(&pending).await?;
            // The etag keeps a session that somebody claims meanwhile.
            if items.is_empty() && self.client.delete(&session.partition, SESSION, &session.etag).await? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}
