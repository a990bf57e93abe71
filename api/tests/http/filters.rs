//! Tests of the filters of the list: by email, and by the beginning of the name.

use axum::body::Body;
use axum::http::{Request, StatusCode};
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
    let request = Request::get(path).header("min-position", created.header("event-position"));
    assert_eq!(
        rig.send(request.body(Body::empty()).unwrap()).await.body,
        expected
    );
    for (filter, finds) in [("&name=jo", true), ("&name=ana", false)] {
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

#[tokio::test]
async fn a_name_is_found_by_its_beginning_whatever_its_case_and_accents() {
    Rig::on_each(async |rig| {
        let all = [
            "José Ñandú",
            "JOSE",
            "Josefa",
            "jose\u{301} b",
            "Jos",
            "Joa%",
            "Joa_",
            "Joab",
            "Joa\\",
            "Ana",
            "か",
            "が",
            "𐐷x",
            "Íñigo",
            "Jo\u{10ffff}",
            "jp",
        ];
        for (number, name) in all.iter().enumerate() {
            named(&rig, name, &format!("p{number}@example.com")).await;
        }
        rig.project().await;
        for (prefix, expected) in [
            ("josé", &["JOSE", "josé b", "José Ñandú", "Josefa"][..]),
            ("jose n", &["José Ñandú"]),
            ("JOS", &["Jos", "JOSE", "josé b", "José Ñandú", "Josefa"]),
            ("joa%", &["Joa%"]),
            ("joa_", &["Joa_"]),
            ("joa\\", &["Joa\\"]),
            ("%", &[]),
            ("か", &["か", "が"]),
            ("が", &["が"]),
            ("𐐏", &["𐐷x"]),
            ("iñ", &["Íñigo"]),
            ("jo\u{10ffff}", &["Jo\u{10ffff}"]),
        ] {
            let encoded: String = byte_serialize(prefix.as_bytes()).collect();
            let found = rig.get(&format!("/patients?name={encoded}")).await;
            assert_eq!(names(&found.body), expected, "{prefix}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_by_name_are_stable_whoever_comes_and_goes() {
    Rig::on_each(async |rig| {
        let mut ids = Vec::new();
        for number in 0..6 {
            let name = if number < 4 { "Ana" } else { "Anabel" };
            ids.push(
                named(&rig, name, &format!("p{number}@example.com"))
                    .await
                    .id()
                    .to_owned(),
            );
        }
        named(&rig, "Bea", "bea@example.com").await;
        rig.project().await;
        assert_eq!(
            pages(&rig, "/patients?name=an&limit=4").await,
            [vec!["Ana"; 4], vec!["Anabel"; 2]]
        );
        let by_two = pages(&rig, "/patients?name=an&limit=2").await;
        assert_eq!(by_two, [vec!["Ana"; 2], vec!["Ana"; 2], vec!["Anabel"; 2]]);
        // The second page begins within the patients who share a name, and continues after the last of these
        // patients.
        assert_eq!(
            pages(&rig, "/patients?name=an&limit=3").await,
            [vec!["Ana"; 3], vec!["Ana", "Anabel", "Anabel"]]
        );
        let mut order = ids[..4].to_vec();
        order.sort_unstable();
        let first = rig.get("/patients?name=an&limit=2").await;
        assert_eq!(first.body[1]["id"], order[1]);
        // Delete the last patient of the first page. Register one patient who comes before that patient in
        // the order, and one who comes after.
        rig.delete(&order[1]).await;
        named(&rig, "An", "an@example.com").await;
        named(&rig, "Anac", "anac@example.com").await;
        rig.project().await;
        let next = first.link("next").unwrap();
        let rest = pages(&rig, &next).await;
        assert_eq!(rest, [vec!["Ana"; 2], vec!["Anabel"; 2], vec!["Anac"]]);
        assert_eq!(rig.get(&next).await.body[0]["id"], order[2]);
        // Start after a patient whose name comes before or after all matching names.
        let bea = rig.get("/patients?name=b").await.body[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            rig.get(&format!("/patients?name=an&after={bea}")).await.body,
            json!([])
        );
        let page = rig.get(&format!("/patients?name=b&after={}", order[0])).await;
        assert_eq!(names(&page.body), ["Bea"]);
        let nobody = "/patients?name=b&after=0197f1a0-0000-7000-8000-000000000000";
        assert_eq!(rig.get(nobody).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn names_are_not_searched_while_some_are_not_prepared_for_it() {
    Rig::on_each(async |rig| {
        named(&rig, "Ana", "a@example.com").await;
        rig.project().await;
        // An earlier version of the program wrote an empty key.
        rig.execute("UPDATE patient_view SET name_key = ''").await;
        let refused = rig.get("/patients?name=a").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.body["type"], "/problems/rebuild-needed");
        assert_eq!(names(&rig.get("/patients").await.body), ["Ana"]);
        assert_eq!(
            names(&rig.get("/patients?email=a@example.com").await.body),
            ["Ana"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_by_name_is_a_range_of_the_index_and_sorts_nothing() {
    Rig::on_each(async |rig| {
        for number in 0..300 {
            let name = format!("N{}", number % 5);
            named(&rig, &name, &format!("p{number}@example.com")).await;
        }
        rig.project().await;
        for condition in [
            "v.name_key >= 'n1' AND v.name_key < 'n2' ORDER BY v.name_key, v.id",
            "v.name_key = 'n1' AND v.id > '0' ORDER BY v.id",
        ] {
            let plan = rig
                .plan(&format!(
                    "SELECT v.id, v.name, v.email, p.active_generation, COALESCE(c.position, 0) \
                     FROM projections p LEFT JOIN checkpoints c ON c.name = p.name \
                     JOIN patient_view v ON v.generation = p.active_generation \
                     WHERE p.name = 'patient_view' AND {condition} LIMIT 101"
                ))
                .await;
            println!("{plan}");
            assert!(plan.contains("patient_view_name_key"), "{plan}");
            for sorting in [
                "\"using_filesort\": true",
                "\"filesort\": {",
                "Sort:",
                "TEMP B-TREE",
            ] {
                assert!(!plan.contains(sorting), "{plan}");
            }
        }
    })
    .await;
}
