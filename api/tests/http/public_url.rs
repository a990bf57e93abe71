//! Tests of the addresses in responses, with and without a public URL.

use axum::http::StatusCode;
use serde_json::json;
use web::HttpOptions;
use web::access::Access;

use crate::rig::Rig;

async fn rig(public_url: Option<&str>) -> Rig {
    let options = HttpOptions {
        public_url: public_url.map(|url| url.parse().unwrap()),
        ..HttpOptions::default()
    };
    Rig::with_options(Access::open(), options).await
}

/// Returns every address in the responses, each with a description of its response.
async fn addresses(rig: &Rig) -> Vec<(String, String)> {
    let created = rig.register("a@example.com").await;
    rig.register("b@example.com").await;
    let id = created.id();
    rig.delete(id).await;
    rig.project().await;
    let mut addresses = vec![("registered".to_owned(), created.header("location").to_owned())];
    let path = "/projections/patient_view/rebuild";
    for (status, what) in [
        (StatusCode::ACCEPTED, "accepted"),
        (StatusCode::CONFLICT, "under way"),
    ] {
        let answer = rig.post(path, &json!(null)).await;
        if answer.status == status {
            addresses.push((what.to_owned(), answer.header("location").to_owned()));
        }
    }
    for (path, relations) in [
        ("/patients?limit=1", &["first"][..]),
        ("/getPatients?limit=1", &["first"]),
        ("/events?limit=1", &["first", "next"]),
        (&format!("/patients/{id}/history?limit=1"), &["first", "next"]),
        ("/audit/reads?limit=1", &["first", "next"]),
        (&format!("/patients/{id}/reads?limit=1"), &["first"]),
    ] {
        let answer = rig.get(path).await;
        for relation in relations {
            addresses.push((format!("{path} {relation}"), answer.link(relation).unwrap()));
        }
    }
    addresses
}

#[tokio::test]
async fn with_a_public_url_every_address_begins_with_it_and_leads_to_the_same_place() {
    for url in ["https://api.example.com", "https://example.com/api"] {
        let rig = rig(Some(url)).await;
        for (what, address) in addresses(&rig).await {
            let path = address.strip_prefix(url);
            let path = path.unwrap_or_else(|| panic!("{what}: {address}"));
            assert!(path.starts_with('/'), "{what}: {address}");
            assert_ne!(
                rig.get(path).await.status,
                StatusCode::NOT_FOUND,
                "{what}: {address}"
            );
        }
        let problem = rig.get("/patients?limit=0").await;
        assert_eq!(problem.body["type"], "/problems/invalid-request");
    }
}

#[tokio::test]
async fn without_a_public_url_every_address_is_a_path() {
    let rig = rig(None).await;
    for (what, address) in addresses(&rig).await {
        assert!(
            address.starts_with('/') && !address.starts_with("//"),
            "{what}: {address}"
        );
    }
}
