//! Tests of a patient's business rules, in given/when/then form.

use chrono::NaiveDate;
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use domain::PatientCommand::{
    AmendPatient, DeletePatient, ErasePatient, HoldPatient, ImportPatient, RegisterPatient, ReleaseHold,
};
use domain::{
    Amendment, ErasureReason, ErasureScope, Hold, HoldReason, Import, ImportSource, ImportSourceError,
    ImportedFrom, OldId, OldIdError, Patient, PatientCommand, PatientDetails, PatientError, PatientEvent,
    PatientState, Registration, UrlSchemes, evolve,
};

type PatientTest = TestFramework<Patient>;

const NAME: &str = "John Doe";
const EMAIL: &str = "john@example.com";
const PHONE: &str = "+1234567890";
const DOCUMENT_URL: &str = "https://example.com/photo.jpg";

fn john() -> Registration {
    let Ok(registration) = Registration::parse(NAME, EMAIL, PHONE, DOCUMENT_URL) else {
        unreachable!("the sample registration is valid");
    };
    registration
}

fn john_registered() -> PatientEvent {
    PatientEvent::PatientRegistered {
        name: NAME.to_owned(),
        email: EMAIL.to_owned(),
        phone: PHONE.to_owned(),
        document_url: DOCUMENT_URL.to_owned(),
        imported_from: None,
        confirmation: true,
    }
}

fn import() -> PatientCommand {
    ImportPatient(Box::new(Import {
        registration: john(),
        source: "patients".parse().unwrap_or_default(),
        old_id: OldId::parse("17").unwrap_or_else(|_| unreachable!("the id is valid")),
        confirmation: false,
    }))
}

#[test]
fn an_imported_patient_is_registered_with_its_old_id_and_without_an_email() {
    PatientTest::with(())
        .given_no_previous_events()
        .when(import())
        .then_expect_events(vec![PatientEvent::PatientRegistered {
            name: NAME.to_owned(),
            email: EMAIL.to_owned(),
            phone: PHONE.to_owned(),
            document_url: DOCUMENT_URL.to_owned(),
            imported_from: Some(ImportedFrom {
                source: "patients".to_owned(),
                id: "17".to_owned(),
            }),
            confirmation: false,
        }]);
}

#[test]
fn a_patient_is_imported_once_also_after_a_deletion() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(import())
        .then_expect_error(PatientError::AlreadyRegistered);
    PatientTest::with(())
        .given(vec![john_registered(), deleted()])
        .when(import())
        .then_expect_error(PatientError::Deleted);
}

#[test]
fn an_old_id_and_a_source_are_short_texts_without_control_characters() {
    let parsed = |text: &str| OldId::parse(text).map(|id| id.as_str().to_owned());
    assert_eq!(parsed(" 17\t"), Ok("17".to_owned()));
    assert_eq!(parsed(" \n"), Err(OldIdError::Empty));
    assert_eq!(parsed("1\n7"), Err(OldIdError::ControlCharacter));
    assert_eq!(parsed(&"ñ".repeat(128)), Ok("ñ".repeat(128)));
    assert_eq!(parsed(&"ñ".repeat(129)), Err(OldIdError::TooLong));
    for source in ["patients", "clinic-2.old_ids"] {
        assert_eq!(
            source.parse::<ImportSource>().map(|source| source.to_string()),
            Ok(source.to_owned())
        );
    }
    for source in ["", "a b", "a\0b", "ñ", &"a".repeat(65)] {
        assert_eq!(source.parse::<ImportSource>(), Err(ImportSourceError));
    }
    // Logs may contain debug output, but no personal data.
    let import = import();
    assert!(!format!("{import:?}").contains("17"), "{import:?}");
}

fn deleted() -> PatientEvent {
    PatientEvent::PatientDeleted {}
}

#[test]
fn a_new_patient_is_registered_with_the_given_values() {
    PatientTest::with(())
        .given_no_previous_events()
        .when(RegisterPatient(john()))
        .then_expect_events(vec![john_registered()]);
}

#[test]
fn a_registered_patient_cannot_be_registered_again() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(RegisterPatient(john()))
        .then_expect_error(PatientError::AlreadyRegistered);
}

#[test]
fn the_id_of_a_deleted_patient_cannot_be_reused() {
    PatientTest::with(())
        .given(vec![john_registered(), deleted()])
        .when(RegisterPatient(john()))
        .then_expect_error(PatientError::Deleted);
}

#[test]
fn a_registered_patient_is_deleted() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(DeletePatient {
            expected_sequences: None,
        })
        .then_expect_events(vec![deleted()]);
}

fn erased() -> PatientEvent {
    PatientEvent::PatientErased {
        reason: ErasureReason::Request,
        scope: ErasureScope::Full,
    }
}

fn erase() -> domain::PatientCommand {
    erase_on(10)
}

fn erase_on(day: u32) -> domain::PatientCommand {
    ErasePatient {
        reason: ErasureReason::Request,
        scope: ErasureScope::Full,
        today: january(day),
    }
}

fn january(day: u32) -> NaiveDate {
    let Some(day) = NaiveDate::from_ymd_opt(2031, 1, day) else {
        unreachable!("January has this day");
    };
    day
}

fn hold(last_day: u32) -> Hold {
    Hold {
        until: january(last_day),
        reason: HoldReason::LegalClaim,
    }
}

fn held(last_day: u32) -> PatientEvent {
    let Hold { until, reason } = hold(last_day);
    PatientEvent::PatientHeld { until, reason }
}

fn released() -> PatientEvent {
    PatientEvent::PatientHoldReleased {}
}

#[test]
fn a_patient_with_a_hold_is_not_erased_until_the_last_day_has_passed() {
    for before in [vec![john_registered()], vec![john_registered(), deleted()]] {
        let given = |holds: &[PatientEvent]| PatientTest::with(()).given([&before[..], holds].concat());
        for day in [1, 10] {
            given(&[held(10)])
                .when(erase_on(day))
                .then_expect_error(PatientError::Held { until: january(10) });
        }
        let erased: Vec<_> = [deleted(), erased()].into_iter().skip(before.len() - 1).collect();
        given(&[held(10)])
            .when(erase_on(11))
            .then_expect_events(erased.clone());
        given(&[held(10), released()])
            .when(erase_on(1))
            .then_expect_events(erased);
        // A later hold replaces the earlier hold.
        given(&[held(10), held(20)])
            .when(erase_on(11))
            .then_expect_error(PatientError::Held { until: january(20) });
    }
}

#[test]
fn a_hold_is_recorded_once_and_released_once() {
    let given = |events: Vec<PatientEvent>| PatientTest::with(()).given(events);
    given(vec![john_registered()])
        .when(HoldPatient(hold(10)))
        .then_expect_events(vec![held(10)]);
    given(vec![john_registered(), held(10)])
        .when(HoldPatient(hold(10)))
        .then_expect_events(vec![]);
    given(vec![john_registered(), held(10)])
        .when(HoldPatient(hold(9)))
        .then_expect_events(vec![held(9)]);
    given(vec![john_registered(), deleted()])
        .when(HoldPatient(hold(9)))
        .then_expect_events(vec![held(9)]);
    given(vec![john_registered(), held(10)])
        .when(ReleaseHold)
        .then_expect_events(vec![released()]);
    for without in [
        vec![john_registered()],
        vec![john_registered(), held(10), released()],
    ] {
        given(without).when(ReleaseHold).then_expect_events(vec![]);
    }
    for command in [HoldPatient(hold(10)), ReleaseHold] {
        given(vec![])
            .when(command.clone())
            .then_expect_error(PatientError::NotFound);
        given(vec![john_registered(), deleted(), erased()])
            .when(command)
            .then_expect_error(PatientError::Erased);
    }
}

#[test]
fn a_hold_does_not_change_the_details() {
    let mut patient = Patient::default();
    for event in [john_registered(), held(10)] {
        patient.apply(event);
    }
    assert_eq!(patient.details().unwrap().name, NAME);
    patient.apply(deleted());
    patient.apply(held(20));
    assert_eq!((patient.state(), patient.sequence()), (&PatientState::Deleted, 4));
    assert_eq!(patient.hold(), Some(&hold(20)));
}

#[test]
fn an_active_patient_is_deleted_and_erased_together() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(erase())
        .then_expect_events(vec![deleted(), erased()]);
}

#[test]
fn a_deleted_patient_is_erased_once() {
    PatientTest::with(())
        .given(vec![john_registered(), deleted()])
        .when(erase())
        .then_expect_events(vec![erased()]);
    PatientTest::with(())
        .given(vec![john_registered(), deleted(), erased()])
        .when(erase())
        .then_expect_error(PatientError::Erased);
    PatientTest::with(())
        .given_no_previous_events()
        .when(erase())
        .then_expect_error(PatientError::NotFound);
}

#[test]
fn an_erased_patient_accepts_no_command() {
    let given = || PatientTest::with(()).given(vec![john_registered(), deleted(), erased()]);
    given()
        .when(RegisterPatient(john()))
        .then_expect_error(PatientError::Erased);
    given()
        .when(DeletePatient {
            expected_sequences: Some(vec![2]),
        })
        .then_expect_error(PatientError::Erased);
    given()
        .when(amend(amendment(Some("Jon"), None)))
        .then_expect_error(PatientError::Erased);
}

#[test]
fn a_patient_is_deleted_at_the_sequence_the_caller_has_seen() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(DeletePatient {
            expected_sequences: Some(vec![3, 1]),
        })
        .then_expect_events(vec![deleted()]);
}

#[test]
fn a_patient_is_not_deleted_at_another_sequence() {
    for expected in [vec![0], vec![2, u64::MAX], vec![]] {
        PatientTest::with(())
            .given(vec![john_registered()])
            .when(DeletePatient {
                expected_sequences: Some(expected),
            })
            .then_expect_error(PatientError::SequenceMismatch { actual: 1 });
    }
}

#[test]
fn a_patient_who_was_never_registered_is_not_found_whatever_sequence_was_expected() {
    for expected_sequences in [None, Some(vec![0]), Some(vec![7])] {
        PatientTest::with(())
            .given_no_previous_events()
            .when(DeletePatient { expected_sequences })
            .then_expect_error(PatientError::NotFound);
    }
}

#[test]
fn a_patient_is_deleted_once_whatever_sequence_was_expected() {
    for expected_sequences in [None, Some(vec![1]), Some(vec![2, 7])] {
        PatientTest::with(())
            .given(vec![john_registered(), deleted()])
            .when(DeletePatient { expected_sequences })
            .then_expect_error(PatientError::Deleted);
    }
}

fn amendment(name: Option<&str>, email: Option<&str>) -> Amendment {
    let Ok(amendment) = Amendment::parse_with(name, email, None, None, &UrlSchemes::default()) else {
        unreachable!("the sample values are valid");
    };
    amendment
}

fn amended(name: Option<&str>, email: Option<&str>) -> PatientEvent {
    PatientEvent::PatientAmended {
        name: name.map(ToOwned::to_owned),
        email: email.map(ToOwned::to_owned),
        phone: None,
        document_url: None,
    }
}

fn amend(amendment: Amendment) -> domain::PatientCommand {
    AmendPatient {
        amendment,
        expected_sequences: None,
    }
}

#[test]
fn an_amendment_records_only_the_fields_that_change() {
    PatientTest::with(())
        .given(vec![john_registered()])
        .when(amend(amendment(Some("Jon Doe"), Some(EMAIL))))
        .then_expect_events(vec![amended(Some("Jon Doe"), None)]);
}

#[test]
fn an_amendment_is_compared_with_the_newest_values() {
    PatientTest::with(())
        .given(vec![john_registered(), amended(Some("Jon Doe"), None)])
        .when(amend(amendment(Some(NAME), None)))
        .then_expect_events(vec![amended(Some(NAME), None)]);
}

#[test]
fn an_amendment_that_changes_nothing_records_nothing() {
    for amendment in [Amendment::default(), amendment(Some(NAME), Some(EMAIL))] {
        PatientTest::with(())
            .given(vec![john_registered()])
            .when(amend(amendment))
            .then_expect_events(vec![]);
    }
}

#[test]
fn only_an_active_patient_at_the_expected_sequence_is_amended() {
    let new_name = || amendment(Some("Jon Doe"), None);
    PatientTest::with(())
        .given_no_previous_events()
        .when(amend(new_name()))
        .then_expect_error(PatientError::NotFound);
    PatientTest::with(())
        .given(vec![john_registered(), deleted()])
        .when(amend(new_name()))
        .then_expect_error(PatientError::Deleted);
    for expected in [vec![0], vec![1, 3], vec![]] {
        PatientTest::with(())
            .given(vec![john_registered(), amended(None, Some("j@example.com"))])
            .when(AmendPatient {
                amendment: new_name(),
                expected_sequences: Some(expected),
            })
            .then_expect_error(PatientError::SequenceMismatch { actual: 2 });
    }
}

#[test]
fn an_amendment_changes_its_fields_and_keeps_the_others() {
    let john = PatientDetails::from(john());
    let after = evolve(Some(john.clone()), amended(Some("Jon Doe"), None));
    assert_eq!(
        after,
        Some(PatientDetails {
            name: "Jon Doe".to_owned(),
            ..john
        })
    );
    assert_eq!(evolve(None, amended(Some("Jon Doe"), None)), None);
}

#[test]
fn all_invalid_fields_of_an_amendment_are_reported_together() {
    let schemes = UrlSchemes::default();
    let refused = Amendment::parse_with(Some(" "), Some("x"), None, Some("x"), &schemes).unwrap_err();
    let fields: Vec<_> = refused.iter().map(|error| error.field).collect();
    assert_eq!(fields, ["name", "email", "document_url"]);
}

#[test]
fn the_state_and_the_sequence_follow_the_events() {
    let mut patient = Patient::default();
    assert_eq!(
        (patient.state(), patient.sequence()),
        (&PatientState::Unregistered, 0)
    );

    patient.apply(john_registered());
    let details = PatientDetails {
        name: NAME.to_owned(),
        email: EMAIL.to_owned(),
        phone: PHONE.to_owned(),
        document_url: DOCUMENT_URL.to_owned(),
    };
    assert_eq!(
        (patient.state(), patient.sequence()),
        (&PatientState::Active(details), 1)
    );

    patient.apply(deleted());
    assert_eq!((patient.state(), patient.sequence()), (&PatientState::Deleted, 2));
}

#[test]
fn a_registration_its_event_and_the_details_contain_the_same_values() {
    let details = PatientDetails::from(john());
    assert_eq!(PatientEvent::from(john()), john_registered());
    assert_eq!(PatientEvent::from(details.clone()), john_registered());
    assert_eq!(evolve(None, john_registered()), Some(details.clone()));
    assert_eq!(evolve(Some(details), deleted()), None);
}

#[test]
fn a_patient_is_unchanged_by_serialization() {
    let mut patient = Patient::default();
    patient.apply(john_registered());
    let json = serde_json::to_value(&patient).unwrap();
    assert_eq!(serde_json::from_value::<Patient>(json).unwrap(), patient);
}

#[test]
fn an_error_contains_the_actual_sequence() {
    let refusal = PatientError::SequenceMismatch { actual: 1 };
    assert_eq!(
        refusal.to_string(),
        "the patient is at sequence 1, which was not expected"
    );
}
