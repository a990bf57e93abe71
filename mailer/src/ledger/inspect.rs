//! The ledger for operators: how it stands, what is in it, and trying again by hand.

use eventstore::database::{in_list, padded};
use eventstore::{Database, Position, Result, Row, Session, Timestamp};

use super::ahead;
use super::workers::{self, WorkerStatus};

/// How many rows one statement changes when many are tried again.
const STEP: usize = 500;

/// The ledger, to look at and to have mails tried again.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

/// The states of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent.
    Pending,
    /// Being sent.
    Sending,
    /// Handed over.
    Sent,
    /// To be tried again.
    Failed,
    /// Given up.
    Dead,
    /// Not to be sent any more.
    Cancelled,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Sending,
        Self::Sent,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Its name in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How the ledger stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerStatus {
    /// How many deliveries there are in each state, in the order of [`DeliveryState::ALL`].
    pub counts: [(DeliveryState, u64); 6],
    /// When the oldest delivery was made of those that wait or are being sent.
    pub oldest_waiting: Option<Timestamp>,
    /// Since when the delivery is due that has been due for longest.
    pub oldest_due: Option<Timestamp>,
    /// How many are due further ahead than the longest pause before them: a clock was wrong.
    pub ahead: u64,
    /// The workers that are there.
    pub workers: Vec<WorkerStatus>,
}

/// The deliveries that have not left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// How many there are in each state that is not the last.
    pub counts: [(DeliveryState, u64); 3],
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// Since when the one is due that has been due for longest.
    pub oldest_due: Option<Timestamp>,
    /// How many are due further ahead than the longest pause before them: a clock was wrong.
    pub ahead: u64,
}

/// A delivery, as operators see it; no personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The position of the event that it tells of, which names it.
    pub position: Position,
    /// The name of its template.
    pub template: String,
    /// The id of the patient.
    pub aggregate_id: String,
    /// Its state, by name.
    pub state: String,
    /// How often it has been tried, since the last retry by hand.
    pub attempts: u32,
    /// When it may be taken next.
    pub due_at: Option<Timestamp>,
    /// Why it was not sent last time.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An attempt that has ended; no personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The position of the event that the mail tells of.
    pub position: Position,
    /// The name of the template.
    pub template: String,
    /// Its number, from 1, since the last retry by hand.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `sent`, `failed`, `dead`, `unknown` or `lost`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// What came of a request to try a delivery again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is due now.
    Due,
    /// It is not in a state to be tried again, but in this one.
    Not(DeliveryState),
    /// There is none.
    Unknown,
}

impl Ledger {
    /// The ledger in `database`.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// What has not left at `now`. Reads no row of what has.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn waiting(&self, now: Timestamp) -> Result<Waiting> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(
                "SELECT state, COUNT(*), MIN(created_at) FROM mail_deliveries WHERE due_at IS NOT NULL GROUP BY state",
            )
            .fetch_all()
            .await?;
        let waiting = [
            DeliveryState::Pending,
            DeliveryState::Sending,
            DeliveryState::Failed,
        ];
        let mut counts = waiting.map(|state| (state, 0));
        count(&rows, &mut counts)?;
        let mut oldest = None;
        for row in &rows {
            let first: Timestamp = row.get(2)?;
            oldest = Some(oldest.map_or(first, |oldest: Timestamp| oldest.min(first)));
        }
        Ok(Waiting {
            counts,
            oldest,
            oldest_due: oldest_due(&mut connection, now).await?,
            ahead: ahead::count(&mut connection, now).await?,
        })
    }

    /// Since when the delivery is due that has been due for longest at `now`. Reads one row.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        oldest_due(&mut self.database.reader().await?, now).await
    }

    /// How many deliveries are due further ahead than the longest pause before them at `now`.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn ahead(&self, now: Timestamp) -> Result<u64> {
        ahead::count(&mut self.database.reader().await?, now).await
    }

    /// How it stands at `now`. Counts every row.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
    pub async fn status(&self, now: Timestamp) -> Result<LedgerStatus> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query("SELECT state, COUNT(*) FROM mail_deliveries GROUP BY state")
            .fetch_all()
            .await?;
        let mut counts = DeliveryState::ALL.map(|state| (state, 0));
        count(&rows, &mut counts)?;
        let oldest = connection
            .query("SELECT MIN(created_at) FROM mail_deliveries WHERE due_at IS NOT NULL")
            .fetch_optional()
            .await?;
        let oldest_waiting = oldest.map(|row| row.get(0)).transpose()?.flatten();
        let oldest_due = oldest_due(&mut connection, now).await?;
        let ahead = ahead::count(&mut connection, now).await?;
        drop(connection);
        Ok(LedgerStatus {
            counts,
            oldest_waiting,
            oldest_due,
            ahead,
            workers: self.workers(now).await?,
        })
    }

    /// The workers that are there at `now`.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerStatus>> {
        workers::present(&self.database, now).await
    }

    /// At most `limit` deliveries after position `after`, in any state or in one, by position.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn list(
        &self,
        state: Option<DeliveryState>,
        after: Position,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>> {
        let sql = format!(
            "{SELECT} WHERE position > ?{} ORDER BY position LIMIT ?",
            if state.is_some() { " AND state = ?" } else { "" }
        );
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&sql)
            .bind(after)
            .bind_all(state.map(DeliveryState::name))
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter().map(delivery).collect()
    }

    /// The deliveries at `position`, and every attempt at them that has ended, in the order in which they
    /// began.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn at(&self, position: Position) -> Result<(Vec<DeliveryRecord>, Vec<AttemptRecord>)> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!("{SELECT} WHERE position = ?"))
            .bind(position)
            .fetch_all()
            .await?;
        let deliveries = rows.iter().map(delivery).collect::<Result<_>>()?;
        let rows = connection
            .query(
                "SELECT position, template, attempt, started_at, ended_at, outcome, error FROM mail_attempts \
                 WHERE position = ? ORDER BY started_at, attempt",
            )
            .bind(position)
            .fetch_all()
            .await?;
        let attempts = rows.iter().map(attempt).collect::<Result<_>>()?;
        Ok((deliveries, attempts))
    }

    /// Makes the deliveries at `position` due now that are not sent, being sent or cancelled; their attempts
    /// are counted anew. One is not being sent if its lease has run out, or lasts for longer than a lease
    /// can.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`].
    pub async fn retry(&self, position: Position, now: Timestamp) -> Result<Retried> {
        let mut transaction = self.database.begin().await?;
        let due = transaction
            .query(&format!(
                "{RETRY} WHERE position = ? AND (state IN ('pending', 'failed', 'dead') \
                 OR (state = 'sending' AND (due_at <= ? OR due_at > ?)))"
            ))
            .bind(now)
            .bind(now)
            .bind(position)
            .bind(now)
            .bind(now + ahead::LONGEST_LEASE)
            .execute()
            .await?;
        let found = transaction
            .query("SELECT state FROM mail_deliveries WHERE position = ?")
            .bind(position)
            .fetch_optional()
            .await?;
        transaction.commit().await?;
        let state = found.map(|row| row.get::<String, _>(0)).transpose()?;
        Ok(match state.as_deref().and_then(DeliveryState::named) {
            Some(_) if due > 0 => Retried::Due,
            Some(state) => Retried::Not(state),
            None => Retried::Unknown,
        })
    }

    /// As [`Ledger::retry`] for every dead delivery, some at a time; how many.
    ///
    /// # Errors
    ///
    /// As [`Ledger::status`]; then some have been made due, and the rest can be with another call.
    pub async fn retry_dead(&self, now: Timestamp) -> Result<u64> {
        let mut after = Position::BEGINNING;
        let mut due = 0;
        loop {
            let mut connection = self.database.writer().await?;
            let rows = connection
                .query(
                    "SELECT position FROM mail_deliveries WHERE position > ? AND state = 'dead' ORDER BY position LIMIT ?",
                )
                .bind(after)
                .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
                .fetch_all()
                .await?;
            let dead = rows
                .iter()
                .map(|row| row.get::<Position, _>(0))
                .collect::<Result<Vec<_>>>()?;
            let Some(last) = dead.last() else {
                return Ok(due);
            };
            after = *last;
            let sql = format!(
                "{RETRY} WHERE position IN ({}) AND state = 'dead'",
                in_list(dead.len())
            );
            due += connection
                .query(&sql)
                .bind(now)
                .bind(now)
                .bind_all(padded(&dead))
                .execute()
                .await?;
        }
    }
}

/// Since when the delivery is due that has been due for longest.
async fn oldest_due(session: &mut impl Session, now: Timestamp) -> Result<Option<Timestamp>> {
    let row = session
        .query("SELECT MIN(due_at) FROM mail_deliveries WHERE due_at <= ?")
        .bind(now)
        .fetch_optional()
        .await?;
    Ok(row.map(|row| row.get(0)).transpose()?.flatten())
}

const SELECT: &str = "SELECT position, template, aggregate_id, state, attempts, due_at, last_error, created_at, \
                      updated_at FROM mail_deliveries";
const RETRY: &str =
    "UPDATE mail_deliveries SET state = 'pending', attempts = 0, lease = NULL, due_at = ?, updated_at = ?";

fn delivery(row: &Row) -> Result<DeliveryRecord> {
    Ok(DeliveryRecord {
        position: row.get(0)?,
        template: row.get(1)?,
        aggregate_id: row.get(2)?,
        state: row.get(3)?,
        attempts: u32::try_from(row.get::<i32, _>(4)?).unwrap_or(0),
        due_at: row.get(5)?,
        last_error: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

fn attempt(row: &Row) -> Result<AttemptRecord> {
    Ok(AttemptRecord {
        position: row.get(0)?,
        template: row.get(1)?,
        attempt: u32::try_from(row.get::<i32, _>(2)?).unwrap_or(0),
        started_at: row.get(3)?,
        ended_at: row.get(4)?,
        outcome: row.get(5)?,
        error: row.get(6)?,
    })
}

/// Puts what `rows` count, a state and a number each, where it belongs.
fn count(rows: &[Row], counts: &mut [(DeliveryState, u64)]) -> Result<()> {
    for row in rows {
        let state = DeliveryState::named(&row.get::<String, _>(0)?);
        for (_, count) in counts.iter_mut().filter(|(counted, _)| Some(*counted) == state) {
            *count = u64::try_from(row.get::<i64, _>(1)?).unwrap_or(0);
        }
    }
    Ok(())
}
