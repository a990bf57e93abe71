//! The history: the table `mail_attempts`.

use eventstore::database::values_list;
use eventstore::{Result, Session, Timestamp, Transaction};

use super::Delivery;

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Past<'a> {
    /// With the number of this attempt.
    pub(crate) delivery: &'a Delivery,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    /// `sent`, `failed`, `dead` or `lost`.
    pub(crate) outcome: &'static str,
    /// No personal data, at most 500 characters.
    pub(crate) error: Option<&'a str>,
}

/// Adds attempts to the history. One that is there already is left alone.
pub(crate) async fn add(transaction: &mut Transaction<'_>, ended: &[Past<'_>]) -> Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "{} INTO mail_attempts (position, template, started_at, attempt, ended_at, outcome, error) VALUES {}",
        transaction.dialect().insert_ignore(),
        values_list(ended.len(), 7)
    );
    let mut insert = transaction.query(&sql);
    for attempt in ended {
        insert = insert
            .bind(attempt.delivery.position)
            .bind(attempt.delivery.template.name())
            .bind(attempt.started_at)
            .bind(i32::try_from(attempt.delivery.attempts).unwrap_or(i32::MAX))
            .bind(attempt.ended_at)
            .bind(attempt.outcome)
            .bind(attempt.error);
    }
    insert.execute().await?;
    Ok(())
}
