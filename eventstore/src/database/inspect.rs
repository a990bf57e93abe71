//! Version, settings and state of the servers of a database URL, for operators.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{Executor as _, Row as _};

use super::cluster::Cluster;
use super::mysql;
use super::mysql_url::Target;
use super::options::DatabaseOptions;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};

/// Timeout of all questions to one server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Version, settings and state of a MySQL or MariaDB server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// The version, such as `9.7.4` or `10.11.19-MariaDB-log`.
    pub version: String,
    /// Whether the server accepts writes.
    pub accepts_writes: bool,
    /// The name of the replication that is known to keep acknowledged commits, if the server takes part in
    /// one: `Galera`, `Group Replication with a single primary` or `Group Replication with several
    /// primaries`.
    pub cluster: Option<&'static str>,
    /// Whether several members of its cluster accept writes.
    pub several_accept_writes: bool,
    /// Global system variables, and global status variables whose names begin with `wsrep_cluster` or contain
    /// `semi_sync`, in lower case.
    pub variables: BTreeMap<String, String>,
    /// The cipher of the connection, or `None` if it is not encrypted.
    pub cipher: Option<String>,
    /// Difference between the server's clock and the clock of this machine, in microseconds. Positive if the
    /// server's clock is ahead.
    pub clock_ahead: i64,
    /// Upper limit of the error of `clock_ahead`, in microseconds.
    pub clock_error: i64,
    /// The privileges of the user, as `SHOW GRANTS` prints them, without hashes of passwords.
    pub grants: Vec<String>,
}

/// Asks each server of a MySQL URL. Returns the address of each server, as `host:port`, with its answer.
///
/// # Errors
///
/// [`Error::Url`] if the URL cannot be parsed, or if a file that it names cannot be read. The answer of each
/// server can be any error of [`super::Database::connect`].
pub(super) async fn inspect(url: &str) -> Result<Vec<(String, Result<ServerFacts>)>> {
    let mut servers = Vec::new();
    for target in Target::parse_all(url)? {
        target.read_files().await?;
        let answer = tokio::time::timeout(TIMEOUT, facts(&target)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout(TIMEOUT)));
        let address = format!("{}:{}", target.options.get_host(), target.options.get_port());
        servers.push((address, answer));
    }
    Ok(servers)
}

async fn facts(target: &Target) -> Result<ServerFacts> {
    let mut connection = mysql::open(&target.options).await?;
    let server = mysql::configure(&mut connection, DatabaseOptions::default())
        .await
        .map_err(Error::from_driver)?;
    let facts = ask(&mut connection).await.map_err(Error::from_driver);
    mysql::close(connection).await;
    Ok(ServerFacts {
        accepts_writes: !server.is_read_only,
        cluster: server.cluster.map(Cluster::name),
        several_accept_writes: server.cluster.is_some_and(Cluster::several_accept_writes),
        ..facts?
    })
}

async fn ask(connection: &mut MySqlConnection) -> sqlx::Result<ServerFacts> {
    let mut variables = BTreeMap::new();
    for sql in [
        "SHOW GLOBAL VARIABLES",
        "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep\\_cluster%' OR Variable_name LIKE '%semi\\_sync%'",
    ] {
        for row in connection.fetch_all(sql).await? {
            let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            variables.insert(name.to_lowercase(), value);
        }
    }
    let row = connection
        .fetch_one("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        .await?;
    let cipher: String = row.try_get(1)?;
    let asked_at = SystemClock.now();
    // The session has the time zone UTC.
    let row = connection
        .fetch_one("SELECT VERSION(), TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6))")
        .await?;
    let answered_at = SystemClock.now();
    let (version, server): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    let travelled = answered_at.micros_after(asked_at);
    let mut grants = Vec::new();
    for row in connection.fetch_all("SHOW GRANTS").await? {
        let grant: String = row.try_get(0)?;
        let (grant, _) = grant.split_once(" IDENTIFIED ").unwrap_or((&grant, ""));
        grants.push(grant.to_owned());
    }
    Ok(ServerFacts {
        version,
        variables,
        cipher: Some(cipher).filter(|cipher| !cipher.is_empty()),
        clock_ahead: server.saturating_sub(asked_at.as_micros().saturating_add(travelled / 2)),
        clock_error: travelled / 2,
        grants,
        ..ServerFacts::default()
    })
}
