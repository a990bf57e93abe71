//! Confirmation emails, sent in response to events in the log.
//!
//! ```text
//! PatientRegistered -> MailHandler: one row in mail_deliveries, in the checkpoint's transaction
//!                   -> Worker: lease due rows -> compose -> Transport -> record the outcome
//! PatientAmended    -> as configured: one row for the patient, and one for the previous email address
//! PatientDeleted    -> cancel the deliveries that have not been sent; if configured: one row
//! ```
//!
//! The ledger (`mail_deliveries`) records the emails to send and their outcomes. The ledger contains no
//! personal data: the worker determines the recipient from the patient's events when it leases the delivery.
//!
//! # Guarantees
//!
//! - Every registration, except an import without a confirmation, has exactly one confirmation, no matter how
//!   often the process is killed. Rebuilding a projection creates no deliveries.
//! - No delivery is silently lost: each ends as `sent`, `cancelled` or `dead`. An email that fails is retried
//!   for about 17 hours ([`schedule`]). If a worker is killed, another worker takes over its rows when the
//!   lease expires.
//! - While the server is unreachable or rejects all mail, the worker probes it with one email at a time, and
//!   no attempts are counted. Other processes can see this state in `mail_workers`. If the server rejects
//!   only some emails, other emails are not delayed.
//! - Every attempt that counts is recorded in `mail_attempts`, together with its outcome.
//! - An email is sent twice only if the worker dies or the connection is lost after the server accepts the
//!   email and before the acceptance is recorded. Both copies then have the same `Message-ID`. If the worker
//!   survives but cannot tell whether the server accepted the email, it retries the email. If the outcome of
//!   a later attempt is also unknown, the email is dead.
//! - A patient who is deleted before the confirmation is sent receives no confirmation. The same applies to
//!   the notice of an amendment.
//! - If the patient's email address is corrected before the worker leases the confirmation, the confirmation
//!   goes to the corrected address. If an event that the recipient depends on cannot be read, the email is
//!   not sent.
//! - No log line, error or ledger row of this crate contains a patient's data or the text of an SMTP server's
//!   reply.
//!
//! # Overview
//!
//! | item | purpose |
//! |---|---|
//! | [`handler()`], [`MailHandler`], [`Notices`], [`OnAmend`], [`SUBSCRIPTION`] | turning events into ledger rows |
//! | [`Worker`], [`Options`] | sending the emails in the ledger |
//! | [`Transport`], [`Timeouts`], [`EhloName`], [`SmtpUrlError`] | sending by SMTP, or writing files to a folder |
//! | [`RecipientState`], [`Recipient`] | the recipient of an email, from the patient's events |
//! | [`Composer`], [`Templates`], [`Languages`], [`Sender`] | composing emails |
//! | [`Dkim`], [`DkimError`] | signing emails |
//! | [`AttemptError`], [`DeliveryFailure`], [`Outage`] | the reason why an email was not sent, and whether another attempt may succeed |
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
//!    `templates/en`, and list them in `templates/built_in.rs`. [`Templates::built_in`] fails if a file
//!    is missing.
//! 3. In `handler.rs`, specify the event that creates its deliveries. In `message.rs` and
//!    `templates/values.rs`, provide the values for its templates.
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
mod recipient;
mod sample_mailer;
mod sender;
mod template;
mod templates;
mod transport;
mod worker;

pub use dkim::{Dkim, DkimError};
pub use error::{
    AttemptError, CertificateFault, DeliveryFailure, EnhancedCode, Outage, SmtpFailure, SmtpStep,
};
pub use handler::{GATHER, MailHandler, Notices, OnAmend, SUBSCRIPTION, handler};
pub use language::{Language, Languages, LanguagesError};
pub use ledger::finished::{FinishedCounts, FinishedDeliveries};
pub use ledger::inspect::Ledger;
pub use ledger::records::{
    AttemptRecord, DeliveriesWanted, DeliveryRecord, DeliveryState, EventDeliveries, LedgerStatus,
    UnfinishedDeliveries,
};
pub use ledger::retry::RetryResult;
pub use ledger::workers::{ServerState, WorkerStatus};
pub use message::{Composer, Mail};
pub use recipient::{Recipient, RecipientState};
pub use sample_mailer::SampleMailer;
pub use sender::{Sender, SenderError};
pub use template::Template;
pub use templates::{TemplateError, Templates};
pub use transport::{
    EhloName, EhloNameError, Outbox, Permit, Smtp, SmtpOptions, SmtpUrlError, StepResult, TestResult,
    TestStep, Timeouts, Transport,
};
pub use worker::{Options, Rate, Worker};
