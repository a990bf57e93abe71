//! Access to the ledger for operators: status and contents.

use eventstore::{Database, Error, Position, Result, Row, Session, Timestamp};

use super::due_too_late;
use super::finished::FinishedDeliveries;
use super::records::{
    AttemptRecord, DeliveriesWanted, DeliveryRecord, DeliveryState, EventDeliveries, LedgerStatus,
    UnfinishedDeliveries,
};
use super::workers::{self, WorkerStatus};
use crate::handler::SUBSCRIPTION;

/// Access to the delivery ledger for inspection and manual retries.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(super) database: Database,
}

impl Ledger {
    /// Opens the ledger in `database`.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Whether the mailer will send no further email to a patient whose last event is at `position`: it has
    /// processed that event, and has no unfinished delivery for the patient.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn is_rid_of(&self, patient: &str, position: Position) -> Result<bool> {
        let row = self
            .database
            .reader()
            .await?
            .query(
                "SELECT COALESCE((SELECT position FROM checkpoints WHERE name = ?), 0), \
                 (SELECT COUNT(*) FROM mail_deliveries WHERE aggregate_id = ? AND due_at IS NOT NULL)",
            )
            .bind(SUBSCRIPTION)
            .bind(patient)
            .fetch_optional()
            .await?
            .ok_or(Error::MissingHead)?;
        let (checkpoint, unfinished): (Position, i64) = (row.get(0)?, row.get(1)?);
        Ok(checkpoint >= position && unfinished == 0)
    }

    /// Returns a summary, at `now`, of the unfinished deliveries: pending, being sent, or waiting for a
    /// retry. Does not read rows of finished deliveries.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn unfinished(&self, now: Timestamp) -> Result<UnfinishedDeliveries> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(
                "SELECT state, COUNT(*), MIN(created_at) FROM mail_deliveries WHERE due_at IS NOT NULL GROUP BY state",
            )
            .fetch_all()
            .await?;
        let unfinished = [
            DeliveryState::Pending,
            DeliveryState::Sending,
            DeliveryState::Failed,
        ];
        let mut counts = unfinished.map(|state| (state, 0));
        count(&rows, &mut counts)?;
        let mut oldest = None;
        for row in &rows {
            let first: Timestamp = row.get(2)?;
            oldest = Some(oldest.map_or(first, |oldest: Timestamp| oldest.min(first)));
        }
        Ok(UnfinishedDeliveries {
            counts,
            oldest,
            oldest_due: oldest_due(&mut connection, now).await?,
            due_too_late: due_too_late::count(&mut connection, now).await?,
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
        due_too_late::count(&mut self.database.reader().await?, now).await
    }

    /// Returns the status of the ledger at `now`. Counts every row.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
    pub async fn status(&self, now: Timestamp) -> Result<LedgerStatus> {
        self.status_with(self.finished().await?, now).await
    }

    /// Returns the status of the ledger at `now`, with counts of finished deliveries that were made before.
    /// Does not read rows of finished deliveries.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn status_with(&self, finished: FinishedDeliveries, now: Timestamp) -> Result<LedgerStatus> {
        let unfinished = self.unfinished(now).await?;
        let known = || unfinished.counts.iter().chain(&finished);
        let counts = DeliveryState::ALL.map(|state| {
            let count = known().find(|(of, _)| *of == state);
            (state, count.map_or(0, |(_, count)| *count))
        });
        Ok(LedgerStatus {
            counts,
            oldest_waiting: unfinished.oldest,
            oldest_due: unfinished.oldest_due,
            due_too_late: unfinished.due_too_late,
            workers: self.workers(now).await?,
        })
    }

    /// Counts the finished deliveries: sent, dead or cancelled. Reads every row.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn finished(&self) -> Result<FinishedDeliveries> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query("SELECT state, COUNT(*) FROM mail_deliveries GROUP BY state")
            .fetch_all()
            .await?;
        let mut counts =
            [DeliveryState::Sent, DeliveryState::Dead, DeliveryState::Cancelled].map(|state| (state, 0));
        count(&rows, &mut counts)?;
        Ok(counts)
    }

    /// Returns the workers that are active at `now`.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerStatus>> {
        workers::active(&self.database, now).await
    }

    /// Returns about `limit` deliveries after position `after`, ordered by position. Deliveries at the same
    /// position are never divided between pages, so the page may contain a few more than `limit`. Fewer than
    /// `limit` deliveries mean that no further deliveries exist.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn list(
        &self,
        wanted: &DeliveriesWanted,
        after: Position,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>> {
        let state = wanted.state.map(DeliveryState::name);
        let filters = [("aggregate_id", wanted.patient.as_deref()), ("state", state)];
        let filters = filters.map(|(column, value)| value.map(|value| (format!(" AND {column} = ?"), value)));
        let (conditions, values): (String, Vec<_>) = filters.into_iter().flatten().unzip();
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!(
                "{SELECT} WHERE position > ?{conditions} ORDER BY position, template LIMIT ?"
            ))
            .bind(after)
            .bind_all(values.iter().copied())
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        let mut page: Vec<DeliveryRecord> = rows.iter().map(delivery).collect::<Result<_>>()?;
        let Some(last) = page.last().filter(|_| page.len() >= limit as usize) else {
            return Ok(page);
        };
        let rows = connection
            .query(&format!(
                "{SELECT} WHERE position = ? AND template > ?{conditions} ORDER BY template"
            ))
            .bind(last.position)
            .bind(last.template.as_str())
            .bind_all(values.iter().copied())
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
