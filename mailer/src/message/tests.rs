use domain::{PATIENT_AMENDED, PATIENT_DELETED, PATIENT_REGISTERED};
use eventstore::{Hash, Position};
use serde_json::json;

use super::*;
use crate::recipient::RecipientState;

const NOW: Timestamp = Timestamp::from_micros(1_763_999_999_000_000);

fn composer(languages: &str, sender: &str) -> Composer {
    Composer::new(
        Templates::built_in().unwrap(),
        languages.parse().unwrap(),
        sender.parse().unwrap(),
    )
}

fn registered(name: &str, email: &str) -> RecordedEvent {
    RecordedEvent {
        position: Position::new(42).unwrap(),
        aggregate_type: "patient".to_owned(),
        aggregate_id: "0193a7c2-0000-7000-8000-000000000001".to_owned(),
        sequence: 1,
        event_type: PATIENT_REGISTERED.to_owned(),
        event_version: "1.0".to_owned(),
        payload: json!({
            "type": PATIENT_REGISTERED,
            "name": name,
            "email": email,
            "phone": "+1-555-123-4567",
            "document_url": "https://example.com/document.jpg",
        }),
        metadata: json!({}),
        recorded_at: Timestamp::from_micros(1_763_952_420_000_000),
        hash: Hash::default(),
        erased_at: None,
    }
}

/// Returns the recipient after only this event.
fn recipient(event: &RecordedEvent) -> Result<Recipient, DeliveryFailure> {
    let mut state = RecipientState::default();
    state.apply(event);
    state.recipient()
}

fn compose(event: &RecordedEvent) -> Result<Mail, DeliveryFailure> {
    composer("es,en", "noreply@miapp.com").compose(
        Template::PatientRegistered,
        event,
        &recipient(event)?,
        NOW,
    )
}

fn text(mail: &Mail) -> String {
    mail.content.clone()
}

/// Returns the header lines, unfolded.
fn header(mail: &Mail) -> Vec<String> {
    let text = text(mail);
    let (header, _) = text.split_once("\r\n\r\n").unwrap();
    header
        .replace("\r\n ", " ")
        .split("\r\n")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_headers_contain_sender_recipient_and_auto_submitted() {
    let mail = compose(&registered("Ana Ruiz", "ana@example.com")).unwrap();
    let header = header(&mail);
    for line in [
        "From: noreply@miapp.com",
        "To: \"Ana Ruiz\" <ana@example.com>",
        "Date: Mon, 24 Nov 2025 15:59:59 +0000",
        "Message-ID: <42.patient_registered.0193a7c2-0000-7000-8000-000000000001@miapp.com>",
        "Auto-Submitted: auto-generated",
        "Content-Language: es, en",
        "MIME-Version: 1.0",
    ] {
        assert!(
            header.iter().any(|found| found == line),
            "{line} is not in {header:#?}"
        );
    }
    assert!(
        header
            .iter()
            .any(|line| line.starts_with("Content-Type: multipart/alternative;")),
        "{header:#?}"
    );
    let text = text(&mail);
    assert!(text.find("text/plain; charset=utf-8") < text.find("text/html; charset=utf-8"));
    assert_eq!(mail.envelope.to()[0].to_string(), "ana@example.com");
}

#[test]
fn the_message_id_is_the_same_for_every_attempt_and_every_worker() {
    let event = registered("Ana", "ana@example.com");
    let id = |composer: &Composer, now| {
        let mail = composer
            .compose(
                Template::PatientRegistered,
                &event,
                &recipient(&event).unwrap(),
                now,
            )
            .unwrap();
        header(&mail)
            .into_iter()
            .find(|line| line.starts_with("Message-ID"))
            .unwrap()
    };
    let first = id(&composer("es,en", "noreply@miapp.com"), NOW);
    assert_eq!(
        first,
        id(
            &composer("en", "Clínica <other@miapp.com>"),
            NOW + Duration::from_hours(10)
        )
    );
}

#[test]
fn an_email_contains_neither_the_phone_number_nor_the_document_url() {
    let text = text(&compose(&registered("Ana", "ana@example.com")).unwrap());
    assert!(!text.contains("555") && !text.contains("document.jpg"));
}

#[test]
fn no_name_can_add_a_header_or_a_recipient() {
    for name in [
        "a\r\nBcc: x@example.org",
        "a\nBcc: x@example.org\n\nbody",
        "a\0b\u{7f}c\u{85}d",
        "\"Ana\" <x@example.org>, b",
        "<script>alert(1)</script>",
        "=?utf-8?q?x?=",
        "Ñandú, \\ \"quoted\" (comment); :",
        &"n".repeat(200),
        &"n".repeat(1200),
        &"ñ ".repeat(100),
        &"\u{1112a}\u{1112b}\u{1112c}\u{11100}".repeat(200),
        &"n\u{5b0}\u{5b1}\u{5b2}".repeat(200),
        &"علی\u{200c}رضا \u{202b}x\u{202c} ".repeat(50),
        "x",
    ] {
        let mail = compose(&registered(name, "ana@example.com")).unwrap();
        let header = header(&mail);
        assert!(
            !header.iter().any(|line| line.to_lowercase().starts_with("bcc")),
            "{header:#?}"
        );
        assert_eq!(header.iter().filter(|line| line.starts_with("To: ")).count(), 1);
        assert_eq!(mail.envelope.to().len(), 1);
        assert_eq!(mail.envelope.to()[0].to_string(), "ana@example.com");
        let text = text(&mail);
        assert!(text.is_ascii(), "{name:?} needs 8BITMIME");
        assert!(
            text.split("\r\n")
                .all(|line| line.len() <= 998 && !line.contains(['\r', '\n']))
        );
    }
}

#[test]
fn a_non_ascii_domain_is_encoded_and_a_local_part_is_unchanged() {
    let mail = compose(&registered("Ana", "ana@clínica.example")).unwrap();
    assert_eq!(mail.envelope.to()[0].to_string(), "ana@xn--clnica-4va.example");
    for (email, sent) in [
        ("peña@example.com", "peña@example.com"),
        ("info@ตัวอย่าง.ไทย", "info@xn--72c1a1bt4awk9o.xn--o3cw4h"),
        ("संपर्क@डाटामेल.भारत", "संपर्क@xn--c2bd4bq1db8d.xn--h2brj9c"),
        (
            "علی\u{200c}رضا@مثال.ایران",
            "علی\u{200c}رضا@xn--mgbh0fb.xn--mgba3a4f16a",
        ),
        ("❤\u{fe0f}@example.com", "❤\u{fe0f}@example.com"),
    ] {
        let mail = compose(&registered("Ana", email)).unwrap();
        assert_eq!(mail.envelope.to()[0].to_string(), sent);
        let head = header(&mail).join("\n");
        assert!(
            head.contains(&format!("To: \"Ana\" <{sent}>")) || head.contains(&format!("To: Ana <{sent}>")),
            "{head}"
        );
        assert_eq!(mail.is_ascii(), sent.is_ascii());
    }
}

#[test]
fn an_email_that_cannot_be_composed_is_a_failure_without_personal_data() {
    let failure = compose(&registered("Ana", "ana at example.com")).unwrap_err();
    assert_eq!(failure, DeliveryFailure::Address);

    let mut event = registered("Ana", "ana@example.com");
    event.payload["name"] = json!(42);
    let failure = compose(&event).unwrap_err();
    assert!(matches!(failure, DeliveryFailure::EventUnreadable(_)));
    assert!(!failure.to_string().contains("42"));

    event.event_type = PATIENT_DELETED.to_owned();
    event.payload = json!({ "type": PATIENT_DELETED });
    assert_eq!(compose(&event).unwrap_err(), DeliveryFailure::EventMissing);
    let other = recipient(&registered("Ana", "ana@example.com")).unwrap();
    let composed =
        composer("es", "noreply@miapp.com").compose(Template::PatientRegistered, &event, &other, NOW);
    assert_eq!(composed.unwrap_err(), DeliveryFailure::EventUnexpected);
}

#[test]
fn every_accepted_sender_can_be_used_in_an_email() {
    for sender in [
        "noreply@miapp.com",
        "Mi clínica <a@b.example>",
        "\"X, Y\" <a@b.example>",
        "a@clínica.example",
    ] {
        let event = registered("Ana", "ana@example.com");
        let mail = composer("es", sender)
            .compose(
                Template::PatientRegistered,
                &event,
                &recipient(&event).unwrap(),
                NOW,
            )
            .unwrap();
        assert!(text(&mail).is_ascii(), "{sender}");
    }
}

#[test]
fn debug_output_shows_no_content() {
    let mail = compose(&registered("Ana", "ana@example.com")).unwrap();
    assert_eq!(
        format!("{mail:?}"),
        "Mail { name: \"42-patient_registered\", .. }"
    );
}

#[test]
fn a_preview_equals_the_email_to_a_patient() {
    let mail = composer("es", "noreply@miapp.com")
        .preview(Template::PatientRegistered, None, NOW)
        .unwrap();
    assert!(text(&mail).contains("Content-Language: es\r\n"));
    assert!(text(&mail).contains("maria.jose@example.com"));
}

#[test]
fn a_test_email_goes_only_to_the_given_address() {
    let composer = composer("es,en", "noreply@miapp.com");
    let mail = composer.test(" ops@example.com ", NOW).unwrap();
    assert!(header(&mail).contains(&"To: ops@example.com".to_owned()));
    for wrong in ["", "ops", "ops@example.com\r\nBcc: x@example.com", "a@b, c@d"] {
        assert_eq!(
            composer.test(wrong, NOW).unwrap_err(),
            DeliveryFailure::Address,
            "{wrong:?}"
        );
    }
}

#[test]
fn replies_and_bounces_go_to_the_configured_addresses() {
    let event = registered("Ana", "ana@example.com");
    let mail = composer("es,en", "Mi clínica <noreply@miapp.com>")
        .with_reply_to("Recepción <desk@miapp.com>".parse().unwrap())
        .with_envelope_from("bounces@miapp.com".parse().unwrap())
        .compose(
            Template::PatientRegistered,
            &event,
            &recipient(&event).unwrap(),
            NOW,
        )
        .unwrap();
    assert_eq!(mail.envelope.from().unwrap().to_string(), "bounces@miapp.com");
    let header = header(&mail);
    let from = header.iter().find(|line| line.starts_with("From: ")).unwrap();
    assert!(from.ends_with(" <noreply@miapp.com>"), "{from}");
    let reply_to = "Reply-To: =?utf-8?b?UmVjZXBjacOzbg==?= <desk@miapp.com>";
    assert!(header.iter().any(|line| line == reply_to), "{header:#?}");
}

fn amended(changes: &[(&str, &str)]) -> RecordedEvent {
    let mut event = registered("", "");
    event.sequence = 2;
    event.event_type = PATIENT_AMENDED.to_owned();
    event.payload = json!({ "type": PATIENT_AMENDED });
    for (field, value) in changes {
        event.payload[*field] = json!(value);
    }
    event
}

#[test]
fn the_recipient_is_the_patient_after_the_events_applied_so_far() {
    let mut state = RecipientState::default();
    assert_eq!(state.recipient().unwrap_err(), DeliveryFailure::EventMissing);
    state.apply(&registered("Ana", "ana@example.com"));
    state.apply(&amended(&[("email", "new@example.com")]));
    state.apply(&amended(&[("name", "Ana Ruiz"), ("phone", "+15551234567")]));
    let recipient = state.recipient().unwrap();
    assert_eq!(
        (&*recipient.name, &*recipient.email),
        ("Ana Ruiz", "new@example.com")
    );
    assert!(!format!("{state:?} {recipient:?}").contains("Ana"));

    // The event may have changed the address, so the address is unknown.
    let mut unreadable = state.clone();
    let mut moved = amended(&[]);
    moved.event_type = "PatientMoved".to_owned();
    unreadable.apply(&moved);
    unreadable.apply(&amended(&[("name", "Ana"), ("email", "ana@example.com")]));
    assert!(matches!(
        unreadable.recipient(),
        Err(DeliveryFailure::EventUnreadable(_))
    ));

    let mut deleted = registered("", "");
    deleted.event_type = PATIENT_DELETED.to_owned();
    deleted.payload = json!({ "type": PATIENT_DELETED });
    state.apply(&deleted);
    assert!(state.is_deleted());
    assert_eq!(state.recipient().unwrap_err(), DeliveryFailure::EventMissing);
}

#[test]
fn the_notice_to_the_previous_address_needs_a_change_of_the_address() {
    let to = recipient(&registered("Ana", "old@example.com")).unwrap();
    let composer = composer("es,en", "noreply@miapp.com");
    let phone = amended(&[("phone", "+15551234567")]);
    let refused = composer.compose(Template::PatientEmailChanged, &phone, &to, NOW);
    assert_eq!(refused.unwrap_err(), DeliveryFailure::EventUnexpected);

    let email = amended(&[("email", "new@example.com"), ("phone", "+15551234567")]);
    for template in [Template::PatientAmended, Template::PatientEmailChanged] {
        let mail = composer.compose(template, &email, &to, NOW).unwrap();
        assert_eq!(mail.envelope.to()[0].to_string(), "old@example.com");
        assert_eq!(mail.name, format!("42-{}", template.name()));
        let text = text(&mail).replace("=\r\n", "");
        assert!(text.contains("0193a7c2-0000-7000-8000-000000000001"), "{text}");
        assert!(!text.contains("new@") && !text.contains("1234567"), "{text}");
    }
}
