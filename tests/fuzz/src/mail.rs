//! The email that confirms a registration.

use std::sync::LazyLock;

use domain::{Email, Name, PATIENT_REGISTERED};
use eventstore::{Hash, Position, RecordedEvent, Timestamp};
use mailer::{Composer, Languages, Mail, RecipientState, Sender, Template, Templates};
use serde_json::json;

static COMPOSER: LazyLock<Composer> = LazyLock::new(|| {
    Composer::new(
        Templates::built_in().unwrap(),
        Languages::default(),
        Sender::default(),
    )
});

/// The header fields of every email, in order.
const FIELDS: [&str; 9] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
];

/// Composes the email to the address on the first line, for a patient whose name is the rest of the text.
/// Every patient who can be registered can receive email. Neither name nor address changes the structure or
/// the recipient of the email, whether they are valid or not.
pub fn mail(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (email, name) = crate::first_line(text);
    match registered(name, email) {
        Ok(mail) => well_formed(mail.content(), email),
        Err(_) => assert!(
            Name::parse(name).is_err() || Email::parse(email).is_err(),
            "somebody who can be registered cannot be written to"
        ),
    }
}

/// Composes the email that confirms the registration of a patient with this name and address.
pub(crate) fn registered(name: &str, email: &str) -> Result<Mail, mailer::DeliveryFailure> {
    let event = RecordedEvent {
        position: Position::BEGINNING.next(),
        aggregate_type: "patient".to_owned(),
        aggregate_id: "01a20c52-84f4-752b-9b94-14a23061549a".to_owned(),
        sequence: 1,
        event_type: PATIENT_REGISTERED.to_owned(),
        event_version: "1.0".to_owned(),
        payload: json!({
            "type": PATIENT_REGISTERED,
            "name": name.trim_matches(' '),
            "email": email.trim_matches(' '),
            "phone": "112",
            "document_url": "https://example.com/",
        }),
        metadata: json!({}),
        recorded_at: Timestamp::from_micros(1_763_952_420_000_000),
        hash: Hash::default(),
        erased_at: None,
    };
    let mut state = RecipientState::default();
    state.apply(&event);
    COMPOSER.compose(
        Template::PatientRegistered,
        &event,
        &state.recipient()?,
        Timestamp::from_micros(1_763_999_999_000_000),
    )
}

fn well_formed(content: &str, email: &str) {
    for line in content.split("\r\n") {
        assert!(line.len() <= 998, "RFC 5322, section 2.1.1");
        assert!(
            !line.contains(['\r', '\n', '\0']),
            "a server may see a line break where there is none"
        );
    }
    let (head, _) = content.split_once("\r\n\r\n").unwrap();
    let fields: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split_once(':').expect("a header field").0)
        .collect();
    assert_eq!(fields, FIELDS);
    // The part of the address before the `@` is unchanged.
    let local_part = email.trim_matches(' ').rsplit_once('@').unwrap().0;
    let head = head.replace("\r\n ", " ");
    let to = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("To: "))
        .unwrap();
    assert!(to.contains(local_part), "{to}");
    assert!(content.is_ascii() || !local_part.is_ascii());
}
