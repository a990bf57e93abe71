//! A connection that is kept between batches, because returning it to the pool would cost a round trip.
//!
//! The connection may stay open while the database server is switched. It is therefore returned to the pool
//! after [`KEPT`], where the next use checks whether the server still accepts writes. It is returned
//! immediately if another connection of this process has detected a switch.

use std::time::Duration;

use eventstore::{Connection, Database, Error, Result};
use tokio::time::Instant;

/// Maximum duration of one use.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(5);

/// A read that uses the connection.
pub(super) trait ReadQuery: Sync {
    type Answer: Send;

    fn read(&self, connection: &mut Connection) -> impl Future<Output = Result<Self::Answer>> + Send;
}

pub(super) struct KeptConnection {
    database: Database,
    /// The connection, and the time when it was taken from the pool.
    connection: Option<(Connection, Instant)>,
}

impl KeptConnection {
    pub(super) const fn new(database: Database) -> Self {
        Self {
            database,
            connection: None,
        }
    }

    /// Reads, and retries once with a new connection if the connection has died since its last use, or if its
    /// server accepts no writes any more.
    pub(super) async fn read<R: ReadQuery>(&mut self, read: &R) -> Result<R::Answer> {
        match self.try_read(read).await {
            Err(error) if error.is_connection() || matches!(error, Error::ReadOnly(_)) => {
                self.try_read(read).await
            }
            answer => answer,
        }
    }

    async fn try_read<R: ReadQuery>(&mut self, read: &R) -> Result<R::Answer> {
        self.connection
            .take_if(|(connection, since)| since.elapsed() > KEPT || !connection.may_be_kept());
        let answer = tokio::time::timeout(TIMEOUT, async {
            let (connection, _) = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert((self.database.reader().await?, Instant::now())),
            };
            read.read(connection).await
        })
        .await
        .unwrap_or(Err(Error::Timeout(TIMEOUT)));
        if answer.is_err()
            && let Some((mut connection, _)) = self.connection.take()
        {
            connection.close_on_drop();
        }
        answer
    }
}
