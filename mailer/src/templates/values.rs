//! Values for the templates.

use eventstore::{Hash, Position};
use minijinja::{Value, context};

use crate::template::Template;

/// Values for the templates.
#[derive(Debug)]
pub(crate) struct TemplateValues<'a> {
    /// Name of the patient.
    pub(crate) name: &'a str,
    /// Id of the patient.
    pub(crate) patient_id: &'a str,
    /// Time of the registration.
    pub(crate) registered_at: TimeParts,
    /// The event that the email reports.
    pub(crate) reported: ReportedEvent,
    /// Name of the clinic, if configured.
    pub(crate) clinic: Option<&'a str>,
    /// Address for replies, if configured.
    pub(crate) reply_to: Option<&'a str>,
    /// How the registration can be proved, if configured.
    pub(crate) receipt: Option<Receipt>,
}

/// The proof of a registration in the published log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// URL of the proof.
    pub(crate) url: String,
    /// Hash of the event, to which the proof belongs.
    pub(crate) hash: String,
}

impl Receipt {
    /// Returns the receipt of the event at a position. `base` is the public URL of the API.
    pub(crate) fn new(base: &str, position: Position, hash: Hash) -> Self {
        Self {
            url: format!("{base}/log/proof/{position}"),
            hash: hash.to_string(),
        }
    }

    pub(super) fn context(&self) -> Value {
        context! { url => self.url.as_str(), hash => self.hash.as_str() }
    }
}

/// An event, as an email reports it.
#[derive(Debug)]
pub(crate) enum ReportedEvent {
    Registered,
    Amended {
        at: TimeParts,
        /// Names of the changed fields, as in the event.
        changed: Vec<&'static str>,
    },
    EmailChanged {
        at: TimeParts,
    },
    Deleted {
        at: TimeParts,
    },
}

impl ReportedEvent {
    /// Returns sample values for an email of a fictitious patient.
    fn sample(template: Template, at: &TimeParts) -> Self {
        let at = at.clone();
        match template {
            Template::PatientRegistered => Self::Registered,
            Template::PatientAmended => Self::Amended {
                at,
                // All fields, so that a check renders the label of each field.
                changed: vec!["name", "email", "phone", "document_url"],
            },
            Template::PatientEmailChanged => Self::EmailChanged { at },
            Template::PatientDeleted => Self::Deleted { at },
        }
    }

    /// Returns the variables that only this kind of email has.
    pub(super) fn context(&self) -> Value {
        match self {
            Self::Registered => context! {},
            Self::Amended { at, changed } => context! { changed_at => at.context(), changed },
            Self::EmailChanged { at } => context! { changed_at => at.context() },
            Self::Deleted { at } => context! { deleted_at => at.context() },
        }
    }
}

impl<'a> TemplateValues<'a> {
    /// Returns the values of a fictitious patient, to check templates and for previews.
    pub(crate) fn sample(
        template: Template,
        at: &TimeParts,
        clinic: Option<&'a str>,
        reply_to: Option<&'a str>,
    ) -> Self {
        Self {
            name: "María José Núñez",
            patient_id: "00000000-0000-7000-8000-000000000000",
            registered_at: at.clone(),
            reported: ReportedEvent::sample(template, at),
            clinic,
            reply_to,
            receipt: None,
        }
    }
}

/// A time in UTC, split into parts so that each language can order them.
#[derive(Debug, Clone)]
pub(crate) struct TimeParts {
    pub(crate) year: i32,
    /// Month, from 1 to 12.
    pub(crate) month: u32,
    /// Day of the month, from 1 to 31.
    pub(crate) day: u32,
    /// Time of day, such as `09:05`.
    pub(crate) time: String,
}

impl TimeParts {
    pub(super) fn context(&self) -> Value {
        context! {
            year => self.year,
            month => self.month,
            day => self.day,
            time => self.time.as_str(),
        }
    }
}
