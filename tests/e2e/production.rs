//! Three roles in three processes, on MySQL (or MariaDB), Redis and SMTP.

use reqwest::StatusCode;
use serde_json::Value;
use testkit::wait_until;

use crate::client::{id_of, patient};
use crate::rig::{Production, SOON};

#[tokio::test]
async fn three_roles_register_list_mail_and_delete() {
    Production::on_each(async |production| {
        let (_api, client) = production.api().await;
        let _projector = production.start("projector");
        let _mailer = production.start("mailer");

        let answer = client.register("maria@example.com").await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let created: Value = answer.json().await.unwrap();
        let mut expected = patient("maria@example.com");
        expected["id"] = created["id"].clone();
        assert_eq!(created, expected);

        wait_until(SOON, "the patient is listed", async || {
            client.list().await.len() == 1
        })
        .await;
        let read: Value = client
            .get(&format!("/patients/{}", id_of(&created)))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(read, expected);

        wait_until(SOON, "the mail has arrived", async || {
            production.smtp.mails().len() == 1
        })
        .await;
        let mail = &production.smtp.mails()[0];
        assert!(mail.to().contains("maria@example.com"), "{}", mail.raw);
        assert!(mail.message_id().contains(id_of(&created)), "{}", mail.raw);
        for part in ["text/plain", "text/html", "auto-generated"] {
            assert!(mail.raw.contains(part), "{part} is missing: {}", mail.raw);
        }

        let deleted = client.delete(id_of(&created)).await.unwrap();
        assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
        let gone = client
            .get(&format!("/patients/{}", id_of(&created)))
            .await
            .unwrap();
        assert_eq!(gone.status(), StatusCode::GONE);
        wait_until(SOON, "the patient is no longer listed", async || {
            client.list().await.is_empty()
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn without_redis_everything_goes_on_by_polling() {
    let mut production = Production::on(&testkit::mysql_servers()[0]).await;
    production.redis.kill().await;
    let (_api, client) = production.api().await;
    let _projector = production.start("projector");
    let _mailer = production.start("mailer");
    assert_eq!(
        client.register("a@example.com").await.unwrap().status(),
        StatusCode::CREATED
    );
    wait_until(SOON, "the patient is listed", async || {
        client.list().await.len() == 1
    })
    .await;
    wait_until(SOON, "the mail has arrived", async || {
        production.smtp.mails().len() == 1
    })
    .await;

    production.redis.restart().await;
    assert_eq!(
        client.register("b@example.com").await.unwrap().status(),
        StatusCode::CREATED
    );
    wait_until(SOON, "the second is listed", async || {
        client.list().await.len() == 2
    })
    .await;
}

#[tokio::test]
async fn sigterm_finishes_what_was_accepted() {
    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let (api, client) = production.api().await;
    let projector = production.start("projector");
    let mailer = production.start("mailer");
    let registering: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.register(&format!("p{number}@example.com")).await })
        })
        .collect();
    wait_until(SOON, "some are registered", async || {
        production.count("events").await > 0
    })
    .await;
    api.terminate();
    let mut created = 0;
    for registration in registering {
        // Each connection is either refused, or accepted and its request answered.
        if let Ok(answer) = registration.await.unwrap() {
            assert_eq!(answer.status(), StatusCode::CREATED);
            created += 1;
        }
    }
    assert_eq!(api.wait(SOON).await, 0, "{}", api.log());
    assert_eq!(production.count("events").await, created);
    for role in [projector, mailer] {
        role.terminate();
        assert_eq!(role.wait(SOON).await, 0, "{}", role.log());
    }
    assert_eq!(production.count("leases WHERE expires_at > 0").await, 0);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_keep_the_process() {
    use std::io::Write;

    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let port = testkit::free_port();
    let mut serve = production.command("serve");
    serve
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("SHUTDOWN_TIMEOUT", "4s");
    let program = testkit::Program::start(&serve);
    let client = crate::client::Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let mut half = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    half.write_all(b"GET /health/live HT").unwrap();
    assert_eq!(
        client.register("a@example.com").await.unwrap().status(),
        StatusCode::CREATED
    );
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
    assert_eq!(production.count("leases WHERE expires_at > 0").await, 0);
}
