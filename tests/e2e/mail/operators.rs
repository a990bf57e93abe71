//! Mail operations over HTTP.

use serde_json::Value;
use tempfile::TempDir;
use testkit::{SmtpMode, SmtpServer, wait_until};

use super::{command, run, serve};
use crate::client::next_page;
use crate::rig::SOON;

/// The routes return the same data and have the same effects as the commands.
#[tokio::test]
async fn operators_see_the_ledger_over_http_and_have_mails_tried_again() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let (_program, client) = serve(&mut command(folder.path(), &smtp, &["serve"])).await;
    for email in ["ana@example.com", "peña@example.com", "núñez@example.com"] {
        assert_eq!(client.register(email).await.unwrap().status(), 201);
    }
    let get = async |path: &str| -> Value { client.get(path).await.unwrap().json().await.unwrap() };
    let dead = async || get("/mail").await["mails"]["dead"].clone();
    wait_until(SOON, "every mail is sent or dead", async || {
        let mails = get("/mail").await["mails"].clone();
        mails["sent"] == 1 && mails["dead"] == 2
    })
    .await;
    let by_command = |words: &[&str]| -> Value {
        let words = [&["mail"], words, &["--json"]].concat();
        serde_json::from_str(&run(&mut command(folder.path(), &smtp, &words)).1).unwrap()
    };
    assert_eq!(get("/mail").await["mails"], by_command(&["status"])["mails"]);
    assert_eq!(get("/mail").await["mailers"][0]["state"], "ready");
    assert_eq!(get("/mail/deliveries").await, by_command(&["list"]));
    assert_eq!(
        get("/mail/deliveries?state=dead").await,
        by_command(&["list", "--state", "dead"])
    );
    assert_eq!(get("/mail/deliveries/2").await, by_command(&["show", "2"]));

    // Follows the links, page by page.
    let mut next = Some("/mail/deliveries?limit=1&state=dead".to_owned());
    let mut listed = Vec::new();
    while let Some(path) = next {
        let answer = client.get(&path).await.unwrap();
        next = next_page(&answer);
        let page: Vec<Value> = answer.json().await.unwrap();
        listed.extend(page.iter().map(|mail| mail["id"].as_u64().unwrap()));
    }
    assert_eq!(listed, [2, 3]);

    let answer = client.post("/mail/deliveries/2/retry").await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["location"], "/mail/deliveries/2");
    wait_until(SOON, "it is dead again", async || {
        get("/mail/deliveries/2").await["attempts"]
            .as_array()
            .unwrap()
            .len()
            == 2
    })
    .await;
    let answer = client.post("/mail/dead/retry").await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<Value>().await.unwrap()["due"], 2);
    wait_until(SOON, "both are dead again", async || {
        get("/mail/deliveries/2").await["attempts"]
            .as_array()
            .unwrap()
            .len()
            == 3
            && dead().await == 2
    })
    .await;

    for (method, path, status, kind) in [
        (
            "POST",
            "/mail/deliveries/1/retry",
            409,
            "/problems/mail-not-to-be-retried",
        ),
        (
            "POST",
            "/mail/deliveries/99/retry",
            404,
            "/problems/mail-not-found",
        ),
        (
            "POST",
            "/mail/deliveries/x/retry",
            404,
            "/problems/mail-not-found",
        ),
        ("GET", "/mail/deliveries/99", 404, "/problems/mail-not-found"),
        ("GET", "/mail/deliveries/%FF", 404, "/problems/mail-not-found"),
        (
            "GET",
            "/mail/deliveries?state=lost&limit=0",
            422,
            "/problems/invalid-request",
        ),
    ] {
        let answer = match method {
            "POST" => client.post(path).await.unwrap(),
            _ => client.get(path).await.unwrap(),
        };
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(
            answer.json::<Value>().await.unwrap()["type"],
            kind,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn operators_see_a_mail_and_send_a_test_over_http() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let (_program, client) = serve(&mut command(folder.path(), &smtp, &["serve"])).await;
    let preview = client
        .get("/mail/preview?language=en&mail=patient_deleted")
        .await
        .unwrap();
    assert_eq!(preview.headers()["content-type"], "message/rfc822");
    let preview = preview.text().await.unwrap();
    let words = ["mail", "preview", "--language", "en", "--mail", "deletion"];
    let (_, said) = run(&mut command(folder.path(), &smtp, &words));
    let undated = |mail: &str| -> Vec<String> {
        let lines = mail.lines().filter(|line| {
            !line.starts_with("Date:") && !line.contains("boundary") && !line.starts_with("--")
        });
        lines.map(str::to_owned).collect()
    };
    assert_eq!(undated(&preview), undated(&said));
    let answer = client.get("/mail/preview?language=fr").await.unwrap();
    assert_eq!(answer.status(), 422);

    let tested = client
        .post_json("/mail/test", &serde_json::json!({"to": "ops@example.com"}))
        .await;
    assert_eq!(tested.status(), 200);
    let tested: Value = tested.json().await.unwrap();
    assert_eq!(
        (&tested["sent"], &tested["steps"][0]["result"]),
        (&Value::Bool(true), &Value::from("passed"))
    );
    assert!(
        smtp.mails()
            .iter()
            .any(|mail| mail.recipient() == "ops@example.com")
    );
    for body in [
        serde_json::json!({"to": "nobody"}),
        serde_json::json!({}),
        serde_json::json!({"to": 1, "cc": "x"}),
    ] {
        assert_eq!(
            client.post_json("/mail/test", &body).await.status(),
            422,
            "{body}"
        );
    }
}
