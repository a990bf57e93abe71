//! Reads over HTTP.

use std::time::Duration;

use sqlx::{Connection, MySqlConnection};
use testkit::{MysqlServer, wait_until};

use super::Options;
use super::appends::latencies;
use crate::client::{drive, get, get_after, once};
use crate::report::{Goal, Line, Report};
use crate::server::Server;
use crate::stats::median;
use crate::{fill, limits};

const CLIENTS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    by_id(options, server, report).await?;
    for patients in [1_000, options.replayed] {
        list(options, server, report, patients).await?;
    }
    Ok(())
}

/// Starts the program on a database of `patients` patients, all projected.
pub(super) async fn filled(server: &MysqlServer, patients: u64) -> anyhow::Result<(Server, String)> {
    let database = server.create_database().await;
    let url = database.url.clone();
    fill::patients(&url, 0, patients).await?;
    let ours = Server::over(url.clone(), Some(database), &[]).await?;
    projected(&ours, patients).await;
    settled(&url).await?;
    Ok((ours, url))
}

/// Waits until the projection has reached `position`.
pub(super) async fn projected(ours: &Server, position: u64) {
    wait_until(Duration::from_mins(10), "all is projected", async || {
        once(ours.address, get_after("/patients?limit=1", position))
            .await
            .is_ok_and(|status| status == 200)
    })
    .await;
}

/// Waits until every subscription is at the head, so that no background work remains.
pub(super) async fn settled(url: &str) -> anyhow::Result<()> {
    let mut connection = MySqlConnection::connect(url).await?;
    loop {
        let (behind,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM checkpoints c JOIN log_head h ON h.id = 1 WHERE c.position < h.position AND c.name NOT LIKE '%@%'",
        )
        .fetch_one(&mut connection)
        .await?;
        if behind == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn by_id(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let patients = options.patients;
    let (ours, url) = filled(server, patients).await?;
    let ask = move || get(&format!("/patients/{}", fill::id(fastrand::u64(0..patients))));
    drive(ours.address, CLIENTS, WARM_UP, ask).await?;
    let (mut our_runs, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        our_runs.push(drive(ours.address, CLIENTS, options.duration(), ask).await?);
        bare.push(limits::selects(&url, patients, CLIENTS, options.duration()).await?);
    }
    let (our_run, bare) = (median(our_runs), median(bare));
    anyhow::ensure!(
        our_run.broken == 0 && our_run.refused == 0,
        "reads failed: {our_run:?}"
    );
    report.add(Line {
        what: format!("GET by id, {patients} patients, {CLIENTS} clients"),
        ours: our_run.rate,
        unit: "/s",
        yardstick: Some(("(c)".to_owned(), bare.rate)),
        goal: Some(Goal::RatioAtLeast(3.0)),
        notes: latencies(&our_run),
        stats: Some(our_run),
    });
    Ok(())
}

async fn list(
    options: &Options,
    server: &MysqlServer,
    report: &mut Report,
    patients: u64,
) -> anyhow::Result<()> {
    let (ours, url) = filled(server, patients).await?;
    for (page, deepest) in [("first page", 0), ("deep page", patients - patients / 5)] {
        let ask = move || match deepest {
            0 => get("/getPatients?limit=100"),
            deepest => get(&format!(
                "/getPatients?limit=100&after={}",
                fill::id(fastrand::u64(0..deepest))
            )),
        };
        drive(ours.address, CLIENTS, WARM_UP, ask).await?;
        let (mut our_runs, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            our_runs.push(drive(ours.address, CLIENTS, options.duration(), ask).await?);
            bare.push(limits::pages(&url, deepest, CLIENTS, options.duration()).await?);
        }
        let (our_run, bare) = (median(our_runs), median(bare));
        anyhow::ensure!(
            our_run.broken == 0 && our_run.refused == 0,
            "lists failed: {our_run:?}"
        );
        report.add(Line {
            what: format!("list of 100, {page}, {patients} patients, {CLIENTS} clients"),
            ours: our_run.rate,
            unit: "/s",
            yardstick: Some(("bare query".to_owned(), bare.rate)),
            goal: Some(Goal::RatioAtLeast(0.8)),
            notes: latencies(&our_run),
            stats: Some(our_run),
        });
    }
    Ok(())
}
