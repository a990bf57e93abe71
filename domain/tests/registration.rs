//! Tests that all invalid fields of a registration are reported together, and that neither errors nor debug
//! output reveal patient data.

use domain::{
    ControlCharacter, DocumentUrlError, EmailError, NameError, Patient, PatientCommand, PatientEvent,
    PhoneError, Registration, UrlSchemes, ValueError,
};

#[test]
fn values_are_trimmed_and_otherwise_unchanged() {
    let registration = Registration::parse(
        "  José  Núñez \t",
        "\u{feff}Jose@Example.COM ",
        " (555)123-4567x890\u{202c}",
        "\u{a0}HTTP://example.com\n",
    )
    .unwrap();
    assert_eq!(registration.name.as_str(), "José  Núñez");
    assert_eq!(registration.email.as_str(), "Jose@Example.COM");
    assert_eq!(registration.phone.as_str(), "(555)123-4567x890");
    assert_eq!(registration.document_url.as_str(), "HTTP://example.com");
}

#[test]
fn all_invalid_fields_are_reported_together_and_in_order() {
    let errors = Registration::parse("", "ana@localhost", "call me", "photo.jpg").unwrap_err();
    let reported: Vec<_> = errors
        .iter()
        .map(|error| (error.field, error.error.clone()))
        .collect();
    assert_eq!(
        reported,
        [
            ("name", ValueError::Name(NameError::Empty)),
            ("email", ValueError::Email(EmailError::IncompleteDomain)),
            ("phone", ValueError::Phone(PhoneError::TooFewDigits)),
            (
                "document_url",
                ValueError::DocumentUrl(DocumentUrlError::Scheme(UrlSchemes::default()))
            ),
        ]
    );
}

#[test]
fn valid_fields_are_not_reported() {
    let errors =
        Registration::parse("Ana", "ana@example.com", "1", "https://example.com/photo.jpg").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "phone must contain at least 2 digits");
    assert_eq!(errors[0].error.to_string(), "must contain at least 2 digits");
}

#[test]
fn a_control_character_is_rejected_in_every_field_and_surrounding_white_space_is_dropped() {
    for control in [
        '\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}',
    ] {
        let hide_in = |text: &str| {
            let (start, end) = text.split_at(3);
            [
                format!("{control}{text}"),
                format!("{text}{control}"),
                format!("{start}{control}{end}"),
            ]
        };
        let [names, emails, phones, urls] =
            ["Ana Ruiz", "ana@example.com", "5551234567", "https://example.com"].map(hide_in);
        for place in 0..3 {
            let parsed = Registration::parse(&names[place], &emails[place], &phones[place], &urls[place]);
            if control.is_whitespace() && place < 2 {
                assert!(parsed.is_ok(), "U+{:04X}", u32::from(control));
                continue;
            }
            let errors = parsed.unwrap_err();
            let reported: Vec<_> = errors.into_iter().map(|error| error.error).collect();
            assert_eq!(
                reported,
                [
                    ValueError::Name(ControlCharacter.into()),
                    ValueError::Email(ControlCharacter.into()),
                    ValueError::Phone(ControlCharacter.into()),
                    ValueError::DocumentUrl(ControlCharacter.into()),
                ],
                "U+{:04X}",
                u32::from(control)
            );
        }
    }
}

#[test]
fn an_error_never_repeats_the_input() {
    let secret = "zqwv";
    let long = secret.repeat(600);
    let bad = [
        [long.as_str(), &long, &long, &long],
        ["zqwv\n", "zqwv", "zqwv", "zqwv"],
        ["", "zqwv@zqwv", "1zqwv", "ftp://zqwv"],
        [
            "",
            "\"zqwv\"@example.com",
            "123x zqwv",
            "https://zqwv:zqwv@example.com",
        ],
        ["", "zqwv@[192.0.2.1]", "123+zqwv", "https://zqwv:port"],
        ["", "zqwv zqwv@example.com", "12 x 7", "https://zqwv zqwv"],
        ["", "Zqwv <zqwv@example.com>", "", "https://[zqwv]"],
        ["", "zqwv@zq_wv.com", "", "https:///zqwv"],
    ];
    for [name, email, phone, document_url] in bad {
        for error in Registration::parse(name, email, phone, document_url).unwrap_err() {
            let told = format!("{error} {error:?}").to_lowercase();
            assert!(!told.contains(secret), "{told}");
        }
    }
}

#[test]
fn debug_output_shows_no_personal_data() {
    use cqrs_es::Aggregate;

    let registration =
        Registration::parse("Zqwv", "zqwv@example.com", "5550199", "https://example.com/zqwv").unwrap();
    let event = PatientEvent::from(registration.clone());
    let mut patient = Patient::default();
    patient.apply(event.clone());
    let command = PatientCommand::RegisterPatient(registration);

    let debug = format!("{command:?} {event:?} {patient:?}").to_lowercase();
    assert!(
        !debug.contains("zqwv") && !debug.contains("555") && !debug.contains("example"),
        "{debug}"
    );
    assert!(debug.contains("patientregistered"), "{debug}");
}
