//! Being told to stop, and stopping.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGTERM and SIGINT (Ctrl-C), from when it is made: one that comes while nobody waits is kept.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Begins to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when the process is told to stop.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `stopping` to its end, unless it takes longer than `timeout` or the process is told to stop once
    /// more.
    pub(crate) async fn within(
        &mut self,
        timeout: Duration,
        stopping: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = stopping => Ok(()),
            () = tokio::time::sleep(timeout) => {
                anyhow::bail!("what was accepted was not finished within SHUTDOWN_TIMEOUT ({timeout:?})")
            }
            () = self.asked() => anyhow::bail!("told to stop a second time"),
        }
    }
}
