//! Reasons why an email was not sent, and whether another attempt may succeed.
//!
//! No error contains a patient's data, or the text of a server's reply, which may quote addresses. Errors can
//! therefore be logged and stored in the ledger's `last_error`.

use std::fmt;
use std::io;

use domain::StoredEventError;

use crate::templates::TemplateError;

/// A failed attempt to send an email.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// Another attempt may succeed.
    #[error(transparent)]
    Retry(DeliveryFailure),
    /// No further attempt can succeed without manual intervention.
    #[error(transparent)]
    Fail(DeliveryFailure),
    /// The server permanently rejected this email, possibly for a reason that applies to all mail. Attempts
    /// with other emails show whether the reason applies to all mail. Until then, the failure counts as
    /// [`AttemptError::Retry`].
    #[error(transparent)]
    AmbiguousRejection(DeliveryFailure),
    /// The server deferred this email, possibly because it defers all mail. Attempts with other emails show
    /// whether the server defers all mail. Until then, the failure counts as [`AttemptError::Retry`].
    #[error(transparent)]
    AmbiguousDeferral(DeliveryFailure),
    /// Sending the message began, but no reply to it arrived: the server may or may not have accepted the
    /// message.
    #[error(transparent)]
    Unknown(DeliveryFailure),
    /// No mail can be sent at present. This email is not the cause, so the attempt does not count.
    #[error(transparent)]
    Outage(Outage),
}

/// The reason why no mail can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The server is unreachable, or temporarily rejects all clients. It may recover without intervention.
    #[error(transparent)]
    Down(DeliveryFailure),
    /// The server rejects this client: the password, the certificate or the sender is wrong, on either side.
    /// Recovery requires manual intervention.
    #[error(transparent)]
    Refused(DeliveryFailure),
    /// The server serves other sessions of this process but accepts no further session.
    #[error(transparent)]
    ConnectionLimit(DeliveryFailure),
}

/// The cause of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryFailure {
    /// The log has no event at the delivery's position.
    #[error("the event is missing")]
    EventMissing,
    /// This version of the program cannot read the event.
    #[error("the event cannot be read: {0}")]
    EventUnreadable(#[from] StoredEventError),
    /// The event's type does not match the email's template.
    #[error("the event does not match the email template")]
    EventUnexpected,
    /// Mail cannot be sent to the patient's address.
    #[error("mail cannot be sent to this address")]
    Address,
    /// A template cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The message could not be built.
    #[error("the message cannot be built")]
    Message,
    /// A step of the connection or of the SMTP dialog failed.
    #[error("{0}: {1}")]
    Smtp(SmtpStep, SmtpFailure),
    /// The attempt timed out.
    #[error("timeout")]
    Timeout,
    /// The attempt began so late that the lease could have expired during it.
    #[error("too little time was left on the lease to send the email")]
    Late,
    /// The file could not be written.
    #[error("cannot write to the outbox: {0}")]
    Outbox(io::ErrorKind),
    /// The attempt panicked, which is a bug.
    #[error("internal error")]
    Internal,
}

impl DeliveryFailure {
    /// Returns the failed step, if the failure occurred on the way to the server or in the SMTP dialog.
    pub(crate) const fn step(&self) -> Option<SmtpStep> {
        match self {
            Self::Smtp(step, _) => Some(*step),
            _ => None,
        }
    }
}

/// The steps of sending an email, in order, from resolving the server's name to the accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SmtpStep {
    /// Resolving the server's host name.
    Resolve,
    /// Connecting to one of the server's addresses.
    Connect,
    /// Encrypting the connection, immediately or with STARTTLS.
    Tls,
    /// The server's greeting and its reply to EHLO.
    Hello,
    /// Authenticating.
    Auth,
    /// Naming the sender.
    Mail,
    /// Naming the recipient.
    Rcpt,
    /// Requesting to send the message.
    Data,
    /// Sending the message.
    Message,
}

impl SmtpStep {
    /// All steps, in order.
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

    /// Whether the step is part of opening a session.
    #[must_use]
    pub const fn opens_session(self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Connect | Self::Tls | Self::Hello | Self::Auth
        )
    }
}

impl fmt::Display for SmtpStep {
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

/// A failed step and its failure.
pub(crate) type FailedStep = (SmtpStep, SmtpFailure);

/// How an SMTP server, or the connection to it, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpFailure {
    /// The server sent a negative reply.
    #[error("the server answered {code}{}", DisplayEnhanced(*enhanced))]
    Reply {
        /// The reply code (RFC 5321 §4.2.1).
        code: u16,
        /// The enhanced status code (RFC 3463), if the server gave one.
        enhanced: Option<EnhancedCode>,
    },
    /// The server deferred the email, and its reply mentions greylisting.
    #[error("the server answered {code}{}", DisplayEnhanced(*enhanced))]
    Greylisted {
        /// The reply code, as in [`SmtpFailure::Reply`].
        code: u16,
        /// The enhanced status code, as in [`SmtpFailure::Reply`].
        enhanced: Option<EnhancedCode>,
    },
    /// The server did not answer in time.
    #[error("timeout")]
    Timeout,
    /// The mailer stopped or lost its lease before it sent the message.
    #[error("stopped before the message was sent")]
    Stopped,
    /// The connection failed.
    #[error("connection failed ({0})")]
    Io(io::ErrorKind),
    /// The connection failed for an unknown reason.
    #[error("connection failed")]
    Connection,
    /// The server's host name does not resolve to an address.
    #[error("the host name cannot be resolved")]
    Unresolved,
    /// TLS failed, usually because the server does not use TLS on this port.
    #[error("TLS failed")]
    Tls,
    /// The client rejected the server's certificate.
    #[error("the certificate {0}")]
    Certificate(CertificateFault),
    /// STARTTLS is required, but the server does not offer it.
    #[error("the server does not offer STARTTLS")]
    NoStartTls,
    /// Plaintext data arrived before the client requested it, or after a complete reply. The cause is an
    /// attack or a faulty server.
    #[error("unexpected data arrived before encryption began")]
    UnexpectedData,
    /// The server offers no supported authentication mechanism.
    #[error("the server offers no supported authentication mechanism")]
    NoAuth,
    /// The address has non-ASCII characters before the `@`, and the server does not offer SMTPUTF8 (RFC
    /// 6531).
    #[error("the address needs SMTPUTF8, which the server does not offer")]
    NoSmtpUtf8,
    /// The server's reply is not valid SMTP.
    #[error("the reply is not valid SMTP")]
    Protocol,
}

/// The reason why a certificate was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The certificate is not signed by a trusted authority.
    #[error("is not signed by a trusted authority")]
    Untrusted,
    /// The certificate has expired.
    #[error("has expired")]
    Expired,
    /// The certificate is not valid yet, or the local clock is slow.
    #[error("is not valid yet")]
    NotYetValid,
    /// The certificate is for another host name.
    #[error("is for another host name")]
    OtherName,
    /// The certificate has been revoked.
    #[error("is revoked")]
    Revoked,
    /// The certificate is invalid for another reason.
    #[error("is not valid")]
    Invalid,
}

/// An enhanced mail system status code (RFC 3463), such as `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedCode {
    /// Class: 2, 4 or 5.
    pub class: u8,
    /// Subject: 1 addresses, 2 mailboxes, 3 mail systems, 4 network, 5 protocol, 6 content, 7 security.
    pub subject: u16,
    /// Detail within the subject.
    pub detail: u16,
}

impl EnhancedCode {
    /// Whether the code concerns the recipient's address or mailbox, and therefore one email (RFC 3463 §3.2,
    /// §3.3, RFC 7505). `x.1.7` and `x.1.8` concern the sender, `x.1.0` and `x.2.0` are unspecific, and
    /// providers use large numbers for any purpose.
    #[must_use]
    pub const fn names_recipient(self) -> bool {
        matches!((self.subject, self.detail), (1, 1..=4 | 6 | 10) | (2, 1 | 2))
    }

    /// Parses the code at the beginning of a reply's text, if present.
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
