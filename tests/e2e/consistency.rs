//! What one process wrote is what every process reads.

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::id_of;
use crate::rig::Production;

/// With no projector at all, so that the log alone can tell.
#[tokio::test]
async fn a_read_after_a_write_through_another_process_tells_the_truth() {
    Production::on_each(async |production| {
        let (_writing, writer) = production.api().await;
        let (_reading, reader) = production.api().await;
        for number in 0..200 {
            let created: Value = writer
                .register(&format!("p{number}@example.com"))
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            let path = format!("/patients/{}", id_of(&created));
            let read = reader.get(&path).await.unwrap();
            assert_eq!(read.status(), StatusCode::OK);
            assert_eq!(read.json::<Value>().await.unwrap(), created);
            assert_eq!(
                reader.delete(id_of(&created)).await.unwrap().status(),
                StatusCode::NO_CONTENT
            );
            assert_eq!(writer.get(&path).await.unwrap().status(), StatusCode::GONE);
        }
    })
    .await;
}

/// Two processes race for the same emails: each email goes to one patient.
#[tokio::test]
async fn two_processes_never_give_two_patients_the_same_email() {
    Production::on_each(async |production| {
        let (_one, one) = production.api().await;
        let (_other, other) = production.api().await;
        let mut racing = Vec::new();
        for number in 0..50 {
            for client in [one.clone(), other.clone()] {
                racing.push(tokio::spawn(async move {
                    client
                        .register(&format!("race{number}@example.com"))
                        .await
                        .unwrap()
                        .status()
                }));
            }
        }
        let mut won = 0;
        for racer in racing {
            match racer.await.unwrap() {
                StatusCode::CREATED => won += 1,
                status => assert_eq!(status, StatusCode::CONFLICT),
            }
        }
        assert_eq!(won, 50);
        assert_eq!(production.count("events").await, 50);
    })
    .await;
}
