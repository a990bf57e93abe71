//! What a failure means for the mail, and for all others.
//!
//! | step | failure | meaning |
//! |---|---|---|
//! | before a session is open | no answer, no connection, a reply of 4xx | the server is down |
//! | before a session is open | certificate, TLS, no STARTTLS, speech out of turn, no way to authenticate, a reply of 5xx | it refuses us |
//! | MAIL | a reply of 5xx | it refuses us: every mail has this sender |
//! | MAIL, RCPT, DATA | 421 (RFC 5321 §3.8), unless it is about the address or its mailbox | the server is down |
//! | any | 530, 538 (RFC 4954 §6): authenticate, or encrypt, first | it refuses us |
//! | any | 5xx with an enhanced code about the sender or its authentication | it refuses us |
//! | any later | 5xx with 5.7.x besides: such as 5.7.1, which "relay access denied" has | this mail, or all: others will tell |
//! | RCPT, DATA, the message | any other 5xx (RFC 5321 §4.2.1), no SMTPUTF8 | this mail cannot be sent |
//! | the message | no answer, a connection that ends | whether it was taken is unknown |
//! | MAIL and later | all else: a reply of 4xx, no answer, a connection that ends | this mail is tried again |

use crate::error::{AttemptError, EnhancedCode, Failure, Outage, SmtpFailure, Step};

/// What it means that `step` failed. `plain` says of the mail that every server can take it: what a server says of the
/// sender of one that is not may be meant for that mail alone.
pub(super) fn classify(step: Step, failure: SmtpFailure, plain: bool) -> AttemptError {
    let why = Failure::Smtp(step, failure);
    let refused = |why| AttemptError::Outage(Outage::Refused(why));
    let down = |why| AttemptError::Outage(Outage::Down(why));
    if step.opens() {
        return match failure {
            SmtpFailure::Reply { code: 500..=599, .. }
            | SmtpFailure::Tls
            | SmtpFailure::Certificate(_)
            | SmtpFailure::NoStartTls
            | SmtpFailure::OutOfTurn
            | SmtpFailure::NoAuth => refused(why),
            _ => down(why),
        };
    }
    match failure {
        SmtpFailure::Reply { code: 530 | 538, .. } => refused(why),
        SmtpFailure::Reply { code: 421, enhanced } if step != Step::Message && !is_of_recipient(enhanced) => {
            down(why)
        }
        SmtpFailure::Reply { code: 500..=599, .. } if step == Step::Mail && plain => refused(why),
        SmtpFailure::Reply {
            code: 500..=599,
            enhanced,
        } => match enhanced.map_or(Blame::Mail, blame) {
            Blame::Us => refused(why),
            Blame::Either => AttemptError::Suspect(why),
            Blame::Mail => AttemptError::Fail(why),
        },
        SmtpFailure::NoSmtpUtf8 => AttemptError::Fail(why),
        // Nothing was written then.
        SmtpFailure::Reply { .. } | SmtpFailure::OutOfTurn => AttemptError::Retry(why),
        _ if step == Step::Message => AttemptError::Unknown(why),
        _ => AttemptError::Retry(why),
    }
}

/// What a refusal is for.
enum Blame {
    /// The sender, or how we stand with the server: the same for every mail.
    Us,
    /// This mail: its recipient, or what it says.
    Mail,
    /// One of the two.
    Either,
}

/// What the code of a refusal says of it, by the IANA registry of enhanced status codes.
#[expect(clippy::match_same_arms, reason = "each says where its codes come from")]
const fn blame(code: EnhancedCode) -> Blame {
    match (code.subject, code.detail) {
        // The sender's address or its domain (RFC 3463 §3.2).
        (1, 7 | 8) => Blame::Us,
        // Credentials, mechanisms, encryption, the account (RFC 4954 §6, RFC 5248); and DKIM, SPF, reverse DNS, several of
        // them, a sender whose domain takes no mail (RFC 7372, RFC 7505).
        (7, 8..=14 | 20..=27) => Blame::Us,
        // Mailing lists (RFC 3463 §3.8), the mail's priority (RFC 6710), the mailbox's owner (RFC 7293).
        (7, 2 | 15..=19) => Blame::Mail,
        // "Delivery not authorized" is what Postfix says to who may not relay, for a recipient that is blocked, and for
        // a message that its filters stop; and every provider has codes of its own.
        (7, _) => Blame::Either,
        _ => Blame::Mail,
    }
}

/// Whether a code is about the recipient's address or mailbox.
const fn is_of_recipient(code: Option<EnhancedCode>) -> bool {
    matches!(code, Some(EnhancedCode { subject: 1 | 2, .. }))
}

#[cfg(test)]
mod tests;
