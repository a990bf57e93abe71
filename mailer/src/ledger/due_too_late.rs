//! Deliveries that are due later than the schedule allows, because a clock was wrong when they were written.
//! They become due now.

use std::time::Duration;

use eventstore::{Database, Position, Result, Session, Timestamp};

use crate::schedule;

/// Maximum difference between the clocks of two machines.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_mins(1);
/// Upper bound of the duration of a lease. A lease lasts for the answer timeout, which is at most an hour,
/// and at most 50 s more. The bound also covers the leases of earlier versions, which lasted for all three
/// timeouts of an attempt.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_mins(3 * 60 + 1);
/// Maximum number of rows per query.
const MAX_ROWS: i64 = 500;

/// Condition for a row that is due too late, with one placeholder for each of [`limits`].
const IS_DUE_TOO_LATE: &str = "due_at > ? AND due_at > CASE WHEN state = 'pending' THEN ? WHEN state = 'sending' THEN ? \
     WHEN attempts <= 1 THEN ? WHEN attempts = 2 THEN ? WHEN attempts = 3 THEN ? WHEN attempts = 4 THEN ? \
     WHEN attempts = 5 THEN ? WHEN attempts = 6 THEN ? ELSE ? END";

/// Returns the values for [`IS_DUE_TOO_LATE`]: a lower limit for all rows, and the latest valid due times of
/// a pending row, of a row being sent, and of rows that have failed one to seven times.
fn limits(now: Timestamp) -> [Timestamp; 10] {
    let [first, second, third, fourth, fifth, sixth, seventh] = schedule::PAUSES.map(|pause| {
        let pause = pause.max(schedule::PAUSE_AFTER_UNKNOWN);
        now + pause.mul_f64(1.0 + schedule::JITTER) + MAX_CLOCK_DIFFERENCE
    });
    let pending = now + MAX_CLOCK_DIFFERENCE;
    [
        pending,
        pending,
        now + LONGEST_LEASE + MAX_CLOCK_DIFFERENCE,
        first,
        second,
        third,
        fourth,
        fifth,
        sixth,
        seventh,
    ]
}

/// Makes all deliveries due now that are due later than the schedule allows. Returns their number.
pub(crate) async fn make_due(database: &Database, now: Timestamp) -> Result<u64> {
    let limits = limits(now);
    let mut corrected = 0;
    loop {
        let mut session = database.writer().await?;
        // Searches without locks first, because such rows are rare.
        let rows = session
            .query(&format!(
                "SELECT position, template FROM mail_deliveries WHERE {IS_DUE_TOO_LATE} LIMIT ?"
            ))
            .bind_all(limits)
            .bind(MAX_ROWS)
            .fetch_all()
            .await?;
        for row in &rows {
            corrected += session
                .query(&format!(
                    "UPDATE mail_deliveries SET due_at = ? WHERE position = ? AND template = ? AND {IS_DUE_TOO_LATE}"
                ))
                .bind(now)
                .bind(row.get::<Position, _>(0)?)
                .bind(row.get::<String, _>(1)?)
                .bind_all(limits)
                .execute()
                .await?;
        }
        if rows.len() < usize::try_from(MAX_ROWS).unwrap_or(usize::MAX) {
            return Ok(corrected);
        }
    }
}

/// Counts the deliveries that are due later than the schedule allows.
pub(crate) async fn count(session: &mut impl Session, now: Timestamp) -> Result<u64> {
    let row = session
        .query(&format!(
            "SELECT COUNT(*) FROM mail_deliveries WHERE {IS_DUE_TOO_LATE}"
        ))
        .bind_all(limits(now))
        .fetch_optional()
        .await?;
    let count = row.map(|row| row.get::<i64, _>(0)).transpose()?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}
