//! Tests with evidence of amendments.

use std::time::Duration;

use super::samples::{
    ANA, EVA, LUZ, amend, amendment, changes, claim, details, named, objects_to_amended, problem, rechain,
    row, seen,
};
use crate::record::{Answer, Changes};

#[test]
fn an_answered_amendment_that_is_not_in_the_log_is_found() {
    let claims = objects_to_amended(|evidence| {
        evidence.log.remove(4);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
    // The amendment was answered with other details, another sequence or another position.
    let answer = |position, name, sequence| Answer::Amended {
        position,
        details: named(name, "eva@example.com"),
        sequence,
    };
    for wrong in [answer(5, "Ana", 2), answer(5, "Eva", 3), answer(6, "Eva", 2)] {
        for request in ["amend", "same"] {
            let claims = objects_to_amended(|evidence| seen(evidence, request).answer = wrong.clone());
            assert!(claims.contains(&"writes"), "{wrong:?} {claims:?}");
        }
    }
    assert_eq!(
        objects_to_amended(|evidence| seen(evidence, "amend").answer = Answer::Nothing),
        [""; 0]
    );
    assert_eq!(
        objects_to_amended(|evidence| seen(evidence, "amend").answer = problem(503, "unavailable")),
        ["writes"]
    );
}

#[test]
fn an_amendment_with_other_changes_than_requested_is_found() {
    let requests = [
        amend(EVA, changes(Some("Eva"), None), None, None),
        amend(EVA, changes(Some("Eve"), Some("eva@example.com")), None, None),
        amend(EVA, changes(Some("Eva"), Some("eva@example.com")), Some(2), None),
        amend(ANA, changes(Some("Eva"), Some("eva@example.com")), None, None),
    ];
    for request in requests {
        let claims = objects_to_amended(|evidence| seen(evidence, "amend").request = request.clone());
        assert!(claims.contains(&"writes"), "{request:?} {claims:?}");
    }
    // The event contains a field that did not change.
    let claims = objects_to_amended(|evidence| {
        let request = Changes {
            phone: Some("123".to_owned()),
            ..changes(Some("Eva"), Some("eva@example.com"))
        };
        evidence.log[4] = amendment("amend", EVA, &request);
        seen(evidence, "amend").request = amend(EVA, request, None, None);
        rechain(evidence);
    });
    assert_eq!(claims, ["writes"]);
    assert_eq!(
        objects_to_amended(|evidence| seen(evidence, "amend").request_id = "somebody else".to_owned()),
        ["writes"]
    );
}

#[test]
fn an_amendment_that_changes_something_without_an_event_is_found() {
    for request in [
        amend(EVA, changes(Some("Eve"), None), None, None),
        amend(EVA, changes(Some("Eva"), None), Some(1), None),
    ] {
        let claims = objects_to_amended(|evidence| seen(evidence, "same").request = request.clone());
        assert_eq!(claims, ["writes"], "{request:?}");
    }
}

#[test]
fn an_event_after_a_deletion_is_found() {
    let claims = objects_to_amended(|evidence| {
        evidence.log.swap(5, 6);
        (evidence.log[5].sequence, evidence.log[6].sequence) = (2, 3);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn a_key_that_amends_twice_is_found() {
    let claims = objects_to_amended(|evidence| {
        let mut second = amendment("move late", LUZ, &changes(Some("Luz"), Some("E@example.com")));
        second.sequence = 3;
        evidence.log.insert(6, second);
        rechain(evidence);
    });
    assert!(claims.contains(&"writes"), "{claims:?}");
}

#[test]
fn an_amendment_that_is_refused_without_a_reason_is_found() {
    // These requests are moved to a time at which the rejection is wrong: no other patient has the email
    // address, and Eva is at the sequence in If-Match.
    for request in ["taken again", "stale"] {
        let claims = objects_to_amended(|evidence| {
            let refused = seen(evidence, request);
            (refused.began, refused.ended) = (Duration::from_millis(9600), Duration::from_millis(9700));
        });
        assert_eq!(claims, ["order"], "{request}");
    }
    let refusals = [
        ("stale", problem(404, "patient-not-found")),
        ("stale", problem(410, "patient-deleted")),
        ("same", problem(412, "precondition-failed")),
        ("too late", problem(412, "precondition-failed")),
        ("too late", problem(422, "invalid-request")),
        // The earlier request with the same key has succeeded.
        ("move again", problem(412, "precondition-failed")),
        ("move again", problem(409, "email-taken")),
        ("move late", problem(410, "patient-deleted")),
    ];
    for (request, refusal) in refusals {
        let claims = objects_to_amended(|evidence| seen(evidence, request).answer = refusal.clone());
        assert_eq!(claims, ["order"], "{request} {refusal:?}");
    }
}

#[test]
fn an_order_of_amendments_that_no_client_can_have_seen_is_found() {
    let claims = objects_to_amended(|evidence| {
        let amend = seen(evidence, "amend");
        (amend.began, amend.ended) = (Duration::from_millis(18_600), Duration::from_millis(18_700));
    });
    assert!(claims.contains(&"order"), "{claims:?}");
}

#[test]
fn a_row_of_an_earlier_version_is_found() {
    let old = row(EVA, "e@example.com");
    assert_eq!(
        objects_to_amended(|evidence| evidence.rows[0].details = old.details.clone()),
        ["table"]
    );
    assert_eq!(
        objects_to_amended(|evidence| evidence.rows[0].sequence = 1),
        ["table"]
    );
}

#[test]
fn an_email_address_that_an_amendment_takes_or_keeps_is_found() {
    // The claim on the old address is still there, or the claim on the new address is missing.
    assert_eq!(
        objects_to_amended(|evidence| evidence.claims.push(claim(EVA, "e@example.com"))),
        ["emails"]
    );
    assert_eq!(
        objects_to_amended(|evidence| drop(evidence.claims.pop())),
        ["emails"]
    );
    // Luz takes Eva's address before Eva gives it up.
    let claims = objects_to_amended(|evidence| {
        evidence.log.swap(4, 5);
        rechain(evidence);
    });
    assert!(claims.contains(&"emails"), "{claims:?}");
}

#[test]
fn a_read_of_an_earlier_or_later_version_is_found() {
    let old = Answer::Patient {
        details: details("e@example.com"),
    };
    assert_eq!(
        objects_to_amended(|evidence| seen(evidence, "read eva").answer = old),
        ["reads"]
    );
    let claims = objects_to_amended(|evidence| {
        let read = seen(evidence, "read eva");
        (read.began, read.ended) = (Duration::from_millis(8600), Duration::from_millis(8700));
    });
    assert!(claims.contains(&"reads"), "{claims:?}");
    let mixed = Answer::Patient {
        details: named("Eva", "e@example.com"),
    };
    assert_eq!(
        objects_to_amended(|evidence| seen(evidence, "read eva").answer = mixed),
        ["reads"]
    );
}

#[test]
fn a_list_that_mixes_versions_is_found() {
    // Luz had this email address only after Eva had given it up.
    for eva in ["e@example.com", "another@example.com"] {
        let page = Answer::Page(vec![(EVA, eva.to_owned()), (LUZ, "E@example.com".to_owned())]);
        assert_eq!(
            objects_to_amended(|evidence| seen(evidence, "list amended").answer = page),
            ["reads"]
        );
    }
}

#[test]
fn a_change_of_an_email_address_has_one_email_to_each_address() {
    // A registration's email may go to a later address of the patient.
    assert_eq!(
        objects_to_amended(|evidence| evidence.mails[0].recipient = "eva@example.com".to_owned()),
        [""; 0]
    );
    for index in [3, 4, 5] {
        assert_eq!(
            objects_to_amended(|evidence| evidence.mails[index].recipient = "x@example.com".to_owned()),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| drop(evidence.mails.remove(index))),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| drop(evidence.deliveries.remove(index))),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| evidence.mails.push(evidence.mails[index].clone())),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| evidence.deliveries.push(evidence.deliveries[index].clone())),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| evidence.deliveries[index].state = "sending".to_owned()),
            ["mail"]
        );
        assert_eq!(
            objects_to_amended(|evidence| {
                drop(evidence.deliveries.remove(index));
                drop(evidence.attempts.remove(index));
                drop(evidence.mails.remove(index));
            }),
            ["mail"]
        );
        // Only Luz is deleted, and a deletion does not cancel the email to the old address.
        assert_eq!(
            objects_to_amended(|evidence| {
                evidence.deliveries[index].state = "cancelled".to_owned();
                drop(evidence.attempts.remove(index));
                drop(evidence.mails.remove(index));
            }),
            ["mail"]
        );
    }
    assert_eq!(
        objects_to_amended(|evidence| drop(evidence.deliveries.remove(6))),
        ["mail"]
    );
    // The new address and the old address are exchanged.
    assert_eq!(
        objects_to_amended(|evidence| {
            evidence.mails[3].recipient = "e@example.com".to_owned();
            evidence.mails[4].recipient = "eva@example.com".to_owned();
        }),
        ["mail"]
    );
}
