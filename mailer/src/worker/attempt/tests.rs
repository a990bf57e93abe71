use eventstore::{ManualClock, Position};

use super::*;
use crate::error::{SmtpFailure, SmtpStep};
use crate::{Languages, Sender, Template, Templates};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn replied(step: SmtpStep, code: u16) -> DeliveryFailure {
    DeliveryFailure::Smtp(step, SmtpFailure::Reply { code, enhanced: None })
}

fn failed() -> DeliveryFailure {
    replied(SmtpStep::Rcpt, 451)
}

fn no_answer() -> DeliveryFailure {
    DeliveryFailure::Smtp(SmtpStep::Message, SmtpFailure::Timeout)
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
            lease_began_at: None,
            expired_lease: None,
        },
        lease: Arc::from("x"),
        begin_by: Duration::ZERO,
        epoch: 0,
        unknown_before: false,
        event: None,
        recipient: Err(DeliveryFailure::EventMissing),
        domain: Arc::from("example.com"),
    }
}

#[test]
fn an_email_that_may_still_be_sent_is_due_by_the_schedule_and_dead_after_the_last_attempt() {
    for error in [
        AttemptError::Retry,
        AttemptError::AmbiguousRejection,
        AttemptError::AmbiguousDeferral,
    ] {
        let error = error(failed());
        for (attempt, pause) in (1..).zip(schedule::PAUSES) {
            let StateAfterAttempt::Failed { due_at, error } =
                state_after(&Err(error.clone()), false, &job(attempt), NOW, 0.5)
            else {
                panic!("attempt {attempt}")
            };
            assert_eq!(due_at, NOW + pause);
            assert_eq!(error, "RCPT: the server answered 451");
        }
        let last = state_after(&Err(error), false, &job(8), NOW, 0.5);
        assert!(matches!(last, StateAfterAttempt::Dead { .. }));
    }
}

#[test]
fn an_email_that_can_never_be_sent_is_dead_after_the_first_attempt() {
    let first = state_after(&Err(AttemptError::Fail(failed())), true, &job(1), NOW, 0.5);
    assert!(matches!(first, StateAfterAttempt::Dead { .. }));
    assert_eq!(
        state_after(&Ok(()), false, &job(1), NOW, 0.5),
        StateAfterAttempt::Sent
    );
}

#[test]
fn an_email_with_an_unknown_outcome_is_retried_once_after_a_longer_pause() {
    let unknown = || Err(AttemptError::Unknown(no_answer()));
    let StateAfterAttempt::Failed { due_at, error } = state_after(&unknown(), true, &job(1), NOW, 0.5) else {
        panic!("it is retried")
    };
    assert_eq!(due_at, NOW + schedule::PAUSE_AFTER_UNKNOWN);
    assert_eq!(error, "message: timeout; the email may have arrived");
    let again = Job {
        unknown_before: true,
        ..job(2)
    };
    let StateAfterAttempt::Dead { error } = state_after(&unknown(), true, &again, NOW, 0.5) else {
        panic!("it is not retried twice")
    };
    assert_eq!(
        error,
        "message: timeout; the email may have arrived, once or twice"
    );
}

#[test]
fn an_attempt_during_an_outage_never_counts() {
    let outage = || Err(AttemptError::Outage(Outage::Down(failed())));
    for attempt in [1, 8, 100] {
        assert!(matches!(
            state_after(&outage(), true, &job(attempt), NOW, 0.5),
            StateAfterAttempt::Untried { .. }
        ));
    }
    assert_eq!(Evidence::of(&outage()), Evidence::Outage(Outage::Down(failed())));
}

#[test]
fn an_attempt_does_not_count_if_the_response_applies_to_all_mail() {
    for error in [
        AttemptError::AmbiguousRejection(failed()),
        AttemptError::AmbiguousDeferral(failed()),
    ] {
        let left = state_after(&Err(error), true, &job(8), NOW, 0.5);
        assert!(matches!(left, StateAfterAttempt::Untried { .. }));
    }
    // A rejection that affects only one domain counts as an attempt.
    let refused = Err(AttemptError::Outage(Outage::Refused(failed())));
    assert!(matches!(
        state_after(&refused, false, &job(1), NOW, 0.5),
        StateAfterAttempt::Failed { .. }
    ));
}

#[test]
fn a_reply_to_a_recipient_or_a_message_is_evidence_that_the_server_processes_mail() {
    assert_eq!(Evidence::of(&Ok(())), Evidence::Accepted);
    for step in [SmtpStep::Rcpt, SmtpStep::Data, SmtpStep::Message] {
        for code in [451, 550] {
            for error in [AttemptError::Retry, AttemptError::Fail] {
                assert_eq!(
                    Evidence::of(&Err(error(replied(step, code)))),
                    Evidence::SingleEmailReply(step)
                );
            }
        }
    }
}

#[test]
fn a_failure_before_the_recipient_is_no_evidence() {
    for step in [SmtpStep::Mail, SmtpStep::Rcpt, SmtpStep::Data] {
        let stalled = DeliveryFailure::Smtp(step, SmtpFailure::Timeout);
        assert_eq!(Evidence::of(&Err(AttemptError::Retry(stalled))), Evidence::None);
    }
    let ours = DeliveryFailure::Smtp(SmtpStep::Rcpt, SmtpFailure::NoSmtpUtf8);
    for error in [
        AttemptError::Retry(replied(SmtpStep::Mail, 451)),
        AttemptError::Outage(Outage::Down(DeliveryFailure::Smtp(
            SmtpStep::Data,
            SmtpFailure::Stopped,
        ))),
        AttemptError::Fail(replied(SmtpStep::Mail, 550)),
        AttemptError::Retry(replied(SmtpStep::Message, 421)),
        AttemptError::Fail(ours),
        AttemptError::Fail(DeliveryFailure::Address),
        AttemptError::Outage(Outage::Down(DeliveryFailure::Late)),
    ] {
        assert_eq!(Evidence::of(&Err(error.clone())), Evidence::None, "{error}");
    }
}

#[test]
fn a_message_without_a_reply_stops_the_sending() {
    assert_eq!(
        Evidence::of(&Err(AttemptError::Unknown(no_answer()))),
        Evidence::Outage(Outage::Down(no_answer()))
    );
}

/// Settles the attempt as the worker does when the breaker does not change the outcome.
fn settled(mut attempt: Attempt) -> Attempt {
    attempt.settle(attempt.evidence() == Evidence::None);
    attempt
}

#[tokio::test]
async fn an_email_is_not_sent_if_its_attempt_begins_too_late_in_the_lease() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let runner = Arc::new(AttemptRunner {
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
    let in_time = settled(Arc::clone(&runner).attempt(job(1), Permit::default()).await);
    assert!(matches!(in_time.state, StateAfterAttempt::Dead { .. }));
    clock.advance(Duration::from_millis(1));
    let late = settled(runner.attempt(job(1), Permit::default()).await);
    assert!(
        matches!(late.state, StateAfterAttempt::Untried { .. }),
        "{late:?}"
    );
    assert_eq!(late.evidence(), Evidence::None);
}
