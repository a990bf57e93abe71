//! Emails about amendments, from the request to the files in the outbox.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Mail, wait_until};

use super::serve;
use crate::client::{Client, id_of};
use crate::rig::{SOON, patients};

/// Returns the address in the `To` header of each email in the outbox, by the email's name.
fn outbox(folder: &Path) -> BTreeMap<String, String> {
    let Ok(files) = std::fs::read_dir(folder.join("data/outbox")) else {
        return BTreeMap::new();
    };
    let finished = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    finished
        .map(|path| {
            let mail = Mail {
                raw: std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n"),
                arrived: Duration::ZERO,
            };
            let to = mail.to();
            let (_, address) = to.trim_end_matches('>').rsplit_once('<').unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            (name.to_owned(), address.to_owned())
        })
        .collect()
}

/// Registers a patient at `email`, waits for the confirmation, and returns the patient's id.
async fn register(client: &Client, folder: &Path, email: &str) -> String {
    let created = client.register(email).await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let created: Value = created.json().await.unwrap();
    wait_until(SOON, "the registration is confirmed", async || {
        outbox(folder).values().any(|address| address == email)
    })
    .await;
    id_of(&created).to_owned()
}

#[tokio::test]
async fn an_amendment_causes_the_emails_that_the_setting_requests() {
    let of_email = [
        ("2-patient_amended", "new@example.com"),
        ("2-patient_email_changed", "old@example.com"),
    ];
    let of_phone = [("3-patient_amended", "new@example.com")];
    for (setting, expected) in [
        (None, of_email.to_vec()),
        (Some("off"), Vec::new()),
        (Some("all"), [&of_email[..], &of_phone].concat()),
    ] {
        let folder = TempDir::new().unwrap();
        let mut program = patients("");
        program.current_dir(folder.path());
        program.envs(setting.map(|setting| ("MAIL_ON_AMEND", setting)));
        let (_program, client) = serve(&mut program).await;

        let id = register(&client, folder.path(), "old@example.com").await;
        for changes in [
            json!({"email": "new@example.com"}),
            json!({"phone": "+34600123457"}),
        ] {
            let amended = client.amend(&id, &changes).await;
            assert_eq!(amended.status(), StatusCode::OK, "{setting:?} {changes}");
        }
        // Deliveries are created in the order of the log. With the delivery of this registration, the ledger
        // therefore contains all deliveries of the amendments.
        register(&client, folder.path(), "other@example.com").await;
        wait_until(SOON, "every email is sent", async || {
            let status: Value = client.get("/mail").await.unwrap().json().await.unwrap();
            status["oldest_waiting"].is_null()
        })
        .await;
        let confirmations = [
            ("1-patient_registered", "old@example.com"),
            ("4-patient_registered", "other@example.com"),
        ];
        let expected = confirmations.into_iter().chain(expected);
        let expected: BTreeMap<_, _> = expected
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .collect();
        assert_eq!(outbox(folder.path()), expected, "{setting:?}");
    }
}
