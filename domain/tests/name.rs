//! Which names are accepted.

use domain::{Name, NameError};
use proptest::prelude::*;

#[test]
fn names_as_people_have_them_are_valid() {
    for name in [
        "John Doe",
        "J",
        "María José Núñez de la Torre",
        "O'Brien-Smith, Jr.",
        "王小明",
        "नेहा",
        "محمد",
        "Х Æ A-12",
        "Mrs. Ann (Annie) Lee",
    ] {
        assert_eq!(Name::parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn a_name_is_one_to_two_hundred_characters_after_trimming() {
    assert_eq!(Name::parse(""), Err(NameError::Empty));
    assert_eq!(Name::parse("   "), Err(NameError::Empty));
    assert_eq!(Name::parse(" a "), Name::parse("a"));
    for letter in ["a", "ñ", "明", "𐐷"] {
        assert!(Name::parse(&format!("  {}  ", letter.repeat(200))).is_ok());
        assert_eq!(Name::parse(&letter.repeat(201)), Err(NameError::TooLong));
    }
}

#[test]
fn a_name_that_shows_no_letter_is_refused() {
    for name in ["-", "...", "\u{a0}", "\u{200b}", "\u{feff}\u{200d}", "🙂"] {
        assert_eq!(Name::parse(name), Err(NameError::NoLetter), "{name:?}");
    }
}

proptest! {
    #[test]
    fn an_accepted_name_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![any::<String>(), "\\PC{0,220}", " {0,3}[\\w ]{1,220} {0,3}"],
    ) {
        if let Ok(name) = Name::parse(&input) {
            let text = name.as_str();
            prop_assert!((1..=Name::MAX_CHARS).contains(&text.chars().count()));
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(text.trim_matches(' '), text);
            prop_assert_eq!(Name::parse(text), Ok(name.clone()));
        }
    }
}
