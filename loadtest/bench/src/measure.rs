//! What is measured, in which order.

mod appends;
mod mail;
mod reads;
mod replay;
mod strain;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use testkit::{Flavour, MysqlServer, mysql_servers};

use crate::report::Report;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each drive takes, in seconds
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// How many drives of each kind; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Patients in the table for reads by id
    #[arg(long, default_value_t = 300_000)]
    patients: u64,
    /// Events for the rebuild, and patients for the deep pages
    #[arg(long, default_value_t = 1_000_000)]
    replayed: u64,
    /// Events in the log for the append rate at depth
    #[arg(long, default_value_t = 3_000_000)]
    deep: u64,
    /// Which measurements: appends, reads, replay, depth, strain, mail; all without
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the JSON goes
    #[arg(long, default_value = "bench.json")]
    json: PathBuf,
}

impl Options {
    const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == what)
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let server = server();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!("{cores} cores shared by the program, the database and the load");
    let mut report = Report::begin(machine, version(server).await?);
    if options.wants("appends") {
        appends::run(&options, server, &mut report).await?;
    }
    if options.wants("reads") {
        reads::run(&options, server, &mut report).await?;
    }
    if options.wants("replay") {
        replay::rebuild(&options, server, &mut report).await?;
    }
    if options.wants("depth") {
        replay::depth(&options, server, &mut report).await?;
    }
    if options.wants("strain") {
        strain::run(&options, server, &mut report).await?;
    }
    if options.wants("mail") {
        mail::run(server, &mut report).await?;
    }
    std::fs::write(&options.json, serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// MySQL if it is there, else MariaDB.
fn server() -> &'static MysqlServer {
    let servers = mysql_servers();
    servers
        .iter()
        .find(|server| server.flavour == Flavour::MySql)
        .unwrap_or(&servers[0])
}

async fn version(server: &MysqlServer) -> anyhow::Result<String> {
    use sqlx::Connection;
    let mut connection = sqlx::MySqlConnection::connect(&server.url).await?;
    let (version, flush, sync): (String, i64, i64) = sqlx::query_as(
        "SELECT VERSION(), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@sync_binlog AS SIGNED)",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(format!(
        "{} {version}, innodb_flush_log_at_trx_commit={flush}, sync_binlog={sync}",
        server.flavour.name()
    ))
}
