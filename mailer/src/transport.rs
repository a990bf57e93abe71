//! Transports for emails: an SMTP server, or files in a folder.

mod classify;
mod ehlo;
mod in_turn;
mod outbox;
#[cfg(feature = "fuzzing")]
pub(crate) mod scripted;
mod session;
mod smtp;
mod smtp_url;
mod test_email;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ehlo::{EhloName, EhloNameError};
pub use outbox::Outbox;
pub use smtp::{Smtp, SmtpOptions};
pub use smtp_url::SmtpUrlError;
pub use test_email::{StepResult, TestResult, TestStep};

use crate::error::{AttemptError, Failure, Outage};
use crate::message::Mail;

/// Timeouts for sending one email. The defaults are the sums of the minimum timeouts that RFC 5321 §4.5.3.2
/// recommends for each step. Some servers are slow on purpose (tarpits), and a client that gives up early
/// never succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Timeout for opening a session: name resolution, TCP, TLS, greetings, authentication.
    pub connect: Duration,
    /// Timeout from the open session until the server asks for the message. For a file, until the file is on
    /// disk.
    pub send: Duration,
    /// Timeout from the start of the message until the server replies to it. RFC 5321 §4.5.3.2.6 recommends
    /// 10 minutes: a slow server has usually accepted the email, and a client that gives up early sends a
    /// duplicate.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The timeout for the greeting.
            connect: Duration::from_mins(5),
            // 5 minutes each for MAIL and RCPT, and 2 minutes for DATA.
            send: Duration::from_mins(12),
            answer: Duration::from_mins(10),
        }
    }
}

impl Timeouts {
    /// Returns these timeouts, each limited to `most`.
    #[must_use]
    pub fn each_at_most(self, most: Duration) -> Self {
        Self {
            connect: self.connect.min(most),
            send: self.send.min(most),
            answer: self.answer.min(most),
        }
    }

    /// Sum of the timeouts.
    pub(crate) fn total(self) -> Duration {
        self.connect + self.send + self.answer
    }
}

/// Permission to send a message, which can expire or be withdrawn.
#[derive(Debug, Clone, Default)]
pub struct Permit {
    stop: CancellationToken,
    until: Option<watch::Receiver<Instant>>,
}

impl Permit {
    /// Creates a permit that lasts until `until`, which may be moved, and ends soon after `stop` is
    /// cancelled.
    pub(crate) const fn new(stop: CancellationToken, until: watch::Receiver<Instant>) -> Self {
        Self {
            stop,
            until: Some(until),
        }
    }

    /// Whether the message may be sent now.
    fn holds(&self) -> bool {
        self.until
            .as_ref()
            .is_none_or(|until| Instant::now() < *until.borrow())
    }
}

/// A way to deliver emails.
#[derive(Debug)]
pub enum Transport {
    /// Sends to an SMTP server.
    Smtp(Box<Smtp>),
    /// Writes files in a folder.
    Outbox(Outbox),
}

impl Transport {
    /// Creates a transport to the SMTP server at `url`:
    ///
    /// | URL | encryption | default port |
    /// |---|---|---|
    /// | `smtps://user:password@host` | TLS from the start (RFC 8314) | 465 |
    /// | `smtp://user:password@host?tls=required` | STARTTLS, required | 587 |
    /// | `smtp://user:password@host?tls=opportunistic` | STARTTLS if offered; otherwise a password is sent only if the host is `localhost` or a loopback address | 587 |
    /// | `smtp://host?tls=none` | none; `?tls=none` is optional if the host is `localhost` or a loopback address | 25 |
    ///
    /// User and password are optional. `auth=plain`, `auth=login` or `auth=xoauth2` (with an access token as
    /// the password) sets the authentication mechanism. The default is PLAIN, or LOGIN if the server does not
    /// offer PLAIN. A path, as in `smtp://host/mail.example.com`, sets the EHLO name; the default is the name
    /// in [`SmtpOptions`]. Certificates are verified against the system's certificate authorities, or those
    /// in the file named by the environment variable `SSL_CERT_FILE`, and those in [`SmtpOptions`]. This
    /// function does not connect.
    ///
    /// # Errors
    ///
    /// [`SmtpUrlError`], which describes the expected format. It never contains the URL, which may hold a
    /// password.
    pub fn smtp(url: &str, options: &SmtpOptions) -> Result<Self, SmtpUrlError> {
        Smtp::new(url, options).map(|smtp| Self::Smtp(Box::new(smtp)))
    }

    /// Creates a transport that writes files in `folder`. The folder is created with the first file.
    #[must_use]
    pub fn outbox(folder: impl Into<PathBuf>) -> Self {
        Self::Outbox(Outbox::new(folder.into()))
    }

    /// Describes the destination without secrets, such as `smtp.gmail.com:465 over TLS` or
    /// `files in data/outbox`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.describe(),
            Self::Outbox(outbox) => outbox.describe(),
        }
    }

    /// Sends one email. Gives up when a timeout or `permit` expires, except while the message is being sent.
    /// If the future is dropped, the outcome is unknown.
    ///
    /// # Errors
    ///
    /// [`AttemptError`], which indicates whether another attempt may succeed.
    pub async fn send(&self, mail: &Mail, within: Timeouts, permit: &Permit) -> Result<(), AttemptError> {
        match self {
            Self::Smtp(smtp) => smtp.send(mail, within, permit).await,
            Self::Outbox(outbox) => outbox
                .write_within(mail, within.send)
                .await
                // A full disk affects every email.
                .map_err(|failure| AttemptError::Outage(Outage::Down(failure))),
        }
    }

    /// Sends one email as a test and returns the result of each step. The result for files has no steps.
    ///
    /// # Errors
    ///
    /// [`Failure`], for files only.
    pub async fn test(&self, mail: &Mail, within: Timeouts) -> Result<TestResult, Failure> {
        match self {
            Self::Smtp(smtp) => Ok(smtp.test(mail, within).await),
            Self::Outbox(outbox) => {
                outbox.write_within(mail, within.send).await?;
                let progress = session::Progress::new();
                Ok(TestResult::new(self.describe(), Vec::new(), None, progress))
            }
        }
    }

    /// Whether the next email can be sent without opening a session first.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Smtp(smtp) => smtp.sessions() > 0,
            Self::Outbox(_) => true,
        }
    }

    /// Number of open sessions with the server.
    pub(crate) fn sessions(&self) -> usize {
        match self {
            Self::Smtp(smtp) => smtp.sessions(),
            Self::Outbox(_) => 0,
        }
    }

    /// Stops reusing the sessions that are open now, because they may still work when no new session can be
    /// opened.
    pub(crate) fn renew(&self) {
        match self {
            Self::Smtp(smtp) => smtp.renew(),
            Self::Outbox(_) => {}
        }
    }

    /// Closes sessions that have been idle for a while.
    pub(crate) fn tidy(&self) {
        match self {
            Self::Smtp(smtp) => smtp.drop_old(),
            Self::Outbox(_) => {}
        }
    }

    /// Closes all idle sessions.
    pub async fn close(&self) {
        match self {
            Self::Smtp(smtp) => smtp.close().await,
            Self::Outbox(_) => {}
        }
    }
}
