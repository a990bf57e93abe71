//! Tests of the filters of the list: by email, and by the words of the name.

use axum::http::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::rig::{Answer, Rig, patient};

async fn named(rig: &Rig, name: &str, email: &str) -> Answer {
    let mut body = patient(email);
    body["name"] = json!(name);
    let answer = rig.post("/register", &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer
}

fn names(page: &Value) -> Vec<&str> {
    let page = page.as_array().unwrap().iter();
    page.map(|patient| patient["name"].as_str().unwrap()).collect()
}

/// Follows the links of the pages from `path` to the last page, and returns the names on each page.
async fn pages(rig: &Rig, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = rig.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
        pages.push(names(&page.body).into_iter().map(str::to_owned).collect());
        next = page.link("next");
    }
    pages
}

#[tokio::test]
async fn an_email_finds_its_patient_before_it_is_projected_and_nobody_after_the_deletion() {
    let rig = Rig::new().await;
    let created = rig.register("Ana+1@Example.com").await;
    rig.register("other@example.com").await;
    let path = "/patients?email=ana%2B1%40EXAMPLE.com";
    let expected = json!([{"id": created.id(), "name": "John Doe", "email": "Ana+1@Example.com"}]);
    let found = rig.get(path).await;
    assert_eq!((found.status, &found.body), (StatusCode::OK, &expected));
    assert_eq!(found.link("next"), None);
    assert_eq!(rig.get(&found.link("first").unwrap()).await.body, expected);
    // With `Min-Position`, the response does not wait for the projection.
    assert_eq!(
        rig.get_at(path, created.header("event-position")).await.body,
        expected
    );
    for (filter, finds) in [
        ("&name=do+jo", true),
        ("&name=ohn", false),
        ("&name=jo+ana", false),
    ] {
        let found = rig.get(&format!("{path}{filter}")).await.body;
        assert_eq!(
            found,
            if finds { expected.clone() } else { json!([]) },
            "{filter}"
        );
    }
    let after = format!("{path}&after={}", created.id());
    assert_eq!(rig.get(&after).await.body, json!([]));
    assert_eq!(
        rig.get("/patients?email=nobody@example.com").await.body,
        json!([])
    );
    rig.delete(created.id()).await;
    assert_eq!(rig.get(path).await.body, json!([]));
    let again = rig.register("ana+1@example.com").await;
    assert_eq!(rig.get(path).await.body[0]["id"], again.id());
}

/// Returns the path of a search.
fn search(query: &str) -> String {
    let query: String = byte_serialize(query.as_bytes()).collect();
    format!("/patients?name={query}")
}

#[tokio::test]
async fn a_name_is_found_by_the_beginning_of_any_of_its_words_in_any_order() {
    Rig::on_each(async |rig| {
        let mut ids = Vec::new();
        for (number, name) in [
            "Josefa Martínez",
            "José Ñandú",
            "MARTIN O'Hara",
            "Ana-José Groß",
            "Anabel",
            "Joa% Pérez_",
            "山田 太郎",
            "か",
            "が",
            "𐐷x",
        ]
        .iter()
        .enumerate()
        {
            let created = named(&rig, name, &format!("p{number}@example.com")).await;
            ids.push((created.id().to_owned(), *name));
        }
        // Ids of the same millisecond are not in the order of registration.
        ids.sort();
        rig.project().await;
        for (query, expected) in [
            ("josé", &["Josefa Martínez", "José Ñandú", "Ana-José Groß"][..]),
            ("NANDU jose", &["José Ñandú"]),
            ("jose n", &["José Ñandú"]),
            ("mart", &["Josefa Martínez", "MARTIN O'Hara"]),
            ("m j", &["Josefa Martínez"]),
            ("ohara", &["MARTIN O'Hara"]),
            ("hara martin", &["MARTIN O'Hara"]),
            ("o’hara", &["MARTIN O'Hara"]),
            ("gross", &["Ana-José Groß"]),
            ("an", &["Ana-José Groß", "Anabel"]),
            ("an an", &["Ana-José Groß", "Anabel"]),
            ("artin", &[]),
            ("jose anabel", &[]),
            ("joa%", &["Joa% Pérez_"]),
            ("p_ j", &["Joa% Pérez_"]),
            ("太郎", &["山田 太郎"]),
            ("山田太郎", &["山田 太郎"]),
            ("か", &["か"]),
            ("が", &["が"]),
            ("𐐏", &["𐐷x"]),
        ] {
            let found = rig.get(&search(query)).await;
            assert_eq!(found.status, StatusCode::OK, "{query}: {}", found.body);
            let expected: Vec<_> = ids
                .iter()
                .map(|(_, name)| *name)
                .filter(|name| expected.contains(name))
                .collect();
            assert_eq!(names(&found.body), expected, "{query}");
        }
        for refused in ["%", " ", &*"a".repeat(65), "a b c d e f g h i"] {
            let answer = rig.get(&search(refused)).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_search_of_the_shared_cases_finds_its_name() {
    Rig::on_each(async |rig| {
        let cases = include_str!("../../../domain/tests/cases/values.jsonl").lines();
        let cases = cases.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let searches: Vec<Value> = cases.filter(|case| case["kind"] == "search").collect();
        for (number, case) in searches.iter().enumerate() {
            named(
                &rig,
                case["name"].as_str().unwrap(),
                &format!("p{number}@example.com"),
            )
            .await;
        }
        rig.project().await;
        for (number, case) in searches.iter().enumerate() {
            let found = rig.get(&search(case["query"].as_str().unwrap())).await.body;
            let email = json!(format!("p{number}@example.com"));
            let mut found = found.as_array().unwrap().iter();
            assert!(found.any(|patient| patient["email"] == email), "{case}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_search_are_in_order_of_id_and_stable_whoever_comes_and_goes() {
    Rig::on_each(async |rig| {
        let mut ids = Vec::new();
        for number in 0..6 {
            let name = if number % 2 == 0 { "Zoe Ana" } else { "Anabel Ana" };
            let created = named(&rig, name, &format!("p{number}@example.com")).await;
            ids.push(created.id().to_owned());
            named(&rig, "Bea", &format!("b{number}@example.com")).await;
        }
        ids.sort();
        rig.project().await;
        let listed = |page: &Value| {
            let page = page.as_array().unwrap().iter();
            page.map(|patient| patient["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(&rig.get("/getPatients?name=an").await.body), ids);
        let lengths = |pages: Vec<Vec<String>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
        for (limit, expected) in [(6, &[6][..]), (4, &[4, 2]), (3, &[3, 3])] {
            let path = format!("/patients?name=an&limit={limit}");
            assert_eq!(lengths(pages(&rig, &path).await), expected);
        }
        let first = rig.get("/patients?name=an&limit=2").await;
        assert_eq!(listed(&first.body), ids[..2]);
        // Delete the last patient of the first page and the first patient of the next page.
        rig.delete(&ids[1]).await;
        rig.delete(&ids[2]).await;
        let new = named(&rig, "Ana", "new@example.com").await;
        rig.project().await;
        let next = rig.get(&first.link("next").unwrap()).await;
        assert_eq!(listed(&next.body), ids[3..5]);
        let last = rig.get(&next.link("next").unwrap()).await;
        assert_eq!(listed(&last.body), [&*ids[5], new.id()]);
        assert_eq!(last.link("next"), None);
        // Any id can be given, whether or not a patient has or had it.
        let after = format!("/patients?name=an&limit=2&after={}", ids[2]);
        assert_eq!(listed(&rig.get(&after).await.body), ids[3..5]);
        let nobody = "/patients?name=b&limit=6&after=0197f1a0-0000-7000-8000-000000000000";
        assert_eq!(names(&rig.get(nobody).await.body), ["Bea"; 6]);
    })
    .await;
}

#[tokio::test]
async fn names_are_not_searched_before_their_table_is_filled() {
    Rig::on_each(async |rig| {
        let created = named(&rig, "Ana", "a@example.com").await;
        rig.project().await;
        rig.execute("UPDATE projections SET active_generation = 0 WHERE name = 'patient_names'")
            .await;
        let position = created.header("event-position");
        for refused in [
            rig.get("/patients?name=a").await,
            rig.get_at("/patients?name=a", position).await,
        ] {
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.body["type"], "/problems/read-table-not-filled");
            assert!(!refused.header("retry-after").is_empty());
        }
        for path in ["/patients", "/patients?email=a@example.com&name=a"] {
            assert_eq!(names(&rig.get_at(path, position).await.body), ["Ana"], "{path}");
        }
        assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK);
        rig.execute("UPDATE projections SET active_generation = 1 WHERE name = 'patient_names'")
            .await;
        assert_eq!(names(&rig.get("/patients?name=a").await.body), ["Ana"]);
    })
    .await;
}

#[tokio::test]
async fn a_search_with_a_position_waits_for_both_tables_and_never_shows_a_deleted_patient() {
    Rig::on_each(async |rig| {
        let ana = named(&rig, "Ana", "a@example.com").await;
        rig.project_view().await;
        let position = ana.header("event-position");
        assert_eq!(names(&rig.get_at("/patients", position).await.body), ["Ana"]);
        let late = rig.get_at("/patients?name=ana", position).await;
        assert_eq!(late.body["type"], "/problems/not-projected-yet");
        assert_eq!(late.body["position"], 0);
        assert_eq!(rig.get("/patients?name=ana").await.body, json!([]));
        rig.project_names().await;
        assert_eq!(
            names(&rig.get_at("/patients?name=ana", position).await.body),
            ["Ana"]
        );
        // The words of a deleted patient are still in the other table.
        rig.delete(ana.id()).await;
        rig.project_view().await;
        assert_eq!(rig.get("/patients?name=ana").await.body, json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_patient_with_an_event_that_the_names_skip_is_left_out_of_searches_only() {
    Rig::on_each(async |rig| {
        named(&rig, "Ana", "a@example.com").await;
        named(&rig, "Anabel", "b@example.com").await;
        rig.project().await;
        rig.execute(
            "INSERT INTO projection_skips (projection, position, reason, skipped_by, skipped_at) \
             VALUES ('patient_names', 1, 'unreadable', 'test', 1)",
        )
        .await;
        // Another process, which has not read the skips yet, would show both until the projection moves.
        named(&rig, "Bea", "c@example.com").await;
        rig.project().await;
        assert_eq!(names(&rig.get("/patients?name=an").await.body), ["Anabel"]);
        assert_eq!(rig.get("/patients").await.body.as_array().unwrap().len(), 3);
    })
    .await;
}
