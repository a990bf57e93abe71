//! Tests that each claim fails if and only if it is violated.

mod amendments;
mod erased_mail;
mod erasures;
mod samples;

use std::time::Duration;

use uuid::Uuid;

use self::samples::{
    ANA, EVA, amended, arrived, attempt, details, evidence, objects, observation, problem, rechain,
    registration, row, seen, usage,
};
use crate::evidence::Evidence;
use crate::oracle::judge;
use crate::record::{Answer, Request};

#[test]
fn nothing_is_wrong_with_what_is_as_promised() {
    assert_eq!(judge(&evidence()), []);
    assert_eq!(judge(&amended()), []);
}

#[test]
fn an_answered_registration_that_is_not_in_the_log_is_found() {
    let claims = objects(|evidence| {
        evidence.log.pop();
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_answered_deletion_that_is_not_in_the_log_is_found() {
    let claims = objects(|evidence| seen(evidence, "again").answer = Answer::Deleted { position: 3 });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_event_that_nobody_asked_for_is_found() {
    let claims = objects(|evidence| seen(evidence, "luz").request_id = "somebody else".to_owned());
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn a_request_that_was_written_twice_is_found() {
    let claims = objects(|evidence| {
        evidence
            .log
            .push(registration("luz", Uuid::from_u128(4), "new@example.com"));
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_error_that_hides_a_success_is_found_unless_it_says_that_the_outcome_is_open() {
    for slug in ["unavailable", "overloaded", "shutting-down"] {
        let claims = objects(|evidence| seen(evidence, "luz").answer = problem(503, slug));
        assert_eq!(claims, ["writes"], "{slug}");
    }
    assert_eq!(
        objects(|evidence| seen(evidence, "luz").answer = problem(503, "outcome-unknown")),
        [""; 0]
    );
    assert_eq!(
        objects(|evidence| seen(evidence, "luz").answer = Answer::Nothing),
        [""; 0]
    );
}

#[test]
fn a_key_that_makes_two_patients_is_found() {
    let claims = objects(|evidence| {
        for id in ["ana", "eva"] {
            let Request::Register { key, .. } = &mut seen(evidence, id).request else {
                panic!()
            };
            *key = Some("key".to_owned());
        }
    });
    assert_eq!(claims, ["writes"]);
}

#[test]
fn a_retry_with_its_key_that_is_refused_for_its_own_email_is_found() {
    let again = |key: &str| {
        let key = Some(key.to_owned());
        move |evidence: &mut Evidence| {
            let Request::Register { key: first, .. } = &mut seen(evidence, "ana").request else {
                return;
            };
            *first = Some("key".to_owned());
            let details = details("a@example.com");
            let request = Request::Register { details, key };
            let answer = problem(409, "email-taken");
            evidence
                .observations
                .push(observation("again", 2, request, answer));
        }
    };
    assert_eq!(objects(again("key")), ["order"]);
    assert_eq!(objects(again("another key")), [""; 0]);
}

#[test]
fn an_order_that_no_client_can_have_seen_is_found() {
    let claims = objects(|evidence| {
        let eva = seen(evidence, "eva");
        (eva.began, eva.ended) = (Duration::ZERO, Duration::from_millis(1));
    });
    assert_eq!(claims, ["order"]);
}

#[test]
fn an_email_that_is_refused_though_nobody_has_it_is_found() {
    let claims = objects(|evidence| {
        let taken = seen(evidence, "taken");
        (taken.began, taken.ended) = (Duration::from_millis(6600), Duration::from_millis(6700));
    });
    assert_eq!(claims, ["order"]);
}

#[test]
fn a_gap_and_an_altered_event_are_found() {
    assert!(objects(|evidence| evidence.log[1].position = 9).contains(&"chain"));
    assert_eq!(
        objects(|evidence| evidence.log[0].event_version = "1.1".to_owned()),
        ["chain"]
    );
    assert!(objects(|evidence| evidence.log[3].recorded_at = 6).contains(&"chain"));
    assert_eq!(objects(|evidence| evidence.head = None), ["chain"]);
}

#[test]
fn a_row_too_many_too_few_or_altered_is_found() {
    assert_eq!(objects(|evidence| drop(evidence.rows.pop())), ["table"]);
    assert_eq!(
        objects(|evidence| evidence.rows.push(row(ANA, "a@example.com"))),
        ["table"]
    );
    assert_eq!(
        objects(|evidence| evidence.rows[0].details.phone = "456".to_owned()),
        ["table"]
    );
    assert_eq!(
        objects(|evidence| evidence.rows.push(row(Uuid::from_u128(9), "x@example.com"))),
        ["table"]
    );
}

#[test]
fn two_active_patients_with_one_email_are_found() {
    let claims = objects(|evidence| {
        for email in ["E@example.com", "e@example.com"] {
            let index = usize::from(email.starts_with('e'));
            evidence.log[index] = registration(["ana", "eva"][index], [ANA, EVA][index], email);
        }
        rechain(evidence);
    });
    assert!(claims.contains(&"emails"), "{claims:?}");
    assert_eq!(objects(|evidence| drop(evidence.claims.pop())), ["emails"]);
}

#[test]
fn a_read_of_another_time_is_found() {
    let shown = Answer::Patient {
        details: details("a@example.com"),
    };
    assert_eq!(
        objects(|evidence| seen(evidence, "read").answer = shown),
        ["reads"]
    );
    let missing = problem(404, "patient-not-found");
    assert_eq!(
        objects(|evidence| seen(evidence, "read").answer = missing),
        ["reads"]
    );
    // The patient is deleted before any client requested the deletion.
    let claims = objects(|evidence| {
        let read = seen(evidence, "read");
        (read.began, read.ended) = (Duration::from_secs(3), Duration::from_secs(4));
    });
    assert!(claims.contains(&"reads"), "{claims:?}");
}

#[test]
fn a_list_that_goes_back_in_time_is_found() {
    let before = |evidence: &mut Evidence| seen(evidence, "list").answer.clone();
    let claims = objects(|evidence| {
        let old = before(evidence);
        seen(evidence, "list again").answer = old;
    });
    assert_eq!(claims, ["reads"]);
    // A client that sends no `Min-Position` may see an old list.
    let claims = objects(|evidence| {
        let old = before(evidence);
        let again = seen(evidence, "list again");
        again.answer = old;
        again.request = Request::List {
            after: Uuid::nil(),
            limit: 10,
            min_position: None,
        };
    });
    assert_eq!(claims, [""; 0]);
}

#[test]
fn a_follower_that_is_behind_or_has_stopped_is_found() {
    assert_eq!(
        objects(|evidence| evidence.checkpoints[1].position = 3),
        ["followers"]
    );
    assert_eq!(
        objects(|evidence| drop(evidence.checkpoints.pop())),
        ["followers"]
    );
    assert_eq!(
        objects(|evidence| evidence.failures.push("mailer".to_owned())),
        ["followers"]
    );
}

#[test]
fn a_lease_that_nobody_who_runs_holds_is_found() {
    assert_eq!(objects(|evidence| evidence.running = vec![43]), ["followers"]);
    assert_eq!(objects(|evidence| evidence.leases[0].left = 60.0), ["followers"]);
}

#[test]
fn mail_that_is_lost_doubled_or_misdirected_is_found() {
    assert_eq!(objects(|evidence| drop(evidence.mails.remove(0))), ["mail"]);
    // There is one copy more than attempts with an unknown outcome.
    assert_eq!(
        objects(|evidence| evidence.mails.push(arrived(2, EVA, "e@example.com"))),
        ["mail"]
    );
    assert_eq!(objects(|evidence| drop(evidence.attempts.remove(1))), ["mail"]);
    assert_eq!(
        objects(|evidence| evidence.mails[0].recipient = "a@example.com".to_owned()),
        ["mail"]
    );
    assert_eq!(
        objects(|evidence| evidence.mails.push(arrived(9, EVA, "e@example.com"))),
        ["mail"]
    );
    assert_eq!(
        objects(|evidence| evidence.deliveries[1].state = "sending".to_owned()),
        ["mail"]
    );
    assert_eq!(
        objects(|evidence| evidence.deliveries[1].state = "cancelled".to_owned()),
        ["mail"]
    );
    assert_eq!(objects(|evidence| drop(evidence.deliveries.remove(0))), ["mail"]);
    assert_eq!(
        objects(|evidence| evidence.attempts.push(attempt(2, "sent"))),
        ["mail"]
    );
}

#[test]
fn a_slow_recovery_and_what_is_not_given_back_are_found() {
    assert_eq!(
        objects(|evidence| evidence.recovered_after = Some(15.1)),
        ["recovery"]
    );
    assert_eq!(objects(|evidence| evidence.recovered_after = None), ["recovery"]);
    assert_eq!(
        objects(|evidence| evidence.after = usage(100 << 20, 20)),
        ["recovery"]
    );
    assert_eq!(
        objects(|evidence| evidence.after = usage(20 << 20, 60)),
        ["recovery"]
    );
    assert_eq!(objects(|evidence| evidence.after.clear()), ["recovery"]);
    assert_eq!(
        objects(|evidence| evidence.incidents.push("api 1 ended".to_owned())),
        ["recovery"]
    );
}
