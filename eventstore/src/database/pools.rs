//! The connection pools of a database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlPool;
use sqlx::sqlite::SqlitePool;

use super::dialect::Dialect;
use super::mysql::{self, Packet};
use super::options::DatabaseOptions;
use super::session::{Connection, PooledConnection};
use super::sqlite::{self, file::DatabaseFile};
use crate::error::{Error, Result};

/// How long closing a pool waits for connections in use, and the pause between checks.
const CLOSING: Duration = Duration::from_secs(10);
const CLOSING_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub(super) enum Pools {
    MySql {
        pool: MySqlPool,
        packet: Packet,
    },
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        /// `None` for an in-memory database.
        file: Option<Arc<DatabaseFile>>,
    },
}

impl Pools {
    pub(super) async fn connect(url: &str, options: DatabaseOptions) -> Result<Self> {
        if url.starts_with("mysql:") || url.starts_with("mariadb:") {
            let (pool, packet) = mysql::connect(url, options).await?;
            Ok(Self::MySql { pool, packet })
        } else if url.starts_with("sqlite:") {
            let sqlite::Opened {
                writer,
                readers,
                file,
            } = sqlite::connect(url, options).await?;
            Ok(Self::Sqlite {
                writer,
                readers,
                file,
            })
        } else {
            Err(Error::Url(
                "expected mysql://user:password@host/name or sqlite://path".into(),
            ))
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::MySql { .. } => Dialect::MySql,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    pub(super) fn connections(&self) -> Vec<(&'static str, usize, usize)> {
        fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> (&'static str, usize, usize) {
            let open = pool.size() as usize;
            (name, open.saturating_sub(pool.num_idle()), open)
        }
        match self {
            Self::MySql { pool, .. } => vec![of("mysql", pool)],
            Self::Sqlite { writer, readers, .. } => {
                vec![of("sqlite-writer", writer), of("sqlite-readers", readers)]
            }
        }
    }

    /// Like [`Pools::connections`], with the names for a database of keys.
    pub(super) fn connections_to_keys(&self) -> Vec<(&'static str, usize, usize)> {
        let names: &[&str] = match self {
            Self::MySql { .. } => &["keys-mysql"],
            Self::Sqlite { .. } => &["keys-sqlite-writer", "keys-sqlite-readers"],
        };
        let renamed = names.iter().zip(self.connections());
        renamed
            .map(|(name, (_, used, open))| (*name, used, open))
            .collect()
    }

    /// Returns the same pools, but with a separate pool of at most `connections` connections for MySQL.
    pub(super) fn with_separate_pool(&self, connections: u32) -> Self {
        match self {
            Self::MySql { pool, packet } => Self::MySql {
                pool: pool
                    .options()
                    .clone()
                    .max_connections(connections)
                    .connect_lazy_with(pool.connect_options().as_ref().clone()),
                packet: packet.clone(),
            },
            sqlite @ Self::Sqlite { .. } => sqlite.clone(),
        }
    }

    pub(super) async fn reader(&self) -> Result<Connection> {
        match self {
            Self::MySql { pool, packet } => mysql_connection(pool, packet).await,
            Self::Sqlite { readers, file, .. } => sqlite_connection(readers, file.as_ref()).await,
        }
    }

    pub(super) async fn writer(&self) -> Result<Connection> {
        match self {
            Self::MySql { pool, packet } => mysql_connection(pool, packet).await,
            Self::Sqlite { writer, file, .. } => sqlite_connection(writer, file.as_ref()).await,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::MySql { pool, .. } => close(pool).await,
            Self::Sqlite { writer, readers, .. } => {
                close(readers).await;
                close(writer).await;
            }
        }
    }
}

async fn mysql_connection(pool: &MySqlPool, packet: &Packet) -> Result<Connection> {
    let connection = pool.acquire().await.map_err(Error::from_driver)?;
    Ok(Connection::new(PooledConnection::MySql(
        connection,
        packet.script_limit(),
    )))
}

async fn sqlite_connection(pool: &SqlitePool, file: Option<&Arc<DatabaseFile>>) -> Result<Connection> {
    let connection = sqlite::acquire(pool, file.map(Arc::as_ref)).await?;
    Ok(Connection::new(PooledConnection::Sqlite(
        connection,
        file.cloned(),
    )))
}

/// Closes a pool and waits until its connections are closed. The driver's own `close` counts the slot of each
/// idle connection twice, so it may return while other connections are in use or being returned.
pub(super) async fn close<D: sqlx::Database>(pool: &sqlx::Pool<D>) {
    let closing = async {
        loop {
            pool.close().await;
            if pool.size() == 0 {
                return;
            }
            tokio::time::sleep(CLOSING_PAUSE).await;
        }
    };
    if tokio::time::timeout(CLOSING, closing).await.is_err() {
        tracing::warn!(
            connections = pool.size(),
            "database connections are still in use; leaving them open"
        );
    }
}
