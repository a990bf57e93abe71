//! Composing an email from an event.

use std::fmt;
use std::time::{Duration, SystemTime};

use domain::{Name, PatientEvent};
use eventstore::{Hash, Position, RecordedEvent, Timestamp};
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

mod header;
mod samples;

use crate::address::deliverable;
use crate::dkim::Dkim;
use crate::error::DeliveryFailure;
use crate::language::Languages;
use crate::recipient::Recipient;
use crate::sender::Sender;
use crate::template::Template;
use crate::templates::{Receipt, Rendered, ReportedEvent, TemplateValues, Templates, TimeParts};

const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
const CONTENT_LANGUAGE: HeaderName = HeaderName::new_from_ascii_str("Content-Language");
const FROM: HeaderName = HeaderName::new_from_ascii_str("From");
const TO: HeaderName = HeaderName::new_from_ascii_str("To");
const REPLY_TO: HeaderName = HeaderName::new_from_ascii_str("Reply-To");
const SUBJECT: HeaderName = HeaderName::new_from_ascii_str("Subject");
const MESSAGE_ID: HeaderName = HeaderName::new_from_ascii_str("Message-ID");

/// An email, ready to be sent. `Debug` shows its name, but none of its content.
pub struct Mail {
    /// File name without extension: the event's position and the template.
    pub(crate) name: String,
    pub(crate) envelope: Envelope,
    /// Message as defined in RFC 5322, with CRLF line endings.
    pub(crate) content: String,
}

impl Mail {
    /// Message as defined in RFC 5322, with CRLF line endings: the content of an `.eml` file.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Whether every server can accept the email. False if an address has non-ASCII characters before the
    /// `@`.
    pub(crate) fn is_ascii(&self) -> bool {
        let mut addresses = self.envelope.from().into_iter().chain(self.envelope.to());
        self.content.is_ascii()
            && addresses.all(|address| address.user().is_ascii() && address.domain().is_ascii())
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Composes emails from events.
#[derive(Debug)]
pub struct Composer {
    templates: Templates,
    languages: Languages,
    sender: Sender,
    reply_to: Option<Sender>,
    envelope_from: Option<Sender>,
    dkim: Option<Dkim>,
    receipts: Option<String>,
}

impl Composer {
    /// Creates a composer of emails from `sender`, in all of `languages`.
    #[must_use]
    pub const fn new(templates: Templates, languages: Languages, sender: Sender) -> Self {
        Self {
            templates,
            languages,
            sender,
            reply_to: None,
            envelope_from: None,
            dkim: None,
            receipts: None,
        }
    }

    /// Sets the address for replies.
    #[must_use]
    pub fn with_reply_to(mut self, reply_to: Sender) -> Self {
        self.reply_to = Some(reply_to);
        self
    }

    /// Sets the address for bounces, used in `MAIL FROM`. The default is the sender.
    #[must_use]
    pub fn with_envelope_from(mut self, envelope_from: Sender) -> Self {
        self.envelope_from = Some(envelope_from);
        self
    }

    /// Signs each email with `dkim`.
    #[must_use]
    pub fn with_dkim(mut self, dkim: Dkim) -> Self {
        self.dkim = Some(dkim);
        self
    }

    /// Adds to each confirmation of a registration a link to its proof in the published log, and the hash of
    /// its event. `url` is the public URL of the API, without a trailing slash. The link works when a signed
    /// checkpoint covers the registration, usually within a minute.
    #[must_use]
    pub fn with_receipts(mut self, url: String) -> Self {
        self.receipts = Some(url);
        self
    }

    /// Composes the email for `event`, addressed to `recipient` and dated `now`.
    ///
    /// The `Message-ID` is derived from the event's position, the aggregate and the template. It is the same
    /// for every attempt, so that duplicates can be recognized.
    ///
    /// # Errors
    ///
    /// A [`DeliveryFailure`] that retrying cannot fix: an unreadable event, an event of the wrong type, an
    /// address that mail cannot be sent to, or a template that cannot be rendered.
    pub fn compose(
        &self,
        template: Template,
        event: &RecordedEvent,
        recipient: &Recipient,
        now: Timestamp,
    ) -> Result<Mail, DeliveryFailure> {
        let reported = reported_event(template, event)?;
        // The rules for names reject control characters and longer names, but an event from an older version
        // or from another program may contain them. A line of an email has at most 998 bytes, and words are
        // not broken.
        let name: String = recipient.name.chars().take(Name::MAX_CODE_POINTS).collect();
        let name = name.replace(char::is_control, " ");
        let values = TemplateValues {
            name: &name,
            patient_id: &event.aggregate_id,
            registered_at: time_parts(recipient.registered_at),
            reported,
            clinic: self.clinic(),
            reply_to: self.reply_to(),
            receipt: self.receipt(template, event.position, event.hash),
        };
        let rendered = self.templates.render(template, &self.languages, &values)?;
        let to = deliverable(&recipient.email).map_err(|_| DeliveryFailure::Address)?;
        self.assemble(
            format!("{}-{}", event.position, template.name()),
            &self.message_id(template, event),
            &Mailbox::new(Some(name.clone()), to),
            &self.languages,
            rendered,
            now,
        )
    }

    /// Returns the receipt in an email about an event.
    fn receipt(&self, template: Template, position: Position, hash: Hash) -> Option<Receipt> {
        let base = self.receipts.as_deref()?;
        (template == Template::PatientRegistered).then(|| Receipt::new(base, position, hash))
    }

    /// Name of the clinic: the display name of the sender.
    fn clinic(&self) -> Option<&str> {
        self.sender.mailbox().name.as_deref()
    }

    fn reply_to(&self) -> Option<&str> {
        self.reply_to
            .as_ref()
            .map(|reply_to| reply_to.mailbox().email.as_ref())
    }

    fn assemble(
        &self,
        name: String,
        id: &str,
        to: &Mailbox,
        languages: &Languages,
        rendered: Rendered,
        now: Timestamp,
    ) -> Result<Mail, DeliveryFailure> {
        let from = self.sender.mailbox();
        let return_path = self.envelope_from.as_ref().unwrap_or(&self.sender).mailbox();
        // Set explicitly, because lettre would otherwise derive it from the headers.
        let envelope = Envelope::new(Some(return_path.email.clone()), vec![to.email.clone()])
            .map_err(|_| DeliveryFailure::Address)?;
        let mut builder = Message::builder()
            .envelope(envelope.clone())
            .raw_header(header::mailbox(FROM, from))
            .raw_header(header::mailbox(TO, to));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.raw_header(header::mailbox(REPLY_TO, reply_to.mailbox()));
        }
        let mut message = builder
            .raw_header(header::text(SUBJECT, &rendered.subject))
            .date(system_time(now))
            // The id is printable ASCII without spaces, so it needs no encoding. An encoder would also start
            // a new line before such a long word, which some programs do not understand in this header.
            .raw_header(HeaderValue::dangerous_new_pre_encoded(
                MESSAGE_ID,
                id.to_owned(),
                id.to_owned(),
            ))
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(CONTENT_LANGUAGE, languages.codes().join(", ")))
            .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))
            .map_err(|_| DeliveryFailure::Message)?;
        if let Some(dkim) = &self.dkim {
            dkim.sign(&mut message);
        }
        Ok(Mail {
            name,
            envelope,
            content: String::from_utf8(message.formatted()).map_err(|_| DeliveryFailure::Message)?,
        })
    }

    fn message_id(&self, template: Template, event: &RecordedEvent) -> String {
        let aggregate_id = event
            .aggregate_id
            .replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
        format!(
            "<{}.{}.{aggregate_id}@{}>",
            event.position,
            template.name(),
            self.sender.domain()
        )
    }
}

/// Returns the event as an email reports it.
fn reported_event(template: Template, event: &RecordedEvent) -> Result<ReportedEvent, DeliveryFailure> {
    let at = time_parts(event.recorded_at);
    let event = event
        .content(PatientEvent::from_stored)?
        .ok_or(DeliveryFailure::EventMissing)?;
    match (template, event) {
        (
            Template::PatientRegistered,
            PatientEvent::PatientRegistered {
                confirmation: true, ..
            },
        ) => Ok(ReportedEvent::Registered),
        (
            Template::PatientAmended,
            PatientEvent::PatientAmended {
                name,
                email,
                phone,
                document_url,
            },
        ) => {
            let fields = [
                ("name", name),
                ("email", email),
                ("phone", phone),
                ("document_url", document_url),
            ];
            let changed = fields.into_iter().filter(|(_, value)| value.is_some());
            Ok(ReportedEvent::Amended {
                at,
                changed: changed.map(|(field, _)| field).collect(),
            })
        }
        (Template::PatientEmailChanged, PatientEvent::PatientAmended { email: Some(_), .. }) => {
            Ok(ReportedEvent::EmailChanged { at })
        }
        (Template::PatientDeleted, PatientEvent::PatientDeleted {}) => Ok(ReportedEvent::Deleted { at }),
        (
            Template::PatientRegistered
            | Template::PatientAmended
            | Template::PatientEmailChanged
            | Template::PatientDeleted,
            _,
        ) => Err(DeliveryFailure::EventUnexpected),
    }
}

fn time_parts(time: Timestamp) -> TimeParts {
    use chrono::{Datelike, Timelike};
    let time = time.to_datetime().unwrap_or_default();
    TimeParts {
        year: time.year(),
        month: time.month(),
        day: time.day(),
        time: format!("{:02}:{:02}", time.hour(), time.minute()),
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
