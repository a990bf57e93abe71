//! Mail for operators: health while a server refuses, and the commands.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::{Program, SmtpMode, SmtpServer, free_port, wait_until};

use crate::client::Client;
use crate::rig::{SOON, patients};

/// A command in `folder`, with the mail server and no other setting.
fn command(folder: &Path, smtp: &SmtpServer, words: &[&str]) -> Command {
    let mut command = patients("");
    command
        .args(words)
        .current_dir(folder)
        .env("SMTP_URL", smtp.url())
        .env_remove("RUST_BACKTRACE");
    command
}

/// Whether it succeeds, and what it says.
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
    wait_until(SOON, "another process sees why no mail leaves", async || {
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
