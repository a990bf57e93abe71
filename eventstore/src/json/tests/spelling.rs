//! Writes the same JSON value in different ways.

use super::*;

/// Writes a value as text, with a random choice wherever JSON allows several forms.
fn spell(value: &Value, by: &mut fastrand::Rng) -> String {
    let text = match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => of_integer(number, by),
            None => of_double(number.as_f64().unwrap(), by),
        },
        Value::String(text) => of_text(text, by),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| spell(item, by)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}:{}", of_text(name, by), spell(value, by)))
                .collect();
            by.shuffle(&mut members);
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    };
    let space = by.choice(["", " ", "\t", "\r\n", " \n "]).unwrap();
    format!("{space}{text}{space}")
}

fn of_integer(number: i64, by: &mut fastrand::Rng) -> String {
    if number == 0 {
        let zero = ["0", "-0", "0.0", "-0.0", "0e9", "0E-9", "-0.00e+7"];
        return (*by.choice(&zero).unwrap()).to_owned();
    }
    match by.u8(0..7) {
        0 => format!("{number}.0"),
        1 => format!("{number}.000"),
        2 => format!("{number}e0"),
        3 => format!("{number}E+0"),
        4 => format!("{number}0e-1"),
        5 => format!("{number}000000.0E-06"),
        _ => number.to_string(),
    }
}

fn of_double(number: f64, by: &mut fastrand::Rng) -> String {
    match by.u8(0..4) {
        0 => format!("{number:e}"),
        1 => format!("{number:E}"),
        2 if number.fract() != 0.0 => format!("{number}000"),
        _ => Value::from(number).to_string(),
    }
}

fn of_text(text: &str, by: &mut fastrand::Rng) -> String {
    let mut spelled = String::from("\"");
    for character in text.chars() {
        let short = match character {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' => Some("\\/"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            _ => None,
        };
        let must = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        match short {
            Some(short) if by.bool() => spelled.push_str(short),
            _ if must || by.u8(0..4) == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let (lower, upper) = (format!("\\u{unit:04x}"), format!("\\u{unit:04X}"));
                    spelled.push_str(if by.bool() { &lower } else { &upper });
                }
            }
            _ => spelled.push(character),
        }
    }
    spelled.push('"');
    spelled
}

proptest! {
    #[test]
    fn a_value_has_one_form_however_it_is_spelled(value in any_json(), seed in any::<u64>()) {
        let spelled = spell(&value, &mut fastrand::Rng::with_seed(seed));
        prop_assert_eq!(canonical(&spelled), canonical(&value.to_string()), "{}", spelled);
    }
}

#[test]
fn texts_that_look_the_same_are_not_the_same() {
    // Composed and decomposed characters differ. Normalizing them would change the text.
    assert_ne!(canonical("\"\u{e9}\""), canonical("\"e\u{301}\""));
    assert_eq!(canonical(r#""\u00e9""#), canonical("\"\u{e9}\""));
    assert_eq!(canonical(r#""e\u0301""#), canonical("\"e\u{301}\""));
    // Two members with different names.
    let names = canonical("{\"e\u{301}\":1,\"\u{e9}\":2}");
    assert_eq!(names.as_deref(), Some("{\"e\u{301}\":1,\"\u{e9}\":2}"));
}

#[test]
fn half_a_surrogate_is_no_text_and_a_pair_is_one_character() {
    for half in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ude00\ud83d""#,
        r#""\ud83dx""#,
        r#"{"\ud800":1}"#,
    ] {
        assert_eq!(canonical(half), None, "{half}");
    }
    assert_eq!(canonical(r#""\ud83d\ude00""#).as_deref(), Some("\"\u{1f600}\""));
}

#[test]
fn numbers_have_the_form_of_their_double() {
    for (spelled, form) in [
        ("-0", Some("0")),
        ("1.0", Some("1")),
        ("1e0", Some("1")),
        ("100e-2", Some("1")),
        ("1e21", Some("1e+21")),
        ("0.0000001", Some("1e-7")),
        ("0e99999999999999999999", Some("0")),
        ("0.10", Some("0.1")),
        // 2⁻²⁵ is halfway between two shortest decimal numbers.
        ("2.9802322387695312e-8", Some("2.9802322387695312e-8")),
        ("5e-324", Some("5e-324")),
        ("5.684341886080802e-14", Some("5.684341886080802e-14")),
        ("123456789012345680.0", Some("123456789012345680")),
    ] {
        assert_eq!(canonical(spelled).as_deref(), form, "{spelled}");
    }
}

#[test]
fn a_number_that_loses_precision_as_a_double_is_refused() {
    for spelled in [
        "0.1000000000000000055511151231257827",
        "0.10000000000000001",
        "3.141592653589793238462643383279",
        "9007199254740993.0",
        "90071992547409930e-1",
        "123456789012345678.0",
        "1e-400",
        "1e-99999999999999999999",
        "1e400",
        "-1e400",
        "1e99999999999999999999",
    ] {
        assert_eq!(canonical(spelled), None, "{spelled}");
        assert_eq!(
            canonical(&format!("[0.5,{{\"a\":{spelled}}}]")),
            None,
            "{spelled}"
        );
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused_and_not_a_stack_that_overflows() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let by_way_of_the_tree = |depth: usize| "[".repeat(depth) + "0.5" + &"]".repeat(depth);
    for depth in [1, DEPTH] {
        assert!(canonical(&nested(depth)).is_some());
        assert!(canonical(&by_way_of_the_tree(depth)).is_some());
    }
    for depth in [DEPTH + 1, 64, 128, 1_000_000] {
        assert_eq!(canonical(&nested(depth)), None);
        assert_eq!(canonical(&by_way_of_the_tree(depth)), None);
    }
}
