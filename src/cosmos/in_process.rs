//! The transport to an emulator inside this process: no socket, the same requests.

use std::time::Duration;

use cosmos_emulator::Emulator;

use super::transport::{Request, Response, Transport, TransportError};

/// Calls an emulator directly.
pub(crate) struct InProcess(Emulator);

impl InProcess {
    pub(crate) fn new(emulator: Emulator) -> Self {
        Self(emulator)
    }
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcess")
    }
}

#[async_trait::async_trait]
impl Transport for InProcess {
    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, TransportError> {
        let response = tokio::time::timeout(timeout, self.0.call(request))
            .await
            .map_err(|_| TransportError::OutcomeUnknown("timed out".to_owned()))?;
        // A fault that the emulator was asked for; over a socket the connection would break.
        if response.extensions().get::<cosmos_emulator::Dropped>().is_some() {
            return Err(TransportError::OutcomeUnknown("the connection was dropped".to_owned()));
        }
        Ok(response)
    }
}
