//! Personal data stays where it belongs.

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::wait_until;

use crate::client::id_of;
use crate::rig::{Production, SOON};

#[tokio::test]
async fn no_log_line_at_any_level_holds_personal_data() {
    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let port = testkit::free_port();
    let mut serve = production.command("serve");
    // `trace` of the drivers prints the bytes on the wire, so theirs stays at what the default is.
    serve
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("LOG", "info,api=trace,domain=trace,eventstore=trace,mailer=trace,projector=trace,patients=trace,lettre=trace,tower_http=trace")
        .env("LOG_FORMAT", "json");
    let program = testkit::Program::start(&serve);
    let client = crate::client::Client::new(port);
    wait_until(SOON, "the API is ready", async || client.ready().await).await;

    let created: Value = client
        .register("secreto@example.com")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        client.register("Secreto@Example.com").await.unwrap().status(),
        StatusCode::CONFLICT
    );
    wait_until(SOON, "the mail has arrived", async || {
        production.smtp.mails().len() == 1
    })
    .await;
    client.delete(id_of(&created)).await.unwrap();
    client.delete(id_of(&created)).await.unwrap();
    let bad =
        json!({"name": "Secreto\u{7}", "email": "secreto@", "phone": "secreto", "document_url": "secreto"});
    let refused = testkit::http_client()
        .build()
        .unwrap()
        .post(client.url("/register"))
        .json(&bad)
        .send()
        .await
        .unwrap();
    let refused = refused.text().await.unwrap();
    assert!(!refused.to_lowercase().contains("secreto"), "{refused}");
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0);

    let log = program.log().to_lowercase();
    assert!(
        log.contains("a request was answered"),
        "the log is not at the level that is tested: {log}"
    );
    for personal in ["secreto", "ñandú", "(555)", "123-4567", "maria.jpg"] {
        assert!(!log.contains(personal), "{personal} is in the log:\n{log}");
    }
}
