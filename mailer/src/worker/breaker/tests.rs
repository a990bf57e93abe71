use eventstore::Position;

use super::*;
use crate::error::EnhancedCode;
use crate::template::Template;

/// A breaker with a simulated clock.
struct Scenario {
    breaker: Breaker,
    elapsed: Duration,
}

const WALL: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn down() -> Evidence {
    Evidence::Outage(Outage::Down(DeliveryFailure::Smtp(
        SmtpStep::Connect,
        SmtpFailure::Timeout,
    )))
}

fn refused() -> Evidence {
    Evidence::Outage(Outage::Refused(DeliveryFailure::Smtp(
        SmtpStep::Auth,
        SmtpFailure::NoAuth,
    )))
}

fn not_accepted(kind: NotAccepted) -> Evidence {
    let (code, text) = match kind {
        NotAccepted::Rejected => (554, "5.7.1 x"),
        NotAccepted::Deferred => (451, "4.7.1 x"),
    };
    let enhanced = EnhancedCode::leading(text);
    Evidence::Ambiguous(
        kind,
        DeliveryFailure::Smtp(SmtpStep::Rcpt, SmtpFailure::Reply { code, enhanced }),
    )
}

fn rejection() -> Evidence {
    not_accepted(NotAccepted::Rejected)
}

fn deferral() -> Evidence {
    not_accepted(NotAccepted::Deferred)
}

/// A rejection of the sender at RCPT, where the reply may depend on the address.
fn sender_rejection() -> Evidence {
    let enhanced = EnhancedCode::leading("5.1.8 x");
    Evidence::Outage(Outage::Refused(DeliveryFailure::Smtp(
        SmtpStep::Rcpt,
        SmtpFailure::Reply { code: 550, enhanced },
    )))
}

impl Scenario {
    fn new() -> Self {
        Self {
            breaker: Breaker::default(),
            elapsed: Duration::ZERO,
        }
    }

    /// Begins an attempt at the email with that number, to its own domain.
    fn begin(&mut self, mail: u64) -> EvidenceSource {
        self.begin_to(mail, &format!("d{mail}.example"))
    }

    fn begin_to(&mut self, mail: u64, domain: &str) -> EvidenceSource {
        self.breaker.attempt_started();
        EvidenceSource {
            delivery: (Position::new(mail).unwrap(), Template::PatientRegistered),
            domain: Arc::from(domain),
            epoch: self.breaker.epoch(),
        }
    }

    fn end(&mut self, evidence: &Evidence, from: &EvidenceSource) -> bool {
        let now = Now {
            wall: WALL + self.elapsed,
            monotonic: self.elapsed,
        };
        self.breaker
            .attempt_ended(evidence, from, false, now, 0.5)
            .uncounted
    }

    /// Tries an email as soon as the breaker permits. Returns whether the attempt does not count.
    fn try_one(&mut self, mail: u64, evidence: &Evidence) -> bool {
        self.try_to(mail, &format!("d{mail}.example"), evidence)
    }

    fn try_to(&mut self, mail: u64, domain: &str, evidence: &Evidence) -> bool {
        self.elapsed += self.pause();
        assert!(!self.breaker.is_open() || self.allowed_probe() != Probe::None);
        let source = self.begin_to(mail, domain);
        self.end(evidence, &source)
    }

    fn allowed_probe(&self) -> Probe {
        self.breaker.allowed_probe(self.elapsed)
    }

    fn pause(&self) -> Duration {
        self.breaker.pause(self.elapsed).unwrap_or_default()
    }

    fn server_state(&self) -> ServerState {
        self.breaker.server_state().0
    }
}

#[test]
fn pauses_grow_to_the_maximum_with_each_failed_probe() {
    for (evidence, pauses) in [
        (down(), [1, 2, 4, 8, 16, 30, 30]),
        (refused(), [30, 60, 120, 240, 480, 600, 600]),
    ] {
        let mut scenario = Scenario::new();
        for seconds in pauses {
            scenario.try_one(1, &evidence);
            assert_eq!(scenario.pause(), Duration::from_secs(seconds));
        }
        assert_eq!(
            scenario.breaker.server_state().1,
            Some(WALL),
            "since the first failure"
        );
    }
}

#[test]
fn a_failed_attempt_from_before_it_opened_does_not_lengthen_the_pause() {
    let mut scenario = Scenario::new();
    let earlier: Vec<_> = (1..=100).map(|mail| scenario.begin(mail)).collect();
    for source in earlier {
        scenario.end(&down(), &source);
    }
    assert_eq!(scenario.pause(), Duration::from_secs(1));
}

#[test]
fn an_attempt_from_before_it_opened_does_not_close_it() {
    for evidence in [down(), refused()] {
        let mut scenario = Scenario::new();
        let earlier = [scenario.begin(1), scenario.begin(2)];
        scenario.try_one(3, &evidence);
        for source in earlier {
            scenario.end(&Evidence::Accepted, &source);
            assert!(scenario.breaker.is_open(), "{evidence:?}");
        }
        scenario.try_one(4, &Evidence::Accepted);
        assert!(!scenario.breaker.is_open());
    }
}

#[test]
fn it_closes_after_one_accepted_email_and_then_starts_with_the_first_pause() {
    let mut scenario = Scenario::new();
    scenario.try_one(1, &down());
    scenario.try_one(1, &down());
    scenario.try_one(1, &Evidence::Accepted);
    assert_eq!(
        (scenario.breaker.pause(scenario.elapsed), scenario.server_state()),
        (None, ServerState::Ready)
    );
    scenario.try_one(1, &down());
    assert_eq!(scenario.pause(), Duration::from_secs(1));
}

#[test]
fn a_failure_from_before_it_closed_does_not_reopen_it() {
    let mut scenario = Scenario::new();
    let slow = scenario.begin(1);
    scenario.try_one(2, &down());
    scenario.try_one(2, &Evidence::Accepted);
    scenario.end(&down(), &slow);
    assert!(!scenario.breaker.is_open());
}

#[test]
fn only_one_email_probes_at_a_time_and_the_probe_does_not_wait_for_older_attempts() {
    let mut scenario = Scenario::new();
    let _stuck = scenario.begin(1);
    scenario.try_one(2, &down());
    scenario.elapsed += Duration::from_secs(1);
    assert_eq!(scenario.allowed_probe(), Probe::Any);
    let tried = scenario.begin(3);
    assert_eq!(scenario.allowed_probe(), Probe::None);
    scenario.end(&Evidence::None, &tried);
    assert_eq!(scenario.allowed_probe(), Probe::Any);
}

#[test]
fn a_reply_to_one_email_closes_it_only_after_the_step_that_failed() {
    let mut scenario = Scenario::new();
    scenario.try_one(1, &sender_rejection());
    for step in [SmtpStep::Mail, SmtpStep::Rcpt] {
        scenario.try_one(2, &Evidence::SingleEmailReply(step));
        assert!(scenario.breaker.is_open(), "{step}");
    }
    scenario.try_one(2, &Evidence::SingleEmailReply(SmtpStep::Data));
    assert!(!scenario.breaker.is_open());
}

#[test]
fn a_server_that_rejects_the_client_and_is_then_down_stays_refused() {
    let mut scenario = Scenario::new();
    scenario.try_one(1, &refused());
    scenario.try_one(1, &refused());
    scenario.try_one(1, &down());
    assert_eq!(scenario.server_state(), ServerState::Refused);
    assert_eq!(scenario.pause(), Duration::from_mins(2));
    scenario.try_one(1, &refused());
    assert_eq!(scenario.pause(), Duration::from_mins(4));
    let (_, since, error) = scenario.breaker.server_state();
    assert_eq!(since, Some(WALL));
    assert!(error.unwrap().starts_with("AUTH"), "{error:?}");
}

#[test]
fn a_server_that_is_down_and_then_rejects_the_client_is_probed_less_often() {
    let mut scenario = Scenario::new();
    scenario.try_one(1, &down());
    scenario.try_one(1, &refused());
    assert_eq!(scenario.pause(), Duration::from_secs(30));
    assert_eq!(scenario.server_state(), ServerState::Refused);
}

#[test]
fn rejections_from_one_domain_never_open_it_while_other_emails_are_accepted() {
    for evidence in [rejection(), deferral()] {
        let mut scenario = Scenario::new();
        for mail in 1..=100 {
            scenario.try_to(mail, "evil.example", &evidence);
            // Emails to other domains may be sent at any time.
            assert!(
                !scenario.breaker.is_open() || scenario.allowed_probe() != Probe::None,
                "{mail}"
            );
            let other = scenario.begin_to(1000 + mail, "clinic.example");
            scenario.end(&Evidence::Accepted, &other);
        }
        assert_eq!(scenario.server_state(), ServerState::Ready);
    }
}

#[test]
fn a_domain_alone_in_the_queue_waits_after_some_rejections_and_other_domains_do_not() {
    let mut scenario = Scenario::new();
    for mail in 1..=4 {
        assert!(!scenario.try_to(mail, "evil.example", &rejection()));
    }
    assert_eq!(scenario.server_state(), ServerState::Ready);
    assert!(scenario.try_to(5, "evil.example", &rejection()));
    assert_eq!(scenario.server_state(), ServerState::Refused, "and that is seen");
    assert_eq!(scenario.allowed_probe(), Probe::OnlyUnaffected);
    let other = scenario.begin_to(6, "clinic.example");
    assert_eq!(scenario.allowed_probe(), Probe::None, "one after the other");
    scenario.end(&Evidence::Accepted, &other);
    assert_eq!(scenario.server_state(), ServerState::Ready);
    // From then on, rejections from this domain are ignored.
    for mail in 7..=50 {
        assert!(!scenario.try_to(mail, "evil.example", &rejection()));
    }
    assert_eq!(scenario.server_state(), ServerState::Ready);
}

#[test]
fn rejections_from_unrelated_domains_stop_the_queue_and_further_attempts_do_not_count() {
    let mut scenario = Scenario::new();
    assert!(!scenario.try_one(1, &rejection()));
    assert!(!scenario.try_one(2, &rejection()));
    assert_eq!(scenario.server_state(), ServerState::Ready);
    assert!(scenario.try_one(3, &rejection()));
    assert_eq!(scenario.server_state(), ServerState::Refused);
    assert_eq!(scenario.allowed_probe(), Probe::None);
    for mail in 1..=50 {
        assert!(scenario.try_one(mail, &rejection()));
    }
    assert_eq!(scenario.pause(), Duration::from_mins(2));
    scenario.try_one(4, &Evidence::Accepted);
    assert_eq!(scenario.server_state(), ServerState::Ready);
}

#[test]
fn an_accepted_email_clears_the_ambiguous_responses() {
    let mut scenario = Scenario::new();
    for mail in 1..=50 {
        assert!(!scenario.try_one(3 * mail, &rejection()));
        assert!(!scenario.try_one(3 * mail + 1, &rejection()));
        scenario.try_one(3 * mail + 2, &Evidence::Accepted);
        assert_eq!(scenario.server_state(), ServerState::Ready);
    }
}

#[test]
fn the_owner_of_some_domains_can_delay_other_emails_once_per_domain_for_a_moment() {
    let mut scenario = Scenario::new();
    for mail in 1..=3 {
        scenario.try_one(mail, &rejection());
    }
    assert!(scenario.pause() <= Duration::from_secs(2));
    scenario.try_to(4, "clinic.example", &Evidence::Accepted);
    for mail in 1..=100 {
        assert!(!scenario.try_to(100 + mail, &format!("d{}.example", mail % 3 + 1), &rejection()));
        assert_eq!(scenario.server_state(), ServerState::Ready);
    }
    // This also applies to a failure that would otherwise stop the queue immediately.
    assert!(!scenario.try_one(1, &sender_rejection()));
    assert_eq!(scenario.server_state(), ServerState::Ready);
    // An accepted email to a domain makes it reliable again.
    scenario.try_one(1, &Evidence::Accepted);
    assert!(scenario.try_one(1, &sender_rejection()));
}

#[test]
fn deferrals_from_unrelated_domains_slow_the_queue_down_by_growing_pauses() {
    let mut scenario = Scenario::new();
    assert!(!scenario.try_one(1, &deferral()));
    assert!(scenario.try_one(2, &deferral()));
    assert_eq!(scenario.server_state(), ServerState::Down);
    let mut pauses = Vec::new();
    for mail in 3..=22 {
        pauses.push(scenario.pause());
        assert!(scenario.try_one(mail, &deferral()));
    }
    assert_eq!(pauses[..2], [Duration::from_secs(1), Duration::from_millis(1200)]);
    assert_eq!(pauses[19], Duration::from_secs(30));
}

#[test]
fn one_deferral_opens_it_if_the_server_has_already_asked_to_slow_down() {
    let mut scenario = Scenario::new();
    let source = scenario.begin(1);
    let now = Now {
        wall: WALL,
        monotonic: Duration::ZERO,
    };
    let consequences = scenario
        .breaker
        .attempt_ended(&deferral(), &source, true, now, 0.5);
    assert!(consequences.uncounted && scenario.breaker.is_open());
    scenario.elapsed = scenario.pause();
    let source = scenario.begin(2);
    let now = Now {
        wall: WALL,
        monotonic: scenario.elapsed,
    };
    assert!(
        scenario
            .breaker
            .attempt_ended(&Evidence::Accepted, &source, true, now, 0.5)
            .resumed
    );
}

#[test]
fn a_rejected_extra_connection_does_not_count_and_does_not_open_it() {
    let mut scenario = Scenario::new();
    let rejected = Evidence::Outage(Outage::ConnectionLimit(DeliveryFailure::Smtp(
        SmtpStep::Hello,
        SmtpFailure::Timeout,
    )));
    assert!(scenario.try_one(1, &rejected));
    assert!(!scenario.breaker.is_open());
}
