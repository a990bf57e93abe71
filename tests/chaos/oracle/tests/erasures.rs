//! Tests with evidence of erasures.

use std::time::Duration;

use uuid::Uuid;

use super::samples::{
    EVA, LUZ, LUZ_NAME, NEW, amendment, changes, claim, details, erased, key, listed, named,
    objects_to_amended, objects_to_erased, observation, problem, rechain, row, seen,
};
use crate::evidence::{Event, Evidence, Found, Progress};
use crate::oracle::judge;
use crate::record::{Answer, Request};

/// Returns the failing claims after an event was changed.
fn with_event(index: usize, doctor: impl FnOnce(&mut Event)) -> Vec<&'static str> {
    objects_to_erased(|evidence| {
        doctor(&mut evidence.log[index]);
        rechain(evidence);
    })
}

/// Returns the failing claims after a request was answered in another way.
fn answered(request: &str, answer: Answer) -> Vec<&'static str> {
    objects_to_erased(|evidence| seen(evidence, request).answer = answer)
}

fn moved_to(evidence: &mut Evidence, request: &str, (began, ended): (u64, u64)) {
    let seen = seen(evidence, request);
    (seen.began, seen.ended) = (Duration::from_millis(began), Duration::from_millis(ended));
}

#[test]
fn nothing_is_wrong_with_erasures_as_promised() {
    assert_eq!(judge(&erased()), []);
    assert_eq!(answered("erase luz", Answer::Nothing), [""; 0]);
}

#[test]
fn an_answered_erasure_that_is_not_in_the_log_is_found() {
    let claims = objects_to_erased(|evidence| {
        evidence.log.remove(9);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
    for (position, complete) in [(10, true), (8, false)] {
        let claims = answered("erase eva late", Answer::Erased { position, complete });
        assert!(claims.contains(&"writes"), "{position} {claims:?}");
    }
    // The error hides the success.
    assert_eq!(answered("erase eva", problem(503, "unavailable")), ["writes"]);
}

#[test]
fn an_erasure_that_is_recorded_twice_is_found() {
    for request in ["erase eva", "erase eva again"] {
        let claims = objects_to_erased(|evidence| {
            let mut second = evidence.log[8].clone();
            second.metadata = second.metadata.replace("erase eva", request);
            second.sequence = 5;
            evidence.log.insert(9, second);
            rechain(evidence);
        });
        assert!(claims.contains(&"writes"), "{request} {claims:?}");
    }
}

#[test]
fn an_erasure_of_an_active_patient_without_the_deletion_in_its_append_is_found() {
    let claims = objects_to_erased(|evidence| {
        evidence.log.remove(7);
        evidence.log[7].sequence = 3;
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
    let other = |event: &mut Event| event.metadata = event.metadata.replace("erase eva", "erase eva again");
    assert!(with_event(7, other).contains(&"writes"));
    assert!(with_event(7, |event| event.recorded_at = 6).contains(&"writes"));
    // Another event comes between the two events.
    let claims = objects_to_erased(|evidence| {
        evidence.log.swap(8, 9);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_event_of_an_erased_patient_after_the_erasure_is_found() {
    let claims = objects_to_erased(|evidence| {
        let mut late = amendment("amend erased", EVA, &changes(Some("Eve"), None));
        late.sequence = 5;
        evidence.log.push(late);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_erasure_with_another_reason_is_found() {
    let other = |event: &mut Event| event.payload = event.payload.replace("request", "error");
    assert_eq!(with_event(9, other), ["writes"]);
}

#[test]
fn the_registration_of_an_erased_patient_is_still_compared_with_its_request() {
    let claims = objects_to_erased(|evidence| {
        let Answer::Registered { position, .. } = &mut seen(evidence, "luz").answer else {
            panic!()
        };
        *position = 5;
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
    assert!(with_event(3, |event| event.sequence = 2).contains(&"writes"));
    let other = |event: &mut Event| event.event_type = "PatientDeleted".to_owned();
    assert!(with_event(3, other).contains(&"writes"));
    let claims = objects_to_erased(|evidence| seen(evidence, "luz").request_id = "somebody else".to_owned());
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn a_data_key_that_was_not_destroyed_is_found() {
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys[1] = key(EVA)),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys[1].wrapped = Some("00".to_owned())),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys[1].erased_at = None),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| drop(evidence.keys.remove(1))),
        ["erasures"]
    );
    // The event of an erased patient opens.
    let claims = objects_to_erased(|evidence| {
        let details = serde_json::to_value(details("A@example.com")).unwrap();
        evidence.log[3].opened = Some(details);
    });
    assert_eq!(claims, ["erasures"]);
}

#[test]
fn a_patient_whose_events_do_not_open_is_found() {
    assert_eq!(
        objects_to_erased(|evidence| evidence.log[10].opened = None),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys[3].wrapped = None),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| drop(evidence.keys.pop())),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys.push(key(Uuid::from_u128(9)))),
        ["erasures"]
    );
}

#[test]
fn a_data_key_that_is_wrapped_with_a_removed_wrapping_key_is_found() {
    assert_eq!(
        objects_to_erased(|evidence| evidence.keyring.wrapping_keys.clear()),
        ["erasures"]
    );
    let other = Some("0000000000000002".to_owned());
    assert_eq!(
        objects_to_erased(|evidence| evidence.keys[3].wrapping_key = other),
        ["erasures"]
    );
}

#[test]
fn a_row_of_an_erased_patient_is_found() {
    for listed in listed(EVA) {
        assert_eq!(
            objects_to_erased(|evidence| evidence.listed.push(listed)),
            ["erasures"]
        );
    }
    assert_eq!(
        objects_to_erased(|evidence| evidence.rows.push(row(EVA, "eva@example.com"))),
        ["table"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.claims.push(claim(LUZ, "e@example.com"))),
        ["emails"]
    );
}

#[test]
fn a_value_of_an_erased_patient_in_any_table_is_found() {
    let left = Found {
        place: "mail_deliveries.last_error".to_owned(),
        mark: "03z00017".to_owned(),
    };
    assert_eq!(
        objects_to_erased(|evidence| evidence.found.push(left.clone())),
        ["erasures"]
    );
    // The search does not find the values of an active patient.
    let claims = objects_to_erased(|evidence| {
        let registered = named("New 01z00001", "eva@example.com");
        let event = &mut evidence.log[10];
        event.payload = event.payload.replace("María", &registered.name);
        event.opened = serde_json::from_str(&event.payload).ok();
        rechain(evidence);
        evidence.rows[0].details = registered.clone();
        let new = seen(evidence, "new");
        let answer = Answer::Registered {
            id: NEW,
            position: 11,
            details: registered.clone(),
        };
        (new.request, new.answer) = (
            Request::Register {
                details: registered,
                key: None,
            },
            answer,
        );
        evidence.found.clear();
    });
    assert_eq!(claims, ["erasures"]);
    // Before her erasure, Luz is only deleted.
    assert_eq!(objects_to_amended(|evidence| evidence.found.push(left)), [""; 0]);
}

#[test]
fn an_erasure_that_is_not_reported_as_complete_is_found() {
    assert_eq!(
        objects_to_erased(|evidence| evidence.progress[0].complete = false),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.progress[0].position = 8),
        ["erasures"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.progress.truncate(1)),
        ["erasures"]
    );
    let progress = Progress {
        id: NEW,
        position: 11,
        complete: true,
    };
    assert_eq!(
        objects_to_erased(|evidence| evidence.progress.push(progress)),
        ["erasures"]
    );
}

#[test]
fn a_rejection_because_of_an_erasure_that_was_not_requested_is_found() {
    for (request, claim) in [
        ("read erased", "reads"),
        ("amend erased", "order"),
        ("delete erased", "order"),
        ("move erased", "order"),
        ("luz again", "order"),
    ] {
        let claims = objects_to_erased(|evidence| moved_to(evidence, request, (20_600, 20_700)));
        assert!(claims.contains(&claim), "{request} {claims:?}");
    }
}

#[test]
fn an_answer_that_ignores_an_erasure_is_found() {
    let eva = named("Eva", "eva@example.com");
    let luz = named(LUZ_NAME, "E@example.com");
    for (request, answer, claim) in [
        ("read erased", Answer::Patient { details: eva }, "reads"),
        // Eva was never only deleted.
        ("read erased", problem(410, "patient-deleted"), "reads"),
        ("read erased", problem(404, "patient-not-found"), "reads"),
        ("amend erased", problem(410, "patient-deleted"), "order"),
        ("delete erased", problem(410, "patient-deleted"), "order"),
        ("erase luz", problem(410, "patient-erased"), "order"),
        (
            "move erased",
            Answer::Amended {
                position: 6,
                details: luz,
                sequence: 2,
            },
            "order",
        ),
        ("move erased", problem(410, "patient-deleted"), "order"),
        (
            "luz again",
            Answer::Registered {
                id: LUZ,
                position: 4,
                details: details("A@example.com"),
            },
            "order",
        ),
        ("luz again", problem(409, "email-taken"), "order"),
    ] {
        let claims = answered(request, answer.clone());
        assert!(claims.contains(&claim), "{request} {answer:?} {claims:?}");
    }
}

#[test]
fn a_list_that_shows_an_erased_patient_is_found() {
    let page = Answer::Page(vec![
        (EVA, "eva@example.com".to_owned()),
        (NEW, "eva@example.com".to_owned()),
    ]);
    assert_eq!(answered("list erased", page), ["reads"]);
}

#[test]
fn an_email_address_that_an_erased_patient_keeps_is_found() {
    let claims = objects_to_erased(|evidence| {
        let Request::Register { details, .. } = seen(evidence, "new").request.clone() else {
            panic!()
        };
        let request = Request::Register { details, key: None };
        let taken = observation("taken", 24, request, problem(409, "email-taken"));
        evidence.observations.push(taken);
    });
    assert_eq!(claims, ["order"]);
}
