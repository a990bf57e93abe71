//! What an import keeps secret, and the emails that it causes.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::wait_until;

use super::{import_in, imported, service_in, stderr};
use crate::embedded::mails;
use crate::rig::{SOON, patients};

const HEADER: &str = "id,name,email,phone,document_url\n";

fn row(id: &str, email: &str) -> String {
    format!("{id},Ana,{email},+34600000017,https://example.com/a.jpg\n")
}

#[tokio::test]
async fn an_import_causes_emails_only_if_they_are_requested() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (_service, _) = service_in(folder).await;
    let import = |file: &str, rows: &[String], options: &[&str]| {
        std::fs::write(folder.join(file), HEADER.to_owned() + &rows.concat()).unwrap();
        let (code, _, log) = imported(import_in(folder, &[&[file], options].concat()));
        assert_eq!(code, Some(0), "{log}");
    };
    import("without.csv", &[row("1", "without@example.com")], &[]);
    let requested = [row("2", "first@example.com"), row("3", "second@example.com")];
    import("with.csv", &requested, &["--send-mail"]);
    // The mailer has then read the first patient, too.
    wait_until(SOON, "the requested emails are written", async || {
        mails(folder).len() == 2
    })
    .await;
    for recipient in ["first@example.com", "second@example.com"] {
        assert!(mails(folder).iter().any(|mail| mail.contains(recipient)));
    }
}

/// Imports a patient into a new database in `folder`, whose keyring is in the same folder. Returns the id and
/// the text of the whole database.
fn import_with_own_keyring(folder: &Path, source: &str, old_id: &str) -> (String, String) {
    std::fs::write(
        folder.join("p.csv"),
        HEADER.to_owned() + &row(old_id, "ana@example.com"),
    )
    .unwrap();
    for mut command in [
        patients("migrate"),
        import_in(folder, &["p.csv", "--source", source]),
    ] {
        let output = command
            .current_dir(folder)
            .env_remove("KEYRING_FILE")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let read = |sql: &str| {
        let mut client = Command::new("sqlite3");
        let output = client.arg(folder.join("data/patients.db")).arg(sql).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    (
        read("SELECT aggregate_id FROM events").trim().to_owned(),
        read(".dump"),
    )
}

#[test]
fn the_old_id_is_only_in_sealed_form_in_the_log_and_only_the_keyring_leads_to_the_new_id() {
    let (source, old_id) = ("former-clinic", "hc-0815-4711");
    let folders = [(); 3].map(|()| TempDir::new().unwrap());
    let [first, other_keyring, same_keyring] = folders.each_ref().map(TempDir::path);
    let (id, log) = import_with_own_keyring(first, source, old_id);
    let log = log.to_lowercase();
    assert!(log.contains("patientregistered"), "{log}");
    for secret in [source, old_id] {
        let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        assert!(!log.contains(secret) && !log.contains(&hex), "{log}");
    }
    // UUID version 8: not the plain hash of version 5.
    assert_eq!(&id[14..15], "8", "{id}");
    let (other, _) = import_with_own_keyring(other_keyring, source, old_id);
    assert_ne!(id, other);
    std::fs::create_dir(same_keyring.join("data")).unwrap();
    let keyring = "data/keyring.json";
    std::fs::copy(first.join(keyring), same_keyring.join(keyring)).unwrap();
    let (same, _) = import_with_own_keyring(same_keyring, source, old_id);
    assert_eq!(id, same);
}
