//! From events to the ledger.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_DELETED, PATIENT_REGISTERED, Patient};
use eventstore::{Clock, Handler, RecordedEvent, Transaction};
use tokio::sync::Notify;

use crate::ledger;
use crate::template::Template;

/// The name of the subscription, under which its checkpoint is kept.
pub const SUBSCRIPTION: &str = "mailer";
/// How long events gather under load before what they mean for the mail is written: mail may leave a moment
/// later, and each transaction costs the appends a flush.
pub const GATHER: Duration = Duration::from_millis(100);

/// Writes what is to be sent into the ledger: a row for each registration, and if wanted for each deletion;
/// and cancels what a deletion has overtaken. Events of other aggregates, and of types that no mail tells of,
/// are passed over.
#[derive(Debug)]
pub struct MailHandler {
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    farewell: bool,
    due: bool,
}

/// The handler for the subscription [`SUBSCRIPTION`], and what it wakes a [`crate::Worker`] of the same
/// process with. With `farewell`, a deletion is confirmed too.
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
        // After the additions: an id is never used again, so a deletion follows its registration.
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
