//! The measurements, in order.

mod appends;
mod costs;
mod distance;
mod mail;
mod reads;
mod replay;
mod search;
mod strain;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sqlx::{Connection, Executor, MySqlConnection};
use testkit::{Flavour, MysqlServer, mysql_servers, wait_until};

use crate::report::Report;

/// Maximum time for a server to resize its buffer pool.
const RESIZE: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Duration of each drive, in seconds
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Number of drives of each kind; the median is reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Number of patients for reads by id
    #[arg(long, default_value_t = 300_000)]
    patients: u64,
    /// Number of events for the rebuild, and of patients for deep pages and searches
    #[arg(long, default_value_t = 1_000_000)]
    replayed: u64,
    /// Number of events in the log when measuring a long log
    #[arg(long, default_value_t = 3_000_000)]
    deep: u64,
    /// MySQL's buffer pool in MiB, for the program and its yardsticks; 0 for the server's default
    #[arg(long, default_value_t = 2048)]
    buffer_pool: u64,
    /// SVG file to write, with the rates of registrations over distances to the database
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Measurements to run: appends, distance, reads, search, replay, depth, strain, mail, costs. Default:
    /// all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// JSON file to write
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
    if options.buffer_pool > 0 {
        resize(server, options.buffer_pool).await?;
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!("{cores} cores shared by the program, the database and the load");
    let mut report = Report::begin(machine, version(server).await?);
    if options.wants("appends") {
        appends::run(&options, server, &mut report).await?;
    }
    if options.wants("distance") {
        distance::run(&options, server, &mut report).await?;
    }
    if options.wants("reads") {
        reads::run(&options, server, &mut report).await?;
    }
    if options.wants("search") {
        search::run(&options, server, &mut report).await?;
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
    if options.wants("costs") {
        costs::run(&options, server, &mut report).await?;
    }
    std::fs::write(&options.json, serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// Returns MySQL if it is installed, otherwise MariaDB.
fn server() -> &'static MysqlServer {
    let servers = mysql_servers();
    servers
        .iter()
        .find(|server| server.flavour == Flavour::MySql)
        .unwrap_or(&servers[0])
}

/// Resizes the server's buffer pool to this number of mebibytes.
async fn resize(server: &MysqlServer, mebibytes: u64) -> anyhow::Result<()> {
    let mut connection = MySqlConnection::connect(&server.url).await?;
    let (size,): (i64,) = sqlx::query_as("SELECT CAST(@@innodb_buffer_pool_size DIV 1048576 AS SIGNED)")
        .fetch_one(&mut connection)
        .await?;
    if size.unsigned_abs() == mebibytes {
        // A server that already has this size would never report a completed resize.
        return Ok(());
    }
    let resize = format!("SET GLOBAL innodb_buffer_pool_size = {}", mebibytes << 20);
    connection.execute(resize.as_str()).await?;
    wait_until(RESIZE, "the buffer pool has its size", async || {
        let status = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_resize_status'")
            .fetch_one(&mut connection)
            .await;
        status.is_ok_and(|(_, status): (String, String)| status.is_empty() || status.starts_with("Completed"))
    })
    .await;
    Ok(())
}

async fn version(server: &MysqlServer) -> anyhow::Result<String> {
    let mut connection = MySqlConnection::connect(&server.url).await?;
    let (version, flush, sync, pool): (String, i64, i64, i64) = sqlx::query_as(
        "SELECT VERSION(), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@sync_binlog AS SIGNED), \
         CAST(@@innodb_buffer_pool_size DIV 1048576 AS SIGNED)",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(format!(
        "{} {version}, innodb_flush_log_at_trx_commit={flush}, sync_binlog={sync}, a buffer pool of {pool} MiB",
        server.flavour.name()
    ))
}
