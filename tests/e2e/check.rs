//! `patients check` on servers and files that are fit for production, and on others.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Certificates, Program, RedisServer, free_port, wait_until};
use tokio::net::TcpListener;
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;

use crate::client::Client;
use crate::published::{checkpoint, new_key, publishing, serve_with, text};
use crate::rig::{Production, SOON, patients, sqlite};
use crate::witness::Witness;

/// Runs the command. Returns whether it succeeded, and its findings.
fn check(command: &mut Command) -> (bool, Vec<Value>) {
    let output = command.arg("--json").output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = printed["findings"].as_array().unwrap().clone();
    let count = |level: &str| {
        findings
            .iter()
            .filter(|finding| finding["level"] == level)
            .count()
    };
    assert_eq!(printed["errors"], count("error"));
    assert_eq!(printed["warnings"], count("warning"));
    assert_eq!(output.status.success(), count("error") == 0);
    for finding in &findings {
        assert_eq!(
            finding["advice"].is_string(),
            finding["level"] != "ok",
            "{finding}"
        );
    }
    (output.status.success(), findings)
}

/// Returns the level of the only finding about a subject whose message contains a text.
fn level<'f>(findings: &'f [Value], subject: &str, message: &str) -> &'f str {
    let says = |finding: &&Value, name: &str, text: &str| finding[name].as_str().unwrap().contains(text);
    let found: Vec<_> = findings
        .iter()
        .filter(|finding| says(finding, "subject", subject) && says(finding, "message", message))
        .collect();
    assert_eq!(
        found.len(),
        1,
        "findings about {subject} with {message}: {findings:#?}"
    );
    found[0]["level"].as_str().unwrap()
}

#[tokio::test]
async fn servers_that_answer_have_no_error_and_each_that_does_not_has_one() {
    Production::on_each(async |production| {
        let (is_fit, findings) = check(&mut production.command("check"));
        assert!(is_fit, "{findings:#?}");
        for (subject, message, expected) in [
            ("DATABASE_URL", "accepts writes", "ok"),
            ("DATABASE_URL", "clock agrees", "ok"),
            (
                "DATABASE_URL",
                "the user has privileges on the whole server",
                "warning",
            ),
            ("schema", "up to date", "ok"),
            ("keyring", "opens the log", "ok"),
            ("REDIS_URL", "answers", "ok"),
            ("SMTP_URL", "accepts this client", "ok"),
            ("disk", "free", "ok"),
        ] {
            assert_eq!(
                level(&findings, subject, message),
                expected,
                "{subject}: {message}"
            );
        }

        let nothing = format!("127.0.0.1:{}", free_port());
        let mut broken = production.command("check");
        broken
            .env("DATABASE_URL", format!("mysql://root:secret@{nothing}/patients"))
            .env("REDIS_URL", format!("redis://:secret@{nothing}"))
            .env("SMTP_URL", format!("smtp://user:secret@{nothing}"));
        let (is_fit, findings) = check(&mut broken);
        assert!(!is_fit);
        for (subject, message) in [
            (nothing.as_str(), ""),
            ("DATABASE_URL", "no server accepts writes"),
            ("schema", "cannot be opened"),
            ("REDIS_URL", ""),
            ("SMTP_URL", ""),
        ] {
            assert_eq!(level(&findings, subject, message), "error", "{subject}");
        }
        assert!(!format!("{findings:?}").contains("secret"));
    })
    .await;
}

/// Starts a service on SQLite in a folder. Returns its findings over HTTP.
async fn findings_over_http(command: &mut Command, folder: &TempDir) -> Vec<Value> {
    let port = free_port();
    command
        .current_dir(folder.path())
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
    let program = Program::start(command);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let report: Value = client.get("/checks").await.unwrap().json().await.unwrap();
    drop(program);
    report["findings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_operator_gets_the_findings_of_the_command_over_http() {
    let folder = TempDir::new().unwrap();
    let over_http = findings_over_http(&mut patients("serve"), &folder).await;
    let (is_fit, findings) = check(patients("check").current_dir(folder.path()));
    assert!(is_fit, "{findings:#?}");
    // The free space can change.
    let shown = |findings: &[Value]| -> Vec<_> {
        let about = |finding: &Value| ["level", "subject", "advice"].map(|name| finding[name].clone());
        findings.iter().map(about).collect()
    };
    assert_eq!(shown(&over_http), shown(&findings));
}

#[tokio::test]
async fn servers_that_do_not_answer_are_errors_in_time_and_without_their_passwords() {
    let folder = TempDir::new().unwrap();
    // A server that accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nothing = format!("127.0.0.1:{}", free_port());
    let mut command = patients("serve");
    command
        .env("REQUEST_TIMEOUT", "2s")
        .env(
            "SMTP_URL",
            format!("smtp://user:secret@{}", silent.local_addr().unwrap()),
        )
        .env("REDIS_URL", format!("redis://:secret@{nothing}"));
    let findings = findings_over_http(&mut command, &folder).await;
    assert_eq!(level(&findings, "SMTP_URL", "no answer within 1.5s"), "error");
    assert_eq!(level(&findings, "REDIS_URL", ""), "error");
    assert_eq!(level(&findings, "keyring", "opens the log"), "ok");
    assert!(!format!("{findings:?}").contains("secret"));
}

#[tokio::test]
async fn a_keyring_of_another_log_is_an_error() {
    Production::on_each(async |production| {
        let folder = TempDir::new().unwrap();
        let other = folder.path().join("keyring.json");
        let mut command = patients("keys");
        let created = command.arg("new").env("KEYRING_FILE", &other).output().unwrap();
        assert!(created.status.success());
        let (is_fit, findings) = check(production.command("check").env("KEYRING_FILE", &other));
        assert!(!is_fit);
        assert_eq!(level(&findings, "keyring", "does not open this log"), "error");
    })
    .await;
}

#[test]
fn the_embedded_default_warns_that_mail_is_not_sent() {
    let folder = TempDir::new().unwrap();
    let run = |word: &str| {
        let mut command = patients(word);
        command.current_dir(folder.path());
        command
    };
    let (is_fit, findings) = check(&mut run("check"));
    assert!(!is_fit, "there is no database yet");
    assert_eq!(level(&findings, "schema", "does not exist"), "error");

    assert!(run("migrate").output().unwrap().status.success());
    let (is_fit, findings) = check(&mut run("check"));
    assert!(is_fit, "{findings:#?}");
    assert_eq!(level(&findings, "DATABASE_URL", "patients.db"), "ok");
    assert_eq!(level(&findings, "SMTP_URL", "not sent"), "warning");
    let lines = run("check").output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.contains("warning  SMTP_URL: not set"), "{lines}");
}

#[tokio::test]
async fn a_redis_server_is_trusted_only_with_a_certificate_of_the_authority() {
    let (certificates, of_another) = (Certificates::lasting(1), Certificates::lasting(1));
    let redis = RedisServer::start_with_tls(&certificates).await;
    let folder = TempDir::new().unwrap();
    let found = |authority: &Path| {
        let mut command = patients("check");
        command
            .current_dir(folder.path())
            .env("REDIS_URL", redis.url())
            .env("REDIS_CA_FILE", authority);
        let (_, findings) = check(&mut command);
        level(&findings, "REDIS_URL", "").to_owned()
    };
    assert_eq!(found(&certificates.authority()), "ok");
    assert_eq!(found(&of_another.authority()), "error");
}

#[tokio::test]
async fn a_witness_that_cosigns_is_in_order_and_each_other_witness_has_a_finding() {
    let folder = TempDir::new().unwrap();
    let log = new_key(folder.path());
    let other = SigningKey::from_seed("other.example.org", &[5; 32]).unwrap();
    let cosigns = Witness::start("w1.example.org", &log).await;
    let of_other_log = Witness::start("w2.example.org", other.verifier()).await;
    let url = |address: String| address.split_once("=http").unwrap().1.to_owned();
    let stranger = CosigningKey::from(SigningKey::from_seed("w3.example.org", &[3; 32]).unwrap());
    let stranger = stranger.verifier();
    let down = CosigningKey::from(SigningKey::from_seed("w4.example.org", &[4; 32]).unwrap());
    let witnesses = [
        cosigns.address(),
        of_other_log.address(),
        format!("{stranger}=http{}", url(cosigns.address())),
        format!("{}=http://127.0.0.1:{}", down.verifier(), free_port()),
    ]
    .join(",");

    let address = cosigns.address();
    let (_program, client) = serve_with(folder.path(), free_port(), &[("WITNESSES", &address)]).await;
    let checked = |witnesses: &str, quorum: &str| {
        let mut command = publishing(folder.path(), "check");
        command.envs([("WITNESSES", witnesses), ("WITNESS_QUORUM", quorum)]);
        check(&mut command)
    };
    let (is_fit, findings) = checked(&address, "");
    assert!(is_fit, "{findings:#?}");
    assert_eq!(
        level(&findings, "witness w1", "the log has no checkpoint"),
        "warning"
    );

    client.register_for_sure("a@example.com").await;
    checkpoint(&client, 1).await;
    wait_until(SOON, "the witness has cosigned", async || {
        client.get("/log/proof/1").await.unwrap().status() == 200
    })
    .await;
    let before = text(&client, "/log/checkpoint").await;
    let (is_fit, findings) = checked(&witnesses, "2");
    assert!(!is_fit);
    for (subject, message, expected) in [
        (
            "witness w1.example.org",
            "cosigns the newest checkpoint, of 1 events",
            "ok",
        ),
        ("witness w2.example.org", "does not know the log", "error"),
        ("witness w3.example.org", "no valid cosignature", "error"),
        ("witness w4.example.org", "", "warning"),
        (
            "WITNESS_QUORUM",
            "1 of 4 witnesses cosign; the quorum is 2",
            "error",
        ),
    ] {
        assert_eq!(level(&findings, subject, message), expected, "{subject}");
    }
    let (is_fit, findings) = checked(&address, "1");
    assert!(is_fit, "{findings:#?}");
    assert_eq!(level(&findings, "WITNESS_QUORUM", "1 of 1"), "ok");
    assert_eq!(
        text(&client, "/log/checkpoint").await,
        before,
        "nothing is published"
    );

    let mut unpublished = publishing(folder.path(), "check");
    unpublished
        .env_remove("LOG_ORIGIN")
        .env_remove("LOG_KEY_FILE")
        .env("WITNESSES", &address);
    let (_, findings) = check(&mut unpublished);
    assert_eq!(level(&findings, "WITNESSES", "LOG_ORIGIN"), "warning");

    let rename = "ALTER TABLE log_checkpoints RENAME TO not_readable";
    sqlite(&folder.path().join("data/patients.db"), rename);
    let (_, findings) = checked(&address, "");
    assert_eq!(level(&findings, "WITNESSES", "not checked"), "warning");
}
