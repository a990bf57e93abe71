//! Publishing the status of the worker and its mail server.

use eventstore::{Database, Result, Timestamp};
use tokio::time::Instant;

use super::breaker::Breaker;
use crate::ledger::workers::{self, STATUS_INTERVAL, ServerState, WorkerStatus};

/// Maximum length of the published description of a mail server, in characters.
const MAX_SERVER_CHARS: usize = 300;

/// The published status of a worker.
#[derive(Debug)]
pub(super) struct PublishedStatus {
    owner: String,
    /// Last published state of the mail server, and the time of publication.
    last: Option<(ServerState, Instant)>,
    ready_since: Option<Timestamp>,
}

impl PublishedStatus {
    /// Creates the status of a worker that has published nothing. `owner` is the worker's name.
    pub(super) const fn new(owner: String) -> Self {
        Self {
            owner,
            last: None,
            ready_since: None,
        }
    }

    /// Registers the time at which the worker started, unless it is known.
    pub(super) fn started(&mut self, now: Timestamp) {
        self.ready_since.get_or_insert(now);
    }

    /// Whether to publish the status: when the state of the mail server changes, and at regular intervals.
    pub(super) fn is_due(&self, breaker: &Breaker) -> bool {
        let (state, _, _) = breaker.server_state();
        self.last
            .is_none_or(|(last, at)| last != state || at.elapsed() >= STATUS_INTERVAL)
    }

    /// Publishes the status. `server` describes the mail server, and `slowdown` is the reason why the worker
    /// sends more slowly than it could.
    pub(super) async fn publish(
        &mut self,
        database: &Database,
        server: &str,
        breaker: &Breaker,
        slowdown: Option<String>,
        now: Timestamp,
    ) -> Result<()> {
        let (state, since, error) = breaker.server_state();
        if state == ServerState::Ready && self.last.is_some_and(|(last, _)| last != state) {
            self.ready_since = Some(now);
        }
        let status = WorkerStatus {
            name: self.owner.clone(),
            server: server.chars().take(MAX_SERVER_CHARS).collect(),
            state,
            error: error.map(str::to_owned).or(slowdown),
            since: since.or(self.ready_since).unwrap_or(now),
            seen_at: now,
        };
        let insert = database.dialect().insert_ignore();
        workers::publish(&mut database.writer().await?, &status, insert).await?;
        self.last = Some((state, Instant::now()));
        Ok(())
    }

    /// Deletes the status of a worker that has stopped.
    pub(super) async fn delete(&self, database: &Database) -> Result<()> {
        workers::delete(database, &self.owner).await
    }
}
