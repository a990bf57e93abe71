//! What a failure means for the mail, and for all others.
//!
//! | step | failure | meaning |
//! |---|---|---|
//! | before RCPT | no answer, no connection, a reply of 4xx | the server is down: it does not know yet which mail it is |
//! | before RCPT | certificate, TLS, no STARTTLS, speech out of turn, no way to authenticate, a reply of 5xx | it refuses us |
//! | RCPT and later | 530, 538 (RFC 4954 §6): authenticate, or encrypt, first | it refuses us |
//! | RCPT and later | 5xx with an enhanced code about the sender or its authentication | it refuses us |
//! | RCPT and later | 5xx that names the recipient's address or mailbox, no SMTPUTF8 | this mail cannot be sent |
//! | RCPT and later | any other 5xx | this mail, or all: other mails decide |
//! | RCPT and later | 4xx that names the recipient's address or mailbox, greylisting | this mail is tried again |
//! | RCPT and later | any other 4xx, 421 too; before the message: no answer, a connection that ends | this mail, or all: other mails decide |
//! | the message | no answer, a connection that ends | whether it was accepted is unknown |
//!
//! Relays pass the words of remote servers on, so an address decides what is said at RCPT and later.
//! Therefore what is said there stops the queue only as [`super::super::worker`] allows.

use crate::error::{AttemptError, EnhancedCode, Failure, Outage, SmtpFailure, Step};

/// What it means that `step` failed. `plain` says of the mail that every server can take it: what a server
/// says of the sender of one that is not may be meant for that mail alone.
pub(super) fn classify(step: Step, failure: SmtpFailure, plain: bool) -> AttemptError {
    use SmtpFailure::{Greylisted, NoSmtpUtf8, OutOfTurn, Reply};

    let why = Failure::Smtp(step, failure);
    let refused = |why| AttemptError::Outage(Outage::Refused(why));
    let down = |why| AttemptError::Outage(Outage::Down(why));
    if failure == SmtpFailure::GivenUp {
        return down(why);
    }
    if step.opens() || (step == Step::Mail && plain) {
        return match failure {
            Reply { code: 500..=599, .. }
            | SmtpFailure::Tls
            | SmtpFailure::Certificate(_)
            | SmtpFailure::NoStartTls
            | SmtpFailure::OutOfTurn
            | SmtpFailure::NoAuth => refused(why),
            _ => down(why),
        };
    }
    match failure {
        Reply { code: 530 | 538, .. } => refused(why),
        Reply {
            code: 500..=599,
            enhanced,
        } => match enhanced {
            Some(code) if is_of_us(code) => refused(why),
            Some(code) if code.names_recipient() => AttemptError::Fail(why),
            _ => AttemptError::Suspect(why),
        },
        NoSmtpUtf8 => AttemptError::Fail(why),
        Greylisted { .. } | OutOfTurn => AttemptError::Retry(why),
        Reply { enhanced, .. } if enhanced.is_some_and(EnhancedCode::names_recipient) => {
            AttemptError::Retry(why)
        }
        Reply { .. } => AttemptError::Busy(why),
        _ if step == Step::Message => AttemptError::Unknown(why),
        _ => AttemptError::Busy(why),
    }
}

/// Whether a code is about the sender, or how we stand with the server, by the IANA registry of enhanced
/// status codes.
const fn is_of_us(code: EnhancedCode) -> bool {
    match (code.subject, code.detail) {
        // The sender's address or its domain (RFC 3463 §3.2).
        (1, 7 | 8)
        // Credentials, mechanisms, encryption, the account (RFC 4954 §6, RFC 5248); DKIM, SPF, reverse DNS,
        // several of them, a sender whose domain takes no mail (RFC 7372, RFC 7505).
        | (7, 8..=14 | 20..=27) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
