//! An empty email ledger, for tests of other parts of the API. The tests of the whole program use the real
//! ledger.

use api::mail::{Answer, Counts, Delivery, DeskError, MailDesk, MailStatus, MailTrial, Retried, Shown};
use eventstore::Position;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

#[derive(Debug)]
pub(crate) struct NoMail;

impl MailDesk for NoMail {
    fn status(&self) -> Answer<'_, MailStatus> {
        let status = MailStatus {
            mails: Counts::default(),
            oldest_waiting: None,
            oldest_due: None,
            due_too_late: 0,
            mailers: Vec::new(),
        };
        ready(Ok(status)).boxed()
    }

    fn list(&self, _: Option<&'static str>, _: Position, _: u32) -> Answer<'_, Vec<Delivery>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn show(&self, _: Position) -> Answer<'_, Shown> {
        let shown = Shown {
            mails: Vec::new(),
            attempts: Vec::new(),
        };
        ready(Ok(shown)).boxed()
    }

    fn retry(&self, _: Position) -> Answer<'_, Retried> {
        ready(Ok(Retried::Unknown)).boxed()
    }

    fn retry_dead(&self) -> Answer<'_, u64> {
        ready(Ok(0)).boxed()
    }

    fn preview(&self, _: &'static str, _: Option<&'static str>) -> Result<String, DeskError> {
        Err(DeskError::Refused("is not written".to_owned()))
    }

    fn test(&self, _: String) -> BoxFuture<'_, Result<MailTrial, DeskError>> {
        ready(Err(DeskError::Refused("has no mailbox".to_owned()))).boxed()
    }
}
