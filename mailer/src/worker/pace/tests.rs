use std::sync::Arc;

use eventstore::{Position, Timestamp};

use super::*;
use crate::error::{EnhancedCode, Failure, SmtpFailure, Step};
use crate::template::Template;
use crate::worker::breaker::{Breaker, News, Now, Try, Witness};
use crate::worker::suspects::Kind;

/// Simulates a server that allows `allowed` emails in each `window`, fixed or sliding, while the breaker and
/// the pace decide when to send. Returns the number of accepted emails and the number of failed attempts that
/// counted.
fn simulated(seconds: u64, allowed: usize, window: Duration, fixed: bool, domains: u64) -> (usize, usize) {
    let (mut breaker, mut pace) = (Breaker::default(), Pace::default());
    let mut accepted: Vec<Duration> = Vec::new();
    let (mut began, mut in_window) = (Duration::ZERO, 0);
    let mut in_vain = 0;
    let tick = Duration::from_millis(20);
    let mut now = Duration::from_secs(1);
    let mut mail = 0;
    while now < Duration::from_secs(1 + seconds) {
        let permitted = if breaker.is_open() {
            usize::from(breaker.may_try(now) != Try::Nothing && breaker.pause(now) == Some(Duration::ZERO))
        } else {
            pace.bucket(now).map_or(8, |bucket| bucket.available(now).min(8))
        };
        let batch: Vec<_> = (0..permitted)
            .map(|_| {
                mail += 1;
                breaker.begin();
                Witness {
                    mail: (Position::new(mail).unwrap(), Template::PatientRegistered),
                    domain: Arc::from(format!("d{}.example", mail % domains)),
                    epoch: breaker.epoch(),
                }
            })
            .collect();
        if let Some(bucket) = pace.bucket(now) {
            bucket.take(batch.len());
        }
        now += tick;
        for witness in batch {
            let allows = if fixed {
                if now.saturating_sub(began) >= window {
                    (began, in_window) = (now, 0);
                }
                in_window += 1;
                in_window <= allowed
            } else {
                let recent = accepted.iter().filter(|at| now.saturating_sub(**at) < window);
                recent.count() < allowed
            };
            let news = if allows {
                accepted.push(now);
                News::Sent
            } else {
                let enhanced = EnhancedCode::leading("4.7.1 x");
                let reply = SmtpFailure::Reply { code: 450, enhanced };
                News::Suspicion(Kind::PutOff, Failure::Smtp(Step::Rcpt, reply))
            };
            let at = Now {
                wall: Timestamp::from_micros(0) + now,
                monotonic: now,
            };
            let heard = breaker.hear(&news, &witness, pace.rate().is_some(), at, 0.5);
            if heard.resumed {
                pace.resumed(now);
            }
            if news == News::Sent {
                pace.accepted(now);
            } else if !heard.blameless {
                in_vain += 1;
            }
        }
    }
    (accepted.len(), in_vain)
}

#[test]
fn a_limit_of_the_server_is_used_well_and_costs_few_attempts() {
    for (seconds, allowed, window) in [(200, 10, 10), (200, 1, 1), (600, 30, 60), (600, 100, 60)] {
        for fixed in [true, false] {
            for domains in [1, 4, 1000] {
                let (accepted, in_vain) =
                    simulated(seconds, allowed, Duration::from_secs(window), fixed, domains);
                let windows = usize::try_from(seconds / window).unwrap();
                let most = windows * allowed;
                let case = format!("{allowed} in {window} s, fixed {fixed}, {domains} domains");
                assert!(accepted * 100 >= most * 85, "{case}: {accepted} of {most}");
                assert!(in_vain <= 20, "{case}: {in_vain}");
            }
        }
    }
}

#[test]
fn a_server_that_takes_two_connections_gets_two_and_is_asked_for_more_now_and_then() {
    let mut crowd = Crowd::default();
    let second = Duration::from_secs;
    assert_eq!(crowd.limit(8, second(0)), 8);
    // One connection was open when six were rejected. The second opened a moment later.
    for _ in 0..6 {
        crowd.turned_down(1, 8, second(0));
    }
    assert_eq!(crowd.limit(8, second(0)), 1);
    crowd.works(2);
    assert_eq!(crowd.limit(8, second(59)), 2);
    assert_eq!(crowd.limit(8, second(60)), 3);
    crowd.turned_down(2, 8, second(60));
    assert_eq!(crowd.limit(8, second(179)), 2, "and then the wait is longer");
    assert_eq!(crowd.limit(8, second(180)), 3);
    crowd.works(3);
    assert_eq!(crowd.limit(8, second(181)), 3);
}

#[test]
fn sessions_that_are_dead_do_not_keep_others_from_being_given_up() {
    let mut crowd = Crowd::default();
    // All eight sessions seem to be open.
    let limits: Vec<_> = (0..8)
        .map(|_| {
            crowd.turned_down(8, 8, Duration::ZERO);
            crowd.limit(8, Duration::ZERO)
        })
        .collect();
    assert_eq!(limits, [7, 6, 5, 4, 3, 2, 1, 1]);
}
