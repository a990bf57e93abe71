//! Connections for a library that takes its connections from a pool.
//!
//! Such a library does not use [`super::Connection`]. If a future of the library is dropped before it
//! completes, a connection that is out of sync with its server may return to the pool. The library therefore
//! gets a separate pool. After an interrupted loan, the next loan gets a new pool. The old pool is closed
//! when its last user is done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::mysql::MySqlPool;
use sqlx::sqlite::SqlitePool;

use super::query::STATEMENT_TIMEOUT;
use super::{Pools, close, sqlite};
use crate::error::{Error, Result};

/// Maximum number of lent MySQL connections.
const CONNECTIONS: u32 = 4;
/// Timeout for the ping of a returned connection.
const RETURN: Duration = Duration::from_secs(2);

/// The pool that a library gets.
pub(crate) enum LentPool {
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The pool for lending, created when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Lent(Mutex<Option<Arc<MySqlPool>>>);

impl Lent {
    pub(super) async fn lend<T>(&self, pools: &Pools, work: impl AsyncFnOnce(LentPool) -> T) -> Result<T> {
        match pools {
            Pools::MySql { pool, .. } => {
                let loan = self.take(pool);
                let answer = in_time(work(LentPool::MySql(loan.pool.as_ref().clone()))).await?;
                loan.end();
                Ok(answer)
            }
            // On SQLite, an interrupted statement finishes on the connection's own thread, before any other
            // work of the connection.
            Pools::Sqlite { readers, file, .. } => {
                sqlite::check(file.as_deref())?;
                let answer = in_time(work(LentPool::Sqlite(readers.clone()))).await?;
                sqlite::check(file.as_deref())?;
                Ok(answer)
            }
        }
    }

    pub(super) async fn close(&self) {
        let pool = self.present().take();
        if let Some(pool) = pool {
            close(&pool).await;
        }
    }

    fn take(&self, pool: &MySqlPool) -> Loan<'_> {
        let mut present = self.present();
        let pool = present.get_or_insert_with(|| Arc::new(alike(pool)));
        Loan {
            pool: Arc::clone(pool),
            lent: self,
            returned: false,
        }
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Option<Arc<MySqlPool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a pool that opens its connections in the same way as `pool`.
fn alike(pool: &MySqlPool) -> MySqlPool {
    pool.options()
        .clone()
        .max_connections(CONNECTIONS)
        .after_release(|connection, _| {
            Box::pin(async move {
                let answered = tokio::time::timeout(RETURN, connection.ping()).await;
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

/// A loan of a pool. If it is dropped before the work is done, the pool is never lent again.
struct Loan<'l> {
    pool: Arc<MySqlPool>,
    lent: &'l Lent,
    returned: bool,
}

impl Loan<'_> {
    /// Ends the loan: the work is done, and every connection has been or is being returned.
    fn end(mut self) {
        self.returned = true;
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if !self.returned {
            let mut present = self.lent.present();
            if present.as_ref().is_some_and(|pool| Arc::ptr_eq(pool, &self.pool)) {
                *present = None;
            }
        }
    }
}
