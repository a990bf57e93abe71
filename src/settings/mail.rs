//! The settings of the mailer.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mailer::{EhloName, Notices, OnAmend, Rate, Sender, Timeouts};

use super::Switch;
use super::values::{Optional, mail_rate, mail_timeout, optional};

/// Timeout for writing an email to a file.
const FILE_TIMEOUT: Duration = Duration::from_secs(20);

/// The mail server, and the emails.
#[derive(Debug, Clone, Args)]
pub(crate) struct MailSettings {
    /// Mail server: `smtps://user:password@host:465`, or `smtp://user:password@host:587?tls=required` for
    /// STARTTLS. Without it, mail is written to files
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url: Option<String>,

    /// Sender address of the emails
    #[arg(long, env, global = true, default_value = "noreply@miapp.com")]
    pub(crate) mail_from: String,

    /// Address for replies to the emails; default: the sender
    #[arg(long, env, global = true, value_parser = optional::<Sender>)]
    mail_reply_to: Option<Optional<Sender>>,

    /// Address for bounces (`MAIL FROM`); default: the sender
    #[arg(long, env, global = true, value_parser = optional::<Sender>)]
    mail_envelope_from: Option<Optional<Sender>>,

    /// Host name for EHLO, such as `mail.example.com`; default: the host name of the machine if it contains a
    /// dot, otherwise the sender's domain if it contains a dot, otherwise the local address of the connection
    #[arg(long, env, global = true, value_parser = optional::<EhloName>)]
    mail_ehlo_name: Option<Optional<EhloName>>,

    /// Languages of the emails, in order: es, en, or both with a comma
    #[arg(long, env, global = true, default_value = "es,en")]
    pub(crate) mail_language: String,

    /// Folder with templates that replace the built-in ones
    #[arg(long, env, global = true)]
    pub(crate) mail_templates: Option<PathBuf>,

    /// Which amendments cause emails: `email` (those that change the email address), `all` or `off`
    #[arg(long, env, global = true, value_enum, default_value_t = MailOnAmend::Email)]
    mail_on_amend: MailOnAmend,

    /// Whether deletions are also confirmed by email
    #[arg(long, env, global = true, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    mail_on_delete: bool,

    /// Whether the confirmation of a registration contains a link to its proof in the published log, below
    /// `PUBLIC_URL`, and the hash of its event
    #[arg(long, env, global = true, value_enum, default_value_t = Switch::Off)]
    mail_receipt: Switch,

    /// Folder for emails when there is no mail server
    #[arg(long, env, global = true, default_value = "data/outbox")]
    pub(crate) mail_outbox: PathBuf,

    /// Maximum number of emails sent at a time
    #[arg(long, env, global = true, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) mail_concurrency: u16,

    /// Timeout for the SMTP commands before the content of an email (MAIL, RCPT, DATA), 1s to 1h
    #[arg(long, env, global = true, default_value = "12m", value_parser = mail_timeout)]
    pub(crate) mail_send_timeout: Duration,

    /// Timeout for the mail server's response to the content of an email, 1s to 1h. A short timeout can cause
    /// duplicate emails
    #[arg(long, env, global = true, default_value = "10m", value_parser = mail_timeout)]
    pub(crate) mail_answer_timeout: Duration,

    /// Timeout for opening a connection to the mail server, 1s to 1h: name lookup, TCP, TLS, greeting,
    /// authentication
    #[arg(long, env, global = true, default_value = "5m", value_parser = mail_timeout)]
    pub(crate) mail_connect_timeout: Duration,

    /// Maximum send rate of each sending process, such as 10/s, 600/m, 5000/h or 2000/d; default: no limit
    #[arg(long, env, global = true, value_parser = mail_rate)]
    pub(crate) mail_rate: Option<Rate>,

    /// File with certificates (PEM) of authorities, or of the mail server itself, that are trusted for the
    /// mail server in addition to the system's authorities
    #[arg(long, env, global = true)]
    pub(crate) mail_ca_file: Option<PathBuf>,

    /// File with the private key (PEM, RSA or Ed25519) for DKIM signatures
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(crate) mail_dkim_key_file: Option<PathBuf>,

    /// DKIM selector of the public key in DNS, such as mail2026
    #[arg(long, env, global = true)]
    pub(crate) mail_dkim_selector: Option<String>,

    /// DKIM domain of the public key in DNS; default: the domain of the sender
    #[arg(long, env, global = true)]
    pub(crate) mail_dkim_domain: Option<String>,
}

/// Which amendments cause emails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MailOnAmend {
    /// Amendments that change the email address
    Email,
    /// All amendments
    All,
    /// No amendments
    Off,
}

impl MailSettings {
    /// Returns the timeouts of an email. A file needs no connection and no response, so its lease is shorter
    /// and expires sooner if the process is killed.
    pub(crate) fn timeouts(&self) -> Timeouts {
        match self.smtp_url() {
            Some(_) => Timeouts {
                connect: self.mail_connect_timeout,
                send: self.mail_send_timeout,
                answer: self.mail_answer_timeout,
            },
            None => Timeouts {
                connect: Duration::ZERO,
                send: self.mail_send_timeout.min(FILE_TIMEOUT),
                answer: Duration::ZERO,
            },
        }
    }

    /// Returns which events other than registrations cause emails.
    pub(crate) fn notices(&self) -> Notices {
        Notices {
            on_amend: match self.mail_on_amend {
                MailOnAmend::Email => OnAmend::Email,
                MailOnAmend::All => OnAmend::All,
                MailOnAmend::Off => OnAmend::Off,
            },
            on_delete: self.mail_on_delete,
        }
    }

    /// Returns the address for replies, if it is set.
    pub(crate) fn reply_to(&self) -> Option<Sender> {
        self.mail_reply_to.clone().and_then(|Optional(address)| address)
    }

    /// Returns the address for bounces, if it is set.
    pub(crate) fn envelope_from(&self) -> Option<Sender> {
        self.mail_envelope_from
            .clone()
            .and_then(|Optional(address)| address)
    }

    /// Whether the confirmation of a registration contains a link to its proof.
    pub(crate) fn mail_receipt(&self) -> bool {
        self.mail_receipt == Switch::On
    }

    /// Returns the host name for EHLO, if it is set.
    pub(crate) fn ehlo_name(&self) -> Option<EhloName> {
        self.mail_ehlo_name.clone().and_then(|Optional(name)| name)
    }

    /// Returns the URL of the mail server, if it is set.
    pub(crate) fn smtp_url(&self) -> Option<&str> {
        self.smtp_url.as_deref().filter(|url| !url.is_empty())
    }
}
