//! Replaying the log into the read table, and appending to a long log.

use std::time::{Duration, Instant};

use testkit::MysqlServer;

use super::Options;
use super::reads::{projected, settled};
use crate::client::{drive, register};
use crate::report::{Goal, Line, Report};
use crate::server::Server;
use crate::stats::median;
use crate::{fill, limits};

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    rebuild(options, server, report).await?;
    depth(options, server, report).await
}

async fn rebuild(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let events = options.replayed;
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 0, events).await?;
    let bare = limits::feed(&url).await?;
    let started = Instant::now();
    let ours = Server::over(url, Some(database), &[]).await?;
    projected(&ours, events).await;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    let (peak, _) = ours.memory();
    report.add(Line {
        what: format!("the read table from {events} events"),
        ours: rate,
        unit: "/s",
        yardstick: Some(("(d)".to_owned(), bare)),
        goal: Some(Goal::RatioAtLeast(0.5)),
        notes: format!("peak memory {peak:.0} MiB; the mailer's ledger is written meanwhile"),
    });
    Ok(())
}

async fn depth(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 0, 10_000).await?;
    let ours = Server::over(url.clone(), Some(database), &[]).await?;
    projected(&ours, 10_000).await;
    settled(&url).await?;
    let shallow = appends(options, &ours).await?;
    // The program keeps running, and projects meanwhile.
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
