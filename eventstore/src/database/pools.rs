//! The connection pools of a database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqlitePool;

use super::dialect::Dialect;
use super::mysql;
use super::options::DatabaseOptions;
use super::renewed_pool::RenewedPool;
use super::session::{Connection, PooledConnection};
use super::sqlite::{self, file::DatabaseFile};
use crate::error::{Error, Result};

/// How long closing a pool waits for connections in use.
const CLOSING: Duration = Duration::from_secs(10);
/// Pause between two checks whether a pool is closed.
const CLOSING_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub(super) enum Pools {
    MySql(RenewedPool),
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
            let (pool, reported, servers) = mysql::connect(url, options).await?;
            Ok(Self::MySql(RenewedPool::new(pool, reported, servers, options)))
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
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    pub(super) fn connections(&self) -> Vec<(&'static str, usize, usize)> {
        fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> (&'static str, usize, usize) {
            let open = pool.size() as usize;
            (name, open.saturating_sub(pool.num_idle()), open)
        }
        match self {
            Self::MySql(pool) => vec![of("mysql", &pool.latest())],
            Self::Sqlite { writer, readers, .. } => {
                vec![of("sqlite-writer", writer), of("sqlite-readers", readers)]
            }
        }
    }

    /// Like [`Pools::connections`], with the names for a database of keys.
    pub(super) fn connections_to_keys(&self) -> Vec<(&'static str, usize, usize)> {
        let names: &[&str] = match self {
            Self::MySql(_) => &["keys-mysql"],
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
            Self::MySql(pool) => Self::MySql(pool.separate(connections)),
            sqlite @ Self::Sqlite { .. } => sqlite.clone(),
        }
    }

    pub(super) async fn reader(&self) -> Result<Connection> {
        match self {
            Self::MySql(pool) => pool.acquire().await,
            Self::Sqlite { readers, file, .. } => sqlite_connection(readers, file.as_ref()).await,
        }
    }

    pub(super) async fn writer(&self) -> Result<Connection> {
        match self {
            Self::MySql(pool) => pool.acquire().await,
            Self::Sqlite { writer, file, .. } => sqlite_connection(writer, file.as_ref()).await,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Sqlite { writer, readers, .. } => {
                close(readers).await;
                close(writer).await;
            }
        }
    }
}

async fn sqlite_connection(pool: &SqlitePool, file: Option<&Arc<DatabaseFile>>) -> Result<Connection> {
    let connection = sqlite::acquire(pool, file.map(Arc::as_ref)).await?;
    Ok(Connection::new(PooledConnection::Sqlite(
        connection,
        file.cloned(),
    )))
}

/// Closes a pool, and waits at most [`CLOSING`] until its connections are closed. The driver's own `close`
/// counts the slot of each idle connection twice, so it may return while other connections are in use or
/// being returned.
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
