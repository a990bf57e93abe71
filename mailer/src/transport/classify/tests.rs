use super::*;

const fn reply(code: u16) -> SmtpFailure {
    SmtpFailure::Reply { code, enhanced: None }
}

fn meaning(step: SmtpStep, failure: SmtpFailure) -> &'static str {
    match classify(step, failure, true) {
        AttemptError::Retry(_) => "retry",
        AttemptError::Fail(_) => "fail",
        AttemptError::AmbiguousRejection(_) => "ambiguous rejection",
        AttemptError::AmbiguousDeferral(_) => "ambiguous deferral",
        AttemptError::Unknown(_) => "unknown",
        AttemptError::Outage(Outage::Down(_)) => "down",
        AttemptError::Outage(Outage::Refused(_)) => "refused",
        AttemptError::Outage(Outage::ConnectionLimit(_)) => "connection limit",
    }
}

/// Returns the meaning of `reply`, such as `550 5.1.1`, at each step after MAIL.
fn meanings(reply: &str) -> [&'static str; 3] {
    let (code, text) = reply.split_once(' ').unwrap();
    let failure = SmtpFailure::Reply {
        code: code.parse().unwrap(),
        enhanced: EnhancedCode::leading(text),
    };
    [SmtpStep::Rcpt, SmtpStep::Data, SmtpStep::Message].map(|step| meaning(step, failure))
}

#[test]
fn a_failure_before_the_session_is_open_applies_to_all_mail() {
    for step in SmtpStep::ALL.into_iter().filter(|step| step.opens_session()) {
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
fn only_a_code_about_the_recipient_is_a_permanent_failure_of_one_email() {
    for mail in [
        "550 5.1.1",
        "550 5.1.2",
        "553 5.1.3",
        "550 5.1.6",
        "550 5.1.10",
        "550 5.2.1",
        "552 5.2.2",
    ] {
        assert_eq!(meanings(mail), ["fail"; 3], "{mail}");
    }
    assert_eq!(meaning(SmtpStep::Rcpt, SmtpFailure::NoSmtpUtf8), "fail");
}

#[test]
fn any_other_rejection_is_ambiguous() {
    for either in [
        "550 ",
        "550 Invalid HELO",
        "554 relay access denied",
        "504 5.5.2",
        "550 5.1.0",
        "554 5.2.252",
        "552 5.2.3",
        "552 5.3.4",
        "550 5.4.5",
        "554 5.4.6",
        "554 5.6.0",
        "554 5.7.1",
        "553 5.7.1",
        "550 5.7.0",
        "550 5.7.2",
        "550 5.7.17",
        "550 5.7.57",
        "550 5.7.606",
    ] {
        assert_eq!(meanings(either), ["ambiguous rejection"; 3], "{either}");
    }
}

#[test]
fn a_deferral_because_of_the_recipient_is_retried_and_any_other_is_ambiguous() {
    for mail in ["450 4.1.1", "450 4.2.1", "452 4.2.2", "421 4.2.1"] {
        assert_eq!(meanings(mail), ["retry"; 3], "{mail}");
    }
    for either in [
        "451 ",
        "421 going down",
        "450 4.1.8",
        "450 4.2.0",
        "451 4.3.0",
        "452 4.3.1",
        "432 4.3.2",
        "421 4.7.0",
        "450 4.7.1",
        "454 4.7.12",
    ] {
        assert_eq!(meanings(either), ["ambiguous deferral"; 3], "{either}");
    }
    let greylisted = SmtpFailure::Greylisted {
        code: 450,
        enhanced: EnhancedCode::leading("4.7.1"),
    };
    assert_eq!(meaning(SmtpStep::Rcpt, greylisted), "retry");
}

#[test]
fn a_missing_reply_is_ambiguous_and_after_the_message_the_outcome_is_unknown() {
    for failure in [
        SmtpFailure::Timeout,
        SmtpFailure::Protocol,
        SmtpFailure::Connection,
        SmtpFailure::Io(std::io::ErrorKind::ConnectionReset),
    ] {
        assert_eq!(meaning(SmtpStep::Mail, failure), "down", "{failure}");
        for step in [SmtpStep::Rcpt, SmtpStep::Data] {
            assert_eq!(meaning(step, failure), "ambiguous deferral", "{step}: {failure}");
        }
        assert_eq!(meaning(SmtpStep::Message, failure), "unknown", "{failure}");
    }
}

#[test]
fn a_reply_to_mail_from_applies_to_all_ascii_mail() {
    assert_eq!(meaning(SmtpStep::Mail, reply(553)), "refused");
    for code in [421, 432, 450, 451, 452, 454] {
        assert_eq!(meaning(SmtpStep::Mail, reply(code)), "down", "{code}");
    }
    for (code, expected) in [(553, "ambiguous rejection"), (451, "ambiguous deferral")] {
        let special = classify(SmtpStep::Mail, reply(code), false);
        let means = match special {
            AttemptError::AmbiguousRejection(_) => "ambiguous rejection",
            AttemptError::AmbiguousDeferral(_) => "ambiguous deferral",
            _ => "another",
        };
        assert_eq!(means, expected);
    }
}

#[test]
fn a_rejected_sender_or_authentication_applies_to_all_mail_at_every_step() {
    for ours in [
        "530 5.7.0",
        "538 ",
        "553 5.1.7",
        "550 5.1.8",
        "550 5.7.8",
        "550 5.7.13",
        "550 5.7.23",
        "550 5.7.26",
    ] {
        assert_eq!(meanings(ours), ["refused"; 3], "{ours}");
    }
}

#[test]
fn a_stopped_attempt_does_not_count() {
    for step in [SmtpStep::Connect, SmtpStep::Rcpt, SmtpStep::Data] {
        assert_eq!(meaning(step, SmtpFailure::Stopped), "down");
    }
}
