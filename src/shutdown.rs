//! Stop signals and graceful shutdown.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listener for SIGTERM and SIGINT (Ctrl-C). A signal that arrives between two calls of
/// [`StopSignals::asked`] is kept.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Starts to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when the process receives a stop signal.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for `stopping`. Fails after `timeout`, or when the process receives another stop signal.
    pub(crate) async fn within(
        &mut self,
        timeout: Duration,
        stopping: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = stopping => Ok(()),
            () = tokio::time::sleep(timeout) => {
                anyhow::bail!("accepted work was not finished within SHUTDOWN_TIMEOUT ({timeout:?})")
            }
            () = self.asked() => anyhow::bail!("received a second stop signal"),
        }
    }
}
