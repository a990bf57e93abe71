//! Schemas of the response bodies of the mail routes, whose types belong to the mailer.

use utoipa::ToSchema;

/// Status of the emails and of the processes that send them.
#[derive(ToSchema)]
pub(crate) struct MailStatus {
    /// Number of deliveries in each state.
    mails: Counts,
    /// Creation time of the oldest email that is waiting or being sent.
    #[schema(required, format = DateTime)]
    oldest_waiting: Option<String>,
    /// Due time of the email that has been due the longest and is not being sent.
    #[schema(required, format = DateTime)]
    oldest_due: Option<String>,
    /// Number of emails that are due later than the schedule allows, because a clock was wrong. A mailer
    /// makes them due within a minute after the clock is corrected.
    due_too_late: u64,
    /// The processes that send emails.
    mailers: Vec<Mailer>,
}

/// Number of deliveries in each state.
#[derive(ToSchema)]
pub(crate) struct Counts {
    /// Waiting to be sent.
    pending: u64,
    /// Being sent.
    sending: u64,
    /// Accepted by the mail server.
    sent: u64,
    /// Waiting to be retried.
    failed: u64,
    /// No longer retried automatically.
    dead: u64,
    /// Cancelled before they were sent.
    cancelled: u64,
}

/// A process that sends emails.
#[derive(ToSchema)]
pub(crate) struct Mailer {
    /// Unique name of the process.
    name: String,
    /// Destination of the emails that the process sends, without secrets.
    server: String,
    /// `ready`, `down` (the server cannot be reached, or defers emails) or `refused` (the server rejects
    /// every email).
    #[schema(example = "ready")]
    state: String,
    /// Why the process cannot send emails, or sends them more slowly than it could.
    #[schema(required)]
    error: Option<String>,
    /// Time at which the process entered this state.
    #[schema(format = DateTime)]
    since: String,
    /// Time of the last report from the process.
    #[schema(format = DateTime)]
    seen_at: String,
}

/// An email, without personal data.
#[derive(ToSchema)]
pub(crate) struct Delivery {
    /// Position of the event that the email is about.
    #[schema(minimum = 1, example = 17)]
    id: i64,
    /// `patient_registered`, `patient_amended`, `patient_email_changed` or `patient_deleted`.
    #[schema(example = "patient_registered")]
    mail: String,
    /// Id of the patient.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    patient_id: String,
    /// `pending`, `sending`, `sent`, `failed`, `dead` or `cancelled`.
    #[schema(example = "sent")]
    state: String,
    /// Number of attempts since the last manual retry.
    attempts: u32,
    /// Time of the next attempt, at the earliest.
    #[schema(required, format = DateTime)]
    next: Option<String>,
    /// Why the last attempt failed.
    #[schema(required)]
    last_error: Option<String>,
    /// Time at which the email was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// Time of the last change.
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A finished attempt to send an email.
#[derive(ToSchema)]
pub(crate) struct Attempt {
    /// Position of the event that the email is about.
    #[schema(minimum = 1, example = 17)]
    id: i64,
    /// Kind of email.
    #[schema(example = "patient_registered")]
    mail: String,
    /// Number of the attempt, from 1, since the last manual retry.
    attempt: u32,
    /// Time at which the attempt began.
    #[schema(format = DateTime)]
    started_at: String,
    /// Time at which the attempt ended.
    #[schema(format = DateTime)]
    ended_at: String,
    /// Outcome of the attempt.
    outcome: String,
    /// Why the attempt failed.
    #[schema(required)]
    error: Option<String>,
}

/// The emails about one event.
#[derive(ToSchema)]
pub(crate) struct Shown {
    /// All emails about the event.
    mails: Vec<Delivery>,
    /// Every finished attempt to send them, in the order in which the attempts began.
    attempts: Vec<Attempt>,
}

/// Result of sending a test email.
#[derive(ToSchema)]
pub(crate) struct MailTrial {
    /// Destination of the email, without secrets.
    #[schema(example = "smtp.gmail.com:465 over TLS")]
    server: String,
    /// Whether the server accepted the email.
    sent: bool,
    /// The steps, in order. Empty if emails are written to files.
    steps: Vec<TrialStep>,
    /// The server's reply, if the server rejected the email. The reply may contain the address.
    #[schema(required)]
    said: Option<String>,
    /// How to solve the problem.
    #[schema(required)]
    advice: Option<String>,
}

/// A step of sending a test email.
#[derive(ToSchema)]
pub(crate) struct TrialStep {
    /// `resolve`, `connect`, `EHLO`, `TLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `message`.
    #[schema(example = "TLS")]
    step: String,
    /// `passed`, `failed`, `not offered` or `not reached`.
    #[schema(example = "passed")]
    result: String,
    /// Why the step failed.
    #[schema(required)]
    error: Option<String>,
}
