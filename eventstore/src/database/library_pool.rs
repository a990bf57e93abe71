//! Connections for a library that takes its connections from a pool.
//!
//! Such a library does not use [`super::Connection`]. If a future of the library is dropped before it
//! completes, a connection that is out of sync with its server may return to the pool. The library therefore
//! gets a separate pool. After interrupted work, the library gets a new pool. The old pool is closed when its
//! last user is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::mysql::MySqlPool;
use sqlx::sqlite::SqlitePool;

use super::mysql::{configure, is_read_only};
use super::pools::{Pools, close};
use super::query::STATEMENT_TIMEOUT;
use super::renewed_pool::RenewedPool;
use super::sqlite::file::DatabaseFile;
use crate::error::{DatabaseError, Error, Result};

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
pub(super) struct SharedLibraryPool(Mutex<Option<Arc<CurrentPool>>>);

/// The MySQL pool of one generation.
#[derive(Debug)]
struct CurrentPool {
    generation: u64,
    pool: MySqlPool,
    /// Whether a connection led to a server that accepts no writes. What was read may then be out of date.
    read_only: Arc<AtomicBool>,
}

impl SharedLibraryPool {
    /// Runs the work of a library on a pool.
    pub(super) async fn run<T>(&self, pools: &Pools, work: impl AsyncFnOnce(LibraryPool) -> T) -> Result<T> {
        match pools {
            Pools::MySql(pool) => {
                if pool.has_several_servers() {
                    // A failure of the work does not end the generation, but a failure here does.
                    drop(pool.acquire().await?);
                }
                let guard = self.guard(pool).await?;
                let answer = in_time(work(LibraryPool::MySql(guard.current.pool.clone()))).await?;
                if guard.current.read_only.load(Ordering::SeqCst) {
                    pool.generations().end(guard.current.generation);
                    return Err(Error::ReadOnly(DatabaseError::read_only()));
                }
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
        let current = self.lock().take();
        if let Some(current) = current {
            close(&current.pool).await;
        }
    }

    async fn guard(&self, renewed: &RenewedPool) -> Result<PoolGuard<'_>> {
        let (generation, pool) = renewed.current().await?;
        let mut shared = self.lock();
        if shared
            .as_ref()
            .is_some_and(|current| current.generation < generation)
        {
            *shared = None;
        }
        let current = shared.get_or_insert_with(|| Arc::new(CurrentPool::like(&pool, generation, renewed)));
        Ok(PoolGuard {
            current: Arc::clone(current),
            shared: self,
            keep: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<CurrentPool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CurrentPool {
    /// Creates a pool that opens its connections in the same way as `pool`. Instead of a ping, each
    /// connection is asked whether its server accepts writes.
    fn like(pool: &MySqlPool, generation: u64, renewed: &RenewedPool) -> Self {
        let read_only = Arc::new(AtomicBool::new(false));
        let (found, generations) = (Arc::clone(&read_only), renewed.generations().clone());
        let options = renewed.options();
        let like = pool.options().clone().max_connections(CONNECTIONS);
        let pool = like
            .after_connect(move |connection, _| {
                let found = Arc::clone(&found);
                Box::pin(async move {
                    let server = configure(connection, options).await?;
                    found.fetch_or(server.is_read_only, Ordering::SeqCst);
                    Ok(())
                })
            })
            .before_acquire(move |connection, _| {
                let generations = generations.clone();
                Box::pin(async move {
                    let asked = tokio::time::timeout(PING_TIMEOUT, is_read_only(connection)).await;
                    let read_only = asked.map_err(|_| timed_out())??;
                    if read_only {
                        // A new connection may lead to another server.
                        generations.end(generation);
                    }
                    Ok(!read_only)
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    let answered = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                    answered.map_err(|_| timed_out())?.map(|()| true)
                })
            })
            .connect_lazy_with(pool.connect_options().as_ref().clone());
        Self {
            generation,
            pool,
            read_only,
        }
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(STATEMENT_TIMEOUT, work)
        .await
        .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))
}

/// The pool during a library's work. If the guard is dropped before the work is done, the pool is not used
/// for other work.
struct PoolGuard<'s> {
    current: Arc<CurrentPool>,
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
            let current = shared.as_ref();
            if current.is_some_and(|current| Arc::ptr_eq(current, &self.current)) {
                *shared = None;
            }
        }
    }
}
