use super::*;
use crate::error::Step;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn failed() -> Failure {
    Failure::Smtp(
        Step::Rcpt,
        SmtpFailure::Reply {
            code: 451,
            enhanced: None,
        },
    )
}

#[test]
fn a_mail_that_may_yet_be_sent_is_due_by_the_schedule_and_dead_after_the_last_attempt() {
    for (attempt, pause) in (1..).zip(schedule::PAUSES) {
        let State::Failed { due_at, error } = leave(Err(AttemptError::Retry(failed())), attempt, NOW, 0.5)
        else {
            panic!("attempt {attempt}")
        };
        assert_eq!(due_at, NOW + pause);
        assert_eq!(error, "RCPT: the server answered 451");
    }
    let last = leave(Err(AttemptError::Retry(failed())), 8, NOW, 0.5);
    assert!(matches!(last, State::Dead { .. }));
}

#[test]
fn a_mail_that_never_can_be_sent_is_dead_at_once() {
    let first = leave(Err(AttemptError::Fail(failed())), 1, NOW, 0.5);
    assert!(matches!(first, State::Dead { .. }));
    assert_eq!(leave(Ok(()), 1, NOW, 0.5), State::Sent);
}

#[test]
fn an_outage_is_no_attempt_however_often_it_meets_a_mail() {
    let outage = || Err(AttemptError::Outage(Outage::Down(failed())));
    for attempt in [1, 8, 100] {
        assert!(matches!(
            leave(outage(), attempt, NOW, 0.5),
            State::Untried { .. }
        ));
    }
    assert_eq!(news(&outage()), News::Outage(Outage::Down(failed())));
}

#[test]
fn a_server_that_answers_is_well_whatever_it_answers() {
    assert_eq!(news(&Ok(())), News::Well);
    assert_eq!(news(&Err(AttemptError::Retry(failed()))), News::Well);
    assert_eq!(news(&Err(AttemptError::Fail(failed()))), News::Well);
    let stalled = Failure::Smtp(Step::Data, SmtpFailure::Timeout);
    assert_eq!(news(&Err(AttemptError::Retry(stalled))), News::None);
    assert_eq!(news(&Err(AttemptError::Fail(Failure::Address))), News::None);
}
