//! Sample evidence, and the claims that fail for it.

mod amended;
mod erased;

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::evidence::{
    Arrived, Attempt, Checkpoint, Claim, Delivery, Event, Evidence, Head, Keyring, Lease, Listed, Row,
    SubjectKey, Usage,
};
use crate::oracle::chain::{hex, link};
use crate::oracle::judge;
use crate::record::{Answer, Details, Observation, Request};

pub(super) use amended::{LUZ_NAME, amend, amended, amendment, changes, named, objects_to_amended};
pub(super) use erased::{NEW, erased, objects_to_erased};

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
        opened: Some(payload.clone()),
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
        started_at: 0,
    }
}

pub(super) fn arrived(position: u64, id: Uuid, email: &str) -> Arrived {
    Arrived {
        recipient: email.to_owned(),
        message_id: format!("<{position}.patient_registered.{id}@miapp.com>"),
        at: 0,
    }
}

pub(super) fn claim(id: Uuid, email: &str) -> Claim {
    Claim {
        claim: hex(&Keyring::default().claim(email)),
        aggregate_id: id,
    }
}

/// The wrapping key of all sample keys.
pub(super) const WRAPPING_KEY: &str = "0000000000000001";

/// Returns the keyring of the samples, whose secrets are zero.
fn keyring() -> Keyring {
    let mut keyring = Keyring::default();
    keyring.wrapping_keys.insert(WRAPPING_KEY.to_owned(), [0; 32]);
    keyring
}

pub(super) fn key(id: Uuid) -> SubjectKey {
    SubjectKey {
        aggregate_type: "patient".to_owned(),
        aggregate_id: id.to_string(),
        key_id: Some("00".to_owned()),
        wrapping_key: Some(WRAPPING_KEY.to_owned()),
        wrapped: Some("00".to_owned()),
        erased_at: None,
    }
}

pub(super) fn listed(id: Uuid) -> [Listed; 2] {
    ["patient_view", "patient_names"].map(|table| Listed {
        table: table.to_owned(),
        id,
    })
}

const SUBSCRIPTIONS: [&str; 4] = ["eraser", "mailer", "patient_names", "patient_view"];

fn lease(name: &str) -> Lease {
    Lease {
        name: name.to_owned(),
        owner: "projector@host:42:0".to_owned(),
        left: 3.0,
    }
}

fn checkpoint(name: &str) -> Checkpoint {
    Checkpoint {
        name: name.to_owned(),
        position: 4,
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
    Evidence {
        began_at: 0,
        observations,
        log,
        head,
        rows: vec![row(EVA, "e@example.com"), row(LUZ, "A@example.com")],
        claims: vec![claim(EVA, "e@example.com"), claim(LUZ, "a@example.com")],
        keyring: keyring(),
        keys: vec![key(ANA), key(EVA), key(LUZ)],
        listed: [listed(EVA), listed(LUZ)].concat(),
        found: Vec::new(),
        progress: Vec::new(),
        checkpoints: SUBSCRIPTIONS.map(checkpoint).to_vec(),
        leases: SUBSCRIPTIONS.map(lease).to_vec(),
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

/// Returns the failing claims, without duplicates.
pub(super) fn objects(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(evidence(), doctor)
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
