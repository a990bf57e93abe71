use std::sync::Arc;

use eventstore::{Position, Timestamp};

use super::*;
use crate::error::{DeliveryFailure, EnhancedCode, SmtpFailure, SmtpStep};
use crate::template::Template;
use crate::worker::breaker::{Breaker, Probe};
use crate::worker::evidence::{Evidence, EvidenceSource, NotAccepted};
use crate::worker::now::Now;

/// Simulates a server that allows `allowed` emails in each `window`, fixed or sliding, while the breaker and
/// the learned rate decide when to send. Returns the number of accepted emails and the number of failed
/// attempts that counted.
fn simulated(seconds: u64, allowed: usize, window: Duration, fixed: bool, domains: u64) -> (usize, usize) {
    let (mut breaker, mut rate) = (Breaker::default(), LearnedRate::default());
    let mut accepted: Vec<Duration> = Vec::new();
    let (mut began, mut in_window) = (Duration::ZERO, 0);
    let mut counted_failures = 0;
    let tick = Duration::from_millis(20);
    let mut now = Duration::from_secs(1);
    let mut mail = 0;
    while now < Duration::from_secs(1 + seconds) {
        let permitted = if breaker.is_open() {
            usize::from(
                breaker.allowed_probe(now) != Probe::None && breaker.pause(now) == Some(Duration::ZERO),
            )
        } else {
            rate.bucket(now).map_or(8, |bucket| bucket.available(now).min(8))
        };
        let batch: Vec<_> = (0..permitted)
            .map(|_| {
                mail += 1;
                breaker.attempt_started();
                EvidenceSource {
                    delivery: (Position::new(mail).unwrap(), Template::PatientRegistered),
                    domain: Arc::from(format!("d{}.example", mail % domains)),
                    epoch: breaker.epoch(),
                }
            })
            .collect();
        if let Some(bucket) = rate.bucket(now) {
            bucket.take(batch.len());
        }
        now += tick;
        for source in batch {
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
            let evidence = if allows {
                accepted.push(now);
                Evidence::Accepted
            } else {
                let enhanced = EnhancedCode::leading("4.7.1 x");
                let reply = SmtpFailure::Reply { code: 450, enhanced };
                Evidence::Ambiguous(
                    NotAccepted::Deferred,
                    DeliveryFailure::Smtp(SmtpStep::Rcpt, reply),
                )
            };
            let at = Now {
                wall: Timestamp::from_micros(0) + now,
                monotonic: now,
            };
            let consequences = breaker.attempt_ended(&evidence, &source, rate.rate().is_some(), at, 0.5);
            if consequences.resumed {
                rate.resumed(now);
            }
            if evidence == Evidence::Accepted {
                rate.accepted(now);
            } else if !consequences.uncounted {
                counted_failures += 1;
            }
        }
    }
    (accepted.len(), counted_failures)
}

#[test]
fn the_rate_comes_close_to_the_limit_of_the_server_with_few_failed_attempts() {
    for (seconds, allowed, window) in [(200, 10, 10), (200, 1, 1), (600, 30, 60), (600, 100, 60)] {
        for fixed in [true, false] {
            for domains in [1, 4, 1000] {
                let (accepted, counted_failures) =
                    simulated(seconds, allowed, Duration::from_secs(window), fixed, domains);
                let windows = usize::try_from(seconds / window).unwrap();
                let most = windows * allowed;
                let case = format!("{allowed} in {window} s, fixed {fixed}, {domains} domains");
                assert!(accepted * 100 >= most * 85, "{case}: {accepted} of {most}");
                assert!(counted_failures <= 20, "{case}: {counted_failures}");
            }
        }
    }
}

#[test]
fn a_server_that_accepts_two_connections_gets_two_and_sometimes_one_more() {
    let mut connections = LearnedConnectionLimit::default();
    let second = Duration::from_secs;
    assert_eq!(connections.limit(8, second(0)), 8);
    // One connection was open when six were rejected. The second opened a moment later.
    for _ in 0..6 {
        connections.connection_rejected(1, 8, second(0));
    }
    assert_eq!(connections.limit(8, second(0)), 1);
    connections.works(2);
    assert_eq!(connections.limit(8, second(59)), 2);
    assert_eq!(connections.limit(8, second(60)), 3);
    connections.connection_rejected(2, 8, second(60));
    assert_eq!(
        connections.limit(8, second(179)),
        2,
        "and then the wait is longer"
    );
    assert_eq!(connections.limit(8, second(180)), 3);
    connections.works(3);
    assert_eq!(connections.limit(8, second(181)), 3);
}

#[test]
fn the_limit_falls_with_each_rejection_even_if_dead_sessions_are_counted_as_open() {
    let mut connections = LearnedConnectionLimit::default();
    // All eight sessions seem to be open.
    let limits: Vec<_> = (0..8)
        .map(|_| {
            connections.connection_rejected(8, 8, Duration::ZERO);
            connections.limit(8, Duration::ZERO)
        })
        .collect();
    assert_eq!(limits, [7, 6, 5, 4, 3, 2, 1, 1]);
}
