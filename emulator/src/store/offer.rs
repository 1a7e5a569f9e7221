//! Provisioned throughput of databases and containers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ServiceError;
use crate::limits::{MIN_AUTOSCALE_THROUGHPUT, MIN_THROUGHPUT};

use super::account::{Account, Database, database_write};
use super::clock::Clock;
use super::container::{Container, Meta};
use super::document::new_etag;
use super::journal::Durable;
use super::sync;

/// Autoscale goes down to this part of its maximum.
const AUTOSCALE_FLOOR: u64 = 10;

/// Request units per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Throughput {
    /// As much all the time.
    Manual(u64),
    /// Up to a maximum.
    Autoscale { max: u64 },
}

/// Throughput with what identifies its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) throughput: Throughput,
    pub(crate) etag: String,
    pub(crate) ts: i64,
}

impl Default for Throughput {
    fn default() -> Self {
        Self::Manual(MIN_THROUGHPUT)
    }
}

impl Throughput {
    /// Refuses what cannot be provisioned.
    ///
    /// # Errors
    /// 400 below the minimum, and between the steps.
    pub(crate) fn checked(self) -> Result<Self, ServiceError> {
        let (value, least, step) = match self {
            Self::Manual(value) => (value, MIN_THROUGHPUT, 100),
            Self::Autoscale { max } => (max, MIN_AUTOSCALE_THROUGHPUT, 1000),
        };
        if value < least || !value.is_multiple_of(step) {
            return Err(ServiceError::bad_request(format!(
                "The offer should have valid throughput values: {value} is not a multiple of {step} from {least} on."
            )));
        }
        Ok(self)
    }

    /// What requests may use in a second.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::Manual(value) => value,
            Self::Autoscale { max } => max,
        }
    }

    /// What an idle offer reports: autoscale is at its floor.
    pub(crate) fn current(self) -> u64 {
        match self {
            Self::Manual(value) => value,
            Self::Autoscale { max } => max / AUTOSCALE_FLOOR,
        }
    }
}

impl Offer {
    pub(super) fn new(throughput: Throughput, clock: &Clock) -> Self {
        Self { throughput, etag: new_etag(), ts: clock.now_s() }
    }
}

impl Account {
    /// Changes the throughput of a database.
    ///
    /// # Errors
    /// 400 for a value that cannot be provisioned, 404 when it has none of its own.
    pub(crate) fn replace_database_offer(
        &self,
        database: &Arc<Database>,
        throughput: Throughput,
    ) -> Result<Durable, ServiceError> {
        let offer = Offer::new(throughput.checked()?, &self.shared.clock);
        self.shared.journal.check()?;
        let mut record = sync::write(&database.record);
        if record.offer.is_none() {
            return Err(ServiceError::not_found());
        }
        record.offer = Some(offer);
        Ok(self.shared.journal.append(vec![database_write(database.number, &record)]))
    }
}

impl Account {
    /// RU/s that the containers of a database share, if they do.
    pub(crate) fn shared_throughput(&self, database: u32) -> Option<u64> {
        let databases = sync::read(&self.databases);
        let database = databases.values().find(|known| known.number == database)?;
        database.offer().map(|offer| offer.throughput.limit())
    }
}

impl Database {
    /// Its number, which is its `_rid`.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The throughput its containers share.
    pub(crate) fn offer(&self) -> Option<Offer> {
        sync::read(&self.record).offer.clone()
    }
}

impl Container {
    /// Changes the throughput of the container.
    ///
    /// # Errors
    /// 400 for a value that cannot be provisioned, 404 when it has none of its own.
    pub(crate) fn replace_offer(&self, throughput: Throughput) -> Result<Durable, ServiceError> {
        let offer = Offer::new(throughput.checked()?, &self.shared.clock);
        self.shared.journal.check()?;
        // The order of locks as in a commit.
        let state = sync::write(&self.state);
        self.check_there()?;
        let mut meta = sync::write(&self.meta);
        if meta.offer.is_none() {
            return Err(ServiceError::not_found());
        }
        *meta = Arc::new(Meta { offer: Some(offer), ..Meta::clone(&meta) });
        Ok(self.shared.journal.append(vec![self.definition_write(&meta, &state.ranges)]))
    }
}
