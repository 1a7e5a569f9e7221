//! The way of committed changes to the disk.

use crate::error::ServiceError;

/// A key and its new value; `None` deletes.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// Where committed changes go: nowhere, or into a file.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    #[cfg(feature = "persist")]
    disk: Option<crate::persist::Disk>,
    #[cfg(feature = "persist")]
    failed: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// The promise that a change is on disk.
#[derive(Debug)]
#[must_use]
pub(crate) struct Durable {
    #[cfg(feature = "persist")]
    pending: Option<Pending>,
}

#[cfg(feature = "persist")]
#[derive(Debug)]
struct Pending {
    done: tokio::sync::oneshot::Receiver<Result<(), crate::persist::PersistError>>,
    failed: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

#[cfg(not(feature = "persist"))]
impl Journal {
    /// Whether changes are kept.
    pub(crate) fn keeps(&self) -> bool {
        false
    }

    /// Queues a change.
    pub(crate) fn append(&self, _writes: Vec<Write>) -> Durable {
        Durable {}
    }

    /// Refuses writes once the disk has failed.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        Ok(())
    }
}

#[cfg(feature = "persist")]
impl Journal {
    /// A journal that keeps changes on `disk`.
    pub(crate) fn on(disk: crate::persist::Disk) -> Self {
        Self { disk: Some(disk), failed: std::sync::Arc::default() }
    }

    /// Whether changes are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.disk.is_some()
    }

    /// Queues a change. Called under the lock that orders commits, so that the file sees them in that order.
    pub(crate) fn append(&self, writes: Vec<Write>) -> Durable {
        let pending = self
            .disk
            .as_ref()
            .map(|disk| Pending { done: disk.commit(writes), failed: std::sync::Arc::clone(&self.failed) });
        Durable { pending }
    }

    /// Refuses writes once the disk has failed: memory is ahead of it from there on.
    ///
    /// # Errors
    /// 503 after a failure.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        if self.failed.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(disk_failed("an earlier change could not be written"));
        }
        Ok(())
    }
}

#[cfg(feature = "persist")]
fn disk_failed(reason: &str) -> ServiceError {
    ServiceError::new(503, 0, format!("The emulator's data directory failed: {reason}."))
}

impl Durable {
    /// Nothing to wait for.
    pub(crate) fn now() -> Self {
        Self {
            #[cfg(feature = "persist")]
            pending: None,
        }
    }

    /// Waits until the change is on disk.
    ///
    /// # Errors
    /// 503 when it could not be written.
    pub(crate) async fn wait(self) -> Result<(), ServiceError> {
        #[cfg(feature = "persist")]
        if let Some(pending) = self.pending {
            let reason = match pending.done.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "its writer has stopped".to_owned(),
            };
            pending.failed.store(true, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(%reason, "a committed change could not be written");
            return Err(disk_failed(&reason));
        }
        Ok(())
    }
}
