//! Confirmation emails, sent in response to events in the log.
//!
//! ```text
//! PatientRegistered -> MailHandler: one row in mail_deliveries, in the checkpoint's transaction
//!                   -> Worker: take due rows under a lease -> compose -> Transport -> record the outcome
//! PatientDeleted    -> cancel the deliveries that have not been sent
//! ```
//!
//! The ledger (`mail_deliveries`) records the emails to send and their outcomes. The ledger contains no
//! personal data: the worker reads the recipient from the event when it sends the email.
//!
//! # Guarantees
//!
//! - Every registration has exactly one delivery, no matter how often the process is killed. Rebuilding a
//!   projection creates no deliveries.
//! - No delivery is silently lost: each ends as `sent`, `cancelled` or `dead`. An email that fails is retried
//!   for about 17 hours ([`schedule`]). If a worker is killed, another worker takes over its rows when the
//!   lease expires.
//! - While the server is unreachable or rejects all mail, the worker probes it with one email at a time, and
//!   no attempts are counted. Other processes can see this state in `mail_workers`. If the server rejects
//!   only some emails, other emails are not delayed.
//! - Every attempt is recorded in `mail_attempts`, together with its outcome.
//! - An email is sent twice only if the worker dies or the connection is lost after the server accepts the
//!   email and before the acceptance is recorded. Both copies then have the same `Message-ID`. If the worker
//!   survives but cannot tell whether the server accepted the email, it sends the email once more. If that
//!   outcome is also unknown, the email is dead.
//! - A patient who is deleted before the confirmation is sent receives no confirmation.
//! - No log line, error or ledger row of this crate contains a patient's data or the text of an SMTP server's
//!   reply.
//!
//! # Overview
//!
//! | item | purpose |
//! |---|---|
//! | [`handler()`], [`MailHandler`], [`SUBSCRIPTION`] | turning events into ledger rows |
//! | [`Worker`], [`Options`] | sending the emails in the ledger |
//! | [`Transport`], [`Timeouts`], [`EhloName`], [`SmtpUrlError`] | sending by SMTP, or writing files to a folder |
//! | [`Composer`], [`Templates`], [`Languages`], [`Sender`] | composing emails |
//! | [`Dkim`], [`DkimError`] | signing emails |
//! | [`AttemptError`], [`Failure`], [`Outage`] | the reason why an email was not sent, and whether another attempt may succeed |
//! | [`Ledger`] | status and manual retries, for operators |
//! | [`SampleMailer`] | previews and test emails, for operators |
//!
//! The types that [`Ledger`] and [`SampleMailer`] return serialize to the JSON of the HTTP API and of the
//! command line. Members of this JSON must not be renamed.
//!
//! # Adding an email
//!
//! 1. Add a variant to [`Template`] in `template.rs`. Its name is stored in the ledger's `template` column
//!    and must never change.
//! 2. Write its three files, `NAME.subject.txt`, `NAME.txt` and `NAME.html`, in `templates/es` and
//!    `templates/en`, and list them in `BUILT_IN` in `templates.rs`. [`Templates::built_in`] fails if a file
//!    is missing.
//! 3. In `handler.rs`, specify the event that creates its deliveries. In `message.rs`, provide the values for
//!    its templates.
//! 4. Test its content in `message/tests.rs`.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
pub mod schedule;

mod address;
mod dkim;
mod error;
mod handler;
mod language;
mod ledger;
mod message;
mod sample_mailer;
mod sender;
mod template;
mod templates;
mod transport;
mod worker;

pub use dkim::{Dkim, DkimError};
pub use error::{AttemptError, CertificateFault, EnhancedCode, Failure, Outage, SmtpFailure, Step};
pub use handler::{GATHER, MailHandler, SUBSCRIPTION, handler};
pub use language::{Language, Languages, LanguagesError};
pub use ledger::inspect::{
    AttemptRecord, DeliveryRecord, DeliveryState, EventDeliveries, Ledger, LedgerStatus, RetryResult, Waiting,
};
pub use ledger::workers::{ServerState, WorkerStatus};
pub use message::{Composer, Mail};
pub use sample_mailer::SampleMailer;
pub use sender::{Sender, SenderError};
pub use template::Template;
pub use templates::{TemplateError, Templates};
pub use transport::{
    EhloName, EhloNameError, Outbox, Permit, Smtp, SmtpOptions, SmtpUrlError, StepResult, TestResult,
    TestStep, Timeouts, Transport,
};
pub use worker::{Options, Rate, Worker};
