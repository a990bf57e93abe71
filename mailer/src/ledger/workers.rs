//! The status of each worker and its mail server, in the table `mail_workers`.

use std::time::Duration;

use eventstore::{Database, Result, Session, Timestamp};
use serde::Serialize;

/// Maximum interval between status updates of a worker.
pub(crate) const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Time after its last update during which a worker counts as active.
const ACTIVE_FOR: Duration = Duration::from_secs(45);
/// Maximum difference between the clocks of two machines. An update further in the future was written with a
/// wrong clock.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_mins(5);
/// A worker may be deleted from the table if its last update is further in the past, or in the future, than
/// this.
const DELETED_AFTER: Duration = Duration::from_hours(1);

/// Status of an active worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// Name of the worker, unique among all workers.
    pub name: String,
    /// Destination of the worker's mail, without secrets.
    pub server: String,
    /// State of the worker's mail server.
    pub state: ServerState,
    /// Reason why the worker cannot send, or sends more slowly than it could. Contains no personal data.
    pub error: Option<String>,
    /// Time at which the current state of the mail server began.
    pub since: Timestamp,
    /// Time of the last update.
    pub seen_at: Timestamp,
}

/// State of a worker's mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// The worker sends due email.
    Ready,
    /// The server is unreachable, or defers unrelated emails. The worker probes the server, which may recover
    /// without intervention.
    Down,
    /// The server rejects unrelated emails and has accepted no email since. The password, the certificate or
    /// the sender requires manual intervention. The worker probes the server.
    Refused,
}

impl ServerState {
    /// Name of the state: `ready`, `down` or `refused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Refused => "refused",
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "down" => Self::Down,
            "refused" => Self::Refused,
            _ => Self::Ready,
        }
    }
}

/// Returns the active workers, ordered by name.
pub(crate) async fn active(database: &Database, now: Timestamp) -> Result<Vec<WorkerStatus>> {
    let mut connection = database.reader().await?;
    let rows = connection
        .query(
            "SELECT owner, place, state, error, since, seen_at FROM mail_workers WHERE seen_at > ? AND seen_at < ? \
             ORDER BY owner",
        )
        .bind(now - ACTIVE_FOR)
        .bind(now + MAX_CLOCK_DIFFERENCE)
        .fetch_all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(WorkerStatus {
                name: row.get(0)?,
                server: row.get(1)?,
                state: ServerState::named(&row.get::<String, _>(2)?),
                error: row.get(3)?,
                since: row.get(4)?,
                seen_at: row.get(5)?,
            })
        })
        .collect()
}

/// Updates the status of a worker. When a new worker appears, old workers are deleted.
pub(crate) async fn publish(session: &mut impl Session, worker: &WorkerStatus, insert: &str) -> Result<()> {
    let known = session
        .query(
            "UPDATE mail_workers SET place = ?, state = ?, error = ?, since = ?, seen_at = ? WHERE owner = ?",
        )
        .bind(worker.server.as_str())
        .bind(worker.state.name())
        .bind(worker.error.as_deref())
        .bind(worker.since)
        .bind(worker.seen_at)
        .bind(worker.name.as_str())
        .execute()
        .await?;
    if known > 0 {
        return Ok(());
    }
    session
        .query("DELETE FROM mail_workers WHERE seen_at < ? OR seen_at > ?")
        .bind(worker.seen_at - DELETED_AFTER)
        .bind(worker.seen_at + DELETED_AFTER)
        .execute()
        .await?;
    let sql = format!(
        "{insert} INTO mail_workers (owner, place, state, error, since, seen_at) VALUES (?, ?, ?, ?, ?, ?)"
    );
    session
        .query(&sql)
        .bind(worker.name.as_str())
        .bind(worker.server.as_str())
        .bind(worker.state.name())
        .bind(worker.error.as_deref())
        .bind(worker.since)
        .bind(worker.seen_at)
        .execute()
        .await?;
    Ok(())
}

/// Deletes a worker that has stopped.
pub(crate) async fn delete(database: &Database, owner: &str) -> Result<()> {
    let mut connection = database.writer().await?;
    connection
        .query("DELETE FROM mail_workers WHERE owner = ?")
        .bind(owner)
        .execute()
        .await?;
    Ok(())
}
