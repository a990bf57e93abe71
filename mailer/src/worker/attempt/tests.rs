use eventstore::{ManualClock, Position};

use super::*;
use crate::{Languages, Sender, Template, Templates};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn replied(step: Step, code: u16) -> Failure {
    Failure::Smtp(step, SmtpFailure::Reply { code, enhanced: None })
}

fn failed() -> Failure {
    replied(Step::Rcpt, 451)
}

fn no_answer() -> Failure {
    Failure::Smtp(Step::Message, SmtpFailure::Timeout)
}

/// Returns a job for the attempt with that number.
fn job(attempts: u32) -> Job {
    Job {
        delivery: Delivery {
            position: Position::new(1).unwrap(),
            template: Template::PatientRegistered,
            aggregate_id: "a".to_owned(),
            attempts,
            due_at: NOW,
            left_at: None,
        },
        lease: Arc::from("x"),
        begin_by: Duration::ZERO,
        epoch: 0,
        unknown_before: false,
        event: None,
        recipient: Err(Failure::EventMissing),
        domain: Arc::from("example.com"),
    }
}

#[test]
fn a_mail_that_may_yet_be_sent_is_due_by_the_schedule_and_dead_after_the_last_attempt() {
    for error in [AttemptError::Retry, AttemptError::Suspect, AttemptError::Busy] {
        let error = error(failed());
        for (attempt, pause) in (1..).zip(schedule::PAUSES) {
            let State::Failed { due_at, error } = leave(&Err(error.clone()), false, &job(attempt), NOW, 0.5)
            else {
                panic!("attempt {attempt}")
            };
            assert_eq!(due_at, NOW + pause);
            assert_eq!(error, "RCPT: the server answered 451");
        }
        let last = leave(&Err(error), false, &job(8), NOW, 0.5);
        assert!(matches!(last, State::Dead { .. }));
    }
}

#[test]
fn a_mail_that_never_can_be_sent_is_dead_at_once() {
    let first = leave(&Err(AttemptError::Fail(failed())), true, &job(1), NOW, 0.5);
    assert!(matches!(first, State::Dead { .. }));
    assert_eq!(leave(&Ok(()), false, &job(1), NOW, 0.5), State::Sent);
}

#[test]
fn an_unknown_outcome_is_tried_once_more_after_a_while_and_then_left_for_a_person() {
    let unknown = || Err(AttemptError::Unknown(no_answer()));
    let State::Failed { due_at, error } = leave(&unknown(), true, &job(1), NOW, 0.5) else {
        panic!("it is tried again")
    };
    assert_eq!(due_at, NOW + schedule::PAUSE_AFTER_UNKNOWN);
    assert_eq!(error, "message: timeout; the email may have arrived");
    let again = Job {
        unknown_before: true,
        ..job(2)
    };
    let State::Dead { error } = leave(&unknown(), true, &again, NOW, 0.5) else {
        panic!("it is not tried a third time")
    };
    assert_eq!(
        error,
        "message: timeout; the email may have arrived, once or twice"
    );
}

#[test]
fn an_outage_is_no_attempt_however_often_it_meets_a_mail() {
    let outage = || Err(AttemptError::Outage(Outage::Down(failed())));
    for attempt in [1, 8, 100] {
        assert!(matches!(
            leave(&outage(), true, &job(attempt), NOW, 0.5),
            State::Untried { .. }
        ));
    }
    assert_eq!(news(&outage()), News::Outage(Outage::Down(failed())));
}

#[test]
fn what_every_mail_is_told_is_no_attempt_either() {
    for error in [AttemptError::Suspect(failed()), AttemptError::Busy(failed())] {
        let left = leave(&Err(error), true, &job(8), NOW, 0.5);
        assert!(matches!(left, State::Untried { .. }));
    }
    // A rejection that affects only one domain counts as an attempt.
    let refused = Err(AttemptError::Outage(Outage::Refused(failed())));
    assert!(matches!(
        leave(&refused, false, &job(1), NOW, 0.5),
        State::Failed { .. }
    ));
}

#[test]
fn a_server_that_answers_for_a_recipient_or_a_message_deals_with_mail_whatever_it_answers() {
    assert_eq!(news(&Ok(())), News::Sent);
    for step in [Step::Rcpt, Step::Data, Step::Message] {
        for code in [451, 550] {
            for error in [AttemptError::Retry, AttemptError::Fail] {
                assert_eq!(news(&Err(error(replied(step, code)))), News::Dealt(step));
            }
        }
    }
}

#[test]
fn what_never_came_to_a_recipient_says_nothing_of_the_server() {
    for step in [Step::Mail, Step::Rcpt, Step::Data] {
        let stalled = Failure::Smtp(step, SmtpFailure::Timeout);
        assert_eq!(news(&Err(AttemptError::Retry(stalled))), News::None);
    }
    let ours = Failure::Smtp(Step::Rcpt, SmtpFailure::NoSmtpUtf8);
    for error in [
        AttemptError::Retry(replied(Step::Mail, 451)),
        AttemptError::Outage(Outage::Down(Failure::Smtp(Step::Data, SmtpFailure::GivenUp))),
        AttemptError::Fail(replied(Step::Mail, 550)),
        AttemptError::Retry(replied(Step::Message, 421)),
        AttemptError::Fail(ours),
        AttemptError::Fail(Failure::Address),
        AttemptError::Outage(Outage::Down(Failure::Late)),
    ] {
        assert_eq!(news(&Err(error.clone())), News::None, "{error}");
    }
}

#[test]
fn a_message_without_an_answer_keeps_others_from_being_handed_over() {
    assert_eq!(
        news(&Err(AttemptError::Unknown(no_answer()))),
        News::Outage(Outage::Down(no_answer()))
    );
}

/// Settles the attempt as the worker does when the breaker does not change the outcome.
fn settled(mut attempt: Attempt) -> Attempt {
    attempt.settle(attempt.news() == News::None);
    attempt
}

#[tokio::test]
async fn a_mail_whose_lease_is_half_over_when_its_attempt_begins_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let post = Arc::new(Post {
        composer: Arc::new(Composer::new(
            Templates::built_in().unwrap(),
            Languages::default(),
            Sender::default(),
        )),
        transport: Transport::outbox(folder.path()),
        clock: clock.clone(),
        timeouts: Timeouts::default(),
    });
    // An attempt in time is made. It ends as dead because there is no event.
    let in_time = settled(Arc::clone(&post).attempt(job(1), Permit::default()).await);
    assert!(matches!(in_time.state, State::Dead { .. }));
    clock.advance(Duration::from_millis(1));
    let late = settled(post.attempt(job(1), Permit::default()).await);
    assert!(matches!(late.state, State::Untried { .. }), "{late:?}");
    assert_eq!(late.news(), News::None);
}
