//! Tests of the values of a registration on each kind of database: which values are accepted, how they are
//! stored, and which values are rejected.

use api::ApiOptions;
use axum::http::StatusCode;
use domain::{DocumentUrl, Name};
use eventstore::{Append, NewEvent};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;
use web::access::Access;

use crate::rig::{Rig, patient, post};

#[tokio::test]
async fn every_value_is_stored_or_refused_as_its_case_says() {
    Rig::on_each(async |rig| {
        let mut stored = Vec::new();
        for (number, line) in include_str!("../../../domain/tests/cases/values.jsonl")
            .lines()
            .enumerate()
        {
            let case: Value = serde_json::from_str(line).unwrap();
            // Other tests use these lines, which are about equal mailboxes and about searches.
            if case["kind"] != "value" {
                assert!(case["kind"] == "mailbox" || case["kind"] == "search", "{case}");
                continue;
            }
            let field = case["field"].as_str().unwrap();
            let mut body = patient(&format!("p{number}@example.com"));
            body[field] = case["value"].clone();
            let answer = rig.post("/register", &body).await;
            assert_eq!(
                u64::from(answer.status.as_u16()),
                case["expect"],
                "{}: {}",
                case["why"],
                answer.body
            );
            if answer.status == StatusCode::CREATED {
                let expected = case.get("stored").unwrap_or(&case["value"]);
                assert_eq!(&answer.body[field], expected, "{}", case["why"]);
                stored.push(answer.body);
            } else {
                assert_eq!(answer.body["type"], "/problems/invalid-request");
                assert_eq!(answer.body["errors"][0]["field"], field);
            }
        }
        for projected in [false, true] {
            if projected {
                rig.project().await;
            }
            for patient in &stored {
                let path = format!("/patients/{}", patient["id"].as_str().unwrap());
                assert_eq!(&rig.get(&path).await.body, patient, "projected: {projected}");
            }
        }
    })
    .await;
}

/// Returns the text with every character escaped for JSON. Many programs escape all non-ASCII characters.
fn escaped(text: &str) -> String {
    let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    units.concat()
}

#[tokio::test]
async fn the_longest_values_fit_into_a_body_and_a_row() {
    Rig::on_each(async |rig| {
        let name = "\u{11103}\u{1112a}\u{1112b}\u{11100}".repeat(Name::MAX_CODE_POINTS / 4);
        let url = "https://example.com/";
        let url = url.to_owned() + &"𐐷".repeat(DocumentUrl::MAX_CHARS - url.len());
        let email = format!(
            "{}@{}.example",
            "a".repeat(64),
            ["b".repeat(60), "c".repeat(60), "d".repeat(59)].join(".")
        );
        let phone = "𞥐".repeat(64);
        let body = format!(
            r#"{{"name": "{}", "email": "{}", "phone": "{}", "document_url": "{}"}}"#,
            escaped(&name),
            escaped(&email),
            escaped(&phone),
            escaped(&url),
        );
        let answer = rig.send(post("/register", body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let expected = json!({
            "id": answer.id(), "name": name, "email": email, "phone": phone, "document_url": url,
        });
        assert_eq!(answer.body, expected);
        rig.project().await;
        assert_eq!(
            rig.get(&format!("/patients/{}", answer.id())).await.body,
            expected
        );
        assert_eq!(rig.get("/patients").await.body[0]["name"], expected["name"]);
        for (field, long) in [
            ("name", name + "a"),
            ("document_url", url + "a"),
            ("phone", phone + "1"),
            ("email", "a".to_owned() + &email),
        ] {
            let mut body = patient("other@example.com");
            body[field] = json!(long);
            let refused = rig.post("/register", &body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        }
    })
    .await;
}

/// Records a registration that a program with other rules may have recorded.
async fn recorded(rig: &Rig, number: u32, name: &str, email: &str) -> String {
    let id = format!("01a20c52-84f4-752b-9b94-{number:012}");
    let mut payload = patient(email);
    payload["name"] = json!(name);
    payload["type"] = json!("PatientRegistered");
    let event = NewEvent {
        aggregate_type: "patient".to_owned(),
        aggregate_id: id.clone(),
        sequence: 1,
        event_type: "PatientRegistered".to_owned(),
        event_version: "1.0".to_owned(),
        payload,
        metadata: json!({}),
    };
    let append = Append::new(vec![event], Vec::new()).unwrap();
    rig.appends.append(append).await.unwrap();
    id
}

#[tokio::test]
async fn no_name_stops_the_search_of_others() {
    Rig::on_each_in_clear(async |rig| {
        let spaces = |space: &str| space.repeat(64);
        for (number, name) in [
            spaces("\u{a0}") + "a",
            spaces(" ") + "ab",
            spaces("´") + "ac",
            spaces("\u{a0}"),
            " ".to_owned(),
            String::new(),
            "\u{301}".to_owned(),
            spaces("\u{3164}"),
            "\0".to_owned(),
        ]
        .iter()
        .enumerate()
        {
            recorded(
                &rig,
                u32::try_from(number).unwrap(),
                name,
                &format!("p{number}@example.com"),
            )
            .await;
        }
        for (number, name) in [
            spaces("\u{a0}") + "ana",
            spaces("´") + "anb",
            spaces("\u{2003}\u{200b}\u{a8}") + "anc",
            "\u{37a}".repeat(64) + "and",
        ]
        .iter()
        .enumerate()
        {
            let mut body = patient(&format!("q{number}@example.com"));
            body["name"] = json!(name);
            let answer = rig.post("/register", &body).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{name:?}: {}", answer.body);
        }
        rig.project().await;
        for (prefix, found) in [("a", 7), ("an", 4), ("ana", 1), ("b", 0)] {
            let answer = rig.get(&format!("/patients?name={prefix}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{prefix}: {}", answer.body);
            assert_eq!(
                answer.body.as_array().unwrap().len(),
                found,
                "{prefix}: {}",
                answer.body
            );
        }
    })
    .await;
}

#[tokio::test]
async fn names_are_found_however_their_beginning_was_pasted() {
    let rig = Rig::new().await;
    let mut body = patient("a@example.com");
    body["name"] = json!("José\u{202b}محمد\u{202c}");
    assert_eq!(rig.post("/register", &body).await.status, StatusCode::CREATED);
    rig.project().await;
    for prefix in [
        "jose\u{301}",
        "\u{feff}José\u{a0}",
        "\tjosé\n",
        "\u{202a}José\u{202c}",
    ] {
        let encoded: String = byte_serialize(prefix.as_bytes()).collect();
        let found = rig.get(&format!("/patients?name={encoded}")).await;
        assert_eq!(
            found.body.as_array().map(Vec::len),
            Some(1),
            "{prefix:?}: {}",
            found.body
        );
    }
}

#[tokio::test]
async fn one_mailbox_in_two_normalization_forms_is_one_patients() {
    Rig::on_each_in_clear(async |rig| {
        let composed = "한@example.com";
        let decomposed = "\u{1112}\u{1161}\u{11ab}@example.com";
        let found = async |email: &str| {
            let email: String = byte_serialize(email.as_bytes()).collect();
            rig.get(&format!("/patients?email={email}")).await.body
        };
        let created = rig.post("/register", &patient(decomposed)).await;
        assert_eq!(
            (created.status, &created.body["email"]),
            (StatusCode::CREATED, &json!(composed))
        );
        for email in [composed, decomposed] {
            assert_eq!(
                rig.post("/register", &patient(email)).await.status,
                StatusCode::CONFLICT
            );
            assert_eq!(found(email).await[0]["id"], created.id());
        }
        rig.delete(created.id()).await;

        // A program that did not normalize addresses recorded this address and its claim.
        let id = recorded(&rig, 1, "Ana", decomposed).await;
        rig.execute(&format!(
            "INSERT INTO claims (claim, aggregate_type, aggregate_id) \
             VALUES (X'059e300809fda6b9c0f9d6030feb1404778d9a2f41133c9c20ad6a4fa47f2c2e', 'patient', '{id}')"
        ))
        .await;
        for email in [composed, decomposed] {
            let taken = rig.post("/register", &patient(email)).await;
            assert_eq!(
                (taken.status, &taken.body["type"]),
                (StatusCode::CONFLICT, &json!("/problems/email-taken"))
            );
            assert_eq!(found(email).await[0]["id"], id);
        }
        assert_eq!(rig.delete(&id).await.status, StatusCode::NO_CONTENT);
        assert_eq!(
            rig.post("/register", &patient(composed)).await.status,
            StatusCode::CREATED
        );
    })
    .await;
}

#[tokio::test]
async fn a_registration_is_repeated_although_it_was_recorded_before_values_were_normalized() {
    let rig = Rig::in_clear().await;
    let register = async |name: &str| {
        let mut body = patient("ana@example.com");
        body["name"] = json!(name);
        let mut request = post("/register", body.to_string());
        request
            .headers_mut()
            .insert("idempotency-key", "key".parse().unwrap());
        rig.send(request).await
    };
    let first = register("Jose\u{301}\u{a0}").await;
    assert_eq!(
        (first.status, &first.body["name"]),
        (StatusCode::CREATED, &json!("José"))
    );
    assert_eq!(register("Jose\u{301}\u{a0}").await.body, first.body);
    assert_eq!(register("José").await.body, first.body);
    rig.execute(
        "UPDATE events SET payload = json_set(payload, '$.name', 'Jose' || char(0x301) || char(0xa0))",
    )
    .await;
    let again = register("Jose\u{301}\u{a0}").await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
    assert_eq!(
        (again.id(), &again.body["name"]),
        (first.id(), &json!("Jose\u{301}\u{a0}"))
    );
    assert_eq!(register("Joseph").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_schemes_of_document_urls_are_those_of_the_setting() {
    let options = ApiOptions {
        document_url_schemes: "https,s3".parse().unwrap(),
        ..ApiOptions::default()
    };
    let rig = Rig::with_options(Access::open(), options).await;
    for (number, (url, status)) in [
        ("s3://bucket/photo.jpg", StatusCode::CREATED),
        ("HTTPS://example.com/photo.jpg", StatusCode::CREATED),
        ("http://example.com/photo.jpg", StatusCode::UNPROCESSABLE_ENTITY),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = patient(&format!("p{number}@example.com"));
        body["document_url"] = json!(url);
        let answer = rig.post("/register", &body).await;
        assert_eq!(answer.status, status, "{url}: {}", answer.body);
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            assert_eq!(
                answer.body["errors"][0]["message"],
                "must start with https:// or s3://"
            );
        } else {
            assert_eq!(answer.body["document_url"], url);
        }
    }
}
