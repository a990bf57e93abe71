//! Reading what was just written, and reading a lot.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::rig::{Rig, patient};

#[tokio::test]
async fn a_patient_is_found_before_it_is_projected_and_gone_before_its_deletion_is() {
    let rig = Rig::new().await;
    let first = rig.register("a@example.com").await;
    rig.project().await;
    let second = rig.register("b@example.com").await;
    // The first is projected and its deletion is not; the second is not projected at all.
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
        let link = page.header("link");
        if link.is_empty() {
            break;
        }
        path = link
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned();
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn many_reads_at_once_each_get_their_own_answer() {
    let rig = Rig::new().await;
    let mut patients = Vec::new();
    for number in 0..20 {
        let email = format!("p{number}@example.com");
        patients.push((rig.register(&email).await.id().to_owned(), email));
        if number == 9 {
            rig.project().await;
        }
    }
    let reads = (0..400).map(|number| {
        let (id, email) = &patients[number % patients.len()];
        let rig = &rig;
        async move {
            let found = rig.get(&format!("/patients/{id}")).await;
            assert_eq!(
                (found.id(), &found.body["email"]),
                (id.as_str(), &patient(email)["email"])
            );
        }
    });
    for read in reads {
        read.await;
    }
}
