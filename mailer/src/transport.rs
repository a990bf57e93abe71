//! Transports for emails: an SMTP server, or files in a folder.

mod classify;
mod dot_stuffing;
mod ehlo;
mod lettre_error;
mod outbox;
mod permit;
mod progress;
#[cfg(feature = "fuzzing")]
pub(crate) mod scripted;
mod session;
mod smtp;
mod smtp_url;
mod starttls_stream;
mod tcp;
mod test_email;
mod timeouts;

use std::path::PathBuf;

pub use ehlo::{EhloName, EhloNameError};
pub use outbox::Outbox;
pub use permit::Permit;
pub use smtp::Smtp;
pub use smtp_url::{SmtpOptions, SmtpUrlError};
pub use test_email::{StepResult, TestResult, TestStep};
pub use timeouts::Timeouts;

use self::progress::SendProgress;
use crate::error::{AttemptError, DeliveryFailure, Outage};
use crate::message::Mail;

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

    /// Sends one email. Fails when a timeout expires, or if `permit` has expired when the message is about to
    /// be sent. If the future is dropped, the outcome is unknown.
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
    /// [`DeliveryFailure`], for files only.
    pub async fn test(&self, mail: &Mail, within: Timeouts) -> Result<TestResult, DeliveryFailure> {
        match self {
            Self::Smtp(smtp) => Ok(smtp.test(mail, within).await),
            Self::Outbox(outbox) => {
                outbox.write_within(mail, within.send).await?;
                let progress = SendProgress::new();
                Ok(TestResult::new(self.describe(), Vec::new(), None, progress))
            }
        }
    }

    /// Opens a session with the server, including TLS and authentication, and ends it. For files, does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`DeliveryFailure`].
    pub async fn check(&self, within: Timeouts) -> Result<(), DeliveryFailure> {
        match self {
            Self::Smtp(smtp) => smtp.check(within).await,
            Self::Outbox(_) => Ok(()),
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

    /// Stops reusing the sessions that are open now. They may still work when no new session can be opened,
    /// so they cannot show that an outage is over.
    pub(crate) fn discard_sessions(&self) {
        match self {
            Self::Smtp(smtp) => smtp.discard_sessions(),
            Self::Outbox(_) => {}
        }
    }

    /// Closes sessions that have been idle for a while.
    pub(crate) fn close_expired_sessions(&self) {
        match self {
            Self::Smtp(smtp) => smtp.close_expired_sessions(),
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
