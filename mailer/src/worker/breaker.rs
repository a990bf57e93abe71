//! A circuit breaker: while no mail can be sent, one mail is tried now and then, and all others wait untouched.

use std::time::Duration;

use eventstore::Timestamp;

use crate::error::Outage;
use crate::ledger::workers::Standing;

/// The first and the longest pause before a server that is away is tried again.
const DOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The same for a server that refuses us. Longer: some lock an account after a few wrong passwords.
const REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(10));

/// Whether mails can be sent; closed, so that they can, to begin with.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    standing: Standing,
    error: String,
    since: Timestamp,
    tried: u32,
    next: Timestamp,
}

impl Breaker {
    /// How the worker stands with its server, since when if that is not well, and why.
    pub(super) fn standing(&self) -> (Standing, Option<Timestamp>, Option<&str>) {
        match &self.open {
            None => (Standing::Ready, None, None),
            Some(open) => (open.standing, Some(open.since), Some(&open.error)),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long until one mail may be tried; nothing while there is no need to wait.
    pub(super) fn pause(&self, now: Timestamp) -> Option<Duration> {
        self.open.as_ref().map(|open| open.next.since(now))
    }

    /// The server has dealt with a mail: all is well.
    pub(super) fn close(&mut self) {
        if self.open.take().is_some() {
            tracing::info!("mail can be sent again");
        }
    }

    /// No mail can be sent. `random`, from 0 to 1, draws the pause, so that many workers do not try at once.
    pub(super) fn open(&mut self, outage: &Outage, now: Timestamp, random: f64) {
        let (standing, failure, (first, longest)) = match outage {
            Outage::Down(failure) => (Standing::Down, failure, DOWN),
            Outage::Refused(failure) => (Standing::Refused, failure, REFUSED),
        };
        let before = self.open.take().filter(|before| before.standing == standing);
        if let Some(before) = before {
            // What was under way when it opened fails too, and says nothing new.
            let tried = before.tried + u32::from(before.next <= now);
            let next = if tried == before.tried {
                before.next
            } else {
                let pause = first.saturating_mul(2_u32.saturating_pow(tried)).min(longest);
                now + pause.mul_f64(0.8 + 0.4 * random)
            };
            self.open = Some(Open {
                error: failure.to_string(),
                tried,
                next,
                ..before
            });
            return;
        }
        let error = failure.to_string();
        match standing {
            Standing::Refused => tracing::error!(
                mail.error = error,
                "the mail server refuses every mail; this needs a person, and all mail waits until then"
            ),
            Standing::Down | Standing::Ready => tracing::warn!(
                mail.error = error,
                "no mail can be sent; all of it waits, and the server is tried now and then"
            ),
        }
        self.open = Some(Open {
            standing,
            error,
            since: now,
            tried: 0,
            next: now + first.mul_f64(0.8 + 0.4 * random),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, SmtpFailure, Step};

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

    fn down() -> Outage {
        Outage::Down(Failure::Smtp(Step::Connect, SmtpFailure::Timeout))
    }

    #[test]
    fn the_pauses_grow_to_the_longest_with_each_try_that_fails() {
        let mut breaker = Breaker::default();
        let mut now = NOW;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            breaker.open(&down(), now, 0.5);
            let pause = breaker.pause(now).unwrap();
            assert_eq!(pause, Duration::from_secs(seconds));
            now = now + pause;
        }
        assert_eq!(breaker.standing().1, Some(NOW), "since the first failure");
    }

    #[test]
    fn what_fails_while_it_is_open_draws_nothing_out() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.open(&down(), NOW, 0.5);
        }
        assert_eq!(breaker.pause(NOW), Some(Duration::from_secs(1)));
    }

    #[test]
    fn it_closes_at_once_and_begins_anew() {
        let mut breaker = Breaker::default();
        breaker.open(&down(), NOW, 0.5);
        breaker.close();
        assert_eq!(
            (breaker.pause(NOW), breaker.standing().0),
            (None, Standing::Ready)
        );
        breaker.open(&down(), NOW, 0.0);
        assert_eq!(breaker.pause(NOW), Some(Duration::from_millis(800)));
    }

    #[test]
    fn a_server_that_refuses_is_tried_less_often_than_one_that_is_down() {
        let mut breaker = Breaker::default();
        breaker.open(&down(), NOW, 0.5);
        let refused = Outage::Refused(Failure::Smtp(Step::Auth, SmtpFailure::NoAuth));
        breaker.open(&refused, NOW, 0.5);
        assert_eq!(breaker.pause(NOW), Some(Duration::from_secs(30)));
        assert_eq!(breaker.standing().0, Standing::Refused);
    }
}
