//! Confirmation mail: a reaction to the event log.
//!
//! ```text
//! PatientRegistered -> MailHandler: one row in mail_deliveries, in the checkpoint's transaction
//!                   -> Worker: take due rows under a lease -> compose -> Transport -> record the outcome
//! PatientDeleted    -> what has not left is cancelled
//! ```
//!
//! The ledger (`mail_deliveries`) says what is to be sent and how it went, and holds no personal data: who a
//! mail goes to is read from the event when it is sent.
//!
//! # Guarantees
//!
//! - Every registration has exactly one delivery, however often the process is killed; a rebuild of a
//!   projection makes none.
//! - A delivery ends as `sent`, `cancelled` or `dead`, and never silently. What fails for one mail is tried
//!   again for about 17 hours ([`schedule`]); a row whose worker was killed is taken over when its lease runs
//!   out.
//! - A server that is away, or refuses every mail, costs one try now and then, and no mail an attempt; that
//!   is told to other processes in `mail_workers`. A server that refuses some mails, whoever they are to,
//!   holds up no others.
//! - Every attempt is kept in `mail_attempts`, written with its outcome.
//! - A mail is sent twice only if the worker dies, or a connection is lost, between the server's acceptance
//!   and the record of it, and then both copies carry the same `Message-ID`. Where a worker has lived to see
//!   that nobody knows, it makes one more attempt, and no third one.
//! - A patient deleted before the mail left gets none.
//! - No log line, error or ledger row of this crate repeats a patient's data or an SMTP server's own words.
//!
//! # Where things are
//!
//! | item | what |
//! |---|---|
//! | [`handler()`], [`MailHandler`], [`SUBSCRIPTION`] | from events to the ledger |
//! | [`Worker`], [`Options`] | from the ledger to the transport |
//! | [`Transport`], [`Timeouts`], [`EhloName`], [`SmtpUrlError`] | SMTP, or files in a folder |
//! | [`Composer`], [`Templates`], [`Languages`], [`Sender`] | the mail itself |
//! | [`Dkim`], [`DkimError`] | signing it |
//! | [`AttemptError`], [`Failure`], [`Outage`] | why a mail was not sent, and whether another attempt may help |
//! | [`Ledger`] | how it stands, for operators, and trying again by hand |
//!
//! # Adding a mail
//!
//! 1. Add a variant to [`Template`] in `template.rs`; its name is what the ledger's `template` column says,
//!    for ever.
//! 2. Write its three files, `NAME.subject.txt`, `NAME.txt` and `NAME.html`, in `templates/es` and
//!    `templates/en`, and list them in `BUILT_IN` in `templates.rs`. [`Templates::built_in`] refuses to start
//!    with one missing.
//! 3. Say in `handler.rs` which event makes its deliveries, and in `message.rs` what the templates are told
//!    of it.
//! 4. Pin what it says in `message/tests.rs`.

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
    AttemptRecord, DeliveryRecord, DeliveryState, Ledger, LedgerStatus, Retried, Waiting,
};
pub use ledger::workers::{Standing, WorkerStatus};
pub use message::{Composer, Mail};
pub use sender::{Sender, SenderError};
pub use template::Template;
pub use templates::{TemplateError, Templates};
pub use transport::{
    EhloName, EhloNameError, Outbox, Permit, Smtp, SmtpOptions, SmtpUrlError, Timeouts, Transport, Trial,
    Tried,
};
pub use worker::{Options, Rate, Worker};
