//! Tests of reads just after a write, and of many concurrent reads.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::Session;
use testkit::{PrivateMysql, installed_flavours};
use web::access::Access;

use crate::rig::{Rig, at_once, every_host, patient};

#[tokio::test]
async fn a_patient_is_found_before_it_is_projected_and_gone_before_its_deletion_is() {
    let rig = Rig::new().await;
    let first = rig.register("a@example.com").await;
    rig.project().await;
    let second = rig.register("b@example.com").await;
    // The registration of the first patient is projected, but not its deletion. The second patient is not
    // projected at all.
    rig.delete(first.id()).await;
    assert_eq!(
        rig.get(&format!("/patients/{}", first.id())).await.status,
        StatusCode::GONE
    );
    assert_eq!(
        rig.get(&format!("/patients/{}", second.id())).await.status,
        StatusCode::OK
    );
    rig.delete(second.id()).await;
    assert_eq!(
        rig.get(&format!("/patients/{}", second.id())).await.status,
        StatusCode::GONE
    );
    rig.project().await;
    for id in [first.id(), second.id()] {
        assert_eq!(rig.get(&format!("/patients/{id}")).await.status, StatusCode::GONE);
    }
}

#[tokio::test]
async fn min_position_waits_for_the_projection_and_gives_up_in_time() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let request = || {
        Request::get("/getPatients")
            .header("min-position", created.header("event-position"))
            .body(Body::empty())
            .unwrap()
    };
    let early = rig.send(request()).await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(early.header("retry-after"), "1");
    assert_eq!(early.body["position"], 0);
    rig.project().await;
    let later = rig.send(request()).await;
    assert_eq!(later.status, StatusCode::OK);
    assert_eq!(later.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pages_follow_one_another_by_their_links_and_miss_nobody() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(
            rig.register(&format!("p{number}@example.com"))
                .await
                .id()
                .to_owned(),
        );
    }
    ids.sort_unstable();
    rig.project().await;

    let mut path = "/patients?limit=10".to_owned();
    let mut sizes = Vec::new();
    let mut listed = Vec::new();
    loop {
        let page = rig.get(&path).await;
        let page_ids = page
            .body
            .as_array()
            .unwrap()
            .iter()
            .map(|patient| patient["id"].as_str().unwrap().to_owned());
        listed.extend(page_ids);
        sizes.push(page.body.as_array().unwrap().len());
        assert_eq!(page.link("first").unwrap(), "/patients?limit=10");
        let Some(next) = page.link("next") else { break };
        path = next;
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn many_reads_at_once_each_get_their_own_answer() {
    let rig = Rig::new().await;
    // The ids to read, each with the expected email, or with the expected status for deleted and unknown
    // patients.
    let mut expected = Vec::new();
    for number in 0..40 {
        let email = format!("p{number}@example.com");
        let id = rig.register(&email).await.id().to_owned();
        // Every fourth patient is deleted, in some cases before the projection, and in others after it.
        let deleted = number % 4 == 0;
        if deleted {
            rig.delete(&id).await;
        }
        expected.push((id, if deleted { Err(StatusCode::GONE) } else { Ok(email) }));
        if number % 10 == 3 && number < 20 {
            rig.project().await;
        }
    }
    // These patients are projected, and are now deleted.
    for (id, answer) in expected.iter_mut().take(3).skip(1) {
        rig.delete(id).await;
        *answer = Err(StatusCode::GONE);
    }
    for number in 0..10 {
        let id = format!("0197f1a0-0000-7000-8000-{number:012}");
        expected.push((id, Err(StatusCode::NOT_FOUND)));
    }
    // The stride has no common factor with the number of ids, so consecutive requests are for different kinds
    // of patients.
    let asked = || (0..400).map(|number| &expected[number * 7 % expected.len()]);
    let paths: Vec<_> = asked().map(|(id, _)| format!("/patients/{id}")).collect();
    let answers = at_once(paths.iter().map(|path| rig.get(path))).await;
    assert_eq!(answers.len(), 400);
    for ((id, expected), answer) in asked().zip(&answers) {
        match expected {
            Ok(email) => {
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                assert_eq!(
                    (answer.id(), &answer.body["email"]),
                    (id.as_str(), &patient(email)["email"])
                );
            }
            Err(status) => assert_eq!(answer.status, *status, "{id}: {}", answer.body),
        }
    }
}

#[tokio::test]
async fn many_pages_at_once_each_get_their_own_answer() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(
            rig.register(&format!("p{number}@example.com"))
                .await
                .id()
                .to_owned(),
        );
    }
    rig.project().await;
    let mut expected = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let path = format!("/patients?limit={}&after={id}", 1 + number % 3);
        let page = rig.get(&path).await;
        expected.push((path, page.body, page.headers.get("link").cloned()));
    }
    let asked = || (0..120).map(|number| &expected[number * 7 % expected.len()]);
    let answers = at_once(asked().map(|(path, _, _)| rig.get(path))).await;
    for (answer, (path, body, link)) in answers.iter().zip(asked()) {
        assert_eq!(
            (&answer.body, answer.headers.get("link")),
            (body, link.as_ref()),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

/// Without an index hint, MySQL would read some deep pages from the index on names and sort the rows. The
/// test starts separate servers, because a server counts the sorted rows of all connections together.
#[tokio::test]
async fn no_page_of_the_list_is_sorted() {
    for flavour in installed_flavours() {
        let server = PrivateMysql::start(flavour).await;
        let database = server.server().create_database().await;
        let rig = Rig::over(&database.url, Access::open(), every_host(), None).await;
        let mut ids = Vec::new();
        for hundred in 0..10 {
            let emails: Vec<_> = (0..100)
                .map(|number| format!("{hundred}-{number}@example.com"))
                .collect();
            let created = at_once(emails.iter().map(|email| rig.register(email))).await;
            ids.extend(created.iter().map(|answer| answer.id().to_owned()));
        }
        rig.project().await;
        rig.execute("ANALYZE TABLE patient_view").await;
        let before = rows_sorted(&rig).await;
        for after in &ids {
            let page = rig.get(&format!("/getPatients?limit=100&after={after}")).await;
            assert_eq!(page.status, StatusCode::OK);
        }
        assert_eq!(rows_sorted(&rig).await, before, "on {}", flavour.name());
    }
}

async fn rows_sorted(rig: &Rig) -> String {
    let mut connection = rig.log.database().reader().await.unwrap();
    let status = connection.query("SHOW GLOBAL STATUS LIKE 'Sort_rows'");
    status.fetch_all().await.unwrap()[0].get(1).unwrap()
}
