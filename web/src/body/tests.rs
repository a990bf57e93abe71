use super::*;

fn strings(body: &str) -> Result<[Option<String>; 2], String> {
    let (strings, problems) = JsonObject::parse(body.as_bytes())
        .map(|object| object.strings(["a", "b"]))
        .map_err(|error| match error {
            RequestError::Invalid(problems) => said(&problems),
            other => format!("{other:?}"),
        })?;
    if problems.is_empty() {
        Ok(strings)
    } else {
        Err(said(&problems))
    }
}

fn said(problems: &[FieldProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn the_fields_come_out_whatever_their_order() {
    assert_eq!(
        strings(r#"{"b": "2", "a": "1"}"#),
        Ok([Some("1".into()), Some("2".into())])
    );
}

#[test]
fn every_bad_field_is_reported_at_once() {
    assert_eq!(
        strings(r#"{"a": 1, "c": "x", "a": "2"}"#),
        Err("a: must be a string; c: is not a field of this request; a: was sent more than once; b: is required"
            .into())
    );
}

#[test]
fn what_is_not_an_object_is_told_from_what_is_not_json() {
    for body in ["[]", "1", "\"a\"", "null"] {
        assert_eq!(strings(body), Err(": must be a JSON object".into()), "{body}");
    }
    for body in ["", "{", "{\"a\": 1,}", "\u{1}", "{} {}"] {
        assert!(strings(body).unwrap_err().starts_with("MalformedJson"), "{body}");
    }
}

#[test]
fn bad_utf8_and_deep_nesting_are_malformed() {
    assert!(matches!(
        JsonObject::parse(b"{\"a\": \"\xff\"}"),
        Err(RequestError::MalformedJson(_))
    ));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(
        JsonObject::parse(deep.as_bytes()),
        Err(RequestError::MalformedJson(_))
    ));
}
