//! Imported patients under the ids of the service that they come from.

use api::commands::{Cause, CommandError, Commands, Earlier, Imported};
use api::read_log::{ReadLogOptions, ReadRecording};
use api::{ApiOptions, LegacyIds};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::{Import, OldId, Registration};
use eventstore::SystemClock;
use serde_json::{Value, json};
use testkit::mysql_servers;
use web::access::{Access, Role, Token, Tokens};

use crate::rig::{Rig, every_host};

fn options(in_paths: bool) -> ApiOptions {
    ApiOptions {
        legacy_ids: LegacyIds {
            in_paths,
            ..LegacyIds::default()
        },
        ..ApiOptions::from(every_host())
    }
}

fn import(source: &str, old_id: &str, email: &str) -> Import {
    let url = "https://example.com/a.jpg";
    Import {
        registration: Registration::parse("Ana Pérez", email, "+34600000000", url).unwrap(),
        source: source.parse().unwrap(),
        old_id: OldId::parse(old_id).unwrap(),
        confirmation: false,
    }
}

impl Rig {
    fn commands(&self) -> Commands {
        Commands::new(self.log.clone(), self.appends.clone(), SystemClock::shared())
    }

    async fn import(&self, source: &str, old_id: &str, email: &str) -> Result<Imported, CommandError> {
        let cause = Cause {
            request_id: uuid::Uuid::nil(),
            actor: "importer".to_owned(),
            trace: None,
        };
        self.commands()
            .import(import(source, old_id, email), &cause)
            .await
    }

    async fn listed(&self, query: &str) -> Value {
        let answer = self.get(&format!("/patients?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        answer.body
    }
}

/// Runs `test` on SQLite and on every available MySQL and MariaDB server.
async fn on_each(test: impl AsyncFn(Rig)) {
    test(Rig::with_options(Access::open(), options(true)).await).await;
    for server in mysql_servers() {
        let database = server.create_database().await;
        test(Rig::over(&database.url, Access::open(), options(true), None).await).await;
    }
}

#[tokio::test]
async fn an_old_id_is_imported_once_whatever_happened_to_the_patient_since() {
    on_each(async |rig| {
        assert_eq!(
            rig.import("patients", "17", "a@example.com").await,
            Ok(Imported::Now)
        );
        // Also with other values, and although the email is taken.
        for email in ["a@example.com", "b@example.com"] {
            assert_eq!(
                rig.import("patients", "17", email).await,
                Ok(Imported::Before(Earlier::SamePatient))
            );
        }
        assert_eq!(
            rig.import("patients", "18", "A@example.com").await,
            Err(CommandError::EmailTaken)
        );
        assert_eq!(rig.head().await, 1);
        // Another source has ids of its own.
        assert_eq!(
            rig.import("clinic-2", "17", "c@example.com").await,
            Ok(Imported::Now)
        );

        assert_eq!(
            rig.delete("17").await.status,
            StatusCode::NO_CONTENT,
            "the number is accepted"
        );
        assert_eq!(
            rig.import("patients", "17", "a@example.com").await,
            Ok(Imported::Before(Earlier::SamePatient))
        );
        let source = "patients".parse().unwrap();
        let [id, _] = rig
            .commands()
            .ids_of_import(&source, &OldId::parse("17").unwrap());
        let erasure = json!({"reason": "request"});
        let erased = rig.post(&format!("/patients/{id}/erasure"), &erasure).await;
        assert!(erased.status.is_success(), "{}", erased.body);
        assert_eq!(
            rig.import("patients", "17", "a@example.com").await,
            Ok(Imported::Before(Earlier::SamePatient))
        );
        let imports = ["17", "18"].map(|id| import("patients", id, "z@example.com"));
        let earlier = rig.commands().imported_before(&imports.each_ref()).await;
        assert_eq!(
            earlier,
            Ok(vec![Some(Earlier::SamePatient), None]),
            "an erased patient is not compared"
        );
    })
    .await;
}

#[tokio::test]
async fn a_patient_of_another_service_with_the_same_source_and_old_id_is_noticed() {
    on_each(async |rig| {
        rig.import("patients", "17", "a@example.com").await.unwrap();
        let mut other = import("patients", "17", "b@example.com");
        // A patient may change either the name or the email in the former service.
        for (name, email, expected) in [
            ("Ana Pérez", "b@example.com", Earlier::SamePatient),
            ("Eva Mar", "A@example.com", Earlier::SamePatient),
            ("Eva Mar", "b@example.com", Earlier::OtherPatient),
        ] {
            other.registration =
                Registration::parse(name, email, "+34600000000", "https://example.com/b.jpg").unwrap();
            let earlier = rig.commands().imported_before(&[&other]).await;
            assert_eq!(earlier, Ok(vec![Some(expected)]), "{name} {email}");
        }
    })
    .await;
}

#[tokio::test]
async fn many_imports_of_one_old_id_at_once_register_one_patient() {
    on_each(async |rig| {
        let both = futures::future::join_all((0..20).map(|_| rig.import("patients", "17", "a@example.com")));
        let outcomes = both.await;
        let now = outcomes.iter().filter(|outcome| **outcome == Ok(Imported::Now));
        assert_eq!((now.count(), rig.head().await), (1, 1), "{outcomes:?}");
    })
    .await;
}

#[tokio::test]
async fn a_patient_is_found_by_the_old_id_and_the_source() {
    let rig = Rig::new().await;
    rig.import("patients", "17", "a@example.com").await.unwrap();
    rig.import("clinic-2", "17", "b@example.com").await.unwrap();
    // Nothing is projected: the patient is found by the id that is derived from the old id.
    let found = rig.listed("old_id=17").await;
    assert_eq!(found[0]["email"], "a@example.com");
    let id = found[0]["id"].as_str().unwrap();
    assert_eq!(
        rig.get(&format!("/patients/{id}")).await.body["email"],
        "a@example.com"
    );
    assert_eq!(
        rig.listed("old_id=17&old_source=clinic-2").await[0]["email"],
        "b@example.com"
    );
    for nobody in [
        "old_id=18",
        "old_id=17&old_source=clinic-3",
        "old_id=17&email=b@example.com",
        "old_id=17&name=eva",
    ] {
        assert_eq!(rig.listed(nobody).await, json!([]), "{nobody}");
    }
    assert_eq!(rig.listed("old_id=17&name=ana&email=A@example.com").await, found);
    for invalid in [
        "old_id=",
        "old_id=%07",
        "old_source=clinic-2",
        "old_id=17&old_source=a+b",
    ] {
        let answer = rig.get(&format!("/patients?{invalid}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{invalid}");
    }
    // Without the setting, no number is an id.
    assert_eq!(rig.get("/patients/17").await.status, StatusCode::NOT_FOUND);
    rig.delete(id).await;
    assert_eq!(rig.listed("old_id=17").await, json!([]));
}

#[tokio::test]
async fn with_the_setting_numbers_are_accepted_and_shown() {
    let rig = Rig::with_options(Access::open(), options(true)).await;
    rig.import("patients", "17", "a@example.com").await.unwrap();
    rig.import("clinic-2", "19", "b@example.com").await.unwrap();
    rig.import("patients", "x-20", "c@example.com").await.unwrap();
    let read = rig.get("/patients/17").await;
    assert_eq!((read.status, &read.body["id"]), (StatusCode::OK, &json!(17)));
    assert_eq!(read.header("etag"), "\"1\"");
    let patch = Request::patch("/patients/17").header("content-type", "application/merge-patch+json");
    let patch = patch.body(Body::from(r#"{"phone": "+34699999999"}"#)).unwrap();
    let amended = rig.send(patch).await;
    assert_eq!(amended.status, StatusCode::OK);
    assert_eq!(
        (&amended.body["id"], &amended.body["phone"]),
        (&json!(17), &json!("+34699999999"))
    );

    rig.project().await;
    let listed = rig.get("/getPatients").await.body;
    let shown: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|patient| &patient["id"])
        .collect();
    assert_eq!(shown.iter().filter(|id| id.is_u64()).count(), 1, "{shown:?}");
    assert!(shown.contains(&&json!(17)), "{shown:?}");
    // A past state has the number that the request has, and a list continues after a number that it has
    // shown.
    let now = SystemClock::shared().now();
    let past = rig.get(&format!("/patients/17?at={now}")).await;
    assert_eq!(
        (&past.body["id"], &past.body["state"]),
        (&json!(17), &json!("active"))
    );
    let pages = [&shown[0], &shown[1]].map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    for (index, after) in pages.iter().enumerate() {
        let rest = rig.listed(&format!("after={after}")).await;
        assert_eq!(
            rest.as_array().unwrap()[..],
            listed.as_array().unwrap()[index + 1..],
            "{after}"
        );
    }
    let last = rig.listed("after=17&limit=1000").await;
    let position = shown.iter().position(|id| id.is_u64()).unwrap();
    assert_eq!(last.as_array().unwrap().len(), shown.len() - position - 1);
    let invalid = rig.get("/patients?after=017").await;
    assert_eq!(
        invalid.body["errors"][0]["message"],
        "must be the id or the number of a patient"
    );
    // The new id works too, and is shown to those who ask for it.
    let found = rig.listed("old_id=17").await;
    let source = "patients".parse().unwrap();
    let [id, _] = rig
        .commands()
        .ids_of_import(&source, &OldId::parse("17").unwrap());
    assert_eq!(found[0]["id"], id.to_string());
    assert_eq!(
        rig.get(&format!("/patients/{id}")).await.body["id"],
        id.to_string()
    );

    for other in [
        "18",
        "19",
        "017",
        "-17",
        "+17",
        "17.0",
        "99999999999999999999",
        "x-20",
    ] {
        let answer = rig.get(&format!("/patients/{other}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{other}");
        // It must not say that every id is a UUID.
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("No patient has this id.") && !detail.contains("UUID"),
            "{detail}"
        );
    }
    assert_eq!(rig.delete("17").await.header("event-position"), "5");
    assert_eq!(rig.get("/patients/17").await.status, StatusCode::GONE);
    assert_eq!(rig.delete("17").await.status, StatusCode::GONE);
}

#[tokio::test]
async fn in_a_log_in_clear_an_old_id_is_imported_once_too() {
    let rig = Rig::in_clear().await;
    for outcome in [Imported::Now, Imported::Before(Earlier::SamePatient)] {
        assert_eq!(rig.import("patients", "17", "a@example.com").await, Ok(outcome));
    }
    assert_eq!(rig.listed("old_id=17").await[0]["email"], "a@example.com");
    let event = &rig
        .log
        .stored_feed(eventstore::Position::BEGINNING, 1)
        .await
        .unwrap()[0];
    assert_eq!(event.event_version, "1.1");
    assert_eq!(
        event.payload["imported_from"],
        json!({"source": "patients", "id": "17"})
    );
}

#[tokio::test]
async fn a_number_needs_the_same_roles_as_the_id() {
    let tokens = [Role::Clerk, Role::Auditor].map(|role| (role, Token::generate().unwrap()));
    let lines = tokens
        .each_ref()
        .map(|(role, token)| token.line(&role.to_string(), *role));
    let access = Access::by(Tokens::parse(&lines.join("\n")).unwrap());
    let rig = Rig::with_options(access, options(true)).await;
    rig.import("patients", "17", "a@example.com").await.unwrap();
    let source = "patients".parse().unwrap();
    let [id, _] = rig
        .commands()
        .ids_of_import(&source, &OldId::parse("17").unwrap());
    let status = async |token: Option<&Token>, method: &str, path: &str| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        let request = request.header("content-type", "application/merge-patch+json");
        rig.send(request.body(Body::from("{}")).unwrap()).await.status
    };
    let [(_, clerk), (_, auditor)] = &tokens;
    for token in [None, Some(clerk), Some(auditor)] {
        for (method, query) in [
            ("GET", ""),
            ("GET", "?at=2026-01-01T00:00:00Z"),
            ("PATCH", ""),
            ("DELETE", ""),
        ] {
            // The deletion by number is the first, so the deletion by id finds that the patient was deleted.
            let by_number = status(token, method, &format!("/patients/17{query}")).await;
            let by_id = status(token, method, &format!("/patients/{id}{query}")).await;
            let is_deletion = by_number == StatusCode::NO_CONTENT && by_id == StatusCode::GONE;
            assert!(
                by_number == by_id || is_deletion,
                "{method} {query}: {by_number} {by_id}"
            );
            if token.is_none() {
                assert_eq!(by_number, StatusCode::UNAUTHORIZED);
            }
        }
    }
    assert_eq!(
        status(Some(auditor), "DELETE", "/patients/17").await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_read_by_number_is_recorded_under_the_id() {
    let recorded = ApiOptions {
        read_log: ReadLogOptions {
            recording: ReadRecording::Strict,
            ..ReadLogOptions::default()
        },
        ..options(true)
    };
    let rig = Rig::with_options(Access::open(), recorded).await;
    rig.import("patients", "17", "a@example.com").await.unwrap();
    assert_eq!(rig.get("/patients/17").await.body["id"], 17);
    let id = rig.listed("old_id=17").await[0]["id"].clone();
    let reads = rig.get("/audit/reads").await.body;
    let gist: Vec<_> = reads
        .as_array()
        .unwrap()
        .iter()
        .map(|read| (&read["kind"], &read["patient_id"]))
        .collect();
    assert_eq!(gist, [(&json!("patient"), &id), (&json!("search"), &id)]);
}

#[tokio::test]
async fn the_document_of_a_service_with_numbers_allows_numbers_where_they_are_accepted_and_shown() {
    let document = async |in_paths| {
        let rig = Rig::with_options(Access::open(), options(in_paths)).await;
        rig.get("/openapi.json").await.body
    };
    let (with, without) = (document(true).await, document(false).await);
    let ids = |document: &Value| {
        let schemas = ["ListedPatient", "Patient", "ReadPatient", "PastPatient", "Hold"];
        let schemas = schemas.map(|name| format!("/components/schemas/{name}/properties/id"));
        let parameters = [
            ("get", "/patients/{id}"),
            ("patch", "/patients/{id}"),
            ("delete", "/patients/{id}"),
        ]
        .map(|(method, path)| (method, path, "id"))
        .into_iter()
        .chain([
            ("get", "/patients", "after"),
            ("get", "/getPatients", "after"),
            ("get", "/patients/{id}/history", "id"),
        ]);
        let parameters = parameters.map(|(method, path, name)| {
            let all = document["paths"][path][method]["parameters"].as_array().unwrap();
            all.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
        });
        let schemas = schemas
            .into_iter()
            .map(|pointer| document.pointer(&pointer).unwrap().clone());
        let either: Vec<bool> = schemas
            .chain(parameters)
            .map(|schema| {
                let types = schema["oneOf"]
                    .as_array()
                    .map(|either| [&either[0]["type"], &either[1]["type"]]);
                types.is_some_and(|types| types == ["string", "integer"])
            })
            .collect();
        either
    };
    assert_eq!(
        ids(&with),
        [
            true, true, true, false, false, true, true, true, true, true, false
        ]
    );
    assert_eq!(ids(&without), [false; 11]);
}
