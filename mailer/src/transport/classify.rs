//! What a failure means for the mail, and for all others.
//!
//! | step | failure | meaning |
//! |---|---|---|
//! | before a session is open | no answer, no connection, a reply of 4xx | the server is down |
//! | before a session is open | certificate, TLS, no STARTTLS, no way to authenticate, a reply of 5xx | it refuses us |
//! | MAIL | a reply of 5xx | it refuses us: every mail has this sender |
//! | any | 530, 538 (RFC 4954 §6): authenticate, or encrypt, first | it refuses us |
//! | RCPT, DATA, the message | a reply of 5xx (RFC 5321 §4.2.1), no SMTPUTF8 | this mail cannot be sent |
//! | MAIL and later | all else: a reply of 4xx, no answer, a connection that ends | this mail is tried again |

use crate::error::{AttemptError, Failure, Outage, SmtpFailure, Step};

/// What it means that `step` failed. `plain` says of the mail that every server can take it: what a server says of the
/// sender of one that is not may be meant for that mail alone.
pub(super) const fn classify(step: Step, failure: SmtpFailure, plain: bool) -> AttemptError {
    let why = Failure::Smtp(step, failure);
    let refuses = match (step, failure) {
        (Step::Mail, SmtpFailure::Reply { code, .. }) if plain => matches!(code, 500..=599),
        (Step::Mail | Step::Rcpt | Step::Data | Step::Message, SmtpFailure::Reply { code, .. }) => {
            matches!(code, 530 | 538)
        }
        (_, SmtpFailure::Reply { code, .. }) => matches!(code, 500..=599),
        (
            _,
            SmtpFailure::Tls | SmtpFailure::Certificate(_) | SmtpFailure::NoStartTls | SmtpFailure::NoAuth,
        ) => true,
        _ => false,
    };
    if refuses {
        return AttemptError::Outage(Outage::Refused(why));
    }
    match (step, failure) {
        (Step::Resolve | Step::Connect | Step::Tls | Step::Hello | Step::Auth, _) => {
            AttemptError::Outage(Outage::Down(why))
        }
        (_, SmtpFailure::Reply { code: 500..=599, .. } | SmtpFailure::NoSmtpUtf8) => AttemptError::Fail(why),
        _ => AttemptError::Retry(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reply(code: u16) -> SmtpFailure {
        SmtpFailure::Reply { code, enhanced: None }
    }

    fn meaning(step: Step, failure: SmtpFailure) -> &'static str {
        match classify(step, failure, true) {
            AttemptError::Retry(_) => "retry",
            AttemptError::Fail(_) => "fail",
            AttemptError::Outage(Outage::Down(_)) => "down",
            AttemptError::Outage(Outage::Refused(_)) => "refused",
        }
    }

    #[test]
    fn what_fails_before_a_session_is_open_is_no_mails_fault() {
        for step in Step::ALL.into_iter().filter(|step| step.opens()) {
            for failure in [
                SmtpFailure::Timeout,
                SmtpFailure::Unresolved,
                reply(421),
                reply(454),
            ] {
                assert_eq!(meaning(step, failure), "down", "{step}: {failure}");
            }
            for failure in [SmtpFailure::Tls, SmtpFailure::NoAuth, reply(535), reply(554)] {
                assert_eq!(meaning(step, failure), "refused", "{step}: {failure}");
            }
        }
    }

    #[test]
    fn what_a_server_says_of_one_mail_is_for_that_mail() {
        for step in [Step::Rcpt, Step::Data, Step::Message] {
            assert_eq!(meaning(step, reply(550)), "fail");
            assert_eq!(meaning(step, reply(451)), "retry");
            assert_eq!(meaning(step, reply(530)), "refused");
            assert_eq!(meaning(step, SmtpFailure::Timeout), "retry");
        }
        assert_eq!(meaning(Step::Rcpt, SmtpFailure::NoSmtpUtf8), "fail");
    }

    #[test]
    fn a_sender_that_is_refused_is_the_same_for_every_mail_that_needs_nothing_special() {
        assert_eq!(meaning(Step::Mail, reply(553)), "refused");
        assert!(matches!(
            classify(Step::Mail, reply(553), false),
            AttemptError::Fail(_)
        ));
        assert_eq!(meaning(Step::Mail, reply(451)), "retry");
    }
}
