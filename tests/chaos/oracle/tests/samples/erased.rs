//! Sample evidence with erasures.

use serde_json::json;
use uuid::Uuid;

use super::{
    EVA, LUZ, LUZ_NAME, amend, amended, arrived, attempt, changes, claim, deletion, delivery, details, event,
    key, listed, objects_in, observation, problem, rechain, registered, registration, row, seen,
};
use crate::evidence::{Event, Evidence, Found, Progress, SubjectKey};
use crate::record::{Answer, Request};

/// A patient who registers with the email address of an erased patient.
pub(in super::super) const NEW: Uuid = Uuid::from_u128(4);

fn erasure(request_id: &str, id: Uuid, sequence: u64) -> Event {
    let payload = json!({ "type": "PatientErased", "reason": "request", "scope": "full" });
    event(request_id, id, sequence, &payload)
}

/// Returns the evidence with amendments, followed by erasures: Eva, who is active, is erased by a request
/// that is repeated twice, Luz is erased after her deletion, and another patient registers with Eva's email
/// address.
pub(in super::super) fn erased() -> Evidence {
    let mut evidence = amended();
    let mut gone = deletion("erase eva", EVA);
    gone.sequence = 3;
    evidence.log.extend([
        gone,
        erasure("erase eva", EVA, 4),
        erasure("erase luz", LUZ, 4),
        registration("new", NEW, "eva@example.com"),
    ]);
    rechain(&mut evidence);
    for event in &mut evidence.log {
        let is_personal = event.is_registration() || event.is_amendment();
        if is_personal && event.id().is_some_and(|id| id == EVA || id == LUZ) {
            event.opened = None;
        }
    }
    let with_key = Request::Register {
        details: details("A@example.com"),
        key: Some("luz".to_owned()),
    };
    seen(&mut evidence, "luz").request = with_key.clone();
    let answer = |position, complete| Answer::Erased { position, complete };
    let erase = |id| Request::Erase { id };
    let refused = || problem(410, "patient-erased");
    let name = || changes(Some("Eve"), None);
    let moved = amend(
        LUZ,
        changes(Some(LUZ_NAME), Some("E@example.com")),
        Some(1),
        Some("key"),
    );
    let list = Request::List {
        after: Uuid::nil(),
        limit: 10,
        min_position: Some(11),
    };
    evidence.observations.extend([
        observation("erase eva", 21, erase(EVA), Answer::Nothing),
        observation("erase eva again", 22, erase(EVA), answer(9, false)),
        observation("erase eva late", 23, erase(EVA), answer(9, true)),
        observation("read erased", 24, Request::Read { id: EVA }, refused()),
        observation("amend erased", 25, amend(EVA, name(), None, None), refused()),
        observation("delete erased", 26, Request::Delete { id: EVA }, refused()),
        observation("erase luz", 27, erase(LUZ), answer(10, true)),
        observation("move erased", 28, moved, refused()),
        observation("luz again", 29, with_key, refused()),
        registered("new", 30, NEW, "eva@example.com", 11),
        observation(
            "list erased",
            31,
            list,
            Answer::Page(vec![(NEW, "eva@example.com".to_owned())]),
        ),
    ]);
    for destroyed in &mut evidence.keys[1..] {
        *destroyed = SubjectKey {
            wrapping_key: None,
            wrapped: None,
            erased_at: Some(7),
            ..destroyed.clone()
        };
    }
    evidence.keys.push(key(NEW));
    evidence.rows = vec![row(NEW, "eva@example.com")];
    evidence.listed = listed(NEW).to_vec();
    evidence.claims = vec![claim(NEW, "eva@example.com")];
    // A mark of a patient who was not erased.
    evidence.found = vec![Found {
        place: "patient_view.name".to_owned(),
        mark: "01z00001".to_owned(),
    }];
    evidence.progress = [(EVA, 9), (LUZ, 10)]
        .map(|(id, position)| Progress {
            id,
            position,
            complete: true,
        })
        .to_vec();
    for checkpoint in &mut evidence.checkpoints {
        checkpoint.position = 11;
    }
    evidence.deliveries.push(delivery(11, NEW, "sent"));
    evidence.attempts.push(attempt(11, "sent"));
    evidence.mails.push(arrived(11, NEW, "eva@example.com"));
    evidence
}

/// Returns the checks that fail, without duplicates, after `doctor` has altered the evidence of [`erased`].
pub(in super::super) fn objects_to_erased(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(erased(), doctor)
}
