//! How mails leave: to an SMTP server, or into files.

mod classify;
mod ehlo;
mod in_turn;
mod outbox;
#[cfg(feature = "fuzzing")]
pub(crate) mod scripted;
mod session;
mod smtp;
mod smtp_url;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use ehlo::{EhloName, EhloNameError};
pub use outbox::Outbox;
pub use smtp::{Smtp, SmtpOptions};
pub use smtp_url::SmtpUrlError;
pub use trial::{Trial, Tried};

use crate::error::{AttemptError, Failure, Outage};
use crate::message::Mail;

/// How long handing over one mail may take. The defaults are the shortest that RFC 5321 §4.5.3.2 recommends,
/// one step after the other: some servers are slow on purpose (tarpits), and whoever gives up never gets
/// through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a session: name, TCP, TLS, greetings, authentication.
    pub connect: Duration,
    /// From then until the server asks for the message; of a file, until it is on the disk.
    pub send: Duration,
    /// From then until the server has answered for the message. RFC 5321 §4.5.3.2.6 wants 10 minutes here: a
    /// server that is slow to answer has most often taken the mail, and whoever gives up makes a duplicate.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The greeting.
            connect: Duration::from_mins(5),
            // MAIL and RCPT, 5 minutes each, and DATA, 2.
            send: Duration::from_mins(12),
            answer: Duration::from_mins(10),
        }
    }
}

impl Timeouts {
    /// The same, but none longer than `most`.
    #[must_use]
    pub fn each_at_most(self, most: Duration) -> Self {
        Self {
            connect: self.connect.min(most),
            send: self.send.min(most),
            answer: self.answer.min(most),
        }
    }

    /// All of them together.
    pub(crate) fn total(self) -> Duration {
        self.connect + self.send + self.answer
    }
}

/// Until when a message may be handed over.
#[derive(Debug, Clone, Default)]
pub struct Permit {
    stop: CancellationToken,
    until: Option<watch::Receiver<Instant>>,
}

impl Permit {
    /// Until `until`, which may be moved; and until soon after `stop` is cancelled.
    pub(crate) const fn new(stop: CancellationToken, until: watch::Receiver<Instant>) -> Self {
        Self {
            stop,
            until: Some(until),
        }
    }

    /// Whether the message may be handed over now.
    fn holds(&self) -> bool {
        self.until
            .as_ref()
            .is_none_or(|until| Instant::now() < *until.borrow())
    }
}

/// A way for mails to leave.
#[derive(Debug)]
pub enum Transport {
    /// To an SMTP server.
    Smtp(Box<Smtp>),
    /// Into files in a folder.
    Outbox(Outbox),
}

impl Transport {
    /// To the SMTP server at `url`:
    ///
    /// | URL | encryption | port, unless given |
    /// |---|---|---|
    /// | `smtps://user:password@host` | TLS from the start (RFC 8314) | 465 |
    /// | `smtp://user:password@host?tls=required` | STARTTLS, or nothing is sent | 587 |
    /// | `smtp://user:password@host?tls=opportunistic` | STARTTLS if it is offered; without it a password is sent to this machine only | 587 |
    /// | `smtp://host?tls=none` | none; may be left out where the host is this machine | 25 |
    ///
    /// User and password may be left out. `auth=plain`, `auth=login` or `auth=xoauth2` (then the password is
    /// an access token) sets the way to authenticate; without it PLAIN is used, or LOGIN where there is no
    /// PLAIN. A path, as in `smtp://host/mail.example.com`, is the name for EHLO; without one it is that of
    /// [`SmtpOptions`]. Certificates are checked against the system's authorities, or those of the
    /// environment variable `SSL_CERT_FILE`, and those of [`SmtpOptions`]. No connection is made yet.
    ///
    /// # Errors
    ///
    /// [`SmtpUrlError`], which says what was expected and never repeats the URL, since it holds a password.
    pub fn smtp(url: &str, options: &SmtpOptions) -> Result<Self, SmtpUrlError> {
        Smtp::new(url, options).map(|smtp| Self::Smtp(Box::new(smtp)))
    }

    /// Into files in `folder`, which is made when the first one is written.
    #[must_use]
    pub fn outbox(folder: impl Into<PathBuf>) -> Self {
        Self::Outbox(Outbox::new(folder.into()))
    }

    /// Where mails go, without secrets: `smtp.gmail.com:465 over TLS`, `files in data/outbox`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.describe(),
            Self::Outbox(outbox) => outbox.describe(),
        }
    }

    /// Hands over one mail, or gives up when its time is up, or `permit` is, unless the message is being
    /// handed over then. If the future is dropped, whether the mail was taken is open.
    ///
    /// # Errors
    ///
    /// [`AttemptError`], which says whether another attempt may help.
    pub async fn send(&self, mail: &Mail, within: Timeouts, permit: &Permit) -> Result<(), AttemptError> {
        match self {
            Self::Smtp(smtp) => smtp.send(mail, within, permit).await,
            Self::Outbox(outbox) => timeout(within.send, outbox.write(mail))
                .await
                .unwrap_or(Err(Failure::Timeout))
                // A full disk is full for every mail.
                .map_err(|failure| AttemptError::Outage(Outage::Down(failure))),
        }
    }

    /// Hands over one mail to see whether that can be done; what came of each step. Of files there are no
    /// steps.
    ///
    /// # Errors
    ///
    /// [`AttemptError`], for files only.
    pub async fn try_out(&self, mail: &Mail, within: Timeouts) -> Result<Trial, AttemptError> {
        match self {
            Self::Smtp(smtp) => Ok(smtp.try_out(mail, within).await),
            Self::Outbox(_) => {
                self.send(mail, within, &Permit::default()).await?;
                Ok(Trial::new(Vec::new(), None, session::Progress::new()))
            }
        }
    }

    /// Whether the next mail has somewhere to go without anything being opened first.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Smtp(smtp) => smtp.sessions() > 0,
            Self::Outbox(_) => true,
        }
    }

    /// How many sessions with the server are open.
    pub(crate) fn sessions(&self) -> usize {
        match self {
            Self::Smtp(smtp) => smtp.sessions(),
            Self::Outbox(_) => 0,
        }
    }

    /// Uses no connection for another mail that is open now: it may still serve although no new one would.
    pub(crate) fn renew(&self) {
        match self {
            Self::Smtp(smtp) => smtp.renew(),
            Self::Outbox(_) => {}
        }
    }

    /// Ends connections that have not been used for a while.
    pub(crate) fn tidy(&self) {
        match self {
            Self::Smtp(smtp) => smtp.drop_old(),
            Self::Outbox(_) => {}
        }
    }

    /// Ends all connections that are not in use.
    pub async fn close(&self) {
        match self {
            Self::Smtp(smtp) => smtp.close().await,
            Self::Outbox(_) => {}
        }
    }
}
