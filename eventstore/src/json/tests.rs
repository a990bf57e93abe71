mod spelling;

use proptest::prelude::*;

use serde_json::Value;

use super::*;

fn canonical(text: &str) -> Option<String> {
    let mut out = b"before".to_vec();
    canonicalize(text, &mut out).ok()?;
    Some(String::from_utf8(out.split_off(6)).unwrap())
}

fn is_converted_directly(text: &str) -> bool {
    DirectConversion::new(text).whole(&mut Vec::new()).is_some()
}

#[test]
fn an_ordinary_event_is_converted_directly() {
    let text = r#"{"name": "Zoë Ñandú", "type": "OrderPlaced", "n": [1, -20, 0, true, null], "a": {"z": "", "b": {}}}"#;
    assert!(is_converted_directly(text));
    assert_eq!(
        canonical(text).unwrap(),
        r#"{"a":{"b":{},"z":""},"n":[1,-20,0,true,null],"name":"Zoë Ñandú","type":"OrderPlaced"}"#
    );
}

#[test]
fn a_name_sorts_before_those_that_go_on_from_it() {
    let text = r#"{"a!": 1, "a ": 2, "ab": 3, "a": 4, "": 5}"#;
    assert!(is_converted_directly(text));
    assert_eq!(canonical(text).unwrap(), r#"{"":5,"a":4,"a ":2,"a!":1,"ab":3}"#);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "01",
        "-",
        "+1",
        "1 2",
        "tru",
        "nul",
        "\"",
        "\"\t\"",
        "{\"a\":1}x",
        "[,1]",
        "'a'",
        "1.",
        "\u{feff}1",
    ] {
        assert_eq!(canonical(text), None, "{text:?}");
    }
}

#[test]
fn two_members_of_one_name_are_refused_wherever_they_are() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"[{"é":[{"x":1,"x":2}]}]"#,
    ] {
        assert_eq!(canonical(text), None, "{text}");
    }
}

#[test]
fn an_integer_that_a_double_may_hold_for_another_is_refused() {
    let largest = 9_007_199_254_740_991_u64;
    for exact in [
        largest.to_string(),
        format!("-{largest}"),
        "1e16".to_owned(),
        "123456789012345680.0".to_owned(),
    ] {
        assert!(canonical(&exact).is_some(), "{exact}");
    }
    for inexact in [
        "9007199254740992",
        "-9007199254740992",
        "[10000000000000001]",
        "18446744073709551615",
    ] {
        assert_eq!(canonical(inexact), None, "{inexact}");
    }
    // serde_json reads integers beyond 64 bits as doubles.
    for inexact in [
        "18446744073709551616",
        "-9223372036854775809",
        r#"{"a\"": [1, {"n" :123456789012345678901234567890}]}"#,
        "1000000000000000000000",
    ] {
        assert_eq!(canonical(inexact), None, "{inexact}");
        let read = strict_value(&mut serde_json::Deserializer::from_str(inexact));
        read.unwrap_err();
        let value: Value = serde_json::from_str(inexact).unwrap();
        assert!(
            canonical(&value.to_string()).is_some(),
            "a double is written in a form that can be read"
        );
    }
    for text in [
        r#""18446744073709551616""#,
        r#"{"18446744073709551616": "\\\"18446744073709551616"}"#,
    ] {
        assert!(canonical(text).is_some(), "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![".{0,6}", "[a-c \"!\\\\\u{1f600}\u{fb33}]{0,3}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

/// Writes the value with its members in reverse order and whitespace between its parts, as a database may
/// store it.
fn spread(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(spread).collect();
            format!(" [ {}\n]", items.join(" ,\t"))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(name, value)| format!("{} : {}", Value::from(name.as_str()), spread(value)))
                .collect();
            format!("{{ {} }}\r\n", members.join(", "))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #[test]
    fn either_way_gives_what_the_canonicalizer_gives(value in any_json()) {
        let expected = serde_json_canonicalizer::to_string(&value).unwrap();
        prop_assert_eq!(canonical(&value.to_string()), Some(expected.clone()));
        prop_assert_eq!(canonical(&spread(&value)), Some(expected));
    }

    #[test]
    fn any_text_is_json_for_both_or_for_neither(text in "[\\[\\]{},:\"a0-9.eE+ \\\\tfn-]{0,12}") {
        prop_assert_eq!(canonical(&text).is_some(), {
            let mut reader = serde_json::Deserializer::from_str(&text);
            strict_value(&mut reader).is_ok() && reader.end().is_ok()
        });
    }
}
