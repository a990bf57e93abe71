//! Tests that each claim fails if and only if it is violated.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::chain::{hex, link};
use super::judge;
use crate::evidence::{
    Arrived, Attempt, Checkpoint, Claim, Delivery, Event, Evidence, Head, Lease, Row, Usage,
};
use crate::record::{Answer, Changes, Details, Observation, Request};

const ANA: Uuid = Uuid::from_u128(1);
const EVA: Uuid = Uuid::from_u128(2);
const LUZ: Uuid = Uuid::from_u128(3);

fn details(email: &str) -> Details {
    Details {
        name: "María".to_owned(),
        email: email.to_owned(),
        phone: "123".to_owned(),
        document_url: "https://example.com".to_owned(),
    }
}

/// Returns an observation of a request that took half a second from `began`.
fn observation(request_id: &str, began: u64, request: Request, answer: Answer) -> Observation {
    Observation {
        request_id: request_id.to_owned(),
        client: 0,
        began: Duration::from_secs(began),
        ended: Duration::from_millis(began * 1000 + 500),
        request,
        answer,
    }
}

fn registered(request_id: &str, began: u64, id: Uuid, email: &str, position: u64) -> Observation {
    let details = details(email);
    let request = Request::Register {
        details: details.clone(),
        key: None,
    };
    observation(
        request_id,
        began,
        request,
        Answer::Registered {
            id,
            position,
            details,
        },
    )
}

fn problem(status: u16, slug: &str) -> Answer {
    Answer::Problem {
        status,
        slug: slug.to_owned(),
    }
}

fn event(request_id: &str, id: Uuid, sequence: u64, payload: &serde_json::Value) -> Event {
    Event {
        position: 0,
        aggregate_type: "patient".to_owned(),
        aggregate_id: id.to_string(),
        sequence,
        event_type: payload["type"].as_str().unwrap().to_owned(),
        event_version: "1.0".to_owned(),
        payload: payload.to_string(),
        metadata: json!({"request_id": request_id, "actor": "anonymous"}).to_string(),
        recorded_at: 7,
        hash: String::new(),
    }
}

fn registration(request_id: &str, id: Uuid, email: &str) -> Event {
    let mut payload = serde_json::to_value(details(email)).unwrap();
    payload["type"] = json!("PatientRegistered");
    event(request_id, id, 1, &payload)
}

fn deletion(request_id: &str, id: Uuid) -> Event {
    event(request_id, id, 2, &json!({"type": "PatientDeleted"}))
}

/// Recomputes positions and links of a log that a test has changed.
fn chained(mut log: Vec<Event>) -> (Vec<Event>, Option<Head>) {
    let mut hash = [0; 32];
    for (position, event) in (1..).zip(&mut log) {
        event.position = position;
        hash = link(&hash, event);
        event.hash = hex(&hash);
    }
    let head = Head {
        position: log.len() as u64,
        hash: hex(&hash),
        recorded_at: 7,
    };
    (log, Some(head))
}

fn row(id: Uuid, email: &str) -> Row {
    Row {
        id,
        details: details(email),
        sequence: 1,
        registered_at: 7,
    }
}

fn delivery(position: u64, id: Uuid, state: &str) -> Delivery {
    Delivery {
        position,
        template: "patient_registered".to_owned(),
        aggregate_id: id.to_string(),
        state: state.to_owned(),
    }
}

fn attempt(position: u64, outcome: &str) -> Attempt {
    Attempt {
        position,
        template: "patient_registered".to_owned(),
        outcome: outcome.to_owned(),
    }
}

fn arrived(position: u64, id: Uuid, email: &str) -> Arrived {
    Arrived {
        recipient: email.to_owned(),
        message_id: format!("<{position}.patient_registered.{id}@miapp.com>"),
    }
}

fn claim(id: Uuid, email: &str) -> Claim {
    Claim {
        claim: super::table::claim(email),
        aggregate_id: id,
    }
}

fn usage(memory: u64, descriptors: usize) -> Vec<Usage> {
    vec![Usage {
        role: "api 1".to_owned(),
        memory,
        descriptors,
    }]
}

/// Returns evidence without a violation: Ana and Eva are registered, Ana is deleted, and Luz registers with
/// Ana's email address.
fn evidence() -> Evidence {
    let ids = |page: &[(Uuid, &str)]| {
        page.iter()
            .map(|(id, email)| (*id, (*email).to_owned()))
            .collect()
    };
    let list = |min_position| Request::List {
        after: Uuid::nil(),
        limit: 10,
        min_position,
    };
    let (log, head) = chained(vec![
        registration("ana", ANA, "a@example.com"),
        registration("eva", EVA, "e@example.com"),
        deletion("gone", ANA),
        registration("luz", LUZ, "A@example.com"),
    ]);
    let observations = vec![
        registered("ana", 1, ANA, "a@example.com", 1),
        registered("eva", 2, EVA, "e@example.com", 2),
        observation(
            "list",
            3,
            list(Some(2)),
            Answer::Page(ids(&[(ANA, "a@example.com"), (EVA, "e@example.com")])),
        ),
        observation(
            "taken",
            4,
            registered("", 0, LUZ, "A@example.com", 0).request,
            problem(409, "email-taken"),
        ),
        observation(
            "gone",
            5,
            Request::Delete { id: ANA },
            Answer::Deleted { position: 3 },
        ),
        observation(
            "again",
            6,
            Request::Delete { id: ANA },
            problem(410, "patient-deleted"),
        ),
        observation(
            "read",
            7,
            Request::Read { id: ANA },
            problem(410, "patient-deleted"),
        ),
        registered("luz", 8, LUZ, "A@example.com", 4),
        observation(
            "list again",
            9,
            list(Some(4)),
            Answer::Page(ids(&[(EVA, "e@example.com"), (LUZ, "A@example.com")])),
        ),
    ];
    let lease = |name: &str| Lease {
        name: name.to_owned(),
        owner: "projector@host:42:0".to_owned(),
        left: 3.0,
    };
    let checkpoint = |name: &str| Checkpoint {
        name: name.to_owned(),
        position: 4,
    };
    Evidence {
        observations,
        log,
        head,
        rows: vec![row(EVA, "e@example.com"), row(LUZ, "A@example.com")],
        claims: vec![claim(EVA, "e@example.com"), claim(LUZ, "a@example.com")],
        checkpoints: vec![
            checkpoint("mailer"),
            checkpoint("patient_names"),
            checkpoint("patient_view"),
        ],
        leases: vec![lease("mailer"), lease("patient_names"), lease("patient_view")],
        failures: Vec::new(),
        deliveries: vec![
            delivery(1, ANA, "cancelled"),
            delivery(2, EVA, "sent"),
            delivery(4, LUZ, "sent"),
        ],
        attempts: vec![attempt(2, "sent"), attempt(4, "lost"), attempt(4, "sent")],
        mails: vec![
            arrived(2, EVA, "e@example.com"),
            arrived(4, LUZ, "A@example.com"),
            arrived(4, LUZ, "A@example.com"),
        ],
        running: vec![42],
        before: usage(20 << 20, 20),
        after: usage(21 << 20, 19),
        recovered_after: Some(2.0),
        incidents: Vec::new(),
    }
}

fn changes(name: Option<&str>, email: Option<&str>) -> Changes {
    Changes {
        name: name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..Changes::default()
    }
}

fn amendment(request_id: &str, id: Uuid, changes: &Changes) -> Event {
    let mut payload = serde_json::to_value(changes).unwrap();
    payload["type"] = json!("PatientAmended");
    event(request_id, id, 2, &payload)
}

fn amend(id: Uuid, changes: Changes, if_match: Option<u64>, key: Option<&str>) -> Request {
    Request::Amend {
        id,
        changes,
        if_match,
        key: key.map(str::to_owned),
    }
}

fn named(name: &str, email: &str) -> Details {
    Details {
        name: name.to_owned(),
        ..details(email)
    }
}

/// Returns the evidence above with amendments: Eva gets another name and email address, Luz gets Eva's former
/// email address by a request with a key that is repeated, and Luz is deleted.
fn amended() -> Evidence {
    let mut evidence = evidence();
    let to_eva = changes(Some("Eva"), Some("eva@example.com"));
    let to_luz = changes(Some("Luz"), Some("E@example.com"));
    let (eva, luz) = (named("Eva", "eva@example.com"), named("Luz", "E@example.com"));
    let answer = |position, details: &Details| Answer::Amended {
        position,
        details: details.clone(),
        sequence: 2,
    };
    let move_luz = || amend(LUZ, to_luz.clone(), Some(1), Some("key"));
    let phone = || Changes {
        phone: Some("456".to_owned()),
        ..Changes::default()
    };
    let mut gone = deletion("gone too", LUZ);
    gone.sequence = 3;
    evidence.log.extend([
        amendment("amend", EVA, &to_eva),
        amendment("move", LUZ, &to_luz),
        gone,
    ]);
    rechain(&mut evidence);
    let list = Request::List {
        after: Uuid::nil(),
        limit: 10,
        min_position: Some(6),
    };
    let page = Answer::Page(vec![(EVA, eva.email.clone()), (LUZ, luz.email.clone())]);
    let taken = amend(EVA, changes(None, Some("e@example.com")), None, None);
    let same = amend(EVA, changes(Some("Eva"), None), Some(2), None);
    let shown = Answer::Patient { details: eva.clone() };
    let deleted = || problem(410, "patient-deleted");
    evidence.observations.extend([
        observation(
            "amend",
            10,
            amend(EVA, to_eva.clone(), None, None),
            answer(5, &eva),
        ),
        observation("move", 11, move_luz(), Answer::Nothing),
        observation("move again", 12, move_luz(), answer(6, &luz)),
        observation("same", 13, same, answer(5, &eva)),
        observation(
            "stale",
            14,
            amend(EVA, phone(), Some(1), None),
            problem(412, "precondition-failed"),
        ),
        observation("taken again", 15, taken, problem(409, "email-taken")),
        observation("read eva", 16, Request::Read { id: EVA }, shown),
        observation("list amended", 17, list, page),
        observation(
            "gone too",
            18,
            Request::Delete { id: LUZ },
            Answer::Deleted { position: 7 },
        ),
        observation("move late", 19, move_luz(), answer(6, &luz)),
        observation("too late", 20, amend(LUZ, phone(), None, None), deleted()),
    ]);
    evidence.rows = vec![Row {
        details: eva,
        sequence: 2,
        ..row(EVA, "")
    }];
    evidence.claims = vec![claim(EVA, "eva@example.com")];
    for checkpoint in &mut evidence.checkpoints {
        checkpoint.position = 7;
    }
    for (position, id, template, email) in [
        (5, EVA, "patient_amended", "eva@example.com"),
        (5, EVA, "patient_email_changed", "e@example.com"),
        (6, LUZ, "patient_email_changed", "A@example.com"),
    ] {
        evidence.deliveries.push(Delivery {
            template: template.to_owned(),
            ..delivery(position, id, "sent")
        });
        evidence.attempts.push(Attempt {
            template: template.to_owned(),
            ..attempt(position, "sent")
        });
        evidence.mails.push(Arrived {
            recipient: email.to_owned(),
            message_id: format!("<{position}.{template}.{id}@miapp.com>"),
        });
    }
    // Luz is deleted before the email to the new address is sent.
    evidence.deliveries.push(Delivery {
        template: "patient_amended".to_owned(),
        ..delivery(6, LUZ, "cancelled")
    });
    evidence
}

/// Returns the failing claims, without duplicates.
fn objects(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(evidence(), doctor)
}

/// Returns the failing claims of the evidence with amendments, without duplicates.
fn objects_to_amended(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(amended(), doctor)
}

fn objects_in(mut evidence: Evidence, doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    doctor(&mut evidence);
    let mut claims: Vec<_> = judge(&evidence)
        .into_iter()
        .map(|anomaly| anomaly.claim)
        .collect();
    claims.dedup();
    claims
}

fn rechain(evidence: &mut Evidence) {
    (evidence.log, evidence.head) = chained(std::mem::take(&mut evidence.log));
}

fn seen<'e>(evidence: &'e mut Evidence, request_id: &str) -> &'e mut Observation {
    let mut all = evidence.observations.iter_mut();
    all.find(|observation| observation.request_id == request_id)
        .unwrap()
}

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
