//! How mails leave: to an SMTP server, or into files.

mod outbox;
mod session;
mod smtp;
mod smtp_url;

use std::path::PathBuf;

pub use outbox::Outbox;
pub use smtp::Smtp;
pub use smtp_url::SmtpUrlError;

use crate::error::AttemptError;
use crate::message::Mail;

/// A way for mails to leave.
#[derive(Debug)]
pub enum Transport {
    /// To an SMTP server.
    Smtp(Smtp),
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
    /// | `smtp://user:password@host?tls=opportunistic` | STARTTLS if it is offered | 587 |
    /// | `smtp://host` | none | 25 |
    ///
    /// User and password may be left out. A path, as in `smtp://host/mail.example.com`, is the name to introduce
    /// oneself by; without one it is the machine's. Certificates are checked against the system's authorities, or those
    /// of the environment variable `SSL_CERT_FILE`. No connection is made yet.
    ///
    /// # Errors
    ///
    /// [`SmtpUrlError`], which says what was expected and never repeats the URL, since it holds a password.
    pub fn smtp(url: &str) -> Result<Self, SmtpUrlError> {
        Smtp::new(url).map(Self::Smtp)
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

    /// Hands over one mail. It may be given up at any moment by dropping the future; whether the mail was taken is then
    /// open.
    ///
    /// # Errors
    ///
    /// [`AttemptError`], which says whether another attempt may help.
    pub async fn send(&self, mail: &Mail) -> Result<(), AttemptError> {
        match self {
            Self::Smtp(smtp) => smtp.send(mail).await,
            Self::Outbox(outbox) => outbox.write(mail).await.map_err(AttemptError::Retry),
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
    pub(crate) async fn close(&self) {
        match self {
            Self::Smtp(smtp) => smtp.close().await,
            Self::Outbox(_) => {}
        }
    }
}
