//! Access to the ledger for operators: status, contents and manual retries.

use eventstore::database::{in_list, padded};
use eventstore::{Database, Position, Result, Row, Session, Timestamp};
use serde::{Serialize, Serializer};

use super::ahead;
use super::workers::{self, WorkerStatus};

/// Maximum number of rows per statement when many deliveries are retried.
const STEP: usize = 500;

/// Access to the delivery ledger for inspection and manual retries.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waiting for its first attempt.
    Pending,
    /// Being sent.
    Sending,
    /// Sent.
    Sent,
    /// Waiting for a retry.
    Failed,
    /// Not sent, and not retried automatically.
    Dead,
    /// Cancelled before it was sent.
    Cancelled,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Sending,
        Self::Sent,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Name of the state in the ledger.
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

    /// Returns the state with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Status of the ledger, as `GET /mail` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerStatus {
    /// Number of deliveries in each state, in the order of [`DeliveryState::ALL`].
    #[serde(rename = "mails", serialize_with = "by_state")]
    pub counts: [(DeliveryState, u64); 6],
    /// Creation time of the oldest delivery that is waiting or being sent.
    pub oldest_waiting: Option<Timestamp>,
    /// Due time of the delivery that has been due longest.
    pub oldest_due: Option<Timestamp>,
    /// Number of deliveries that are due later than the longest possible pause, because a clock was wrong.
    pub due_too_late: u64,
    /// Active workers.
    #[serde(rename = "mailers")]
    pub workers: Vec<WorkerStatus>,
}

/// Summary of the deliveries that have not been sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Number of deliveries in each state that is not final.
    pub counts: [(DeliveryState, u64); 3],
    /// Creation time of the oldest of these deliveries.
    pub oldest: Option<Timestamp>,
    /// Due time of the delivery that has been due longest.
    pub oldest_due: Option<Timestamp>,
    /// Number of deliveries that are due later than the longest possible pause, because a clock was wrong.
    pub due_too_late: u64,
}

/// A delivery as shown to operators, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRecord {
    /// Position of the event that caused the delivery. Together with the template, identifies the delivery.
    #[serde(rename = "id")]
    pub position: Position,
    /// Name of the template.
    #[serde(rename = "mail")]
    pub template: String,
    /// Id of the patient.
    #[serde(rename = "patient_id")]
    pub aggregate_id: String,
    /// Name of the state.
    pub state: String,
    /// Number of attempts since the last manual retry.
    pub attempts: u32,
    /// Time from which a worker may take the delivery.
    #[serde(rename = "next")]
    pub due_at: Option<Timestamp>,
    /// Reason why the last attempt did not send the email.
    pub last_error: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// A finished attempt, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// Position of the event that caused the delivery.
    #[serde(rename = "id")]
    pub position: Position,
    /// Name of the template.
    #[serde(rename = "mail")]
    pub template: String,
    /// Number of the attempt since the last manual retry, from 1.
    pub attempt: u32,
    /// Start time.
    pub started_at: Timestamp,
    /// End time.
    pub ended_at: Timestamp,
    /// One of `sent`, `failed`, `dead`, `unknown` and `lost`.
    pub outcome: String,
    /// Reason for the failure.
    pub error: Option<String>,
}

/// The deliveries caused by one event, and all finished attempts to send them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventDeliveries {
    /// The deliveries. Empty if the event caused no delivery.
    #[serde(rename = "mails")]
    pub deliveries: Vec<DeliveryRecord>,
    /// The attempts, ordered by start time.
    pub attempts: Vec<AttemptRecord>,
}

/// Result of a manual retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryResult {
    /// The delivery is due now.
    Due,
    /// The delivery cannot be retried in its current state.
    NotRetryable(DeliveryState),
    /// The delivery does not exist.
    NotFound,
}

impl Ledger {
    /// Opens the ledger in `database`.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns a summary of the deliveries that have not been sent at `now`. Does not read rows of finished
    /// deliveries.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
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
            due_too_late: ahead::count(&mut connection, now).await?,
        })
    }

    /// Returns the due time of the delivery that has been due longest at `now`. Reads one row.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn oldest_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        oldest_due(&mut self.database.reader().await?, now).await
    }

    /// Counts the deliveries that are due later than the longest possible pause after `now`.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn due_too_late(&self, now: Timestamp) -> Result<u64> {
        ahead::count(&mut self.database.reader().await?, now).await
    }

    /// Returns the status of the ledger at `now`. Counts every row.
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
        let due_too_late = ahead::count(&mut connection, now).await?;
        drop(connection);
        Ok(LedgerStatus {
            counts,
            oldest_waiting,
            oldest_due,
            due_too_late,
            workers: self.workers(now).await?,
        })
    }

    /// Returns the workers that are active at `now`.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerStatus>> {
        workers::present(&self.database, now).await
    }

    /// Returns about `limit` deliveries after position `after`, ordered by position, optionally in one state
    /// only. Deliveries at the same position are never divided between pages, so the page may contain a few
    /// more than `limit`. Fewer than `limit` deliveries mean that no further deliveries exist.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn list(
        &self,
        state: Option<DeliveryState>,
        after: Position,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>> {
        let in_state = if state.is_some() { " AND state = ?" } else { "" };
        let state = state.map(DeliveryState::name);
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!(
                "{SELECT} WHERE position > ?{in_state} ORDER BY position, template LIMIT ?"
            ))
            .bind(after)
            .bind_all(state)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        let mut page: Vec<DeliveryRecord> = rows.iter().map(delivery).collect::<Result<_>>()?;
        let Some(last) = page.last().filter(|_| page.len() >= limit as usize) else {
            return Ok(page);
        };
        let rows = connection
            .query(&format!(
                "{SELECT} WHERE position = ? AND template > ?{in_state} ORDER BY template"
            ))
            .bind(last.position)
            .bind(last.template.as_str())
            .bind_all(state)
            .fetch_all()
            .await?;
        for row in &rows {
            page.push(delivery(row)?);
        }
        Ok(page)
    }

    /// Returns the deliveries caused by the event at `position` and all their finished attempts.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn at(&self, position: Position) -> Result<EventDeliveries> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!("{SELECT} WHERE position = ? ORDER BY template"))
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
        Ok(EventDeliveries { deliveries, attempts })
    }

    /// Makes the deliveries at `position` due now and resets their number of attempts, unless they are sent,
    /// being sent or cancelled. A delivery does not count as being sent if its lease has expired, or ends
    /// later than any valid lease.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn retry(&self, position: Position, now: Timestamp) -> Result<RetryResult> {
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
            Some(_) if due > 0 => RetryResult::Due,
            Some(state) => RetryResult::NotRetryable(state),
            None => RetryResult::NotFound,
        })
    }

    /// Retries every dead delivery as [`Ledger::retry`] does, in batches. Returns the number of deliveries.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`]. After an error, some deliveries may already be due. Another call
    /// retries the rest.
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

/// Returns the due time of the delivery that has been due longest.
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

/// Serializes the counts as an object with one member per state.
fn by_state<S: Serializer>(
    counts: &[(DeliveryState, u64)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(state, count)| (state.name(), count)))
}

/// Copies the counts from `rows`, each with a state and a number, into `counts`.
fn count(rows: &[Row], counts: &mut [(DeliveryState, u64)]) -> Result<()> {
    for row in rows {
        let state = DeliveryState::named(&row.get::<String, _>(0)?);
        for (_, count) in counts.iter_mut().filter(|(counted, _)| Some(*counted) == state) {
            *count = u64::try_from(row.get::<i64, _>(1)?).unwrap_or(0);
        }
    }
    Ok(())
}
