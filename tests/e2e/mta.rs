//! Mail through a real mail transfer agent, with TLS and a password.

use tempfile::TempDir;
use testkit::{Postfix, Program, free_port, wait_until};

use crate::client::Client;
use crate::rebuild::run;
use crate::rig::{SOON, patients};

const MAILS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postfix_takes_every_mail_from_who_knows_the_password_and_none_without() {
    let Some(postfix) = Postfix::start().await else {
        println!("not tested: Postfix is not installed, or the test does not run as root");
        return;
    };
    for (good, bad) in postfix
        .urls(Postfix::PASSWORD)
        .iter()
        .zip(postfix.urls("not-the-one"))
    {
        let folder = TempDir::new().unwrap();
        let before = postfix.relayed().len();
        let command = |url: &str, words: &[&str]| {
            let mut command = patients("");
            command
                .args(words)
                .current_dir(folder.path())
                .env("SMTP_URL", url)
                .env("MAIL_CA_FILE", postfix.ca_file());
            command
        };
        let serve = |url: &str| {
            let port = free_port();
            let mut serve = command(url, &["serve"]);
            serve.env("HTTP_ADDR", format!("127.0.0.1:{port}"));
            (Program::start(&serve), Client::new(port))
        };
        let health = |url: &str| run(&mut command(url, &["health", "--role", "mailer"]));

        let (program, client) = serve(&bad);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        for number in 0..MAILS {
            client.register_for_sure(&format!("p{number}@example.com")).await;
        }
        wait_until(SOON, "it reports why no mail is sent", async || {
            let (healthy, said) = health(&bad);
            !healthy && said.contains("5.7.8")
        })
        .await;
        let (succeeded, said) = run(&mut command(&bad, &["mail", "test", "--to", "ana@example.com"]));
        assert!(!succeeded && said.contains("authentication"), "{said}");
        assert!(!said.contains("not-the-one"), "{said}");
        program.terminate();
        assert_eq!(program.wait(SOON).await, 0);
        assert_eq!(postfix.relayed().len(), before);

        let (program, _) = serve(good);
        wait_until(SOON, "all mail has arrived", async || {
            postfix.relayed().len() == before + MAILS
        })
        .await;
        wait_until(SOON, "it is healthy", async || health(good).0).await;
        for mail in &postfix.relayed()[before..] {
            let raw = &mail.raw;
            // ESMTPSA: submitted with authentication and TLS (RFC 3848).
            assert!(raw.contains("with ESMTPSA id"), "{raw}");
            assert!(
                raw.contains(".patient_registered.") && raw.contains("@miapp.com>"),
                "{raw}"
            );
        }
        let (succeeded, said) = run(&mut command(good, &["mail", "test", "--to", "ana@example.com"]));
        assert!(succeeded, "{said}");
        wait_until(SOON, "the test mail has arrived", async || {
            postfix.relayed().len() == before + MAILS + 1
        })
        .await;
        program.terminate();
        assert_eq!(program.wait(SOON).await, 0);
    }
}
