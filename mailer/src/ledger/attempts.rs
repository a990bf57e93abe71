//! The history of attempts, in the table `mail_attempts`.

use eventstore::database::{in_list, padded};
use eventstore::{Position, Result, Session, Timestamp, Transaction};

use super::Delivery;

/// A finished attempt.
#[derive(Debug)]
pub(crate) struct AttemptRow<'a> {
    /// The delivery, including the number of this attempt.
    pub(crate) delivery: &'a Delivery,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    /// One of `sent`, `failed`, `dead`, `unknown` and `lost`.
    pub(crate) outcome: &'static str,
    /// Reason, without personal data, at most 500 characters.
    pub(crate) error: Option<&'a str>,
}

/// Adds attempts to the history. Existing attempts are unchanged.
pub(crate) async fn add(transaction: &mut Transaction<'_>, ended: &[AttemptRow<'_>]) -> Result<()> {
    let insert = format!(
        "{} INTO mail_attempts (position, template, started_at, attempt, ended_at, outcome, error) VALUES",
        transaction.dialect().insert_ignore()
    );
    let rows = ended.iter().map(|attempt| {
        [
            attempt.delivery.position.into(),
            attempt.delivery.template.name().into(),
            attempt.started_at.into(),
            i64::from(attempt.delivery.attempts).into(),
            attempt.ended_at.into(),
            attempt.outcome.into(),
            attempt.error.into(),
        ]
    });
    transaction.insert(&insert, rows).await
}

/// Returns the deliveries with an attempt whose outcome is unknown, because the server's reply did not
/// arrive. Deliveries without an attempt since their creation or last manual retry are not looked up.
pub(crate) async fn unknown(
    transaction: &mut Transaction<'_>,
    deliveries: &[&Delivery],
) -> Result<Vec<(Position, String)>> {
    let tried: Vec<_> = deliveries
        .iter()
        .filter(|delivery| delivery.attempts > 0)
        .map(|delivery| delivery.position)
        .collect();
    if tried.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT position, template FROM mail_attempts WHERE outcome = 'unknown' AND position IN ({})",
        in_list(tried.len())
    );
    let rows = transaction
        .query(&sql)
        .bind_all(padded(&tried))
        .fetch_all()
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}
