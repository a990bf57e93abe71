use super::*;
use crate::error::{EnhancedCode, SmtpFailure};

/// A breaker with a clock, and the mails 1, 2, 3 … that are tried at a server.
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

fn suspicion() -> News {
    let enhanced = EnhancedCode::leading("5.7.1 x");
    let reply = SmtpFailure::Reply { code: 554, enhanced };
    News::Suspicion(Failure::Smtp(Step::Rcpt, reply))
}

impl Scene {
    fn new() -> Self {
        Self {
            breaker: Breaker::default(),
            passed: Duration::ZERO,
        }
    }

    /// The mail of that number begins.
    fn begin(&mut self, mail: u64) -> Witness {
        self.breaker.begin();
        Witness {
            mail: (Position::new(mail).unwrap(), Template::PatientRegistered),
            epoch: self.breaker.epoch(),
        }
    }

    fn hear(&mut self, news: &News, from: Witness) -> bool {
        let now = Now {
            wall: WALL + self.passed,
            monotonic: self.passed,
        };
        self.breaker.hear(news, from, now, 0.5)
    }

    /// A mail is tried as soon as it may be.
    fn try_one(&mut self, mail: u64, news: &News) -> bool {
        self.passed += self.pause();
        assert!(!self.breaker.is_open() || self.breaker.may_try(self.passed));
        let witness = self.begin(mail);
        self.hear(news, witness)
    }

    fn pause(&self) -> Duration {
        self.breaker.pause(self.passed).unwrap_or_default()
    }

    fn standing(&self) -> Standing {
        self.breaker.standing().0
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
        assert_eq!(scene.breaker.standing().1, Some(WALL), "since the first failure");
    }
}

#[test]
fn what_was_under_way_when_it_opened_draws_nothing_out_when_it_fails() {
    let mut scene = Scene::new();
    let earlier: Vec<_> = (1..=100).map(|mail| scene.begin(mail)).collect();
    for witness in earlier {
        scene.hear(&down(), witness);
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
            scene.hear(&News::Sent, witness);
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
        (scene.breaker.pause(scene.passed), scene.standing()),
        (None, Standing::Ready)
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
    scene.hear(&down(), slow);
    assert!(!scene.breaker.is_open());
}

#[test]
fn only_one_mail_is_tried_at_a_time_and_older_ones_are_not_waited_for() {
    let mut scene = Scene::new();
    let _stuck = scene.begin(1);
    scene.try_one(2, &down());
    scene.passed += Duration::from_secs(1);
    assert!(scene.breaker.may_try(scene.passed));
    let tried = scene.begin(3);
    assert!(!scene.breaker.may_try(scene.passed));
    scene.hear(&News::None, tried);
    assert!(scene.breaker.may_try(scene.passed));
}

#[test]
fn an_answer_for_one_mail_closes_it_only_beyond_the_step_that_failed() {
    let mut scene = Scene::new();
    scene.try_one(1, &suspicion());
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
    assert_eq!(scene.standing(), Standing::Refused);
    assert_eq!(scene.pause(), Duration::from_mins(2));
    scene.try_one(1, &refused());
    assert_eq!(scene.pause(), Duration::from_mins(4));
    let (_, since, error) = scene.breaker.standing();
    assert_eq!(since, Some(WALL));
    assert!(error.unwrap().starts_with("AUTH"), "{error:?}");
}

#[test]
fn a_server_that_is_down_and_then_refuses_is_tried_less_often() {
    let mut scene = Scene::new();
    scene.try_one(1, &down());
    scene.try_one(1, &refused());
    assert_eq!(scene.pause(), Duration::from_secs(30));
    assert_eq!(scene.standing(), Standing::Refused);
}

#[test]
fn one_mail_that_is_refused_for_what_all_may_be_is_held_to_blame_until_another_one_is() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        assert!(!scene.try_one(1, &suspicion()));
        assert_eq!(scene.standing(), Standing::Down);
    }
    assert!(scene.try_one(2, &suspicion()));
    assert_eq!(scene.standing(), Standing::Refused);
    assert!(scene.try_one(1, &suspicion()), "and then every one is blameless");
}

#[test]
fn a_mail_that_is_taken_clears_the_server_of_suspicion() {
    let mut scene = Scene::new();
    scene.try_one(1, &suspicion());
    scene.try_one(2, &News::Sent);
    assert_eq!(scene.standing(), Standing::Ready);
    assert!(!scene.try_one(3, &suspicion()));
}
