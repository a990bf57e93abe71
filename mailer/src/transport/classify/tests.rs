use super::*;

const fn reply(code: u16) -> SmtpFailure {
    SmtpFailure::Reply { code, enhanced: None }
}

fn meaning(step: Step, failure: SmtpFailure) -> &'static str {
    match classify(step, failure, true) {
        AttemptError::Retry(_) => "retry",
        AttemptError::Fail(_) => "fail",
        AttemptError::Suspect(_) => "suspect",
        AttemptError::Unknown(_) => "unknown",
        AttemptError::Outage(Outage::Down(_)) => "down",
        AttemptError::Outage(Outage::Refused(_)) => "refused",
    }
}

/// What `reply`, such as `550 5.1.1`, means at the steps after MAIL.
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
fn what_a_server_says_of_one_mail_is_for_that_mail() {
    for step in [Step::Rcpt, Step::Data, Step::Message] {
        assert_eq!(meaning(step, reply(550)), "fail");
        assert_eq!(meaning(step, reply(451)), "retry");
        assert_eq!(meaning(step, reply(530)), "refused");
    }
    assert_eq!(meaning(Step::Rcpt, SmtpFailure::NoSmtpUtf8), "fail");
    for mail in [
        "550 5.1.1",
        "550 5.1.10",
        "553 5.1.3",
        "552 5.2.2",
        "552 5.3.4",
        "554 5.4.6",
        "550 5.7.2",
        "550 5.7.17",
    ] {
        assert_eq!(meanings(mail), ["fail"; 3], "{mail}");
    }
}

#[test]
fn no_answer_is_for_that_mail_and_after_the_message_nobody_knows_what_became_of_it() {
    for failure in [
        SmtpFailure::Timeout,
        SmtpFailure::Protocol,
        SmtpFailure::Connection,
        SmtpFailure::Io(std::io::ErrorKind::ConnectionReset),
    ] {
        for step in [Step::Mail, Step::Rcpt, Step::Data] {
            assert_eq!(meaning(step, failure), "retry", "{step}: {failure}");
        }
        assert_eq!(meaning(Step::Message, failure), "unknown", "{failure}");
    }
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

#[test]
fn a_sender_or_an_authentication_that_is_not_good_enough_is_the_same_for_every_mail_at_every_step() {
    for ours in [
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
fn a_policy_that_may_be_meant_for_one_mail_or_for_all_is_a_suspicion() {
    for either in [
        "554 5.7.1",
        "553 5.7.1",
        "550 5.7.0",
        "550 5.7.57",
        "550 5.7.606",
        "550 5.7.133",
    ] {
        assert_eq!(meanings(either), ["suspect"; 3], "{either}");
    }
}

#[test]
fn a_server_that_goes_away_in_the_middle_is_down_and_one_that_speaks_of_a_mailbox_is_not() {
    for step in [Step::Mail, Step::Rcpt, Step::Data] {
        assert_eq!(meaning(step, reply(421)), "down", "{step}");
    }
    assert_eq!(meanings("421 4.7.0"), ["down", "down", "retry"]);
    assert_eq!(meanings("421 4.2.1"), ["retry"; 3]);
}
