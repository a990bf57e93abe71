//! Connections for a library that takes its connections from a pool.
//!
//! Such a library does not use [`super::Connection`]. If a future of the library is dropped before it
//! completes, a connection that is out of sync with its server may return to the pool. The library therefore
//! gets a separate pool. After interrupted work, the library gets a new pool. The old pool is closed when its
//! last user is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::mysql::MySqlPool;
use sqlx::sqlite::SqlitePool;

use super::pools::{Pools, close};
use super::query::STATEMENT_TIMEOUT;
use super::sqlite::file::DatabaseFile;
use crate::error::{Error, Result};

/// Maximum number of MySQL connections.
const CONNECTIONS: u32 = 4;
/// Timeout for the ping of a returned connection.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The pool that a library gets.
pub(crate) enum LibraryPool {
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The MySQL pool for libraries, created when it is first needed.
#[derive(Debug, Default)]
pub(super) struct SharedLibraryPool(Mutex<Option<Arc<MySqlPool>>>);

impl SharedLibraryPool {
    /// Runs the work of a library on a pool.
    pub(super) async fn run<T>(&self, pools: &Pools, work: impl AsyncFnOnce(LibraryPool) -> T) -> Result<T> {
        match pools {
            Pools::MySql { pool, .. } => {
                let guard = self.guard(pool);
                let answer = in_time(work(LibraryPool::MySql(guard.pool.as_ref().clone()))).await?;
                guard.keep();
                Ok(answer)
            }
            // On SQLite, an interrupted statement finishes on the connection's own thread, before any other
            // work of the connection.
            Pools::Sqlite { readers, file, .. } => {
                DatabaseFile::check_if_any(file.as_deref())?;
                let answer = in_time(work(LibraryPool::Sqlite(readers.clone()))).await?;
                DatabaseFile::check_if_any(file.as_deref())?;
                Ok(answer)
            }
        }
    }

    pub(super) async fn close(&self) {
        let pool = self.lock().take();
        if let Some(pool) = pool {
            close(&pool).await;
        }
    }

    fn guard(&self, pool: &MySqlPool) -> PoolGuard<'_> {
        let mut shared = self.lock();
        let pool = shared.get_or_insert_with(|| Arc::new(pool_like(pool)));
        PoolGuard {
            pool: Arc::clone(pool),
            shared: self,
            keep: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<MySqlPool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a pool that opens its connections in the same way as `pool`.
fn pool_like(pool: &MySqlPool) -> MySqlPool {
    pool.options()
        .clone()
        .max_connections(CONNECTIONS)
        .after_release(|connection, _| {
            Box::pin(async move {
                let answered = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                answered
                    .map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))?
                    .map(|()| true)
            })
        })
        .connect_lazy_with(pool.connect_options().as_ref().clone())
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(STATEMENT_TIMEOUT, work)
        .await
        .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))
}

/// The pool during a library's work. If the guard is dropped before the work is done, the pool is not used
/// for other work.
struct PoolGuard<'s> {
    pool: Arc<MySqlPool>,
    shared: &'s SharedLibraryPool,
    keep: bool,
}

impl PoolGuard<'_> {
    /// Keeps the pool for other work: every connection has been or is being returned.
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for PoolGuard<'_> {
    fn drop(&mut self) {
        if !self.keep {
            let mut shared = self.shared.lock();
            if shared.as_ref().is_some_and(|pool| Arc::ptr_eq(pool, &self.pool)) {
                *shared = None;
            }
        }
    }
}
