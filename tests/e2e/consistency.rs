//! Every process reads the writes of every other process.

use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::{Client, id_of};
use crate::rig::Production;

/// Number of patients in the following test.
const PATIENTS: usize = 2000;
/// Number of concurrent clients.
const CLIENTS: usize = 20;

/// No projector runs, so reads depend on the log alone. Half of the clients write through one process and
/// read through the other; the other half do the reverse.
#[tokio::test]
async fn a_read_after_a_write_through_another_process_tells_the_truth() {
    Production::on_each(async |production| {
        let (_one, one) = production.api().await;
        let (_other, other) = production.api().await;
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (writer, reader) = match number % 2 {
                0 => (one.clone(), other.clone()),
                _ => (other.clone(), one.clone()),
            };
            clients.spawn(async move {
                for patient in 0..PATIENTS / CLIENTS {
                    let email = format!("p{number}-{patient}@example.com");
                    write_and_read(&writer, &reader, &email).await;
                }
            });
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        assert_eq!(
            production.count("events").await,
            2 * i64::try_from(PATIENTS).unwrap()
        );
        assert_eq!(production.count("patient_view").await, 0);
    })
    .await;
}

async fn write_and_read(writer: &Client, reader: &Client, email: &str) {
    let created = writer.register(email).await.unwrap();
    let created: Value = created.json().await.unwrap();
    let path = format!("/patients/{}", id_of(&created));
    let read = reader.get(&path).await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(read.json::<Value>().await.unwrap(), created);
    let deleted = writer.delete(id_of(&created)).await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(reader.get(&path).await.unwrap().status(), StatusCode::GONE);
}

/// Copies of one request through two processes at once create one patient, and all copies finally receive the
/// same response.
#[tokio::test]
async fn a_hundred_copies_of_one_request_through_two_processes_make_one_patient() {
    Production::on_each(async |production| {
        let (_one, one) = production.api().await;
        let (_other, other) = production.api().await;
        let mut copies = JoinSet::new();
        for client in [one.clone(), other.clone()].into_iter().cycle().take(100) {
            copies.spawn(async move { client.register_under("the-key", "a@example.com").await.unwrap() });
        }
        let first = one.register_for_sure_under("the-key", "a@example.com").await;
        while let Some(answer) = copies.join_next().await {
            let answer = answer.unwrap();
            let (status, body): (_, Value) = (answer.status(), answer.json().await.unwrap());
            if status == StatusCode::CREATED {
                assert_eq!(body, first);
            } else {
                assert_eq!(body["type"], "/problems/request-in-progress", "{body}");
            }
        }
        let other = other.register_under("the-key", "a@example.com").await.unwrap();
        assert_eq!(other.json::<Value>().await.unwrap(), first);
        assert_eq!(production.count("events").await, 1);
    })
    .await;
}

/// Two processes race for the same email addresses: each address belongs to one patient.
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
