//! Replay of the log into the read table, and appends to a long log.

use std::time::{Duration, Instant};

use testkit::{MysqlServer, Program};

use super::Options;
use super::reads::{projected, settled};
use crate::client::{drive, register};
use crate::report::{Goal, Line, Report};
use crate::server::{Server, memory, patients};
use crate::stats::{median, middle};
use crate::{fill, limits};

/// The goal for a rebuild, in events per second.
const REBUILD: f64 = 80_000.0;

pub(super) async fn rebuild(
    options: &Options,
    server: &MysqlServer,
    report: &mut Report,
) -> anyhow::Result<()> {
    let events = options.replayed;
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 0, events).await?;
    let bare = limits::feed(&url).await?;
    let started = Instant::now();
    let ours = Server::over(url.clone(), Some(database), &[]).await?;
    projected(&ours, events).await;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    let (peak, _) = ours.memory();
    report.add(Line {
        what: format!("first fill of the read table, {events} events"),
        ours: rate,
        unit: "/s",
        yardstick: Some(("(d)".to_owned(), bare)),
        goal: None,
        stats: None,
        notes: format!("peak memory {peak:.0} MiB; by the projector, while the mailer writes its ledger"),
    });
    settled(&url).await?;
    let (mut rates, mut peaks, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (rate, peak) = rebuilt(&url, events).await?;
        rates.push(rate);
        peaks.push(peak);
        bares.push(limits::feed(&url).await?);
    }
    let peak = peaks.iter().copied().fold(0.0, f64::max);
    let (rate, bare) = (middle(rates), middle(bares));
    report.add(Line {
        what: format!("rebuild of the read table, {events} events"),
        ours: rate,
        unit: "/s",
        yardstick: Some(("(d)".to_owned(), bare)),
        goal: Some(Goal::AtLeast(REBUILD)),
        stats: None,
        notes: format!("`patients projection rebuild` while the server runs; peak memory {peak:.0} MiB"),
    });
    Ok(())
}

/// Runs `patients projection rebuild` until the new table is served and the old one is deleted. Returns
/// events per second until the new table is served, and the peak memory in MiB.
async fn rebuilt(url: &str, events: u64) -> anyhow::Result<(f64, f64)> {
    let mut command = patients()?;
    command.args(["projection", "rebuild"]).env("DATABASE_URL", url);
    let started = Instant::now();
    let program = Program::start(&command);
    let (mut served, mut peak) = (None, 0.0_f64);
    while program.is_running() {
        peak = peak.max(memory(program.pid()).0);
        if served.is_none() && program.stdout().contains("is served") {
            served = Some(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = program.wait(Duration::from_secs(10)).await;
    anyhow::ensure!(ended == 0, "the rebuild failed: {}", program.log());
    let served = served.unwrap_or_else(|| started.elapsed());
    Ok((events as f64 / served.as_secs_f64(), peak))
}

pub(super) async fn depth(
    options: &Options,
    server: &MysqlServer,
    report: &mut Report,
) -> anyhow::Result<()> {
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 0, 10_000).await?;
    let ours = Server::over(url.clone(), Some(database), &[]).await?;
    projected(&ours, 10_000).await;
    settled(&url).await?;
    let shallow = appends(options, &ours).await?;
    // The program keeps running and projecting.
    fill::patients(&url, 10_000, options.deep).await?;
    projected(&ours, options.deep).await;
    settled(&url).await?;
    let deep = appends(options, &ours).await?;
    report.add(Line {
        what: format!(
            "registrations with {} events in the log, 64 clients",
            options.deep
        ),
        ours: deep,
        unit: "/s",
        yardstick: Some(("with 10,000".to_owned(), shallow)),
        goal: Some(Goal::RatioAtLeast(0.9)),
        stats: None,
        notes: String::new(),
    });
    Ok(())
}

async fn appends(options: &Options, ours: &Server) -> anyhow::Result<f64> {
    drive(ours.address, 64, Duration::from_secs(1), register).await?;
    let mut runs = Vec::new();
    for _ in 0..options.rounds {
        runs.push(drive(ours.address, 64, options.duration(), register).await?);
    }
    Ok(median(runs).rate)
}
