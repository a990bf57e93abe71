//! Being told to stop, and stopping.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is told to stop, by SIGTERM or by SIGINT (Ctrl-C).
pub(crate) async fn asked() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Runs `stopping` to its end, unless it takes longer than `timeout` or the process is told to stop once more.
pub(crate) async fn within(timeout: Duration, stopping: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::select! {
        () = stopping => Ok(()),
        () = tokio::time::sleep(timeout) => anyhow::bail!("what was accepted was not finished within SHUTDOWN_TIMEOUT ({timeout:?})"),
        _ = asked() => anyhow::bail!("told to stop a second time"),
    }
}
