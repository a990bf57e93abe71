//! The ledger of emails to patients, as operators see it over HTTP.
//!
//! This crate does not depend on the mailer. The program that combines the two provides a [`MailDesk`].

use std::fmt::Debug;

use eventstore::{Position, Timestamp};
use futures::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

/// States of a delivery.
pub const STATES: [&str; 6] = ["pending", "sending", "sent", "failed", "dead", "cancelled"];

/// Kinds of emails.
pub const MAILS: [&str; 4] = [
    "patient_registered",
    "patient_amended",
    "patient_email_changed",
    "patient_deleted",
];

/// Languages in which an email can be previewed.
pub const LANGUAGES: [&str; 4] = ["es", "en", "es,en", "en,es"];

/// Future with the result of a ledger query.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, eventstore::Error>>;

/// Access to the mail ledger.
pub trait MailDesk: Debug + Send + Sync {
    /// Returns the number of emails in each state, and the status of each mailer.
    fn status(&self) -> Answer<'_, MailStatus>;

    /// Returns deliveries after `after`, ordered by id, in any state or only in `state`, one of [`STATES`]:
    /// `limit` deliveries, and the other deliveries with the id of the last one.
    fn list(&self, state: Option<&'static str>, after: Position, limit: u32) -> Answer<'_, Vec<Delivery>>;

    /// Returns the emails about the event at a position, and every attempt to send them. The lists are empty
    /// if there is no email about the event.
    fn show(&self, id: Position) -> Answer<'_, Shown>;

    /// Makes a delivery due now.
    fn retry(&self, id: Position) -> Answer<'_, Retried>;

    /// Makes every dead delivery due now, and returns their number.
    fn retry_dead(&self) -> Answer<'_, u64>;

    /// Returns an email as patients receive it, about a fictitious patient, in the format of an `.eml` file.
    /// `mail` is one of [`MAILS`]. `languages` is one of [`LANGUAGES`]; `None` selects the languages in the
    /// settings.
    ///
    /// # Errors
    ///
    /// [`DeskError`].
    fn preview(&self, mail: &'static str, languages: Option<&'static str>) -> Result<String, DeskError>;

    /// Sends one real email that identifies itself as a test, and returns the result of each step.
    fn test(&self, to: String) -> BoxFuture<'_, Result<MailTrial, DeskError>>;
}

/// Reason why an email cannot be previewed or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskError {
    /// The request is not allowed. The text gives the requirement, such as `must be …`, without the name of
    /// the field.
    Refused(String),
    /// The mail settings of this process cannot be used.
    Settings(String),
}

/// Status of the emails and of the processes that send them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MailStatus {
    /// Number of deliveries in each state.
    pub mails: Counts,
    /// Creation time of the oldest email that is waiting or being sent.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_waiting: Option<Timestamp>,
    /// Due time of the email that has been due the longest and is not being sent.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_due: Option<Timestamp>,
    /// Number of emails that are due later than the schedule allows, because a clock was wrong. A mailer
    /// makes them due at once.
    pub due_too_late: u64,
    /// The processes that send emails.
    pub mailers: Vec<Mailer>,
}

/// Number of deliveries in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// Waiting to be sent.
    pub pending: u64,
    /// Being sent.
    pub sending: u64,
    /// Accepted by the mail server.
    pub sent: u64,
    /// Waiting to be retried.
    pub failed: u64,
    /// No longer retried automatically.
    pub dead: u64,
    /// Cancelled before they were sent.
    pub cancelled: u64,
}

/// A process that sends emails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mailer {
    /// Unique name of the process.
    pub name: String,
    /// Destination of the emails that the process sends, without secrets.
    pub server: String,
    /// `ready`, `down` (the server cannot be reached, or defers emails) or `refused` (the server rejects
    /// every email).
    #[schema(example = "ready")]
    pub state: &'static str,
    /// Why the process cannot send emails, or sends them more slowly than it could.
    #[schema(required)]
    pub error: Option<String>,
    /// Time at which the process entered this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time of the last report from the process.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
}

/// An email, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    /// Position of the event that the email is about.
    #[schema(value_type = i64, minimum = 1, example = 17)]
    pub id: Position,
    /// `patient_registered`, `patient_amended`, `patient_email_changed` or `patient_deleted`.
    #[schema(example = "patient_registered")]
    pub mail: String,
    /// Id of the patient.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: String,
    /// `pending`, `sending`, `sent`, `failed`, `dead` or `cancelled`.
    #[schema(example = "sent")]
    pub state: String,
    /// Number of attempts since the last manual retry.
    pub attempts: u32,
    /// Time of the next attempt, at the earliest.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// Why the last attempt failed.
    #[schema(required)]
    pub last_error: Option<String>,
    /// Time at which the email was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A finished attempt to send an email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attempt {
    /// Position of the event that the email is about.
    #[schema(value_type = i64, minimum = 1, example = 17)]
    pub id: Position,
    /// Kind of email.
    #[schema(example = "patient_registered")]
    pub mail: String,
    /// Number of the attempt, from 1, since the last manual retry.
    pub attempt: u32,
    /// Time at which the attempt began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Time at which the attempt ended.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// Outcome of the attempt.
    pub outcome: String,
    /// Why the attempt failed.
    #[schema(required)]
    pub error: Option<String>,
}

/// The emails about one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shown {
    /// All emails about the event.
    pub mails: Vec<Delivery>,
    /// Every finished attempt to send them, in the order in which the attempts began.
    pub attempts: Vec<Attempt>,
}

/// Result of sending a test email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MailTrial {
    /// Destination of the email, without secrets.
    #[schema(example = "smtp.gmail.com:465 over TLS")]
    pub server: String,
    /// Whether the server accepted the email.
    pub sent: bool,
    /// The steps, in order. Empty if emails are written to files.
    pub steps: Vec<TrialStep>,
    /// The server's reply, if the server rejected the email. The reply may contain the address.
    #[schema(required)]
    pub said: Option<String>,
    /// How to solve the problem.
    #[schema(required)]
    pub advice: Option<&'static str>,
}

/// A step of sending a test email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrialStep {
    /// `resolve`, `connect`, `EHLO`, `TLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `message`.
    #[schema(example = "TLS")]
    pub step: String,
    /// `passed`, `failed`, `not offered` or `not reached`.
    #[schema(example = "passed")]
    pub result: &'static str,
    /// Why the step failed.
    #[schema(required)]
    pub error: Option<String>,
}

/// Result of a request to retry a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// The delivery is due now.
    Due,
    /// The delivery is in this state and cannot be retried.
    Not(&'static str),
    /// There is no delivery with this id.
    Unknown,
}
