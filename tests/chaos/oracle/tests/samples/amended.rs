//! Sample evidence with amendments.

use serde_json::json;
use uuid::Uuid;

use super::{
    EVA, LUZ, attempt, claim, deletion, delivery, details, event, evidence, listed, objects_in, observation,
    problem, rechain, row,
};
use crate::evidence::{Arrived, Attempt, Delivery, Event, Evidence, Row};
use crate::record::{Answer, Changes, Details, Request};

/// The name of Luz after her amendment, which has a mark.
pub(in super::super) const LUZ_NAME: &str = "Luz 03z00017";

pub(in super::super) fn changes(name: Option<&str>, email: Option<&str>) -> Changes {
    Changes {
        name: name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..Changes::default()
    }
}

pub(in super::super) fn amendment(request_id: &str, id: Uuid, changes: &Changes) -> Event {
    let mut payload = serde_json::to_value(changes).unwrap();
    payload["type"] = json!("PatientAmended");
    event(request_id, id, 2, &payload)
}

pub(in super::super) fn amend(
    id: Uuid,
    changes: Changes,
    if_match: Option<u64>,
    key: Option<&str>,
) -> Request {
    Request::Amend {
        id,
        changes,
        if_match,
        key: key.map(str::to_owned),
    }
}

pub(in super::super) fn named(name: &str, email: &str) -> Details {
    Details {
        name: name.to_owned(),
        ..details(email)
    }
}

/// Returns the evidence above with amendments: Eva gets another name and email address, Luz gets Eva's former
/// email address by a request with a key that is repeated, and Luz is deleted.
pub(in super::super) fn amended() -> Evidence {
    let mut evidence = evidence();
    let to_eva = changes(Some("Eva"), Some("eva@example.com"));
    let to_luz = changes(Some(LUZ_NAME), Some("E@example.com"));
    let (eva, luz) = (named("Eva", "eva@example.com"), named(LUZ_NAME, "E@example.com"));
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
    evidence.listed = listed(EVA).to_vec();
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
            at: 0,
        });
    }
    // Luz is deleted before the email to the new address is sent.
    evidence.deliveries.push(Delivery {
        template: "patient_amended".to_owned(),
        ..delivery(6, LUZ, "cancelled")
    });
    evidence
}

/// Returns the checks that fail, without duplicates, after `doctor` has altered the evidence of [`amended`].
pub(in super::super) fn objects_to_amended(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    objects_in(amended(), doctor)
}
