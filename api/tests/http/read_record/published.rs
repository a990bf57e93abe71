//! Tests of the published log of the record of reads.

use api::read_log::ReadRecording;
use api::read_log::published::{KeptRoot, PublishedHead, ReadHeadsLog, TABLES, last_of, verify};
use api::read_log::verify::{ReadProblem, ReadsVerified};
use axum::http::StatusCode;
use eventstore::{Hash, Lease, Position, Session, SystemClock};
use std::time::Duration;
use tlog::{KeyFile, Outcome, PublishedLog, SignedLog, Signer};
use transparency::policy::Policy;

use super::{NOBODY, on_each, report};
use crate::rig::Rig;

const ORIGIN: &str = "log.example.org/reads";

fn heads(rig: &Rig) -> ReadHeadsLog {
    ReadHeadsLog::new(rig.log.database().clone(), SystemClock::shared())
}

/// Records a read as a link of its own.
async fn read(rig: &Rig) {
    let answer = rig.get(&format!("/patients/{NOBODY}")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// Adds a copy of the first links of a chain as another chain, with this time.
async fn add_chain(rig: &Rig, from: &str, chain: &str, recorded_at: &str) {
    rig.execute(&format!(
        "INSERT INTO audit_read_links (chain, number, recorded_at, entries, digest, previous_hash, hash) SELECT \
         '{chain}', number, {recorded_at}, entries, digest, previous_hash, hash FROM audit_read_links WHERE number < 3 AND chain = '{from}'"
    ))
    .await;
}

/// Returns the number of rows of a table.
async fn rows(rig: &Rig, table: &str) -> i64 {
    let mut connection = rig.log.database().reader().await.unwrap();
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let row = connection.query(&sql).fetch_optional().await.unwrap();
    row.unwrap().get(0).unwrap()
}

/// Returns the chain and the number of each entry.
async fn published(rig: &Rig) -> Vec<(String, i64)> {
    let mut connection = rig.log.database().reader().await.unwrap();
    let rows = connection
        .query("SELECT chain, number FROM audit_read_heads ORDER BY position")
        .fetch_all()
        .await
        .unwrap();
    let entry = |row: &eventstore::Row| (row.get(0).unwrap(), row.get(1).unwrap());
    rows.iter().map(entry).collect()
}

#[tokio::test]
async fn the_head_of_each_chain_with_new_links_becomes_one_entry() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        let log = heads(&rig);
        assert_eq!(log.size().await.unwrap(), 0);
        for _ in 0..2 {
            read(&rig).await;
        }
        assert_eq!(log.size().await.unwrap(), 1);
        assert_eq!(log.size().await.unwrap(), 1, "nothing has changed");
        let chain = published(&rig).await[0].0.clone();
        read(&rig).await;
        assert_eq!(log.size().await.unwrap(), 2);

        // Chains that a search by time finds, and one whose time is wrong.
        let [recent, wrong] = ["f0000000-0000-7000-8000-000000000000", NOBODY];
        add_chain(&rig, &chain, recent, "recorded_at").await;
        assert_eq!(log.size().await.unwrap(), 3);
        add_chain(&rig, &chain, wrong, "1").await;
        assert_eq!(log.size().await.unwrap(), 3);
        assert_eq!(
            heads(&rig).size().await.unwrap(),
            4,
            "the first scan reads all chains"
        );
        // A chain that has lost links has no new head.
        rig.execute(&format!(
            "DELETE FROM audit_read_links WHERE chain = '{chain}' AND number > 1"
        ))
        .await;
        assert_eq!(heads(&rig).size().await.unwrap(), 4);
        let expected = [(&*chain, 2), (&*chain, 3), (recent, 2), (wrong, 2)];
        let expected = expected.map(|(chain, number)| (chain.to_owned(), number));
        assert_eq!(published(&rig).await, expected);
        let mut connection = rig.log.database().reader().await.unwrap();
        let last = last_of(&mut connection, &chain).await.unwrap();
        let (number, position) = (3, 2);
        assert_eq!(last, Some(PublishedHead { number, position }));
        assert_eq!(last_of(&mut connection, "other").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_signed_head_is_proved_with_the_key_alone() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("reads.key"));
        let key = file.create(ORIGIN).unwrap();
        let verifier = key.verifier().clone();
        let signer = Signer::new(heads(&rig), key, file.state(), SystemClock::shared());
        let database = rig.log.database().clone();
        let mut lease = Lease::new(
            database.clone(),
            SystemClock::shared(),
            "test".into(),
            "test".into(),
            Duration::from_mins(1),
        );
        assert_eq!(signer.sign(&mut lease).await.unwrap(), Outcome::UpToDate(0));
        for size in 1..=3 {
            read(&rig).await;
            assert_eq!(signer.sign(&mut lease).await.unwrap(), Outcome::Signed(size));
            assert_eq!(signer.sign(&mut lease).await.unwrap(), Outcome::UpToDate(size));
        }
        let published = PublishedLog::of(&database, ORIGIN.to_owned(), TABLES);
        let proof = published.prove(Position::new(3).unwrap()).await.unwrap();
        let head = report(&rig).await.heads[0].hash;
        let policy = Policy::new(ORIGIN, vec![verifier], vec![], 0).unwrap();
        proof.verify(&transparency::Hash::leaf(&head.0), &policy).unwrap();
        let other = transparency::Hash::leaf(&[7; 32]);
        proof.verify(&other, &policy).unwrap_err();

        // The events are another log: the signer of reads does not use its tables.
        assert_eq!(rows(&rig, "log_tiles").await + rows(&rig, "events").await, 0);
        rig.execute("DELETE FROM audit_read_heads WHERE position = 3")
            .await;
        rig.execute("DELETE FROM audit_read_links").await;
        let error = signer.sign(&mut lease).await.unwrap_err();
        let expected = "a checkpoint of 3 entries has been signed, but the log ends at 2";
        assert_eq!(error.to_string(), expected);
    })
    .await;
}

#[tokio::test]
async fn verification_compares_the_published_log_with_the_chains_and_with_signed_roots() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        let log = heads(&rig);
        for _ in 0..3 {
            read(&rig).await;
            log.size().await.unwrap();
        }
        let verified = async |kept: &[KeptRoot]| {
            let mut report = ReadsVerified::default();
            verify(rig.log.database(), kept, &mut report).await.unwrap();
            report
        };
        let root = PublishedLog::of(rig.log.database(), ORIGIN.to_owned(), TABLES);
        let root = root.tiles().root(2).await.unwrap();
        let kept = |size, root: [u8; 32]| KeptRoot {
            size,
            root: Hash(root),
        };
        let sound = verified(&[kept(2, root.0)]).await;
        assert!(sound.fits && sound.published == 3, "{sound:?}");
        for wrong in [kept(2, [7; 32]), kept(3, root.0), kept(4, root.0)] {
            let report = verified(&[kept(2, root.0), wrong]).await;
            let expected = ReadProblem::PublishedRoot { size: wrong.size };
            assert!(!report.fits);
            assert_eq!(report.faults[0].problem, expected);
        }
        for table in ["audit_read_heads", "audit_read_links"] {
            rig.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"))
                .await;
        }
        let differs = |position| ReadProblem::PublishedDiffers { position };
        for (change, problem) in [
            (
                "UPDATE audit_read_heads SET hash = (SELECT digest FROM audit_read_links WHERE number = 1) \
                 WHERE position = 2",
                differs(2),
            ),
            (
                "UPDATE audit_read_links SET hash = digest WHERE number = 2",
                differs(2),
            ),
            (
                "DELETE FROM audit_read_links WHERE number = 2",
                ReadProblem::PublishedMissing { position: 2 },
            ),
            (
                "DELETE FROM audit_read_heads WHERE position = 2",
                ReadProblem::HeadMissing { position: 2 },
            ),
            (
                "DELETE FROM audit_read_links",
                ReadProblem::PublishedMissing { position: 1 },
            ),
            // The first entry is for a link that a later entry had before.
            (
                "UPDATE audit_read_heads SET position = position + 10 WHERE position = 1",
                ReadProblem::HeadMissing { position: 1 },
            ),
        ] {
            rig.execute(change).await;
            let report = verified(&[]).await;
            assert!(!report.fits, "{change}");
            assert_eq!(report.faults[0].problem, problem, "{change}");
            for table in ["audit_read_heads", "audit_read_links"] {
                rig.execute(&format!("DELETE FROM {table}")).await;
                rig.execute(&format!("INSERT INTO {table} SELECT * FROM kept_{table}"))
                    .await;
            }
            assert!(verified(&[]).await.fits, "the tables are as before");
        }
    })
    .await;
}
