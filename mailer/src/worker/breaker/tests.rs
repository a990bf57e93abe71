use super::*;
use crate::error::{EnhancedCode, SmtpFailure};

/// A breaker with a clock.
struct Scene {
    breaker: Breaker,
    passed: Duration,
}

const WALL: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

fn down() -> News {
    News::Outage(Outage::Down(Failure::Smtp(Step::Connect, SmtpFailure::Timeout)))
}

fn refused() -> News {
    News::Outage(Outage::Refused(Failure::Smtp(Step::Auth, SmtpFailure::NoAuth)))
}

fn turned_down(kind: Kind) -> News {
    let (code, text) = match kind {
        Kind::Refused => (554, "5.7.1 x"),
        Kind::PutOff => (451, "4.7.1 x"),
    };
    let enhanced = EnhancedCode::leading(text);
    News::Suspicion(
        kind,
        Failure::Smtp(Step::Rcpt, SmtpFailure::Reply { code, enhanced }),
    )
}

fn refusal() -> News {
    turned_down(Kind::Refused)
}

fn put_off() -> News {
    turned_down(Kind::PutOff)
}

/// A rejection of the sender at RCPT, where the reply may depend on the address.
fn unwelcome() -> News {
    let enhanced = EnhancedCode::leading("5.1.8 x");
    News::Outage(Outage::Refused(Failure::Smtp(
        Step::Rcpt,
        SmtpFailure::Reply { code: 550, enhanced },
    )))
}

impl Scene {
    fn new() -> Self {
        Self {
            breaker: Breaker::default(),
            passed: Duration::ZERO,
        }
    }

    /// Begins an attempt at the email with that number, to its own domain.
    fn begin(&mut self, mail: u64) -> Witness {
        self.begin_to(mail, &format!("d{mail}.example"))
    }

    fn begin_to(&mut self, mail: u64, domain: &str) -> Witness {
        self.breaker.begin();
        Witness {
            mail: (Position::new(mail).unwrap(), Template::PatientRegistered),
            domain: Arc::from(domain),
            epoch: self.breaker.epoch(),
        }
    }

    fn hear(&mut self, news: &News, from: &Witness) -> bool {
        let now = Now {
            wall: WALL + self.passed,
            monotonic: self.passed,
        };
        self.breaker.hear(news, from, false, now, 0.5).blameless
    }

    /// Tries an email as soon as the breaker permits. Returns whether the email is blameless.
    fn try_one(&mut self, mail: u64, news: &News) -> bool {
        self.try_to(mail, &format!("d{mail}.example"), news)
    }

    fn try_to(&mut self, mail: u64, domain: &str, news: &News) -> bool {
        self.passed += self.pause();
        assert!(!self.breaker.is_open() || self.may_try() != Try::Nothing);
        let witness = self.begin_to(mail, domain);
        self.hear(news, &witness)
    }

    fn may_try(&self) -> Try {
        self.breaker.may_try(self.passed)
    }

    fn pause(&self) -> Duration {
        self.breaker.pause(self.passed).unwrap_or_default()
    }

    fn server_state(&self) -> ServerState {
        self.breaker.server_state().0
    }
}

#[test]
fn the_pauses_grow_to_the_longest_with_each_try_that_fails() {
    for (news, pauses) in [
        (down(), [1, 2, 4, 8, 16, 30, 30]),
        (refused(), [30, 60, 120, 240, 480, 600, 600]),
    ] {
        let mut scene = Scene::new();
        for seconds in pauses {
            scene.try_one(1, &news);
            assert_eq!(scene.pause(), Duration::from_secs(seconds));
        }
        assert_eq!(
            scene.breaker.server_state().1,
            Some(WALL),
            "since the first failure"
        );
    }
}

#[test]
fn what_was_under_way_when_it_opened_draws_nothing_out_when_it_fails() {
    let mut scene = Scene::new();
    let earlier: Vec<_> = (1..=100).map(|mail| scene.begin(mail)).collect();
    for witness in earlier {
        scene.hear(&down(), &witness);
    }
    assert_eq!(scene.pause(), Duration::from_secs(1));
}

#[test]
fn what_was_under_way_when_it_opened_does_not_close_it() {
    for news in [down(), refused()] {
        let mut scene = Scene::new();
        let earlier = [scene.begin(1), scene.begin(2)];
        scene.try_one(3, &news);
        for witness in earlier {
            scene.hear(&News::Sent, &witness);
            assert!(scene.breaker.is_open(), "{news:?}");
        }
        scene.try_one(4, &News::Sent);
        assert!(!scene.breaker.is_open());
    }
}

#[test]
fn it_closes_at_once_and_begins_anew() {
    let mut scene = Scene::new();
    scene.try_one(1, &down());
    scene.try_one(1, &down());
    scene.try_one(1, &News::Sent);
    assert_eq!(
        (scene.breaker.pause(scene.passed), scene.server_state()),
        (None, ServerState::Ready)
    );
    scene.try_one(1, &down());
    assert_eq!(scene.pause(), Duration::from_secs(1));
}

#[test]
fn a_failure_from_before_it_closed_does_not_open_it_again() {
    let mut scene = Scene::new();
    let slow = scene.begin(1);
    scene.try_one(2, &down());
    scene.try_one(2, &News::Sent);
    scene.hear(&down(), &slow);
    assert!(!scene.breaker.is_open());
}

#[test]
fn only_one_mail_is_tried_at_a_time_and_older_ones_are_not_waited_for() {
    let mut scene = Scene::new();
    let _stuck = scene.begin(1);
    scene.try_one(2, &down());
    scene.passed += Duration::from_secs(1);
    assert_eq!(scene.may_try(), Try::Any);
    let tried = scene.begin(3);
    assert_eq!(scene.may_try(), Try::Nothing);
    scene.hear(&News::None, &tried);
    assert_eq!(scene.may_try(), Try::Any);
}

#[test]
fn an_answer_for_one_mail_closes_it_only_beyond_the_step_that_failed() {
    let mut scene = Scene::new();
    scene.try_one(1, &unwelcome());
    for step in [Step::Mail, Step::Rcpt] {
        scene.try_one(2, &News::Dealt(step));
        assert!(scene.breaker.is_open(), "{step}");
    }
    scene.try_one(2, &News::Dealt(Step::Data));
    assert!(!scene.breaker.is_open());
}

#[test]
fn a_server_that_refuses_and_is_then_down_still_needs_a_person() {
    let mut scene = Scene::new();
    scene.try_one(1, &refused());
    scene.try_one(1, &refused());
    scene.try_one(1, &down());
    assert_eq!(scene.server_state(), ServerState::Refused);
    assert_eq!(scene.pause(), Duration::from_mins(2));
    scene.try_one(1, &refused());
    assert_eq!(scene.pause(), Duration::from_mins(4));
    let (_, since, error) = scene.breaker.server_state();
    assert_eq!(since, Some(WALL));
    assert!(error.unwrap().starts_with("AUTH"), "{error:?}");
}

#[test]
fn a_server_that_is_down_and_then_refuses_is_tried_less_often() {
    let mut scene = Scene::new();
    scene.try_one(1, &down());
    scene.try_one(1, &refused());
    assert_eq!(scene.pause(), Duration::from_secs(30));
    assert_eq!(scene.server_state(), ServerState::Refused);
}

#[test]
fn mails_to_one_domain_prove_nothing_however_many_are_refused() {
    for news in [refusal(), put_off()] {
        let mut scene = Scene::new();
        for mail in 1..=100 {
            scene.try_to(mail, "evil.example", &news);
            // Emails to other domains may be sent at any time.
            assert!(
                !scene.breaker.is_open() || scene.may_try() != Try::Nothing,
                "{mail}"
            );
            let other = scene.begin_to(1000 + mail, "clinic.example");
            scene.hear(&News::Sent, &other);
        }
        assert_eq!(scene.server_state(), ServerState::Ready);
    }
}

#[test]
fn one_domain_alone_in_the_queue_waits_once_some_of_its_mails_were_refused_and_others_go_at_once() {
    let mut scene = Scene::new();
    for mail in 1..=4 {
        assert!(!scene.try_to(mail, "evil.example", &refusal()));
    }
    assert_eq!(scene.server_state(), ServerState::Ready);
    assert!(scene.try_to(5, "evil.example", &refusal()));
    assert_eq!(scene.server_state(), ServerState::Refused, "and that is seen");
    assert_eq!(scene.may_try(), Try::OnlyOthers);
    let other = scene.begin_to(6, "clinic.example");
    assert_eq!(scene.may_try(), Try::Nothing, "one after the other");
    scene.hear(&News::Sent, &other);
    assert_eq!(scene.server_state(), ServerState::Ready);
    // From then on, rejections from this domain are ignored.
    for mail in 7..=50 {
        assert!(!scene.try_to(mail, "evil.example", &refusal()));
    }
    assert_eq!(scene.server_state(), ServerState::Ready);
}

#[test]
fn unrelated_mails_that_are_refused_stop_the_queue_and_no_further_one_is_blamed() {
    let mut scene = Scene::new();
    assert!(!scene.try_one(1, &refusal()));
    assert!(!scene.try_one(2, &refusal()));
    assert_eq!(scene.server_state(), ServerState::Ready);
    assert!(scene.try_one(3, &refusal()));
    assert_eq!(scene.server_state(), ServerState::Refused);
    assert_eq!(scene.may_try(), Try::Nothing);
    for mail in 1..=50 {
        assert!(scene.try_one(mail, &refusal()));
    }
    assert_eq!(scene.pause(), Duration::from_mins(2));
    scene.try_one(4, &News::Sent);
    assert_eq!(scene.server_state(), ServerState::Ready);
}

#[test]
fn a_mail_that_is_accepted_clears_the_server_of_suspicion() {
    let mut scene = Scene::new();
    for mail in 1..=50 {
        assert!(!scene.try_one(3 * mail, &refusal()));
        assert!(!scene.try_one(3 * mail + 1, &refusal()));
        scene.try_one(3 * mail + 2, &News::Sent);
        assert_eq!(scene.server_state(), ServerState::Ready);
    }
}

#[test]
fn who_owns_domains_can_hold_others_up_once_for_a_moment_with_each_of_them() {
    let mut scene = Scene::new();
    for mail in 1..=3 {
        scene.try_one(mail, &refusal());
    }
    assert!(scene.pause() <= Duration::from_secs(2));
    scene.try_to(4, "clinic.example", &News::Sent);
    for mail in 1..=100 {
        assert!(!scene.try_to(100 + mail, &format!("d{}.example", mail % 3 + 1), &refusal()));
        assert_eq!(scene.server_state(), ServerState::Ready);
    }
    // This also applies to a failure that would otherwise stop the queue immediately.
    assert!(!scene.try_one(1, &unwelcome()));
    assert_eq!(scene.server_state(), ServerState::Ready);
    // An accepted email to a domain makes it reliable again.
    scene.try_one(1, &News::Sent);
    assert!(scene.try_one(1, &unwelcome()));
}

#[test]
fn unrelated_mails_that_are_put_off_slow_the_queue_down_by_pauses_that_grow() {
    let mut scene = Scene::new();
    assert!(!scene.try_one(1, &put_off()));
    assert!(scene.try_one(2, &put_off()));
    assert_eq!(scene.server_state(), ServerState::Down);
    let mut pauses = Vec::new();
    for mail in 3..=22 {
        pauses.push(scene.pause());
        assert!(scene.try_one(mail, &put_off()));
    }
    assert_eq!(pauses[..2], [Duration::from_secs(1), Duration::from_millis(1200)]);
    assert_eq!(pauses[19], Duration::from_secs(30));
}

#[test]
fn a_server_that_is_known_to_slow_down_is_believed_at_once() {
    let mut scene = Scene::new();
    let witness = scene.begin(1);
    let now = Now {
        wall: WALL,
        monotonic: Duration::ZERO,
    };
    let heard = scene.breaker.hear(&put_off(), &witness, true, now, 0.5);
    assert!(heard.blameless && scene.breaker.is_open());
    scene.passed = scene.pause();
    let witness = scene.begin(2);
    let now = Now {
        wall: WALL,
        monotonic: scene.passed,
    };
    assert!(scene.breaker.hear(&News::Sent, &witness, true, now, 0.5).resumed);
}

#[test]
fn a_connection_too_many_is_no_mails_fault_and_opens_nothing() {
    let mut scene = Scene::new();
    let crowded = News::Outage(Outage::Crowded(Failure::Smtp(Step::Hello, SmtpFailure::Timeout)));
    assert!(scene.try_one(1, &crowded));
    assert!(!scene.breaker.is_open());
}
