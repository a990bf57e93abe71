//! Tests of which phone numbers are accepted, and how they are normalized.
#![expect(clippy::panic, reason = "a failure fails the test with a message")]

use domain::{ControlCharacter, Phone, PhoneError};
use proptest::prelude::*;

fn kept(input: &str) -> String {
    Phone::parse(input)
        .unwrap_or_else(|error| panic!("{input:?}: {error}"))
        .into()
}

#[test]
fn numbers_in_common_formats_are_valid() {
    for phone in [
        "+1234567890",
        "12",
        "112",
        "+34 600 123 456",
        "(+34) 600 12 34 56",
        "+44 (0)20 7946 0018",
        "030/1234567",
        "0034.600.123.456",
        // Numbers that Faker generates, with and without extensions.
        "001-555-123-4567x12345",
        "(555)123-4567x890",
        // Extensions in any language.
        "555 123 4567 ext. 12",
        "(800) 901-3355 ext: 7246433",
        "(800) 901-3355, extension 123",
        "(01) 612-1000 anexo 5110",
        "03 3316005 int. 3456",
        "03 3316005 interno 3456",
        "(11) 3272-9777 ramal 212",
        "+7 495 123-45-67 доб. 890",
        "+33 1 23 45 67 89 poste 12",
        "+49 30 1234567 Durchwahl 12",
        "03-1234-5678 内線 12",
        "+66 2 123 4567 ต่อ 12",
        "021-12345678 داخلی\u{200c}۱۲",
        // `tel:` URIs (RFC 3966).
        "tel:+1-201-555-0123",
        "tel:+1-201-555-0123;ext=22",
        "tel:863-1234;phone-context=+1-914-555",
        // Dashes, spaces and digits of other scripts.
        "03\u{2013}331\u{2013}6005",
        "03\u{2212}331\u{2011}6005",
        "+34\u{a0}600\u{202f}123 456",
        "+34\u{3000}600\u{2009}123",
        "০১৭১২৩৪৫৬৭৮",
        "٠٥٥١٢٣٤٥٦٧",
        "०२२ २७५७ १२३४",
        "０３−１２３４−５６７８",
        "𞥐𞥑𞥒",
        // Two numbers, words, service codes, numbers with letters.
        "600 123 456 / 91 123 45 67",
        "600 123 456 y 600 123 457 (madre)",
        "móvil: 600 123 456",
        "1-800-FLOWERS",
        "0800-ANA (12)",
        "*31#600123456",
        "#31#600123456",
        "555+1234",
        "555_123_4567",
        "☎\u{fe0f} 600 123 456",
    ] {
        assert_eq!(kept(phone), phone);
    }
}

#[test]
fn invisible_characters_are_dropped_everywhere() {
    for (input, phone) in [
        ("\u{202a}+34 600 123 456\u{202c}", "+34 600 123 456"),
        ("\u{202d}+34 600 123 456\u{202c}\u{200e}", "+34 600 123 456"),
        ("\u{200e}(555) 123-4567\u{200f}", "(555) 123-4567"),
        (
            "+34\u{200e}\u{2068}600\u{2069}\u{200b}123\u{ad}456\u{feff}",
            "+34600123456",
        ),
        // Half of a directional pair.
        ("tel: \u{202a}+34 600", "tel: +34 600"),
        // If the override were kept, the digits would be displayed in reverse order.
        ("600 \u{202e}321\u{202c} 456", "600 321 456"),
        ("\t600 123 456\r\n", "600 123 456"),
        ("\u{3164}600\u{a0}123\u{a0}", "600\u{a0}123"),
        ("mo\u{301}vil 600", "móvil 600"),
    ] {
        assert_eq!(kept(input), phone);
    }
}

#[test]
fn an_invalid_phone_number_is_rejected_with_a_reason() {
    for (phone, error) in [
        ("", PhoneError::Empty),
        (" \u{a0}\u{200b}\t", PhoneError::Empty),
        ("\u{202a}\u{202c}", PhoneError::Empty),
        ("-", PhoneError::TooFewDigits),
        ("1", PhoneError::TooFewDigits),
        ("1-A", PhoneError::TooFewDigits),
        ("no tiene", PhoneError::TooFewDigits),
        // Numeric characters that are not digits.
        ("½ ② Ⅻ", PhoneError::TooFewDigits),
        ("一二三", PhoneError::TooFewDigits),
        ("555\r\nBcc: x", ControlCharacter.into()),
        ("555\t123", ControlCharacter.into()),
        ("555\u{2028}123", ControlCharacter.into()),
        ("555\u{85}123", ControlCharacter.into()),
        ("555\0", ControlCharacter.into()),
        ("\u{1b}555", ControlCharacter.into()),
    ] {
        assert_eq!(Phone::parse(phone), Err(error), "{phone:?}");
    }
}

#[test]
fn a_phone_number_has_at_most_sixty_four_characters_after_trimming() {
    for digit in ["1", "৭", "𞥐"] {
        assert!(Phone::parse(&format!(" \u{202a} {}\u{a0}\u{202c}", digit.repeat(64))).is_ok());
        assert_eq!(Phone::parse(&digit.repeat(65)), Err(PhoneError::TooLong));
    }
}

proptest! {
    #[test]
    fn printable_text_with_two_digits_is_valid(
        before in "[a-zA-Zñé+*#()./:;=,–-]{0,20}", first in "\\p{Nd}", between in "[ \u{a0}\u{202f}a-z.–-]{0,20}", second in "\\p{Nd}",
        after in "[a-zA-Zñé+*#()./:;=,–-]{0,20}",
    ) {
        let phone = [before, first, between, second, after].concat();
        prop_assert!(Phone::parse(&phone).is_ok(), "{}", phone);
    }

    #[test]
    fn an_accepted_number_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![
            any::<String>(),
            "\\PC{0,70}",
            "[0-9xXeEtT#+() ./-]{0,70}",
            "[0-9\u{202a}-\u{202e}\u{2066}-\u{2069}\u{200b}-\u{200f}e\u{301}\u{fe0f}\u{3164} ]{0,70}",
        ],
    ) {
        if let Ok(phone) = Phone::parse(&input) {
            let text = phone.as_str();
            prop_assert!((Phone::MIN_DIGITS..=Phone::MAX_CHARS).contains(&text.chars().count()));
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(text.trim(), text);
            prop_assert_eq!(Phone::parse(text), Ok(phone.clone()));
        }
    }
}
