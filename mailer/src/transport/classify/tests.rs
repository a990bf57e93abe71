use super::*;

const fn reply(code: u16) -> SmtpFailure {
    SmtpFailure::Reply { code, enhanced: None }
}

fn meaning(step: Step, failure: SmtpFailure) -> &'static str {
    match classify(step, failure, true) {
        AttemptError::Retry(_) => "retry",
        AttemptError::Fail(_) => "fail",
        AttemptError::Suspect(_) => "suspect",
        AttemptError::Busy(_) => "busy",
        AttemptError::Unknown(_) => "unknown",
        AttemptError::Outage(Outage::Down(_)) => "down",
        AttemptError::Outage(Outage::Refused(_)) => "refused",
        AttemptError::Outage(Outage::Crowded(_)) => "crowded",
    }
}

/// Returns the meaning of `reply`, such as `550 5.1.1`, at each step after MAIL.
fn meanings(reply: &str) -> [&'static str; 3] {
    let (code, text) = reply.split_once(' ').unwrap();
    let failure = SmtpFailure::Reply {
        code: code.parse().unwrap(),
        enhanced: EnhancedCode::leading(text),
    };
    [Step::Rcpt, Step::Data, Step::Message].map(|step| meaning(step, failure))
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
fn only_a_code_that_names_the_recipient_makes_a_mail_dead_at_once() {
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
    assert_eq!(meaning(Step::Rcpt, SmtpFailure::NoSmtpUtf8), "fail");
}

#[test]
fn every_other_refusal_may_be_meant_for_all() {
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
        assert_eq!(meanings(either), ["suspect"; 3], "{either}");
    }
}

#[test]
fn what_is_put_off_for_the_recipient_is_tried_again_and_all_else_may_be_meant_for_all() {
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
        assert_eq!(meanings(either), ["busy"; 3], "{either}");
    }
    let greylisted = SmtpFailure::Greylisted {
        code: 450,
        enhanced: EnhancedCode::leading("4.7.1"),
    };
    assert_eq!(meaning(Step::Rcpt, greylisted), "retry");
}

#[test]
fn no_answer_may_be_meant_for_all_and_after_the_message_nobody_knows_what_became_of_it() {
    for failure in [
        SmtpFailure::Timeout,
        SmtpFailure::Protocol,
        SmtpFailure::Connection,
        SmtpFailure::Io(std::io::ErrorKind::ConnectionReset),
    ] {
        assert_eq!(meaning(Step::Mail, failure), "down", "{failure}");
        for step in [Step::Rcpt, Step::Data] {
            assert_eq!(meaning(step, failure), "busy", "{step}: {failure}");
        }
        assert_eq!(meaning(Step::Message, failure), "unknown", "{failure}");
    }
}

#[test]
fn what_is_said_to_the_sender_is_the_same_for_every_mail_that_needs_nothing_special() {
    assert_eq!(meaning(Step::Mail, reply(553)), "refused");
    for code in [421, 432, 450, 451, 452, 454] {
        assert_eq!(meaning(Step::Mail, reply(code)), "down", "{code}");
    }
    for (code, expected) in [(553, "suspect"), (451, "busy")] {
        let special = classify(Step::Mail, reply(code), false);
        let means = match special {
            AttemptError::Suspect(_) => "suspect",
            AttemptError::Busy(_) => "busy",
            _ => "another",
        };
        assert_eq!(means, expected);
    }
}

#[test]
fn a_sender_or_an_authentication_that_is_not_good_enough_is_the_same_for_every_mail_at_every_step() {
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
fn an_attempt_that_is_given_up_says_nothing_of_its_mail() {
    for step in [Step::Connect, Step::Rcpt, Step::Data] {
        assert_eq!(meaning(step, SmtpFailure::GivenUp), "down");
    }
}
