//! Why a mail was not sent, and whether another attempt may help.
//!
//! None of these repeats a patient's data or a server's own words, which quote addresses; so each can be
//! logged and kept in the ledger's `last_error`.

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
    /// The server refused this mail for good, perhaps for a reason that holds for every mail. Other mails
    /// decide; until they do, as [`AttemptError::Retry`].
    #[error(transparent)]
    Suspect(Failure),
    /// The server put this mail off, perhaps because it puts every mail off. Other mails decide; until they
    /// do, as [`AttemptError::Retry`].
    #[error(transparent)]
    Busy(Failure),
    /// The mail was handed over whole, and no answer to it came: nobody knows whether the server has it.
    #[error(transparent)]
    Unknown(Failure),
    /// No mail can be sent at present; this one is not to blame, and no attempt is counted for it.
    #[error(transparent)]
    Outage(Outage),
}

/// Why no mail can be sent at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The server is away, or asks to be left alone for a while: it may come back by itself.
    #[error(transparent)]
    Down(Failure),
    /// The server does not take us as we are: the password, the certificate or the sender is wrong, on either
    /// side. It needs a person.
    #[error(transparent)]
    Refused(Failure),
    /// The server serves other sessions of this process and accepts no further one.
    #[error(transparent)]
    Crowded(Failure),
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
    /// A step of the way to the server, or of the talk with it, failed.
    #[error("{0}: {1}")]
    Smtp(Step, SmtpFailure),
    /// The attempt took longer than one may.
    #[error("timeout")]
    Timeout,
    /// So much time had passed since the mail was taken that its lease could have run out while it was being
    /// sent.
    #[error("it was too late to send it under its lease")]
    Late,
    /// The file could not be written.
    #[error("writing to the outbox: {0}")]
    Outbox(io::ErrorKind),
    /// The attempt panicked: a defect.
    #[error("internal error")]
    Internal,
}

impl Failure {
    /// The step of the talk with the server that failed, if it is one.
    pub(crate) const fn step(&self) -> Option<Step> {
        match self {
            Self::Smtp(step, _) => Some(*step),
            _ => None,
        }
    }
}

/// The steps from a server's name to a mail that it has taken, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Looking the server's name up.
    Resolve,
    /// Connecting to one of its addresses.
    Connect,
    /// Encrypting the connection, at once or by STARTTLS.
    Tls,
    /// The server's greeting, and its answer to ours.
    Hello,
    /// Saying who we are.
    Auth,
    /// Naming the sender.
    Mail,
    /// Naming the recipient.
    Rcpt,
    /// Asking to send the message.
    Data,
    /// The message itself.
    Message,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Hello,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Message,
    ];

    /// Whether it comes before there is a session that mails can be sent over.
    #[must_use]
    pub const fn opens(self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Connect | Self::Tls | Self::Hello | Self::Auth
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Hello => "EHLO",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Message => "message",
        })
    }
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
    /// The server puts off recipients that it does not know yet, and says so (greylisting).
    #[error("the server answered {code}{}", DisplayEnhanced(*enhanced))]
    Greylisted {
        /// As in [`SmtpFailure::Reply`].
        code: u16,
        /// As in [`SmtpFailure::Reply`].
        enhanced: Option<EnhancedCode>,
    },
    /// The server did not answer in time.
    #[error("timeout")]
    Timeout,
    /// The mailer stops or has lost its lease, and the message had not been handed over yet.
    #[error("given up before the message")]
    GivenUp,
    /// The connection failed.
    #[error("connection failed ({0})")]
    Io(io::ErrorKind),
    /// The connection failed, nobody says how.
    #[error("connection failed")]
    Connection,
    /// The server's name has no address.
    #[error("the host name cannot be resolved")]
    Unresolved,
    /// TLS failed: most often TLS where the server speaks none.
    #[error("TLS failed")]
    Tls,
    /// The server's certificate is not accepted.
    #[error("the certificate {0}")]
    Certificate(CertificateFault),
    /// The server lacks STARTTLS, which is required.
    #[error("the server does not offer STARTTLS")]
    NoStartTls,
    /// Something came in plain before it was asked for, or behind an answer: an attack, or a server that is
    /// broken.
    #[error("something was sent out of turn before encryption began")]
    OutOfTurn,
    /// The server takes none of the ways to authenticate that we know.
    #[error("the server offers no known way to authenticate")]
    NoAuth,
    /// The address has characters before the `@` beyond ASCII, and the server lacks SMTPUTF8 (RFC 6531).
    #[error("the address needs SMTPUTF8, which the server does not offer")]
    NoSmtpUtf8,
    /// The server's answer is not SMTP.
    #[error("the answer is not SMTP")]
    Protocol,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// No authority that we trust has signed it.
    #[error("is not signed by a trusted authority")]
    Untrusted,
    /// It has run out.
    #[error("has expired")]
    Expired,
    /// It is not valid yet; or our clock is slow.
    #[error("is not valid yet")]
    NotYetValid,
    /// It is for another host name.
    #[error("is for another host name")]
    OtherName,
    /// It has been revoked.
    #[error("is revoked")]
    Revoked,
    /// Something else.
    #[error("is not valid")]
    Invalid,
}

/// An enhanced mail system status code (RFC 3463), such as `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 addresses, 2 mailboxes, 3 mail systems, 4 network, 5 protocol, 6 content, 7
    /// security.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl EnhancedCode {
    /// Whether the code is about the recipient's address or mailbox, and so about one mail (RFC 3463 §3.2,
    /// §3.3, RFC 7505). `x.1.7` and `x.1.8` are about the sender, `x.1.0` and `x.2.0` name nobody, and
    /// providers use large numbers for anything.
    #[must_use]
    pub const fn names_recipient(self) -> bool {
        matches!((self.subject, self.detail), (1, 1..=4 | 6 | 10) | (2, 1 | 2))
    }

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
