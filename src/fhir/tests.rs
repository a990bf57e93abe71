use serde_json::{Value, json};

use super::Patient;

const TODAY: &str = "2026-03-15";

/// Returns a resource with these members.
fn patient(mut members: Value) -> Patient {
    members["resourceType"] = json!("Patient");
    serde_json::from_value(members).unwrap()
}

/// Returns the values of a resource with these members.
fn values(members: Value) -> [Option<String>; 5] {
    patient(members).into_values(TODAY)
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

#[test]
fn names_and_contacts_whose_period_has_ended_are_former() {
    for (end, is_former) in [
        ("2025", true),
        ("2026", false),
        ("2026-02", true),
        ("2026-03", false),
        ("2026-03-14", true),
        ("2026-03-15", false),
        ("2026-03-14T23:00:00+01:00", true),
        ("2026-03-15T08:00:00.123Z", false),
        ("", false),
        ("2026-03-1ñ", false),
    ] {
        let period = json!({"start": "2020", "end": end});
        let found = values(json!({
            "name": [{"use": "official", "text": "Ana Ruiz", "period": period}, {"text": "Ana"}],
            "telecom": [
                {"system": "email", "value": "a@example.com", "rank": 1, "period": period},
                {"system": "email", "value": "b@example.com", "rank": 2},
                {"system": "phone", "value": "17", "period": period},
            ],
        }));
        let (name, email) = if is_former {
            ("Ana", "b@example.com")
        } else {
            ("Ana Ruiz", "a@example.com")
        };
        assert_eq!(found[1].as_deref(), Some(name), "{end}");
        assert_eq!(found[2].as_deref(), Some(email), "{end}");
        assert_eq!(found[3].is_none(), is_former, "{end}");
    }
}

#[test]
fn a_contact_is_read_without_the_scheme_of_a_uri() {
    let found = values(json!({"telecom": [
        {"system": "email", "value": "mailto:", "rank": 1},
        {"system": "email", "value": " MailTo:ana@example.com", "rank": 2},
        {"system": "phone", "value": "tel:+34-600-000-017"},
    ]}));
    let expected = ["ana@example.com", "+34-600-000-017"];
    assert_eq!(found[2..4], expected.map(|text| Some(text.to_owned())));
    // Only the scheme of the system, and only at the beginning.
    let found = values(json!({"telecom": [
        {"system": "email", "value": "tel:ana@example.com"}, {"system": "phone", "value": "Tél: 17"},
    ]}));
    let expected = ["tel:ana@example.com", "Tél: 17"];
    assert_eq!(found[2..4], expected.map(|text| Some(text.to_owned())));
}

#[test]
fn a_patient_is_deceased_with_true_or_with_a_date() {
    for (members, is_deceased) in [
        (json!({}), false),
        (json!({"deceasedBoolean": false}), false),
        (json!({"deceasedBoolean": true}), true),
        (json!({"deceasedDateTime": "2025"}), true),
        (
            json!({"deceasedDateTime": "2025-11-29T08:00:00+01:00", "active": true}),
            true,
        ),
    ] {
        assert_eq!(patient(members.clone()).is_deceased(), is_deceased, "{members}");
    }
}
