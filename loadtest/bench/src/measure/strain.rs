//! Failing requests among successful ones, and more load than the machine can handle.

use std::time::Duration;

use testkit::MysqlServer;

use super::Options;
use crate::client::{drive, offer, register, register_as};
use crate::report::{Goal, Line, Report};
use crate::server::Server;
use crate::stats::median;

/// Number of connections, large enough that each has a response before its next request is due.
const CONNECTIONS: usize = 4096;

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    failing(options, server, report).await?;
    overload(options, server, report).await
}

/// Measures registrations, a tenth of which use an email address that is already taken.
async fn failing(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    const TAKEN: &str = "taken@example.com";
    let ours = Server::on(server, &[]).await?;
    drive(ours.address, 64, Duration::from_secs(2), register).await?;
    drive(ours.address, 1, Duration::from_millis(50), || register_as(TAKEN)).await?;
    let mixed = || {
        if fastrand::u8(0..10) == 0 {
            register_as(TAKEN)
        } else {
            register()
        }
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        without.push(drive(ours.address, 64, options.duration(), register).await?);
        with.push(drive(ours.address, 64, options.duration(), mixed).await?);
    }
    let (with, without) = (median(with), median(without));
    // The rate of all responses, including rejections.
    let answered = with.rate + with.refused as f64 / options.duration().as_secs_f64();
    report.add(Line {
        what: "answers when 10% of the email addresses are taken, 64 clients".to_owned(),
        ours: answered,
        unit: "/s",
        yardstick: Some(("without".to_owned(), without.rate)),
        goal: Some(Goal::RatioAtLeast(0.8)),
        notes: format!("{} rejected, p99 {:.1} ms", with.refused, with.refused_p99),
        stats: Some(with),
    });
    Ok(())
}

/// Offers up to four times as many registrations per second as the machine can handle.
async fn overload(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let ours = Server::on(server, &[]).await?;
    drive(ours.address, 256, Duration::from_secs(2), register).await?;
    let (mut peak, mut over) = (Vec::new(), Vec::new());
    let (before, _) = ours.memory();
    for _ in 0..options.rounds {
        let most = drive(ours.address, 256, options.duration(), register).await?;
        let offered = 4.0 * most.rate;
        peak.push(most);
        over.push(offer(ours.address, CONNECTIONS, offered, options.duration(), register).await?);
    }
    let (peak, over) = (median(peak), median(over));
    let (after, _) = ours.memory();
    let offered = over.rate + over.refused as f64 / options.duration().as_secs_f64();
    report.add(Line {
        what: "goodput at four times the peak load".to_owned(),
        ours: over.rate,
        unit: "/s",
        yardstick: Some(("at the peak".to_owned(), peak.rate)),
        goal: Some(Goal::RatioAtLeast(0.85)),
        stats: Some(over.clone()),
        notes: format!(
            "{offered:.0}/s answered over {CONNECTIONS} connections, {} broken; peak memory {before:.0} → {after:.0} MiB",
            over.broken
        ),
    });
    report.add(Line {
        what: "rejections (503) during that load, p99".to_owned(),
        ours: over.refused_p99,
        unit: "ms",
        yardstick: None,
        goal: Some(Goal::AtMost(100.0)),
        stats: None,
        notes: format!("{} rejected", over.refused),
    });
    Ok(())
}
