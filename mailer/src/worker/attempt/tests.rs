use super::*;
use crate::error::SmtpFailure;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn failed() -> Failure {
    Failure::Sending(SmtpFailure::Reply {
        code: 451,
        enhanced: None,
    })
}

#[test]
fn a_mail_that_may_yet_be_sent_is_due_by_the_schedule_and_dead_after_the_last_attempt() {
    for (attempt, pause) in (1..).zip(schedule::PAUSES) {
        let State::Failed { due_at, error } = leave(Err(AttemptError::Retry(failed())), attempt, NOW, 0.5)
        else {
            panic!("attempt {attempt}")
        };
        assert_eq!(due_at, NOW + pause);
        assert_eq!(error, "sending: the server answered 451");
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
