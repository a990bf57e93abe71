//! The mail ledger, as operators see it over HTTP.
//!
//! This crate does not know the mailer. Who composes the two gives it a [`MailDesk`].

use std::fmt::Debug;

use eventstore::{Position, Timestamp};
use futures::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

/// The states that a delivery can be in.
pub const STATES: [&str; 6] = ["pending", "sending", "sent", "failed", "dead", "cancelled"];

/// The mails that there are.
pub const MAILS: [&str; 2] = ["patient_registered", "patient_deleted"];

/// The languages that a mail can be seen in.
pub const LANGUAGES: [&str; 4] = ["es", "en", "es,en", "en,es"];

/// What the ledger answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, eventstore::Error>>;

/// The ledger.
pub trait MailDesk: Debug + Send + Sync {
    /// How mail stands.
    fn status(&self) -> Answer<'_, MailStatus>;

    /// At most `limit` deliveries after `after`, in any state or in one of [`STATES`], by id.
    fn list(&self, state: Option<&'static str>, after: Position, limit: u32) -> Answer<'_, Vec<Delivery>>;

    /// The mails about the event at a position, and every attempt at them; no mails if there are none.
    fn show(&self, id: Position) -> Answer<'_, Shown>;

    /// Makes a delivery due now.
    fn retry(&self, id: Position) -> Answer<'_, Retried>;

    /// Makes every dead delivery due now; how many.
    fn retry_dead(&self) -> Answer<'_, u64>;

    /// A mail as patients get it, about nobody real, in the form of an `.eml` file. `mail` is one of
    /// [`MAILS`]; `languages` is one of [`LANGUAGES`], or nothing for those of the settings.
    ///
    /// # Errors
    ///
    /// [`DeskError`].
    fn preview(&self, mail: &'static str, languages: Option<&'static str>) -> Result<String, DeskError>;

    /// Sends one real mail that says that it is a test; what came of each step.
    fn test(&self, to: String) -> BoxFuture<'_, Result<MailTrial, DeskError>>;
}

/// Why there is no mail to be seen or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskError {
    /// What was asked for is not allowed: a sentence without a subject that a person can act on.
    Refused(String),
    /// The mail settings of this process cannot be used.
    Settings(String),
}

/// How mail stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MailStatus {
    /// How many deliveries are in each state.
    pub mails: Counts,
    /// When the oldest that has not left was made.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_waiting: Option<Timestamp>,
    /// Since when the mail is due that has been due for longest and is not being sent.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub oldest_due: Option<Timestamp>,
    /// How many mails are due later than the schedule allows, because a clock was wrong. A mailer makes them
    /// due now.
    pub due_too_late: u64,
    /// The processes that send.
    pub mailers: Vec<Mailer>,
}

/// Deliveries in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// To be sent.
    pub pending: u64,
    /// Being sent.
    pub sending: u64,
    /// Handed over.
    pub sent: u64,
    /// To be tried again.
    pub failed: u64,
    /// Given up.
    pub dead: u64,
    /// Not to be sent any more.
    pub cancelled: u64,
}

/// A process that sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mailer {
    /// Its name among all.
    pub name: String,
    /// Where its mail goes, without secrets.
    pub server: String,
    /// `ready`, `down` (the server is away, or puts mail off) or `refused` (it refuses every mail).
    #[schema(example = "ready")]
    pub state: &'static str,
    /// Why it cannot send, or sends more slowly than it could.
    #[schema(required)]
    pub error: Option<String>,
    /// Since when it stands so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it last said so.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
}

/// One mail; no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    /// The position of the event that it tells of.
    #[schema(value_type = i64, minimum = 1, example = 17)]
    pub id: Position,
    /// `patient_registered` or `patient_deleted`.
    #[schema(example = "patient_registered")]
    pub mail: String,
    /// Whom it is about.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: String,
    /// One of [`STATES`].
    #[schema(example = "sent")]
    pub state: String,
    /// How often it was tried, since the last retry by hand.
    pub attempts: u32,
    /// When it may be tried next.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// Why it was not sent last time.
    #[schema(required)]
    pub last_error: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attempt {
    /// The position of the event that the mail tells of.
    #[schema(value_type = i64, minimum = 1, example = 17)]
    pub id: Position,
    /// Which mail.
    #[schema(example = "patient_registered")]
    pub mail: String,
    /// Its number, from 1, since the last retry by hand.
    pub attempt: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: String,
    /// Why it failed.
    #[schema(required)]
    pub error: Option<String>,
}

/// The mails about one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shown {
    /// Each of them.
    pub mails: Vec<Delivery>,
    /// Every attempt at them that has ended, in the order in which they began.
    pub attempts: Vec<Attempt>,
}

/// What came of a test mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MailTrial {
    /// Where it went, without secrets.
    #[schema(example = "smtp.gmail.com:465 over TLS")]
    pub server: String,
    /// Whether the server has taken it.
    pub sent: bool,
    /// The steps on its way, in order; none of a file.
    pub steps: Vec<TrialStep>,
    /// What the server said when it refused. It may quote the address.
    #[schema(required)]
    pub said: Option<String>,
    /// What to do about it.
    #[schema(required)]
    pub advice: Option<&'static str>,
}

/// A step on the way of a test mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrialStep {
    /// `resolve`, `connect`, `EHLO`, `TLS`, `AUTH`, `MAIL`, `RCPT`, `DATA`, `message`.
    #[schema(example = "TLS")]
    pub step: String,
    /// `passed`, `failed`, `not offered` or `not reached`.
    #[schema(example = "passed")]
    pub result: &'static str,
    /// Why it failed.
    #[schema(required)]
    pub error: Option<String>,
}

/// What came of a request to try a delivery again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is due now.
    Due,
    /// It is in this state, which is none to be tried again from.
    Not(&'static str),
    /// There is none.
    Unknown,
}
