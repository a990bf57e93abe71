//! Registrations over HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{Connection, MySqlConnection};
use testkit::MysqlServer;

use super::Options;
use crate::client::{drive, register};
use crate::limits;
use crate::report::{Goal, Line, Report};
use crate::server::{Server, memory};
use crate::stats::{Stats, median, middle, quantile};

const WARM_UP: Duration = Duration::from_secs(2);

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    for (clients, goal) in [(64, 7.0), (256, 6.0)] {
        let (mut ours, mut theirs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        let (mut batches, mut lags) = (Vec::new(), Vec::new());
        let (mut peak, mut baseline_peak) = (0.0_f64, 0.0_f64);
        for _ in 0..options.rounds {
            let run = registrations(options, server, clients).await?;
            bare.push(limits::inserts(&run.url, run.batch.round() as usize, options.duration()).await?);
            batches.push(run.batch);
            lags.push(run.lag);
            peak = peak.max(run.peak);
            ours.push(run.stats);
            let (stats, most) = baseline(options, server, clients).await?;
            theirs.push(stats);
            baseline_peak = baseline_peak.max(most);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        report.add(Line {
            what: format!("registrations, {clients} clients"),
            ours: ours.rate,
            unit: "/s",
            yardstick: Some(("(a)".to_owned(), theirs.rate)),
            goal: Some(Goal::RatioAtLeast(goal)),
            notes: format!("{}; (a): {}", latencies(&ours), latencies(&theirs)),
            stats: Some(ours.clone()),
        });
        report.add(Line {
            what: format!(
                "the same, compared with bare inserts of {:.0} rows",
                middle(batches)
            ),
            ours: ours.rate,
            unit: "/s",
            yardstick: Some(("(b)".to_owned(), middle(bare))),
            goal: (clients == 64).then_some(Goal::RatioAtLeast(0.45)),
            stats: None,
            notes: String::new(),
        });
        report.add(Line {
            what: format!("projection lag during that load, p99, {clients} clients"),
            ours: middle(lags),
            unit: "ms",
            yardstick: None,
            goal: Some(Goal::AtMost(150.0)),
            stats: None,
            notes: String::new(),
        });
        report.add(Line {
            what: format!("peak memory, {clients} clients"),
            ours: peak,
            unit: "MiB",
            yardstick: None,
            goal: Some(Goal::AtMost(80.0)),
            stats: None,
            notes: format!(
                "the API, the projector and the mailer in one process; {}(a) {baseline_peak:.0}, the load generator {:.0} MiB",
                database_memory(server).await.unwrap_or_default(),
                memory(std::process::id()).0
            ),
        });
    }
    one_client(options, server, report).await?;
    two_processes(options, server, report).await?;
    sqlite(options, server, report).await
}

pub(super) fn latencies(stats: &Stats) -> String {
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
        stats.p50, stats.p99, stats.p999
    )
}

struct Run {
    stats: Stats,
    url: String,
    batch: f64,
    lag: f64,
    peak: f64,
    _server: Server,
}

async fn registrations(options: &Options, server: &MysqlServer, clients: usize) -> anyhow::Result<Run> {
    let ours = Server::on(server, &[]).await?;
    let url = ours
        .database
        .as_ref()
        .map(|database| database.url.clone())
        .unwrap_or_default();
    drive(ours.address, clients, WARM_UP, register).await?;
    let watching = tokio::spawn(lag(url.clone(), options.duration()));
    let stats = drive(ours.address, clients, options.duration(), register).await?;
    let lag = watching.await??;
    let mut connection = MySqlConnection::connect(&url).await?;
    // All events of one transaction have the same time, so the number of distinct times is the number of
    // transactions.
    let (events, batches): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), COUNT(DISTINCT recorded_at) FROM events")
            .fetch_one(&mut connection)
            .await?;
    let (peak, _) = ours.memory();
    anyhow::ensure!(
        stats.broken == 0 && stats.refused == 0,
        "requests failed: {stats:?}"
    );
    Ok(Run {
        stats,
        url,
        batch: events as f64 / batches as f64,
        lag,
        peak,
        _server: ours,
    })
}

/// Samples the waiting time of the oldest event that is not projected yet. Returns the 99th percentile in
/// milliseconds.
async fn lag(url: String, duration: Duration) -> anyhow::Result<f64> {
    let mut connection = MySqlConnection::connect(&url).await?;
    let (started, mut lags) = (Instant::now(), Vec::new());
    while started.elapsed() < duration {
        let waiting: Option<(i64, f64)> = sqlx::query_as(
            "SELECT e.recorded_at, CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE) FROM checkpoints c \
             JOIN events e ON e.position = c.position + 1 WHERE c.name = 'patient_view'",
        )
        .fetch_optional(&mut connection)
        .await?;
        let micros = waiting.map_or(0.0, |(recorded_at, now)| {
            (now * 1e6 - recorded_at as f64).max(0.0)
        });
        lags.push(micros as u32);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lags.sort_unstable();
    Ok(quantile(&lags, 0.99))
}

/// Measures yardstick (a). Returns the result and the peak memory in MiB.
async fn baseline(options: &Options, server: &MysqlServer, clients: usize) -> anyhow::Result<(Stats, f64)> {
    let (address, program, _database) = Server::baseline(server).await?;
    drive(address, clients, WARM_UP, register).await?;
    let stats = drive(address, clients, options.duration(), register).await?;
    Ok((stats, memory(program.pid()).0))
}

/// Returns the server's name and its peak memory so far in MiB, as text, if it runs on this machine.
async fn database_memory(server: &MysqlServer) -> Option<String> {
    let mut connection = MySqlConnection::connect(&server.url).await.ok()?;
    let (folder, file): (String, String) = sqlx::query_as("SELECT @@datadir, @@pid_file")
        .fetch_one(&mut connection)
        .await
        .ok()?;
    let pid = std::fs::read_to_string(Path::new(&folder).join(file)).ok()?;
    let (peak, _) = memory(pid.trim().parse().ok()?);
    Some(format!("{} {peak:.0}, ", server.flavour.name()))
}

async fn one_client(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let ours = Server::on(server, &[]).await?;
    let (theirs, _program, _database) = Server::baseline(server).await?;
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    let (_, idle) = memory(ours.program.pid());
    for _ in 0..options.rounds {
        our_runs.push(drive(ours.address, 1, options.duration(), register).await?);
        their_runs.push(drive(theirs, 1, options.duration(), register).await?);
    }
    let (our_run, their_run) = (median(our_runs), median(their_runs));
    report.add(Line {
        what: "registration, 1 client, median latency".to_owned(),
        ours: our_run.p50,
        unit: "ms",
        yardstick: Some(("(a)".to_owned(), their_run.p50)),
        goal: Some(Goal::RatioAtMost(0.55)),
        notes: format!("p99 {:.1} ms; (a): p99 {:.1} ms", our_run.p99, their_run.p99),
        stats: Some(our_run),
    });
    report.add(Line {
        what: "memory, idle".to_owned(),
        ours: idle,
        unit: "MiB",
        yardstick: None,
        goal: Some(Goal::AtMost(25.0)),
        stats: None,
        notes: String::new(),
    });
    Ok(())
}

/// Compares two processes on one log with one process. The number of clients is the same in total.
async fn two_processes(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        one.push(registrations(options, server, 64).await?.stats.rate);
        let first = Server::on(server, &[]).await?;
        let url = first.database.as_ref().map(|database| database.url.clone());
        let second = Server::over(url.unwrap_or_default(), None, &[]).await?;
        let both = async |duration| {
            tokio::try_join!(
                drive(first.address, 32, duration, register),
                drive(second.address, 32, duration, register)
            )
        };
        both(WARM_UP).await?;
        let (first, second) = both(options.duration()).await?;
        two.push(first.rate + second.rate);
    }
    report.add(Line {
        what: "registrations by two processes on one log, 32 clients each".to_owned(),
        ours: middle(two),
        unit: "/s",
        yardstick: Some(("by one, 64 clients".to_owned(), middle(one))),
        goal: Some(Goal::RatioAtLeast(0.9)),
        notes: String::new(),
        stats: None,
    });
    Ok(())
}

async fn sqlite(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let (mut on_sqlite, mut on_mysql) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let ours = Server::on_sqlite().await?;
        drive(ours.address, 64, WARM_UP, register).await?;
        on_sqlite.push(drive(ours.address, 64, options.duration(), register).await?);
        drop(ours);
        on_mysql.push(registrations(options, server, 64).await?.stats);
    }
    let (on_sqlite, on_mysql) = (median(on_sqlite), median(on_mysql));
    report.add(Line {
        what: "registrations on embedded SQLite, 64 clients".to_owned(),
        ours: on_sqlite.rate,
        unit: "/s",
        yardstick: Some(("on MySQL".to_owned(), on_mysql.rate)),
        goal: Some(Goal::RatioAtLeast(1.0)),
        notes: latencies(&on_sqlite),
        stats: Some(on_sqlite),
    });
    Ok(())
}
