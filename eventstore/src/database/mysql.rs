//! Connecting to MySQL and MariaDB: session settings, and startup errors that retrying cannot fix.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::{CertificateError, Error as TlsError};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::cluster::{self, Cluster};
use super::dialect::Dialect;
use super::mysql_url::Target;
use super::options::{DatabaseOptions, LOCK_WAIT};
use super::servers::Servers;
use crate::error::{Error, Result};

/// Minimum accepted `max_allowed_packet`, in bytes. The queries for the largest batch of appends take 110
/// KiB.
const SMALLEST_PACKET: usize = 256 * 1024;
/// Bytes of a packet reserved for the parts of a script other than rows.
const SURROUNDINGS: usize = 4096;
/// Maximum size of a script in bytes, even if the server accepts more. Larger scripts would only use more
/// memory.
const LARGEST_SCRIPT: usize = 8 * 1024 * 1024;

/// Timeout for closing a connection to a server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the server has reported to the newest connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reported(Arc<Report>);

#[derive(Debug)]
struct Report {
    /// Maximum packet size in bytes.
    packet: AtomicUsize,
    /// Whether the server is a member of a cluster that needs [`Texts::one_by_one`].
    one_by_one: AtomicBool,
}

impl Reported {
    fn nothing() -> Self {
        Self(Arc::new(Report {
            packet: AtomicUsize::new(SMALLEST_PACKET),
            one_by_one: AtomicBool::new(false),
        }))
    }

    fn set(&self, server: Server) {
        self.0.packet.store(server.packet, Ordering::Relaxed);
        let one_by_one = server.cluster.is_some_and(Cluster::needs_single_statements);
        self.0.one_by_one.store(one_by_one, Ordering::Relaxed);
    }

    /// Returns how scripts are sent to the server.
    pub(super) fn texts(&self) -> Texts {
        Texts {
            limit: script_limit(self.0.packet.load(Ordering::Relaxed)),
            one_by_one: self.0.one_by_one.load(Ordering::Relaxed),
        }
    }
}

/// How scripts are sent to a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    /// Maximum number of bytes from the start of a script to the end of its last row.
    pub(super) limit: usize,
    /// Whether each statement is sent alone.
    pub(super) one_by_one: bool,
}

fn script_limit(packet: usize) -> usize {
    packet.saturating_sub(SURROUNDINGS).min(LARGEST_SCRIPT)
}

/// Opens a pool after testing one connection. The test reveals why connecting fails: a pool keeps retrying
/// rejected connections and reports only a timeout.
///
/// The pool belongs to the first generation of connections.
pub(super) async fn connect(url: &str, options: DatabaseOptions) -> Result<(MySqlPool, Reported, Servers)> {
    let targets = Target::parse_all(url)?;
    let servers = targets.iter().map(|target| target.options.clone()).collect();
    let servers = Servers::new(servers, options);
    let first = targets
        .first()
        .ok_or_else(|| Error::Url("no server".to_owned()))?;
    let probe = async {
        first.read_files().await?;
        let server = servers.find(0).await?;
        let said = ask(&server, options).await?;
        Ok::<_, Error>((server, said))
    };
    let (server, said) = tokio::time::timeout(options.acquire_timeout, probe)
        .await
        .map_err(|_| Error::Timeout(options.acquire_timeout))??;
    if said.packet < SMALLEST_PACKET {
        let packet = said.packet;
        return Err(Error::Url(format!(
            "the server's max_allowed_packet is {packet} bytes, but must be at least {SMALLEST_PACKET}: \
             SET GLOBAL max_allowed_packet = 16777216"
        )));
    }
    for option in &first.without_effect {
        tracing::warn!("the database URL option {option} has no effect: every session sets its own value");
    }
    let found = Reported::nothing();
    found.set(said);
    let known = found.clone();
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections)
        // Shorter than the server's idle timeout.
        .idle_timeout(options.idle_timeout / 2)
        .acquire_timeout(options.acquire_timeout)
        .max_lifetime(options.max_age)
        // Each connection is tested by `RenewedPool`. The busiest paths keep their own connections, and the
        // others can afford a test.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let known = known.clone();
            Box::pin(async move {
                known.set(configure(connection, options).await?);
                Ok(())
            })
        })
        .connect_lazy_with(server);
    Ok((pool, found, servers))
}

/// Creates the database of the URL.
pub(super) async fn create(url: &str, options: DatabaseOptions) -> Result<()> {
    let targets = Target::parse_all(url)?;
    let name = targets.first().and_then(|target| target.options.get_database());
    let name = name.unwrap_or_default().replace('`', "``");
    let servers: Result<Vec<_>> = targets
        .iter()
        .map(|target| Ok(target.without_database()?.options))
        .collect();
    let servers = Servers::new(servers?, options);
    let creating = async {
        let mut connection = open(&servers.find(0).await?).await?;
        let sql = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
        configure(&mut connection, options)
            .await
            .map_err(Error::from_driver)?;
        connection
            .execute(sql.as_str())
            .await
            .map_err(Error::from_driver)?;
        close(connection).await;
        Ok(())
    };
    tokio::time::timeout(options.acquire_timeout, creating)
        .await
        .map_err(|_| Error::Timeout(options.acquire_timeout))?
}

/// Properties that a server reports when a session begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    /// Its `max_allowed_packet`, in bytes.
    pub(super) packet: usize,
    /// Whether it accepts no writes.
    pub(super) is_read_only: bool,
    /// The cluster to which it belongs.
    pub(super) cluster: Option<Cluster>,
}

/// Sets, in one round trip, all session settings that the statements rely on, regardless of the server, its
/// `init_connect` and the URL. On a member of a cluster, sets in a second round trip that the session reads
/// every acknowledged commit.
pub(super) async fn configure(
    connection: &mut MySqlConnection,
    options: DatabaseOptions,
) -> sqlx::Result<Server> {
    let session = session(options);
    let rows = connection.fetch_all(session.as_str()).await?;
    let (row, cluster) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    let cluster = Cluster::of(cluster)?;
    if let Some(cluster) = cluster {
        connection.execute(cluster.consistent()).await?;
    }
    let (packet, read_only): (u64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Server {
        packet: usize::try_from(packet).unwrap_or(usize::MAX),
        is_read_only: read_only != 0,
        cluster,
    })
}

/// Asks the server whether it accepts no writes.
#[cfg(feature = "cqrs")]
pub(super) async fn is_read_only(connection: &mut MySqlConnection) -> sqlx::Result<bool> {
    let ask = format!("SELECT CAST({} AS SIGNED)", Dialect::MySql.is_read_only());
    let row = connection.fetch_one(ask.as_str()).await?;
    Ok(row.try_get::<i64, _>(0)? != 0)
}

/// Returns the statements that begin a session. All values are explicit, because `DEFAULT` means the server's
/// global value.
fn session(options: DatabaseOptions) -> String {
    let (lock_wait, idle_timeout) = (LOCK_WAIT.as_secs(), options.idle_timeout.as_secs());
    let is_read_only = Dialect::MySql.is_read_only();
    format!(
        // Text is UTF-8. A binary collation would make the driver read text as bytes.
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
         SET SESSION autocommit = 1, completion_type = 0, \
         sql_mode = 'PIPES_AS_CONCAT,STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
         time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, sql_auto_is_null = 0, \
         sql_safe_updates = 0, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
         /*!80000 max_execution_time = 0, */ /*M! max_statement_time = 0, */ \
         /*M!110602 innodb_snapshot_isolation = 0, */ \
         default_storage_engine = InnoDB, net_read_timeout = 30, net_write_timeout = 60, \
         innodb_lock_wait_timeout = {lock_wait}, wait_timeout = {idle_timeout}; \
         SELECT CAST(@@max_allowed_packet AS UNSIGNED), CAST({is_read_only} AS SIGNED); {}",
        cluster::ASK
    )
}

/// Closes a connection. Over TLS, the driver waits for the server to close its end, which may never happen.
pub(super) async fn close(connection: MySqlConnection) {
    drop(tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await);
}

pub(super) async fn open(server: &MySqlConnectOptions) -> Result<MySqlConnection> {
    let opened = server.connect().await;
    opened.map_err(|error| refusal(error, server))
}

/// Opens a session with a server, and returns the properties that the server reports.
pub(super) async fn ask(server: &MySqlConnectOptions, options: DatabaseOptions) -> Result<Server> {
    let mut connection = open(server).await?;
    let said = configure(&mut connection, options).await;
    let said = said.map_err(Error::from_driver)?;
    close(connection).await;
    Ok(said)
}

/// Converts errors that waiting cannot fix, such as an untrusted certificate, to [`Error::Tls`] and
/// [`Error::Url`].
fn refusal(error: sqlx::Error, options: &MySqlConnectOptions) -> Error {
    match error {
        sqlx::Error::Tls(error) => Error::Tls(error.to_string()),
        sqlx::Error::Configuration(error) => Error::Url(error.to_string()),
        // rustls reports an aborted handshake in this way.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            let cause = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
            let of_the_name = matches!(
                cause,
                Some(TlsError::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                ))
            );
            let hint = match options.get_ssl_mode() {
                MySqlSslMode::VerifyCa if of_the_name => {
                    ". VERIFY_CA also checks the name, as VERIFY_IDENTITY does: connect to a name that is in the certificate, or \
                     give the server a certificate for this name"
                }
                _ => "",
            };
            Error::Tls(format!("{error}{hint}"))
        }
        error => Error::from_driver(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_leaves_room_in_the_servers_packet() {
        assert_eq!(script_limit(1024 * 1024), 1024 * 1024 - SURROUNDINGS);
        assert_eq!(script_limit(usize::MAX), LARGEST_SCRIPT);
        assert_eq!(script_limit(0), 0);
    }
}
