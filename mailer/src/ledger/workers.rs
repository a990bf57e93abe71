//! Who sends, and how each stands with its server: the table `mail_workers`.

use std::time::Duration;

use eventstore::{Database, Result, Session, Timestamp};

/// How often a worker says that it is there.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// How long after its last word a worker is taken to be there.
const PRESENT: Duration = Duration::from_secs(45);
/// How much later than now the last word of a worker may be: clocks differ. What is later was said under a
/// wrong clock.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);
/// How long after its last word a worker is forgotten.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// A worker that sends, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its name among all.
    pub owner: String,
    /// Where its mail goes, without secrets.
    pub place: String,
    /// How it stands with its server.
    pub standing: Standing,
    /// Why it cannot send, or sends more slowly than it could; no personal data.
    pub error: Option<String>,
    /// Since when it stands so.
    pub since: Timestamp,
    /// When it last said so.
    pub seen_at: Timestamp,
}

/// How a worker stands with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It sends what is due.
    Ready,
    /// The server is away, or puts unrelated mails off. It is tried now and then, and may come back by
    /// itself.
    Down,
    /// The server refuses unrelated mails, and has accepted none since: the password, the certificate or the
    /// sender needs a person. It is tried now and then.
    Refused,
}

impl Standing {
    /// Its name: `ready`, `down`, `refused`.
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

/// Every worker that is there, by name.
pub(crate) async fn present(database: &Database, now: Timestamp) -> Result<Vec<WorkerStatus>> {
    let mut connection = database.reader().await?;
    let rows = connection
        .query(
            "SELECT owner, place, state, error, since, seen_at FROM mail_workers WHERE seen_at > ? AND seen_at < ? \
             ORDER BY owner",
        )
        .bind(now - PRESENT)
        .bind(now + CLOCKS_DIFFER)
        .fetch_all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(WorkerStatus {
                owner: row.get(0)?,
                place: row.get(1)?,
                standing: Standing::named(&row.get::<String, _>(2)?),
                error: row.get(3)?,
                since: row.get(4)?,
                seen_at: row.get(5)?,
            })
        })
        .collect()
}

/// Says how a worker stands. Those that have not been seen for long are forgotten when a new one appears.
pub(crate) async fn beat(session: &mut impl Session, worker: &WorkerStatus, insert: &str) -> Result<()> {
    let known = session
        .query(
            "UPDATE mail_workers SET place = ?, state = ?, error = ?, since = ?, seen_at = ? WHERE owner = ?",
        )
        .bind(worker.place.as_str())
        .bind(worker.standing.name())
        .bind(worker.error.as_deref())
        .bind(worker.since)
        .bind(worker.seen_at)
        .bind(worker.owner.as_str())
        .execute()
        .await?;
    if known > 0 {
        return Ok(());
    }
    session
        .query("DELETE FROM mail_workers WHERE seen_at < ? OR seen_at > ?")
        .bind(worker.seen_at - FORGOTTEN)
        .bind(worker.seen_at + FORGOTTEN)
        .execute()
        .await?;
    let sql = format!(
        "{insert} INTO mail_workers (owner, place, state, error, since, seen_at) VALUES (?, ?, ?, ?, ?, ?)"
    );
    session
        .query(&sql)
        .bind(worker.owner.as_str())
        .bind(worker.place.as_str())
        .bind(worker.standing.name())
        .bind(worker.error.as_deref())
        .bind(worker.since)
        .bind(worker.seen_at)
        .execute()
        .await?;
    Ok(())
}

/// Forgets a worker that has stopped.
pub(crate) async fn leave(database: &Database, owner: &str) -> Result<()> {
    let mut connection = database.writer().await?;
    connection
        .query("DELETE FROM mail_workers WHERE owner = ?")
        .bind(owner)
        .execute()
        .await?;
    Ok(())
}
