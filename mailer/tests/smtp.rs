//! Sends mail through a real SMTP server in each encryption mode.

#![expect(
    clippy::unwrap_used,
    reason = "for tests only: every failed check must fail the test"
)]

mod support;

use std::process::Command;

use support::{Answer, PATIENCE, Scripted, Stage};
use testkit::{Mail, SmtpMode, SmtpServer, wait_until};

/// Environment variable with the URL of a test's server. A test sets it for the copy of this program that it
/// starts.
const SERVER: &str = "MAILER_TEST_SERVER";

/// Sends an email to each address through the server at `url`, and waits until each email has been tried or
/// the server is known to be unusable. Returns the states and the last error.
async fn send(url: &str, addresses: &[&str]) -> (Vec<String>, String) {
    let stage = Stage::sqlite().await;
    for address in addresses {
        stage.register("Ñandú <script>", address).await;
    }
    stage.follow().await;
    let worker = stage.work(support::smtp(url));
    wait_until(PATIENCE, "every mail has been tried", async || {
        let waits = |delivery: &support::Delivery| {
            delivery.state == "sending" || (delivery.state == "pending" && delivery.last_error.is_none())
        };
        !stage.deliveries().await.iter().any(waits)
    })
    .await;
    worker.stop().await;
    let error = stage.deliveries().await.pop().unwrap().last_error;
    (stage.states().await, error.unwrap_or_default())
}

fn check(mails: &[Mail]) {
    assert_eq!(mails.len(), 2);
    for mail in mails {
        assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-generated"));
        assert_eq!(mail.header("X-MailFrom").as_deref(), Some("noreply@miapp.com"));
        assert!(mail.message_id().ends_with("@miapp.com>"));
        assert!(mail.body().contains("Content-Type: text/plain; charset=utf-8"));
        assert!(mail.body().contains("Content-Type: text/html; charset=utf-8"));
    }
    let mut to: Vec<_> = mails
        .iter()
        .map(|mail| mail.header("X-RcptTo").unwrap())
        .collect();
    to.sort();
    assert_eq!(to, ["ana@example.com", "bea@xn--clnica-4va.example"]);
}

const ADDRESSES: [&str; 2] = ["ana@example.com", "bea@clínica.example"];

#[tokio::test(flavor = "multi_thread")]
async fn email_arrives_without_encryption() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let (states, error) = send(&server.url(), &ADDRESSES).await;
    assert_eq!(states, ["sent", "sent"], "{error}");
    check(&server.mails());
}

/// Runs the client in a copy of this program that runs only the test named `test`. The client reads the
/// environment when it sets up the connection, and a test cannot change its own environment without affecting
/// other tests.
async fn arrives_encrypted(mode: SmtpMode, test: &str) {
    if let Ok(url) = std::env::var(SERVER) {
        let (states, error) = send(&url, &ADDRESSES).await;
        assert_eq!(states, ["sent", "sent"], "{error}");
        return;
    }
    let server = SmtpServer::start(mode).await;
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SERVER, server.url())
        .env("SSL_CERT_FILE", server.ca_file().unwrap())
        .output()
        .unwrap();
    assert!(
        client.status.success(),
        "{}",
        String::from_utf8_lossy(&client.stderr)
    );
    check(&server.mails());
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_over_tls_under_the_authorities_of_ssl_cert_file() {
    let test = "mail_arrives_over_tls_under_the_authorities_of_ssl_cert_file";
    arrives_encrypted(SmtpMode::Tls, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_over_starttls_under_the_authorities_of_ssl_cert_file() {
    let test = "mail_arrives_over_starttls_under_the_authorities_of_ssl_cert_file";
    arrives_encrypted(SmtpMode::StartTls, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_server_gets_no_email_and_all_email_waits() {
    for mode in [SmtpMode::Tls, SmtpMode::StartTls] {
        let server = SmtpServer::start(mode).await;
        let (states, error) = send(&server.url(), &["ana@example.com"]).await;
        assert_eq!(states, ["pending"], "{mode:?}");
        assert_eq!(
            error, "TLS: the certificate is not signed by a trusted authority",
            "{mode:?}"
        );
        assert_eq!(server.mails(), []);
    }
}

/// CVE-2011-0411: plaintext that arrives before or directly after the reply to STARTTLS must not be treated
/// as encrypted.
#[tokio::test(flavor = "multi_thread")]
async fn unexpected_data_before_encryption_ends_the_session() {
    for (at, said) in [
        ("STARTTLS", "220 go on\r\n250-evil\r\n250 AUTH PLAIN"),
        ("EHLO", "250-scripted\r\n250 STARTTLS\r\n220 go on"),
        ("EHLO", "250-scripted\r\n250 STARTTLS\r\n220 go on\r\n250 evil"),
    ] {
        for tls in ["required", "opportunistic"] {
            let server = Scripted::start(move |asked| match asked {
                _ if asked.starts_with(at) => Some(Answer::Say(said)),
                _ if asked.starts_with("EHLO") => Some(Answer::Say("250-scripted\r\n250 STARTTLS")),
                _ => None,
            })
            .await;
            let url = format!("{}?tls={tls}", server.url);
            let (states, error) = send(&url, &["ana@example.com"]).await;
            assert_eq!(states, ["pending"], "{said:?}");
            assert_eq!(
                error, "TLS: unexpected data arrived before encryption began",
                "{said:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_starttls_gets_no_email_if_starttls_is_required() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let (states, error) = send(&format!("{}?tls=required", server.url()), &["ana@example.com"]).await;
    assert_eq!(states, ["pending"]);
    assert_eq!(error, "TLS: the server does not offer STARTTLS");
    assert_eq!(server.mails(), []);
    let (states, error) = send(
        &format!("{}?tls=opportunistic", server.url()),
        &["ana@example.com"],
    )
    .await;
    assert_eq!(states, ["sent"], "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_needs_smtputf8_is_dead_if_the_server_lacks_it() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let (states, error) = send(&server.url(), &["ana@example.com", "peña@example.com"]).await;
    assert_eq!(states, ["sent", "dead"]);
    assert_eq!(
        error,
        "RCPT: the address needs SMTPUTF8, which the server does not offer"
    );
    assert_eq!(server.mails().len(), 1);
}
