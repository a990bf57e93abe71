//! Replacing the wrapping key, and moving the keys between the databases.

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use testkit::wait_until;

use super::{SETTING, Split, erase, registration, serve, status, stop};
use crate::client::id_of;
use crate::rebuild::{json, run};
use crate::rig::SOON;

#[tokio::test]
async fn keys_are_rotated_and_moved_with_the_events_of_all_patients_readable() {
    Split::on_each(async |split| {
        let folder = TempDir::new().unwrap();
        let keyring = folder.path().join("keyring.json");
        std::fs::copy(testkit::keyring_file(), &keyring).unwrap();
        let command = |words: &[&str]| {
            let mut command = split.command(words);
            command.env("KEYRING_FILE", &keyring);
            command
        };
        let (program, client) = serve(command(&["serve"])).await;
        for number in 0..5 {
            client.register_for_sure(&format!("p{number}@example.com")).await;
        }
        // This process keeps the older keyring.
        let (older, with_older) = serve(split.command(&["api"])).await;
        let added = json(&mut command(&["keys", "new"]));
        let new = added["id"].as_str().unwrap().to_owned();
        assert!(run(&mut command(&["keys", "activate", &new])).0);
        wait_until(SOON, "the process has the new keyring", async || {
            program.log().contains("the keyring has changed") && program.log().contains(&new)
        })
        .await;
        client.register_for_sure("p5@example.com").await;
        let rotated = json(&mut command(&["keys", "rotate"]));
        assert_eq!(rotated["changed"], 5, "{rotated}");
        let checked = json(&mut command(&["keys", "check"]));
        assert_eq!(checked["wrapping_keys"], json!({ new.as_str(): 6 }));
        let refused = registration(&with_older, "late@example.com").await;
        assert_eq!(
            refused,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!("/problems/keyring-unusable")
            )
        );
        stop(&older).await;
        let (removed, said) = run(&mut command(&["keys", "remove", "0000000000000001"]));
        assert!(removed, "{said}");
        let erased = client.register_for_sure("p6@example.com").await;
        erase(&client, id_of(&erased)).await;

        let to = |place: &str| command(&["keys", "move", "--to", place]);
        let (moved, said) = run(&mut to("log"));
        assert!(!moved && said.contains("stop all roles"), "{said}");
        stop(&program).await;
        assert_eq!(json(&mut to("log")), json!({ "moved": 7 }));
        assert_eq!(
            (
                split.production.count("subject_keys").await,
                split.key_count("TRUE").await
            ),
            (7, 0)
        );
        let (checked, said) = run(&mut command(&["keys", "check"]));
        assert!(
            !checked && said.contains("the data keys are in the database of the log"),
            "{said}"
        );
        let in_log = |words: &[&str]| {
            let mut command = command(words);
            command.env_remove(SETTING);
            command
        };
        let (program, client) = serve(in_log(&["serve"])).await;
        client.register_for_sure("p7@example.com").await;
        wait_until(SOON, "all are listed", async || client.list().await.len() == 7).await;
        stop(&program).await;
        let (moved, said) = run(&mut to("keys-database"));
        assert!(moved && said.contains("8 keys were moved"), "{said}");
        assert_eq!(
            (
                split.production.count("subject_keys").await,
                split.key_count("TRUE").await
            ),
            (0, 8)
        );
        let (program, client) = serve(command(&["serve"])).await;
        client.register_for_sure("p8@example.com").await;
        wait_until(SOON, "all are listed", async || client.list().await.len() == 8).await;
        assert_eq!(
            status(&client, &format!("/patients/{}", id_of(&erased))).await,
            StatusCode::GONE
        );
        for words in [
            &["projection", "verify"][..],
            &["audit", "verify"],
            &["claims", "verify"],
        ] {
            let (verified, said) = run(&mut command(words));
            assert!(verified, "{words:?}: {said}");
        }
        stop(&program).await;
    })
    .await;
}
