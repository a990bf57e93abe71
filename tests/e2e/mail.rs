//! Mail of the real program: emails about amendments, the health check while a server rejects mail, and the
//! commands.

mod amendments;
mod operators;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, SmtpMode, SmtpServer, free_port, mysql_servers, wait_until};

use crate::client::Client;
use crate::rig::{Production, SOON, patients, sqlite};

/// Returns a command in `folder`, with the mail server as its only setting.
fn command(folder: &Path, smtp: &SmtpServer, words: &[&str]) -> Command {
    let mut command = patients("");
    command
        .args(words)
        .current_dir(folder)
        .env("SMTP_URL", smtp.url())
        .env_remove("RUST_BACKTRACE");
    command
}

/// Runs a command. Returns whether it succeeded, and its output.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

async fn serve(command: &mut Command) -> (Program, Client) {
    let port = free_port();
    let program = Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

#[tokio::test]
async fn a_server_that_is_not_trusted_makes_the_mailer_unhealthy_until_its_authority_is_given() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Tls).await;
    let health = || {
        run(&mut command(
            folder.path(),
            &smtp,
            &["health", "--role", "mailer"],
        ))
    };
    let (program, client) = serve(&mut command(folder.path(), &smtp, &["serve"])).await;
    wait_until(SOON, "the mailer is healthy", async || health().0).await;
    for number in 0..20 {
        let answer = client.register(&format!("p{number}@example.com")).await.unwrap();
        assert!(answer.status().is_success());
    }
    wait_until(SOON, "another process sees why no mail is sent", async || {
        let (healthy, said) = health();
        !healthy && said.contains("TLS: the certificate is not signed by a trusted authority")
    })
    .await;
    program.terminate();
    program.wait(SOON).await;

    let authority = smtp.ca_file().unwrap().to_owned();
    let (_program, _) = serve(command(folder.path(), &smtp, &["serve"]).env("MAIL_CA_FILE", authority)).await;
    wait_until(SOON, "all mail has arrived", async || smtp.mails().len() == 20).await;
    wait_until(SOON, "the mailer is healthy again", async || health().0).await;
}

#[tokio::test]
async fn the_commands_tell_how_mail_stands_and_try_it_again() {
    let folder = TempDir::new().unwrap();
    // The server does not support SMTPUTF8, so an email to a non-ASCII address is dead after the first
    // attempt.
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let (_program, client) = serve(&mut command(folder.path(), &smtp, &["serve"])).await;
    for email in ["ana@example.com", "bea@example.com", "peña@example.com"] {
        assert!(client.register(email).await.unwrap().status().is_success());
    }
    let mail = |words: &[&str]| {
        let words = [&["mail"], words].concat();
        run(&mut command(folder.path(), &smtp, &words))
    };
    let json = |words: &[&str]| -> Value { serde_json::from_str(&mail(words).1).unwrap() };
    wait_until(SOON, "every mail is sent or dead", async || {
        let mails = json(&["status", "--json"])["mails"].clone();
        mails["sent"] == 2 && mails["dead"] == 1
    })
    .await;
    let (_, status) = mail(&["status"]);
    assert!(
        status.contains("ready since") && status.contains("127.0.0.1"),
        "{status}"
    );

    let dead = json(&["list", "--state", "dead", "--json"]);
    assert_eq!(dead.as_array().unwrap().len(), 1);
    assert_eq!(
        (dead[0]["id"].as_u64(), dead[0]["attempts"].as_u64()),
        (Some(3), Some(1))
    );
    let (_, listed) = mail(&["list", "--limit", "2"]);
    assert!(listed.contains("--after 2") && !listed.contains('@'), "{listed}");
    assert!(
        listed.contains("made (UTC)") && listed.lines().all(|line| line.len() <= 80),
        "{listed}"
    );

    let (succeeded, said) = mail(&["retry", "1", "3", "99"]);
    assert!(!succeeded && said.contains("emails due now: 1"), "{said}");
    assert!(
        said.contains("1 is sent") && said.contains("99 is unknown"),
        "{said}"
    );
    wait_until(SOON, "it is dead again", async || {
        let shown = json(&["show", "3", "--json"]);
        shown["attempts"].as_array().unwrap().len() == 2 && shown["mails"][0]["state"] == "dead"
    })
    .await;
    let (succeeded, said) = mail(&["retry", "--dead"]);
    assert!(succeeded && said.contains("emails due now: 1"), "{said}");
    wait_until(SOON, "it is dead once more", async || {
        let (_, shown) = mail(&["show", "3"]);
        shown.matches("SMTPUTF8").count() == 4
    })
    .await;
}

#[tokio::test]
async fn a_preview_is_written_as_a_mail_program_opens_it() {
    let folder = TempDir::new().unwrap();
    let preview = |words: &[&str]| {
        let mut command = patients("mail");
        run(command.arg("preview").args(words).current_dir(folder.path()))
    };
    let (succeeded, said) = preview(&["--language", "en", "--output", "mail.eml"]);
    assert!(succeeded, "{said}");
    let written = std::fs::read_to_string(folder.path().join("mail.eml")).unwrap();
    assert!(
        written.contains("Subject: Your registration is confirmed\r\n"),
        "{written}"
    );
    let (succeeded, said) = preview(&["--language", "fr"]);
    assert!(!succeeded && said.contains("`es`, `en`"), "{said}");
}

/// If a wrong clock made an email due in several years, operators can see the email and send it now.
#[tokio::test]
async fn a_mail_that_is_due_in_years_is_seen_and_sent_by_hand() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let run = |words: &[&str]| run(&mut command(folder.path(), &smtp, words));
    {
        let (_program, client) = serve(
            command(folder.path(), &smtp, &["serve"])
                .env("SMTP_URL", format!("smtp://127.0.0.1:{}", free_port())),
        )
        .await;
        assert!(
            client
                .register("ana@example.com")
                .await
                .unwrap()
                .status()
                .is_success()
        );
        wait_until(SOON, "the mail is made", async || {
            run(&["mail", "list"]).1.contains("pending")
        })
        .await;
    }
    let database = folder.path().join("data/patients.db");
    sqlite(
        &database,
        "UPDATE mail_deliveries SET due_at = due_at + 315360000000000",
    );
    let (_, status) = run(&["mail", "status"]);
    assert!(
        status.contains("1 are due later than the schedule allows"),
        "{status}"
    );
    let (succeeded, said) = run(&["mail", "retry", "1"]);
    assert!(succeeded && said.contains("emails due now: 1"), "{said}");
    let (_program, _) = serve(&mut command(folder.path(), &smtp, &["serve"])).await;
    wait_until(SOON, "it has arrived", async || smtp.mails().len() == 1).await;
}

/// The preview shows the templates that the mailer loaded at startup, not later changes on disk.
#[tokio::test]
async fn preview_and_test_over_http_use_what_the_mailer_uses() {
    let folder = TempDir::new().unwrap();
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let subject = folder.path().join("templates/en/patient_registered.subject.txt");
    std::fs::create_dir_all(subject.parent().unwrap()).unwrap();
    std::fs::write(&subject, "Loaded at the start").unwrap();
    let mut serving = command(folder.path(), &smtp, &["serve"]);
    serving
        .env("MAIL_TEMPLATES", "templates")
        .env("MAIL_FROM", "Mi clínica <noreply@miapp.com>")
        .env("MAIL_REPLY_TO", "Desk <desk@miapp.com>")
        .env("MAIL_ENVELOPE_FROM", "bounces@miapp.com")
        .env("MAIL_EHLO_NAME", "mail.miapp.com");
    let (_program, client) = serve(&mut serving).await;
    std::fs::write(&subject, "{{ changed since").unwrap();
    let preview = client.get("/mail/preview?language=en").await.unwrap();
    let mail = preview.text().await.unwrap();
    assert!(mail.contains("Subject: Loaded at the start\r\n"), "{mail}");
    assert!(mail.contains("Reply-To: Desk <desk@miapp.com>\r\n"), "{mail}");
    assert!(
        client
            .register("ana@example.com")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    wait_until(SOON, "it has arrived", async || smtp.mails().len() == 1).await;
    let raw = &smtp.mails()[0].raw;
    assert!(raw.contains("X-MailFrom: bounces@miapp.com"), "{raw}");
}

#[tokio::test]
async fn mail_is_signed_when_there_is_a_key_and_a_wrong_key_is_found_at_the_start() {
    let folder = TempDir::new().unwrap();
    let made = Command::new("openssl")
        .args(["genrsa", "-out", "dkim.pem", "2048"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    std::fs::write(folder.path().join("other.pem"), "hunter2").unwrap();
    let with = |command: &str, settings: &[(&str, &str)]| {
        let mut program = patients(command);
        if command == "mail" {
            program.arg("preview");
        }
        program.current_dir(folder.path()).envs(settings.iter().copied());
        run(&mut program)
    };
    let (key, selector) = (("MAIL_DKIM_KEY_FILE", "dkim.pem"), ("MAIL_DKIM_SELECTOR", "s1"));
    let (succeeded, said) = with("mail", &[key, selector]);
    let unfolded = said.replace("\r\n ", " ");
    assert!(
        succeeded && unfolded.contains("d=miapp.com; s=s1; c=relaxed/relaxed"),
        "{said}"
    );
    let (_, said) = with("mail", &[key, selector, ("MAIL_DKIM_DOMAIN", "clinica.example")]);
    assert!(said.contains("d=clinica.example;"), "{said}");
    let (_, said) = with("mail", &[("MAIL_DKIM_SELECTOR", "")]);
    assert!(said.contains("Subject:") && !said.contains("DKIM"), "{said}");

    for command in ["mail", "serve"] {
        for (settings, expected) in [
            (vec![key], "MAIL_DKIM_SELECTOR: expected"),
            (vec![selector], "MAIL_DKIM_KEY_FILE: expected"),
            (
                vec![("MAIL_DKIM_KEY_FILE", "other.pem"), selector],
                "expected an RSA or Ed25519 private key in PEM",
            ),
            (
                vec![("MAIL_DKIM_KEY_FILE", "none.pem"), selector],
                "none.pem cannot be read",
            ),
            (vec![key, ("MAIL_DKIM_SELECTOR", "s 1")], "expected a selector"),
        ] {
            let (succeeded, said) = with(command, &settings);
            assert!(!succeeded && said.contains(expected), "{command}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_test_mail_arrives_or_its_failure_is_explained() {
    let folder = TempDir::new().unwrap();
    let plain = SmtpServer::start(SmtpMode::Plain).await;
    let test = ["mail", "test", "--to", "ops@example.com"];
    let (succeeded, said) = run(&mut command(folder.path(), &plain, &test));
    assert!(succeeded && said.contains("ok      message"), "{said}");
    assert_eq!(plain.mails()[0].to(), "ops@example.com");

    let (succeeded, said) =
        run(command(folder.path(), &plain, &test).env("SMTP_URL", plain.url() + "?tls=required"));
    assert!(
        !succeeded && said.contains("FAILED  TLS: the server does not offer STARTTLS"),
        "{said}"
    );
    let (succeeded, said) =
        run(command(folder.path(), &plain, &test).env("SMTP_URL", plain.url() + "?tls=opportunistic"));
    assert!(
        succeeded && said.contains("none    TLS: not offered, so the email was sent unencrypted"),
        "{said}"
    );
    let login = plain.url().replace("smtp://", "smtp://user:hunter2@");
    let (succeeded, said) = run(command(folder.path(), &plain, &test).env("SMTP_URL", login));
    assert!(
        !succeeded && said.contains("FAILED  AUTH") && !said.contains("hunter2"),
        "{said}"
    );
    let nobody = format!("smtp://127.0.0.1:{}", free_port());
    let (succeeded, said) = run(command(folder.path(), &plain, &test).env("SMTP_URL", nobody));
    assert!(
        !succeeded && said.contains("FAILED  connect") && said.contains("Nothing listens"),
        "{said}"
    );

    for mode in [SmtpMode::Tls, SmtpMode::StartTls] {
        // With a different self-signed certificate configured, this server is no longer trusted.
        let other = SmtpServer::self_signed(mode).await;
        let smtp = SmtpServer::self_signed(mode).await;
        let trusted = smtp.ca_file().unwrap();
        let (succeeded, said) = run(command(folder.path(), &smtp, &test).env("MAIL_CA_FILE", trusted));
        assert!(succeeded && smtp.mails().len() == 1, "{said}");
        let trusted = other.ca_file().unwrap();
        let (succeeded, said) = run(command(folder.path(), &smtp, &test).env("MAIL_CA_FILE", trusted));
        assert!(
            !succeeded && said.contains("FAILED  TLS: the certificate"),
            "{said}"
        );
        assert_eq!(smtp.mails().len(), 1);

        let smtp = SmtpServer::start(mode).await;
        let (succeeded, said) = run(&mut command(folder.path(), &smtp, &test));
        assert!(!succeeded && said.contains("MAIL_CA_FILE"), "{said}");
        let trusted = smtp.ca_file().unwrap();
        let (succeeded, said) = run(command(folder.path(), &smtp, &test).env("MAIL_CA_FILE", trusted));
        assert!(succeeded && smtp.mails().len() == 1, "{said}");
    }
}

/// Tests that the mailer does not share the bug celery#10205, where a worker consumed no more tasks after it
/// lost its Redis connection. Redis only wakes the mailer, and does so again after each outage.
#[tokio::test]
async fn a_mailer_goes_on_each_time_redis_comes_back() {
    let mut production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    // With this interval, only Redis can wake the mailer in time.
    let mailer = Program::start(production.command("mailer").env("POLL_INTERVAL", "10m"));
    let arrived = async |production: &Production, email: &str| {
        let what = format!("the mail to {email} has arrived");
        wait_until(SOON, &what, async || {
            production
                .smtp
                .mails()
                .iter()
                .any(|mail| mail.to().contains(email))
        })
        .await;
    };
    assert!(
        client
            .register("first@example.com")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    arrived(&production, "first@example.com").await;
    for round in 1..=3 {
        production.redis.kill().await;
        let (away, back) = (
            format!("away{round}@example.com"),
            format!("back{round}@example.com"),
        );
        assert!(client.register(&away).await.unwrap().status().is_success());
        production.redis.restart().await;
        arrived(&production, &away).await;
        assert!(client.register(&back).await.unwrap().status().is_success());
        arrived(&production, &back).await;
    }
    assert_eq!(production.smtp.mails().len(), 7, "none twice");
    assert!(mailer.is_running());
}
