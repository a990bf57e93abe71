//! The subscription handler, which turns events into ledger rows.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_DELETED, PATIENT_REGISTERED, Patient};
use eventstore::{Clock, Handler, RecordedEvent, Transaction};
use tokio::sync::Notify;

use crate::ledger;
use crate::template::Template;

/// Name of the subscription and of its checkpoint.
pub const SUBSCRIPTION: &str = "mailer";
/// Time for which events are collected under load before their deliveries are written. A short delay is
/// acceptable for mail, and each transaction adds a flush to disk, which slows down appends.
pub const GATHER: Duration = Duration::from_millis(100);

/// Adds a delivery to the ledger for each registration and, if enabled, for each deletion. Cancels deliveries
/// whose patient was deleted before they were sent. Ignores events of other aggregates and of types that
/// cause no email.
#[derive(Debug)]
pub struct MailHandler {
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    farewell: bool,
    due: bool,
}

/// Returns the handler for the subscription [`SUBSCRIPTION`], and the `Notify` that wakes a [`crate::Worker`]
/// in the same process. With `farewell`, deletions are confirmed too.
#[must_use]
pub fn handler(clock: Arc<dyn Clock>, farewell: bool) -> (MailHandler, Arc<Notify>) {
    let wake = Arc::new(Notify::new());
    let handler = MailHandler {
        clock,
        wake: Arc::clone(&wake),
        farewell,
        due: false,
    };
    (handler, wake)
}

impl Handler for MailHandler {
    type Error = eventstore::Error;

    fn is_of_events(error: &eventstore::Error) -> bool {
        error.is_of_data()
    }

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> eventstore::Result<()> {
        let of_type = |event_type: &'static str| {
            events
                .iter()
                .filter(move |event| event.aggregate_type == Patient::TYPE && event.event_type == event_type)
        };
        let registered: Vec<_> = of_type(PATIENT_REGISTERED).collect();
        let deleted: Vec<_> = of_type(PATIENT_DELETED).collect();
        let ids: Vec<_> = deleted.iter().map(|event| event.aggregate_id.as_str()).collect();
        let now = self.clock.now();
        self.due = !registered.is_empty() || (self.farewell && !deleted.is_empty());
        ledger::add(transaction, Template::PatientRegistered, &registered, now).await?;
        // Cancellation follows the additions: ids are never reused, so a deletion always follows its
        // registration.
        ledger::cancel_for(transaction, &ids, now).await?;
        if self.farewell {
            ledger::add(transaction, Template::PatientDeleted, &deleted, now).await?;
        }
        Ok(())
    }

    fn committed(&mut self) {
        if std::mem::take(&mut self.due) {
            self.wake.notify_one();
        }
    }
}
