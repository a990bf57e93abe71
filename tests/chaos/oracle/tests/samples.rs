//! Sample evidence, and the claims that fail for it.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::evidence::{
    Arrived, Attempt, Checkpoint, Claim, Delivery, Event, Evidence, Head, Lease, Row, Usage,
};
use crate::oracle::chain::{hex, link};
use crate::oracle::judge;
use crate::record::{Answer, Changes, Details, Observation, Request};

pub(super) const ANA: Uuid = Uuid::from_u128(1);
pub(super) const EVA: Uuid = Uuid::from_u128(2);
pub(super) const LUZ: Uuid = Uuid::from_u128(3);

pub(super) fn details(email: &str) -> Details {
    Details {
        name: "María".to_owned(),
        email: email.to_owned(),
        phone: "123".to_owned(),
        document_url: "https://example.com".to_owned(),
    }
}

/// Returns an observation of a request that took half a second from `began`.
pub(super) fn observation(request_id: &str, began: u64, request: Request, answer: Answer) -> Observation {
    Observation {
        request_id: request_id.to_owned(),
        client: 0,
        began: Duration::from_secs(began),
        ended: Duration::from_millis(began * 1000 + 500),
        request,
        answer,
    }
}

pub(super) fn registered(request_id: &str, began: u64, id: Uuid, email: &str, position: u64) -> Observation {
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

pub(super) fn problem(status: u16, slug: &str) -> Answer {
    Answer::Problem {
        status,
        slug: slug.to_owned(),
    }
}

pub(super) fn event(request_id: &str, id: Uuid, sequence: u64, payload: &serde_json::Value) -> Event {
    Event {
        position: 0,
        aggregate_type: "patient".to_owned(),
        aggregate_id: id.to_string(),
        sequence,
        event_type: payload["type"].as_str().unwrap().to_owned(),
        event_version: "1.0".to_owned(),
        payload: payload.to_string(),
        opened: payload.clone(),
        metadata: json!({"request_id": request_id, "actor": "anonymous"}).to_string(),
        recorded_at: 7,
        hash: String::new(),
    }
}

pub(super) fn registration(request_id: &str, id: Uuid, email: &str) -> Event {
    let mut payload = serde_json::to_value(details(email)).unwrap();
    payload["type"] = json!("PatientRegistered");
    event(request_id, id, 1, &payload)
}

pub(super) fn deletion(request_id: &str, id: Uuid) -> Event {
    event(request_id, id, 2, &json!({"type": "PatientDeleted"}))
}

/// Recomputes positions and links of a log that a test has changed.
pub(super) fn chained(mut log: Vec<Event>) -> (Vec<Event>, Option<Head>) {
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

pub(super) fn row(id: Uuid, email: &str) -> Row {
    Row {
        id,
        details: details(email),
        sequence: 1,
        registered_at: 7,
    }
}

pub(super) fn delivery(position: u64, id: Uuid, state: &str) -> Delivery {
    Delivery {
        position,
        template: "patient_registered".to_owned(),
        aggregate_id: id.to_string(),
        state: state.to_owned(),
    }
}

pub(super) fn attempt(position: u64, outcome: &str) -> Attempt {
    Attempt {
        position,
        template: "patient_registered".to_owned(),
        outcome: outcome.to_owned(),
    }
}

pub(super) fn arrived(position: u64, id: Uuid, email: &str) -> Arrived {
    Arrived {
        recipient: email.to_owned(),
        message_id: format!("<{position}.patient_registered.{id}@miapp.com>"),
    }
}

pub(super) fn claim(id: Uuid, email: &str) -> Claim {
    Claim {
        claim: crate::oracle::table::claim(email),
        aggregate_id: id,
    }
}

pub(super) fn usage(memory: u64, descriptors: usize) -> Vec<Usage> {
    vec![Usage {
        role: "api 1".to_owned(),
        memory,
        descriptors,
    }]
}

/// Returns evidence without a violation: Ana and Eva are registered, Ana is deleted, and Luz registers with
/// Ana's email address.
pub(super) fn evidence() -> Evidence {
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

pub(super) fn changes(name: Option<&str>, email: Option<&str>) -> Changes {
    Changes {
        name: name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..Changes::default()
    }
}

pub(super) fn amendment(request_id: &str, id: Uuid, changes: &Changes) -> Event {
    let mut payload = serde_json::to_value(changes).unwrap();
    payload["type"] = json!("PatientAmended");
    event(request_id, id, 2, &payload)
}

pub(super) fn amend(id: Uuid, changes: Changes, if_match: Option<u64>, key: Option<&str>) -> Request {
    Request::Amend {
        id,
        changes,
        if_match,
        key: key.map(str::to_owned),
    }
}

pub(super) fn named(name: &str, email: &str) -> Details {
    Details {
        name: name.to_owned(),
        ..details(email)
    }
}

/// Returns the evidence above with amendments: Eva gets another name and email address, Luz gets Eva's former
/// email address by a request with a key that is repeated, and Luz is deleted.
pub(super) fn amended() -> Evidence {
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
pub(super) fn objects(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(evidence(), doctor)
}

/// Returns the checks that fail, without duplicates, after `doctor` has altered the evidence of [`amended`].
pub(super) fn objects_to_amended(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(amended(), doctor)
}

pub(super) fn objects_in(mut evidence: Evidence, doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    doctor(&mut evidence);
    let mut claims: Vec<_> = judge(&evidence)
        .into_iter()
        .map(|anomaly| anomaly.claim)
        .collect();
    claims.dedup();
    claims
}

pub(super) fn rechain(evidence: &mut Evidence) {
    (evidence.log, evidence.head) = chained(std::mem::take(&mut evidence.log));
}

pub(super) fn seen<'e>(evidence: &'e mut Evidence, request_id: &str) -> &'e mut Observation {
    let mut all = evidence.observations.iter_mut();
    all.find(|observation| observation.request_id == request_id)
        .unwrap()
}
