//! Tests of the list and the status of emails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use eventstore::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use web::access::Access;

use crate::rig::{Rig, every_host};

const ANA: &str = "01a20c52-84f4-752b-9b94-14a23061549a";
const EVA: &str = "01a20c52-84f4-752b-9b94-14a23061549b";

async fn email(rig: &Rig, position: u64, patient: &str, state: &str) {
    let due = if state == "pending" { "0" } else { "NULL" };
    rig.execute(&format!(
        "INSERT INTO mail_deliveries (position, template, aggregate_id, state, due_at, created_at, updated_at) \
         VALUES ({position}, 'patient_registered', '{patient}', '{state}', {due}, 0, 0)"
    ))
    .await;
}

#[tokio::test]
async fn the_emails_to_a_patient_are_listed_page_by_page() {
    Rig::on_each(async |rig| {
        for (position, patient) in [(1, ANA), (2, EVA), (3, ANA), (4, EVA), (5, ANA)] {
            let state = if position == 1 { "dead" } else { "sent" };
            email(&rig, position, patient, state).await;
        }
        for (filter, expected) in [
            (format!("patient_id={ANA}"), vec![1, 3, 5]),
            (format!("patient_id={}", ANA.to_uppercase()), vec![1, 3, 5]),
            (format!("patient_id={ANA}&state=sent"), vec![3, 5]),
            (format!("patient_id={EVA}&state=dead"), vec![]),
        ] {
            let (mut found, mut next) = (Vec::new(), Some(format!("/mail/deliveries?limit=1&{filter}")));
            while let Some(path) = next {
                let page = rig.get(&path).await;
                assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
                let rows = page.body.as_array().unwrap();
                found.extend(rows.iter().map(|row| row["id"].as_u64().unwrap()));
                assert!(page.link("first").unwrap().contains("patient_id="), "{path}");
                next = page.link("next");
            }
            assert_eq!(found, expected, "{filter}");
        }
        let wrong = rig.get("/mail/deliveries?patient_id=ana").await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(wrong.body["errors"][0]["field"], "patient_id");
    })
    .await;
}

/// A clock on which a second passes from one look to the next.
#[derive(Debug, Default)]
struct SlowClock(AtomicU64);

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

#[tokio::test]
async fn the_last_count_of_the_emails_is_returned_again_until_a_retry() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("patients.db").display());
    let clock = Arc::new(SlowClock::default());
    let rig = Rig::by_clock(&url, Access::open(), every_host(), Some(folder), clock).await;
    email(&rig, 1, ANA, "dead").await;
    email(&rig, 2, EVA, "sent").await;
    let counts = async || rig.get("/mail").await.body["mails"].clone();
    let expected = |pending, dead| -> Value {
        json!({"pending": pending, "sending": 0, "sent": 1, "failed": 0, "dead": dead, "cancelled": 0})
    };
    assert_eq!(counts().await, expected(0, 1));
    email(&rig, 3, EVA, "dead").await;
    assert_eq!(counts().await, expected(0, 1));
    let retried = rig.post("/mail/dead/retry", &json!(null)).await;
    assert_eq!(retried.status, StatusCode::ACCEPTED, "{}", retried.body);
    assert_eq!(counts().await, expected(2, 0));
}
