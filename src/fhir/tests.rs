use serde_json::{Value, json};

use super::Patient;

/// Returns the values of a resource with these members.
fn values(mut members: Value) -> [Option<String>; 5] {
    members["resourceType"] = json!("Patient");
    serde_json::from_value::<Patient>(members).unwrap().into_values()
}

#[test]
fn blank_names_and_contacts_do_not_hide_those_with_text() {
    let found = values(json!({
        "name": [
            {"use": "official", "text": " ", "given": ["", null]},
            {"use": "usual", "text": "", "given": ["Ana", " "], "family": "Pérez"},
            {"text": "Ani"},
        ],
        "telecom": [
            {"system": "email", "value": " ", "rank": 1},
            {"system": "email", "value": "ana@example.com", "rank": 3},
            {"system": "email", "value": "old@example.com", "rank": 2, "use": "old"},
            {"system": "email", "value": "other@example.com"},
            {"system": "phone", "rank": 1},
            {"system": "phone", "value": "+34600000017"},
        ],
        "photo": [{}, {"url": ""}, {"url": "https://example.com/a.jpg"}],
    }));
    let expected = [
        "Ana Pérez",
        "ana@example.com",
        "+34600000017",
        "https://example.com/a.jpg",
    ];
    assert_eq!(found[1..], expected.map(|text| Some(text.to_owned())));
}

#[test]
fn a_former_name_is_used_only_without_another_name() {
    let name = |names: Value| values(json!({ "name": names }))[1].clone();
    let former = json!({"use": "maiden", "text": "Ana Ruiz"});
    assert_eq!(
        name(json!([former, {"use": "official"}])).as_deref(),
        Some("Ana Ruiz")
    );
    assert_eq!(name(json!([former, {"text": "Ana"}])).as_deref(), Some("Ana"));
    assert_eq!(name(json!([{"use": "official"}])), None);
}
