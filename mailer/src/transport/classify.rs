//! The meaning of a failure for one email and for all others.
//!
//! | step | failure | meaning |
//! |---|---|---|
//! | before RCPT | no answer, no connection, a 4xx reply | the server is down: it does not know the recipient yet |
//! | before RCPT | certificate, TLS, no STARTTLS, unexpected data, no authentication mechanism, a 5xx reply | the server rejects this client |
//! | RCPT and later | 530, 538 (RFC 4954 §6): authentication or encryption required | the server rejects this client |
//! | RCPT and later | 5xx with an enhanced code about the sender or its authentication | the server rejects this client |
//! | RCPT and later | 5xx with a code about the recipient's address or mailbox, no SMTPUTF8 | this email cannot be sent |
//! | RCPT and later | any other 5xx | concerns this email or all mail, depending on other emails |
//! | RCPT and later | 4xx with a code about the recipient's address or mailbox, greylisting | this email is retried |
//! | RCPT and later | any other 4xx, including 421; before the message: no answer, a lost connection | concerns this email or all mail, depending on other emails |
//! | the message | no answer, a lost connection | the outcome is unknown |
//!
//! If the email needs SMTPUTF8, the meaning of a failure of MAIL is the same as from RCPT on.
//!
//! Relays forward replies of remote servers, so the recipient's address can determine the replies from RCPT
//! on. Those replies therefore stop the queue only under the conditions in [`super::super::worker`].

use crate::error::{AttemptError, DeliveryFailure, EnhancedCode, Outage, SmtpFailure, SmtpStep};

/// Returns the meaning of a failure of `step`. `plain` is true if every server can accept the email.
/// Otherwise, a reply about the sender may apply to this email only.
pub(super) fn classify(step: SmtpStep, failure: SmtpFailure, plain: bool) -> AttemptError {
    use SmtpFailure::{Greylisted, NoSmtpUtf8, Reply, UnexpectedData};

    let why = DeliveryFailure::Smtp(step, failure);
    let refused = |why| AttemptError::Outage(Outage::Refused(why));
    let down = |why| AttemptError::Outage(Outage::Down(why));
    if failure == SmtpFailure::Stopped {
        return down(why);
    }
    if step.opens_session() || (step == SmtpStep::Mail && plain) {
        return match failure {
            Reply { code: 500..=599, .. }
            | SmtpFailure::Tls
            | SmtpFailure::Certificate(_)
            | SmtpFailure::NoStartTls
            | SmtpFailure::UnexpectedData
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
            _ => AttemptError::AmbiguousRejection(why),
        },
        NoSmtpUtf8 => AttemptError::Fail(why),
        Greylisted { .. } | UnexpectedData => AttemptError::Retry(why),
        Reply { enhanced, .. } if enhanced.is_some_and(EnhancedCode::names_recipient) => {
            AttemptError::Retry(why)
        }
        Reply { .. } => AttemptError::AmbiguousDeferral(why),
        _ if step == SmtpStep::Message => AttemptError::Unknown(why),
        _ => AttemptError::AmbiguousDeferral(why),
    }
}

/// Whether a code concerns the sender, or the authentication, encryption or reputation of this client,
/// according to the IANA registry of enhanced status codes.
const fn is_of_us(code: EnhancedCode) -> bool {
    match (code.subject, code.detail) {
        // The sender's address or its domain (RFC 3463 §3.2).
        (1, 7 | 8)
        // Credentials, mechanisms, encryption, the account (RFC 4954 §6, RFC 5248); DKIM, SPF, reverse DNS,
        // multiple authentication failures, a sender whose domain accepts no mail (RFC 7372, RFC 7505).
        | (7, 8..=14 | 20..=27) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
