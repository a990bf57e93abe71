//! The embedded default: no servers and no settings.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};

use crate::client::{Client, id_of, patient};
use crate::rig::{SOON, patients};

pub(crate) fn serve(folder: &Path, port: u16) -> Program {
    let mut command = patients("");
    command
        .current_dir(folder)
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        // A short timeout gives a short lease, so that the emails of a killed mailer are soon claimed again.
        .env("MAIL_SEND_TIMEOUT", "2s");
    Program::start(&command)
}

pub(crate) fn mails(folder: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(folder.join("data/outbox")) else {
        return Vec::new();
    };
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[tokio::test]
async fn one_command_registers_lists_mails_and_deletes() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let program = serve(folder.path(), port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let said = program.stdout();
    assert!(
        said.contains(&format!("http://127.0.0.1:{port}")) && said.contains("data/outbox"),
        "{said}"
    );

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
    wait_until(SOON, "the mail is written", async || {
        mails(folder.path()).len() == 1
    })
    .await;
    assert!(
        mails(folder.path())[0].contains("To: "),
        "{}",
        mails(folder.path())[0]
    );
    assert_eq!(
        client.delete(id_of(&created)).await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let gone = client
        .get(&format!("/patients/{}", id_of(&created)))
        .await
        .unwrap();
    assert_eq!(gone.status(), StatusCode::GONE);
}

#[tokio::test]
async fn what_was_answered_is_there_after_kill_9() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut program = serve(folder.path(), port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;

    let registering: Vec<_> = (0..200)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.register_for_sure(&format!("p{number}@example.com")).await })
        })
        .collect();
    for listed in [1, 50, 120] {
        wait_until(SOON, "registrations continue", async || {
            client.ready().await && client.list().await.len() >= listed
        })
        .await;
        program.kill9().await;
        program.restart().await;
    }
    for registration in registering {
        registration.await.unwrap();
    }
    wait_until(SOON, "all are listed", async || {
        client.ready().await && client.list().await.len() == 200
    })
    .await;
    // If the process is killed while it writes an email, the email is claimed again when its lease has
    // expired. The file is named after the event, so a repeated email overwrites the same file.
    wait_until(Duration::from_mins(2), "all mails are written", async || {
        mails(folder.path()).len() == 200
    })
    .await;
}

/// Returns the permissions of a file or a folder.
fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_holds_personal_data_is_its_owners_alone_whatever_the_umask_and_whoever_could_read_it_before() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let client = Client::new(port);
    for (umask, number) in [("000", 1), ("0277", 2)] {
        let mut command = std::process::Command::new("sh");
        command
            .args([
                "-c",
                "umask $0; exec $1 serve",
                umask,
                env!("CARGO_BIN_EXE_patients"),
            ])
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("RATE_LIMIT", "off");
        let program = Program::start(&command);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        let registered = client.register(&format!("{number}@example.com")).await.unwrap();
        assert_eq!(registered.status(), StatusCode::CREATED);
        wait_until(SOON, "the mail is written", async || {
            mails(folder.path()).len() == number
        })
        .await;
        let data = folder.path().join("data");
        for path in [data.clone(), data.join("outbox")] {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
        }
        for name in ["patients.db", "patients.db-wal", "patients.db-shm"] {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
        for mail in std::fs::read_dir(data.join("outbox")).unwrap() {
            assert_eq!(mode(&mail.unwrap().path()), 0o600);
        }
        program.kill9().await;
        // An earlier version created the files with these permissions.
        for name in ["patients.db", "patients.db-wal", "patients.db-shm"] {
            let path = data.join(name);
            if path.exists() {
                std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
            }
        }
    }
}
