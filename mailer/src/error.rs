//! Why a mail was not sent, and whether another attempt may help.
//!
//! None of these repeats a patient's data or a server's own words, which quote addresses; so each can be logged and kept
//! in the ledger's `last_error`.

use std::fmt;
use std::io;

use domain::StoredEventError;

use crate::templates::TemplateError;

/// An attempt that did not send its mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// Another attempt may succeed.
    #[error(transparent)]
    Retry(Failure),
    /// No other attempt can succeed: not without a person's help.
    #[error(transparent)]
    Fail(Failure),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The log has no event at the delivery's position.
    #[error("the event is missing")]
    EventMissing,
    /// This version of the program cannot read the event.
    #[error("the event cannot be read: {0}")]
    EventUnreadable(#[from] StoredEventError),
    /// The event is not of the kind that the mail tells of.
    #[error("the event is not one that this mail tells of")]
    EventUnexpected,
    /// The patient's address is not one that mail can be sent to.
    #[error("the address cannot be written to")]
    Address,
    /// A template does not render.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The mail could not be put together.
    #[error("the message cannot be put together")]
    Message,
    /// No session with the server came about; every mail would have failed so.
    #[error("opening an SMTP session: {0}")]
    Opening(SmtpFailure),
    /// The server did not take this mail.
    #[error("sending: {0}")]
    Sending(SmtpFailure),
    /// The attempt took longer than one may.
    #[error("timeout")]
    Timeout,
    /// The file could not be written.
    #[error("writing to the outbox: {0}")]
    Outbox(io::ErrorKind),
    /// The attempt panicked: a defect.
    #[error("internal error")]
    Internal,
}

/// How an SMTP server, or the way to it, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpFailure {
    /// The server answered no.
    #[error("the server answered {code}{}", DisplayEnhanced(*enhanced))]
    Reply {
        /// The reply code (RFC 5321 §4.2.1).
        code: u16,
        /// The enhanced status code (RFC 3463), if the server gave one.
        enhanced: Option<EnhancedCode>,
    },
    /// The server did not answer in time.
    #[error("timeout")]
    Timeout,
    /// The connection failed.
    #[error("connection failed ({0})")]
    Io(io::ErrorKind),
    /// The connection failed, nobody says how.
    #[error("connection failed")]
    Connection,
    /// The server's name has no address.
    #[error("the host name cannot be resolved")]
    Unresolved,
    /// TLS failed: most often a certificate that is not trusted, or TLS where the server speaks none.
    #[error("TLS failed")]
    Tls,
    /// The server lacks what was asked for: STARTTLS, or a way to authenticate that we know.
    #[error("the server does not offer STARTTLS, or no known way to authenticate")]
    NotOffered,
    /// The address has characters before the `@` beyond ASCII, and the server lacks SMTPUTF8 (RFC 6531).
    #[error("the address needs SMTPUTF8, which the server does not offer")]
    NoSmtpUtf8,
    /// The server's answer is not SMTP.
    #[error("the answer is not SMTP")]
    Protocol,
}

/// An enhanced mail system status code (RFC 3463), such as `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 addresses, 2 mailboxes, 3 mail systems, 4 network, 5 protocol, 6 content, 7 security.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code at the beginning of a reply's text, if there is one.
    #[must_use]
    pub fn leading(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace().next()?.split('.');
        let mut part = |longest: usize| {
            let part = parts.next()?;
            let digits = part.len() <= longest && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (class, subject, detail) = (part(1)?, part(3)?, part(3)?);
        (parts.next().is_none() && matches!(class, 2 | 4 | 5)).then_some(Self {
            class: u8::try_from(class).ok()?,
            subject,
            detail,
        })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

struct DisplayEnhanced(Option<EnhancedCode>);

impl fmt::Display for DisplayEnhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |code| write!(f, " {code}"))
    }
}

#[cfg(test)]
mod tests;
