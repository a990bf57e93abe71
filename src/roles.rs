//! The roles: which parts of the service run in a process, and how a role ends.

mod process;

use anyhow::anyhow;
use eventstore::SystemClock;

use crate::access;
use crate::settings::Settings;
use crate::shutdown::StopSignals;
use process::{Ended, Process, Schema};

/// Runs `patients serve`.
pub(crate) async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let access = access::ConfiguredAccess::of(settings, &SystemClock::shared())?;
    run(settings, "serve", Schema::BringUpToDate, async |process| {
        process.projector();
        process.signers()?;
        process.mailer().await?;
        process.api(access).await
    })
    .await
}

/// Runs `patients api`.
pub(crate) async fn api(settings: &Settings) -> anyhow::Result<()> {
    let access = access::ConfiguredAccess::of(settings, &SystemClock::shared())?;
    run(settings, "api", Schema::WaitFor, async |process| {
        process.api(access).await
    })
    .await
}

/// Runs `patients projector`.
pub(crate) async fn projector(settings: &Settings) -> anyhow::Result<()> {
    run(settings, "projector", Schema::WaitFor, async |process| {
        process.projector();
        process.signers()?;
        process.metrics(None).await.map(drop)
    })
    .await
}

/// Runs `patients mailer`.
pub(crate) async fn mailer(settings: &Settings) -> anyhow::Result<()> {
    run(settings, "mailer", Schema::WaitFor, async |process| {
        process.mailer().await?;
        process.metrics(None).await.map(drop)
    })
    .await
}

async fn run(
    settings: &Settings,
    role: &'static str,
    schema: Schema,
    begin: impl AsyncFnOnce(&mut Process<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let starting = async {
        let appends = matches!(role, "serve" | "api");
        let mut process = Process::start(settings, role, schema, appends).await?;
        begin(&mut process).await?;
        process.announce()?;
        anyhow::Ok(process)
    };
    let mut process = tokio::select! {
        started = starting => started?,
        () = signals.asked() => return Ok(()),
    };
    let ended = tokio::select! {
        () = signals.asked() => Ok(()),
        ended = process.tasks.join_next() => Err(early_end(ended)),
    };
    tracing::info!("stopping: finishing accepted work");
    signals.within(settings.shutdown_timeout, process.stop()).await?;
    tracing::info!("stopped");
    ended
}

fn early_end(ended: Option<Result<Ended, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((task, Err(error)))) => error.context(format!("the {task} ended")),
        Some(Ok((task, Ok(())))) => anyhow!("the {task} ended unexpectedly"),
        // The panic message may contain anything; the panic hook has shown the location.
        Some(Err(_)) => anyhow!("a task panicked"),
        None => anyhow!("there is nothing to run"),
    }
}
