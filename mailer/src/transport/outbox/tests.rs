use lettre::address::Envelope;

use super::*;

fn mail(content: &str) -> Mail {
    Mail {
        name: "7-patient_registered".to_owned(),
        envelope: Envelope::new(None, vec!["ana@example.com".parse().unwrap()]).unwrap(),
        content: content.to_owned(),
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn an_email_that_is_sent_again_replaces_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    let outbox = Outbox::new(folder.clone());
    outbox.write(&mail("first")).await.unwrap();
    outbox.write(&mail("second")).await.unwrap();
    assert_eq!(files(&folder), ["7-patient_registered.eml"]);
    assert_eq!(
        std::fs::read_to_string(folder.join("7-patient_registered.eml")).unwrap(),
        "second"
    );
}

#[tokio::test]
async fn only_the_owner_may_read_the_files_and_the_created_folders() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b");
    Outbox::new(folder.clone()).write(&mail("x")).await.unwrap();
    let paths = [
        &folder,
        folder.parent().unwrap(),
        &folder.join("7-patient_registered.eml"),
    ];
    let modes = paths.map(|path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes, [0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn an_unwritable_folder_is_a_failure_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    // A folder with the file's name makes every rename fail.
    std::fs::create_dir_all(folder.path().join("7-patient_registered.eml/x")).unwrap();
    let failure = Outbox::new(folder.path().to_owned())
        .write(&mail("x"))
        .await
        .unwrap_err();
    assert!(matches!(failure, DeliveryFailure::Outbox(_)));
    assert_eq!(files(folder.path()), ["7-patient_registered.eml"]);
}

#[tokio::test]
async fn a_full_disk_is_a_failure() {
    let full = File::options().write(true).open("/dev/full").await.unwrap();
    let error = put(full, b"x").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
