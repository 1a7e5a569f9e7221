//! What a runtime gives back with a delay, and with its attempt counted, it could not do: it does not know the code,
//! say, while another one does. This process knows to the millisecond when that is ready again; others have to look
//! for it, and would always come too late, until its attempts are used up. So they go first.

use std::time::Duration;

use duroxide::providers::ProviderError;
use tokio::time::Instant;

use super::Inner;
use super::discovery::Due;
use crate::model::documents::HEAD;
use crate::model::tokens::{self, TurnToken, WorkToken};

impl Inner {
    /// How long others need to find what is ready, if their settings are ours.
    pub(super) fn courtesy(&self) -> Duration {
        self.config.idle_poll_interval
    }

    /// Leaves a turn to others that has just been given back, and becomes ready after `delay`.
    pub(super) fn leave_turn(&self, token: &TurnToken, delay: Duration) {
        if let Some(until) = Instant::now().checked_add(delay.saturating_add(self.courtesy())) {
            self.turns.candidates.leave(&token.partition, HEAD, until);
        }
    }

    /// The same of an activity.
    pub(super) fn leave_work(&self, token: &str, delay: Duration) -> Result<(), ProviderError> {
        let token: WorkToken = tokens::decode("abandon_work_item", token)?;
        let wait = delay.saturating_add(self.courtesy());
        if let Some(until) = Instant::now().checked_add(wait) {
            self.work.candidates.leave(&token.partition, &token.work, until);
            self.discovery.remember(wait, Due::Work);
        }
        Ok(())
    }
}
