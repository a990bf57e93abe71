//! Tests with evidence of emails to erased patients.

use super::samples::{EVA, objects_to_amended, objects_to_erased};
use crate::evidence::Evidence;

#[test]
fn an_email_to_an_erased_patient_is_found() {
    // Without these emails, the mailer processed the registration or the amendment after the erasure.
    for position in [2, 5] {
        let without = |evidence: &mut Evidence| {
            evidence
                .deliveries
                .retain(|delivery| delivery.position != position);
            evidence.attempts.retain(|attempt| attempt.position != position);
            let of_position = format!("<{position}.");
            evidence
                .mails
                .retain(|mail| !mail.message_id.starts_with(&of_position));
        };
        assert_eq!(objects_to_erased(without), [""; 0]);
        assert_eq!(objects_to_amended(without), ["mail"]);
    }
    assert_eq!(
        objects_to_erased(|evidence| drop(evidence.deliveries.remove(3))),
        ["mail"]
    );
    // An erasure cancels the email to the previous address, too.
    let cancelled = |evidence: &mut Evidence| {
        evidence.deliveries[4].state = "cancelled".to_owned();
        evidence.attempts.remove(4);
        evidence.mails.remove(4);
    };
    assert_eq!(objects_to_erased(cancelled), [""; 0]);
    for state in ["pending", "failed", "sending"] {
        assert_eq!(
            objects_to_erased(|evidence| {
                cancelled(evidence);
                evidence.deliveries[4].state = state.to_owned();
            }),
            ["mail"]
        );
    }
}

#[test]
fn an_email_that_is_sent_after_a_complete_erasure_is_found() {
    let late = 23_600_000;
    assert_eq!(
        objects_to_erased(|evidence| evidence.mails[0].at = late),
        ["mail"]
    );
    assert_eq!(
        objects_to_erased(|evidence| evidence.attempts[0].started_at = late),
        ["mail"]
    );
    // The erasure was only answered as incomplete at that time.
    assert_eq!(
        objects_to_erased(|evidence| evidence.mails[0].at = 22_600_000),
        [""; 0]
    );
    // The email is transmitted before the erasure is complete, and its outcome is unknown.
    assert_eq!(
        objects_to_erased(|evidence| {
            evidence.mails[0].at = late;
            let mut unsure = evidence.attempts[0].clone();
            unsure.outcome = "unknown".to_owned();
            evidence.attempts.push(unsure);
        }),
        [""; 0]
    );
}

#[test]
fn an_email_about_an_erasure_is_found() {
    let claims = objects_to_erased(|evidence| {
        let mut mail = evidence.mails[0].clone();
        mail.message_id = format!("<9.patient_erased.{EVA}@miapp.com>");
        evidence.mails.push(mail);
    });
    assert_eq!(claims, ["mail"]);
}
