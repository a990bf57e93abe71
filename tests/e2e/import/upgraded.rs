//! Imports before and after an older log is sealed.

use serde_json::json;
use tempfile::TempDir;
use testkit::mysql_servers;

use super::imported;
use crate::keyring::log_in_clear;

#[tokio::test]
async fn patients_who_were_imported_in_clear_are_not_imported_again_after_the_log_is_sealed() {
    let folder = TempDir::new().unwrap();
    let rows = folder.path().join("p.csv");
    let write = |ids: &[u32]| {
        let row =
            |id: &u32| format!("{id},Ana,p{id}@example.com,+3460000001{id},https://example.com/a.jpg\n");
        let rows_of: String = ids.iter().map(row).collect();
        std::fs::write(&rows, format!("id,name,email,phone,document_url\n{rows_of}")).unwrap();
    };
    for server in mysql_servers() {
        let production = log_in_clear(server).await;
        let import = || {
            let mut command = production.command("import");
            command.arg(&rows);
            imported(command)
        };
        write(&[1, 2]);
        let (code, counts, log) = import();
        assert_eq!((code, &counts["imported"]), (Some(0), &json!(2)), "{log}");
        let mut upgrade = production.command("log");
        let upgraded = upgrade
            .args(["upgrade", "--no-earlier-programs"])
            .output()
            .unwrap();
        assert!(upgraded.status.success(), "{}", super::stderr(&upgraded));
        write(&[1, 2, 3]);
        let (code, counts, log) = import();
        assert_eq!(
            (code, &counts["imported"], &counts["already_imported"]),
            (Some(0), &json!(1), &json!(2)),
            "{log}"
        );
        let sealed = production
            .count("(SELECT * FROM events WHERE event_version = '2.1' AND payload LIKE '%sealed%') imported")
            .await;
        assert_eq!(sealed, 1);
    }
}
