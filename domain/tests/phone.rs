//! Which phone numbers are accepted.

use domain::{Phone, PhoneError};
use proptest::prelude::*;

/// Every format of Python Faker's `phone_number()` for `en_US`, which the load test registers patients with.
#[test]
fn the_numbers_of_the_load_test_are_valid() {
    for phone in [
        "5551234567",
        "555-123-4567",
        "(555)123-4567",
        "555.123.4567",
        "555-123-4567x890",
        "555-123-4567x8901",
        "555-123-4567x89012",
        "(555)123-4567x890",
        "(555)123-4567x8901",
        "(555)123-4567x89012",
        "555.123.4567x890",
        "555.123.4567x8901",
        "555.123.4567x89012",
        "+1-555-123-4567",
        "001-555-123-4567",
        "+1-555-123-4567x890",
        "+1-555-123-4567x8901",
        "+1-555-123-4567x89012",
        "001-555-123-4567x890",
        "001-555-123-4567x8901",
        "001-555-123-4567x12345",
    ] {
        assert_eq!(Phone::parse(phone).unwrap().as_str(), phone);
    }
}

#[test]
fn numbers_as_people_write_them_are_valid() {
    for phone in [
        "+1234567890",
        "+34 600 123 456",
        "(+34) 600 12 34 56",
        "+44 (0)20 7946 0018",
        "030/1234567",
        "555 123 4567 ext. 12",
        "555 123 4567 ext 12",
        "555-123-4567 Ext.12",
        "555-123-4567 EXT 12",
        "555-123-4567 X12",
        "555-123-4567 x 12",
        "555-123-4567 #12",
        "555-123-4567#12",
        "112",
    ] {
        assert_eq!(Phone::parse(phone).unwrap().as_str(), phone);
    }
}

#[test]
fn what_is_not_a_phone_number_is_refused_with_the_reason() {
    for (phone, error) in [
        ("", PhoneError::Length),
        ("   ", PhoneError::Length),
        ("12", PhoneError::Length),
        (" 12 ", PhoneError::Length),
        ("call me", PhoneError::UnexpectedCharacter),
        ("555-CALL-NOW", PhoneError::UnexpectedCharacter),
        ("1-800-FLOWERS", PhoneError::UnexpectedCharacter),
        ("5551234567 extra 1", PhoneError::InvalidExtension),
        ("5551234567 e 1", PhoneError::UnexpectedCharacter),
        ("5551234567; DROP", PhoneError::UnexpectedCharacter),
        ("555_123_4567", PhoneError::UnexpectedCharacter),
        ("555\u{2013}1234", PhoneError::UnexpectedCharacter),
        ("555\u{a0}1234", PhoneError::UnexpectedCharacter),
        ("٥٥٥١٢٣٤٥٦٧", PhoneError::UnexpectedCharacter),
        ("５５５１２３４", PhoneError::UnexpectedCharacter),
        ("555123456७", PhoneError::UnexpectedCharacter),
        ("555+1234", PhoneError::MisplacedPlus),
        ("++5551234", PhoneError::MisplacedPlus),
        ("(555+)1234", PhoneError::MisplacedPlus),
        ("---", PhoneError::TooFewDigits),
        ("+12", PhoneError::TooFewDigits),
        ("1-2 x345", PhoneError::TooFewDigits),
        ("x123", PhoneError::TooFewDigits),
        ("5551234567x", PhoneError::InvalidExtension),
        ("5551234567 ext.", PhoneError::InvalidExtension),
        ("5551234567xx1", PhoneError::InvalidExtension),
        ("5551234567x12x3", PhoneError::InvalidExtension),
        ("5551234567x12-3", PhoneError::InvalidExtension),
        ("5551234567x１２", PhoneError::InvalidExtension),
    ] {
        assert_eq!(Phone::parse(phone), Err(error), "{phone}");
    }
}

#[test]
fn a_phone_number_has_three_to_sixty_four_characters_after_trimming() {
    assert!(Phone::parse(&format!("  {}  ", "1".repeat(64))).is_ok());
    assert_eq!(Phone::parse(&"1".repeat(65)), Err(PhoneError::Length));
    assert!(Phone::parse(" 123 ").is_ok());
}

proptest! {
    #[test]
    fn any_number_in_the_documented_form_is_valid(
        phone in "(\\+|\\(\\+)?[0-9]{3}[0-9 ()./-]{0,40}( ?(x|X|ext|Ext\\.|ext\\.|#) ?[0-9]{1,6})?",
    ) {
        prop_assert!(Phone::parse(&phone).is_ok());
    }

    #[test]
    fn an_accepted_number_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![any::<String>(), "\\PC{0,70}", "[0-9xXeEtT#+() ./-]{0,70}"],
    ) {
        if let Ok(phone) = Phone::parse(&input) {
            let text = phone.as_str();
            prop_assert!((Phone::MIN_CHARS..=Phone::MAX_CHARS).contains(&text.chars().count()));
            prop_assert!(text.bytes().filter(u8::is_ascii_digit).count() >= Phone::MIN_DIGITS);
            prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b"+ ()-./xXeEtT#".contains(&b)));
            prop_assert_eq!(Phone::parse(text), Ok(phone.clone()));
        }
    }
}
