//! A connection that is kept between batches, because returning it to the pool would cost a round trip.

use std::time::Duration;

use eventstore::{Connection, Database, Error, Result};

/// Maximum duration of one use.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A read that uses the connection.
pub(super) trait ReadQuery: Sync {
    type Answer: Send;

    fn read(&self, connection: &mut Connection) -> impl Future<Output = Result<Self::Answer>> + Send;
}

pub(super) struct KeptConnection {
    database: Database,
    connection: Option<Connection>,
}

impl KeptConnection {
    pub(super) const fn new(database: Database) -> Self {
        Self {
            database,
            connection: None,
        }
    }

    /// Reads, and retries once with a new connection if the connection has died since its last use.
    pub(super) async fn read<R: ReadQuery>(&mut self, read: &R) -> Result<R::Answer> {
        match self.try_read(read).await {
            Err(error) if error.is_connection() => self.try_read(read).await,
            answer => answer,
        }
    }

    async fn try_read<R: ReadQuery>(&mut self, read: &R) -> Result<R::Answer> {
        let answer = tokio::time::timeout(TIMEOUT, async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(self.database.reader().await?),
            };
            read.read(connection).await
        })
        .await
        .unwrap_or(Err(Error::Timeout(TIMEOUT)));
        if answer.is_err()
            && let Some(mut connection) = self.connection.take()
        {
            connection.close_on_drop();
        }
        answer
    }
}
