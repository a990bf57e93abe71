//! Tests of which names are accepted, and how names are normalized.
#![expect(clippy::panic, reason = "a failure fails the test with a message")]

use domain::{ControlCharacter, Name, NameError, NameQuery, name_key};
use proptest::prelude::*;

fn kept(input: &str) -> String {
    Name::parse(input)
        .unwrap_or_else(|error| panic!("{input:?}: {error}"))
        .into()
}

#[test]
fn names_in_many_scripts_are_valid() {
    for name in [
        "John Doe",
        "J",
        "7",
        "María José Núñez de la Torre",
        "O'Brien-Smith, Jr.",
        "王小明",
        "नेहा",
        "محمد",
        "Х Æ A-12",
        "Mrs. Ann (Annie) Lee",
        "Ⓐⓝⓐ",
        // Joiners are part of the spelling.
        "علی\u{200c}رضا",
        "ක්\u{200d}රිස්",
        // Directional marks between scripts and enclosed parts in the other writing direction are also part
        // of the spelling.
        "Ana \u{200e}(\u{200f}علی\u{200f})\u{200e} Ruiz",
        "Ana \u{202b}علی\u{202c} Ruiz",
        "Ana \u{2067}علی \u{202a}x\u{202c}\u{2069} Ruiz",
        "Ana \u{2068}علی\u{2069} \u{2066}x\u{2069} Ruiz",
        // A variation selector belongs to the ideograph before it.
        "葛\u{e0100}",
        "渡辺 葛\u{e0100}",
    ] {
        assert_eq!(kept(name), name);
    }
}

/// Characters of each kind that is trimmed: `White_Space`, `Cf`, other default-ignorable characters, and the
/// blank Braille cell.
const AROUND: &[char] = &[
    ' ',
    '\t',
    '\n',
    '\u{b}',
    '\u{c}',
    '\r',
    '\u{85}',
    '\u{a0}',
    '\u{1680}',
    '\u{2000}',
    '\u{2003}',
    '\u{2009}',
    '\u{200a}',
    '\u{2028}',
    '\u{2029}',
    '\u{202f}',
    '\u{205f}',
    '\u{3000}',
    '\u{ad}',
    '\u{61c}',
    '\u{180e}',
    '\u{200b}',
    '\u{200c}',
    '\u{200d}',
    '\u{200e}',
    '\u{200f}',
    '\u{202a}',
    '\u{202b}',
    '\u{202c}',
    '\u{202d}',
    '\u{202e}',
    '\u{2060}',
    '\u{2061}',
    '\u{2064}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{206a}',
    '\u{206f}',
    '\u{feff}',
    '\u{fff9}',
    '\u{fffb}',
    '\u{e0001}',
    '\u{e0020}',
    '\u{e007f}',
    '\u{34f}',
    '\u{115f}',
    '\u{1160}',
    '\u{17b4}',
    '\u{17b5}',
    '\u{2065}',
    '\u{3164}',
    '\u{ffa0}',
    '\u{fff0}',
    '\u{e0000}',
    '\u{e0fff}',
    '\u{2800}',
];

#[test]
fn invisible_characters_are_dropped_around_a_name_and_are_not_a_name() {
    for around in AROUND {
        for input in [
            format!("{around}Ana López"),
            format!("Ana López{around}"),
            format!("{around}{around} Ana López \u{a0}{around}"),
        ] {
            assert_eq!(kept(&input), "Ana López", "U+{:04X}", u32::from(*around));
        }
        for input in [around.to_string(), format!("{around} {around}")] {
            assert_eq!(
                Name::parse(&input),
                Err(NameError::Empty),
                "U+{:04X}",
                u32::from(*around)
            );
        }
    }
    let all: String = AROUND.iter().collect();
    assert_eq!(kept(&format!("{all}Ana{all}")), "Ana");
    // A variation selector without a character that it could vary.
    assert_eq!(kept("\u{fe0f}Ana\u{fe0f}"), "Ana");
}

#[test]
fn the_length_of_a_name_is_counted_in_grapheme_clusters() {
    assert_eq!(Name::parse(""), Err(NameError::Empty));
    assert_eq!(Name::parse(" a "), Name::parse("a"));
    for letter in [
        "a",
        "ñ",
        "e\u{301}",
        "明",
        "𐐷",
        "नि",
        "क्षि",
        "각",
        "\u{1112}\u{1161}\u{11ab}",
        "葛\u{e0100}",
        "y\u{323}\u{301}",
    ] {
        assert!(
            Name::parse(&format!("  {}\u{a0} ", letter.repeat(200))).is_ok(),
            "{letter}"
        );
        assert_eq!(
            Name::parse(&letter.repeat(201)),
            Err(NameError::TooLong),
            "{letter}"
        );
    }
    // The database limits the number of code points, even if they form only a few characters.
    let marks = |count| format!("a{}", "\u{5b0}".repeat(count));
    assert!(Name::parse(&marks(799)).is_ok());
    assert_eq!(Name::parse(&marks(800)), Err(NameError::TooLong));
}

#[test]
fn canonically_equivalent_names_are_equal() {
    for (input, name) in [
        ("Jose\u{301}", "José"),
        ("\u{1112}\u{1161}\u{11ab}", "한"),
        ("\u{212b}sa", "Åsa"),
        ("か\u{3099}", "が"),
        // Compatibility normalization is not applied, so a different letter stays a different letter.
        ("ﬁlip", "ﬁlip"),
        ("Ａｎａ", "Ａｎａ"),
    ] {
        assert_eq!(kept(input), name);
    }
}

#[test]
fn a_name_without_a_visible_letter_is_rejected() {
    for name in [
        "-",
        "...",
        "🙂",
        "\u{301}",
        "\u{301}\u{345}\u{308}",
        "-\u{200b}-",
        "(\u{3164})",
        "\u{93f}",
    ] {
        assert_eq!(Name::parse(name), Err(NameError::NoLetter), "{name:?}");
    }
}

#[test]
fn control_characters_and_line_breaks_inside_are_rejected() {
    for control in [
        '\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}', '\u{2028}', '\u{2029}',
    ] {
        let refused = Name::parse(&format!("Ana{control}López"));
        assert_eq!(
            refused,
            Err(ControlCharacter.into()),
            "U+{:04X}",
            u32::from(control)
        );
    }
    // Control characters are not white space, so they are not dropped.
    for name in ["\0Ana", "Ana\u{7f}"] {
        assert_eq!(Name::parse(name), Err(ControlCharacter.into()), "{name:?}");
    }
}

#[test]
fn directional_formatting_must_be_paired_and_contain_no_override() {
    for name in [
        "Ana \u{202b}x y",
        "Ana \u{202c}x y",
        "Ana \u{2067}x y",
        "Ana \u{2069}x y",
        "Ana \u{202e}x\u{202c} y",
        "Ana \u{202d}x\u{202c} y",
        "Ana \u{202a}x\u{2069} y",
        "Ana \u{2066}x\u{202c} y",
        "Ana \u{2066}x \u{202a}y\u{2069} z",
    ] {
        assert_eq!(Name::parse(name), Err(ControlCharacter.into()), "{name:?}");
    }
    // Each word is enclosed in a separate pair. Trimming drops the first and the last directional character,
    // and then their counterparts are dropped as well.
    for (input, name) in [
        ("\u{202b}محمد\u{202c} \u{202b}علي\u{202c}", "محمد علي"),
        (
            "\u{2067}محمد\u{2069} \u{202b}x\u{202c} \u{2067}علي\u{2069}",
            "محمد \u{202b}x\u{202c} علي",
        ),
        ("\u{202e}anA\u{202c} Ruiz", "anA Ruiz"),
        // A dropped character may have separated an accent from its letter.
        ("\u{202b}e\u{202c}\u{301}", "é"),
    ] {
        assert_eq!(kept(input), name);
    }
}

/// Names that are hard to trim, to shorten, to compose and to search for.
fn odd() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(AROUND).prop_map(String::from);
    let other = prop::sample::select(vec![
        "a",
        "B",
        "ß",
        "ẞ",
        "ς",
        "é",
        "e\u{301}",
        "\u{301}",
        "\u{345}",
        "´",
        "¨",
        "ﷺ",
        "\u{37a}",
        "\u{fe70}",
        "İ",
        "K",
        "\u{212a}",
        "\u{fe0f}",
        "\u{e0100}",
        "한",
        "\u{1112}\u{1161}",
        "が",
        "\u{3099}",
        "𐐷",
        "\u{10ffff}",
        "\u{fffd}",
    ]);
    prop::collection::vec(prop_oneof![odd, other.prop_map(String::from)], 0..90)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn an_accepted_name_keeps_its_bounds_and_parses_to_itself(
        input in prop_oneof![any::<String>(), "\\PC{0,220}", " {0,3}[\\w ]{1,220} {0,3}", odd()],
    ) {
        if let Ok(name) = Name::parse(&input) {
            let text = name.as_str();
            prop_assert!((1..=Name::MAX_CODE_POINTS).contains(&text.chars().count()));
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(text.trim(), text);
            prop_assert_eq!(Name::parse(text), Ok(name.clone()));
        }
    }

    #[test]
    fn every_name_has_a_key_and_every_accepted_name_is_found_by_itself(
        spaces in prop::sample::select(vec![0, 1, 63, 64, 65, 200]),
        space in prop::sample::select(vec![' ', '\u{a0}', '\u{3000}', '´', '\u{200b}', '\u{301}', '\u{3164}']),
        rest in prop_oneof![any::<String>(), odd()],
    ) {
        let name = space.to_string().repeat(spaces) + &rest;
        let key = name_key(&name);
        prop_assert!((1..=64).contains(&key.chars().count()), "{:?} has the key {:?}", name, key);
        prop_assert!(!key.ends_with(' '));
        if let Ok(name) = Name::parse(&name) {
            prop_assert_ne!(name_key(name.as_str()), "\u{fffd}");
            if let Ok(query) = NameQuery::parse(name.as_str()) {
                prop_assert!(query.matches_name(name.as_str()));
            }
        }
    }
}
