//! Tests of the chains of the record of reads: what verification finds, and pruning.

use api::read_log::ReadRecording;
use api::read_log::heads::{self, ReadHead, TrustedRead};
use api::read_log::prune::prune;
use api::read_log::verify::{ReadFault, ReadProblem, verify};
use axum::http::StatusCode;
use eventstore::{Hash, Session, SystemClock, Timestamp};
use serde_json::json;
use web::access::Access;

use super::{NOBODY, entries, on_each, options, report};
use crate::rig::Rig;

async fn fault(rig: &Rig) -> ReadFault {
    let report = report(rig).await;
    assert!(!report.fits);
    report.faults[0].clone()
}

async fn head(rig: &Rig) -> ReadHead {
    let mut connection = rig.log.database().reader().await.unwrap();
    let heads = heads::page(&mut connection, "").await.unwrap();
    assert_eq!(heads.len(), 1);
    heads[0].clone()
}

/// Records reads in five links of one entry each.
async fn five_links(rig: &Rig) -> Vec<String> {
    for _ in 0..5 {
        assert_eq!(
            rig.get(&format!("/patients/{NOBODY}")).await.status,
            StatusCode::NOT_FOUND
        );
    }
    let all = entries(rig, 5).await;
    all.iter()
        .map(|read| read["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns changes of the record of [`five_links`], each with the number of the link that is named, or 0, and
/// the problem. `third` is the id of the third entry.
fn changes(third: &str) -> Vec<(String, i64, ReadProblem)> {
    let deleted = ReadProblem::EntriesDeleted {
        found: 0,
        expected: 1,
    };
    let added = ReadProblem::EntriesAdded {
        found: 2,
        expected: 1,
    };
    let of_third = format!("WHERE id = '{third}'");
    let mut changes = vec![
        (format!("DELETE FROM audit_reads {of_third}"), 3, deleted),
        (
            format!("UPDATE audit_reads SET chain = NULL, link = NULL {of_third}"),
            3,
            deleted,
        ),
        (format!("UPDATE audit_reads SET link = 4 {of_third}"), 3, deleted),
        (
            "INSERT INTO audit_reads (id, recorded_at, actor, via, kind, outcome, chain, link) SELECT \
             '00000000-0000-7000-8000-000000000007', recorded_at, actor, via, kind, outcome, chain, link \
             FROM kept_audit_reads WHERE link = 3"
                .to_owned(),
            3,
            added,
        ),
        (
            "INSERT INTO audit_reads (id, recorded_at, actor, via, kind, outcome, chain, link) SELECT \
             '00000000-0000-7000-8000-000000000007', recorded_at, actor, via, kind, outcome, NULL, 6 \
             FROM kept_audit_reads WHERE link = 3"
                .to_owned(),
            6,
            ReadProblem::EntryWithoutLink,
        ),
        (
            "INSERT INTO audit_reads (id, recorded_at, actor, via, kind, outcome, chain, link) SELECT \
             '00000000-0000-7000-8000-000000000007', recorded_at, actor, via, kind, outcome, '', 6 \
             FROM kept_audit_reads WHERE link = 3"
                .to_owned(),
            6,
            ReadProblem::EntryWithoutLink,
        ),
        (
            "DELETE FROM audit_read_links WHERE number = 3".to_owned(),
            3,
            ReadProblem::LinkMissing,
        ),
        (
            "DELETE FROM audit_read_links WHERE number = 1".to_owned(),
            1,
            ReadProblem::LinkMissing,
        ),
        (
            "DELETE FROM audit_read_links WHERE number = 5".to_owned(),
            5,
            ReadProblem::EntryWithoutLink,
        ),
        (
            format!("UPDATE audit_reads SET link = NULL {of_third}"),
            0,
            ReadProblem::EntryWithoutLink,
        ),
        (
            format!("UPDATE audit_reads SET chain = '{NOBODY}' {of_third}"),
            3,
            ReadProblem::EntryWithoutLink,
        ),
    ];
    for (column, value) in [
        ("recorded_at", "1"),
        ("actor", "'x'"),
        ("via", "'command'"),
        ("request_id", "NULL"),
        ("kind", "'list'"),
        ("outcome", "'given'"),
        ("patient_id", "NULL"),
        ("event_type", "''"),
        ("after_position", "0"),
        ("to_position", "1"),
        ("id", "'00000000-0000-7000-8000-000000000007'"),
    ] {
        changes.push((
            format!("UPDATE audit_reads SET {column} = {value} {of_third}"),
            3,
            ReadProblem::EntryAltered,
        ));
    }
    for (column, value) in [
        ("recorded_at", "1"),
        ("entries", "2"),
        ("digest", "previous_hash"),
        ("previous_hash", "digest"),
        ("hash", "digest"),
    ] {
        changes.push((
            format!("UPDATE audit_read_links SET {column} = {value} WHERE number = 3"),
            3,
            ReadProblem::LinkAltered,
        ));
    }
    changes
}

#[tokio::test]
async fn every_change_of_the_record_is_found_and_named() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        let ids = five_links(&rig).await;
        let head = head(&rig).await;
        assert_eq!(head.number, 5);
        let sound = report(&rig).await;
        assert_eq!(
            (sound.fits, sound.entries, sound.links, sound.chains),
            (true, 5, 5, 1)
        );
        assert_eq!(sound.heads, std::slice::from_ref(&head));
        let backup = ["audit_reads", "audit_read_links"];
        for table in backup {
            rig.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"))
                .await;
        }
        for (change, link, problem) in changes(&ids[2]) {
            rig.execute(&change).await;
            let found = fault(&rig).await;
            let number = (link > 0).then_some(link);
            assert_eq!((found.link, found.problem), (number, problem), "{change}");
            if problem == ReadProblem::EntryWithoutLink {
                assert!(found.entry.is_some(), "{change}");
            } else {
                assert_eq!(found.chain, head.chain, "{change}");
            }
            for table in backup {
                rig.execute(&format!("DELETE FROM {table}")).await;
                rig.execute(&format!("INSERT INTO {table} SELECT * FROM kept_{table}"))
                    .await;
            }
            assert!(report(&rig).await.fits, "the table is as before");
        }
    })
    .await;
}

#[tokio::test]
async fn a_forked_chain_is_found_at_its_fork_and_by_a_kept_head() {
    let rig = Rig::with_options(Access::open(), options(ReadRecording::Strict, 100)).await;
    five_links(&rig).await;
    let kept = head(&rig).await;
    let trusted = |number, hash| TrustedRead {
        chain: kept.chain.parse().unwrap(),
        number,
        hash,
    };
    // Another record with a chain of the same length, whose links are consistent.
    let other = Rig::with_options(Access::open(), options(ReadRecording::Strict, 100)).await;
    five_links(&other).await;
    let mut reader = other.log.database().reader().await.unwrap();
    let hex = |column: &str| format!("LOWER(HEX({column}))");
    let sql = format!(
        "SELECT recorded_at, {}, {}, {} FROM audit_read_links WHERE number = 3",
        hex("digest"),
        hex("previous_hash"),
        hex("hash")
    );
    let row = reader.query(&sql).fetch_optional().await.unwrap().unwrap();
    let text = |column: usize| row.get::<String, _>(column).unwrap();
    let chain = head(&other).await.chain;
    // The other chain takes the place of this chain up to its link 2, under the name of the other chain.
    let own = format!("UPDATE audit_read_links SET chain = '{chain}'");
    rig.execute(&own).await;
    rig.execute(&format!("UPDATE audit_reads SET chain = '{chain}'"))
        .await;
    rig.execute(&format!(
        "UPDATE audit_read_links SET recorded_at = {}, digest = X'{}', previous_hash = X'{}', hash = X'{}' WHERE number = 3",
        row.get::<i64, _>(0).unwrap(),
        text(1),
        text(2),
        text(3)
    ))
    .await;
    let forked = report(&rig).await;
    let at = forked
        .faults
        .iter()
        .find(|fault| fault.problem == ReadProblem::Forked);
    assert_eq!(at.and_then(|fault| fault.link), Some(3), "{forked:?}");

    let found = verify(other.log.database(), &[trusted(5, kept.hash)])
        .await
        .unwrap();
    assert_eq!(found.faults[0].problem, ReadProblem::TrustedMissing);
    let of_other = head(&other).await;
    let right = TrustedRead {
        chain: chain.parse().unwrap(),
        number: 5,
        hash: of_other.hash,
    };
    assert!(
        verify(other.log.database(), std::slice::from_ref(&right))
            .await
            .unwrap()
            .fits
    );
    let wrong = TrustedRead {
        hash: Hash([7; 32]),
        ..right
    };
    let found = verify(other.log.database(), &[wrong]).await.unwrap();
    assert_eq!(
        (found.faults[0].link, found.faults[0].problem),
        (Some(5), ReadProblem::TrustedDiffers)
    );
}

#[tokio::test]
async fn pruned_links_verify_and_no_others() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        five_links(&rig).await;
        let kept = head(&rig).await;
        let database = rig.log.database();
        let before = async |number: i64| {
            let mut reader = database.reader().await.unwrap();
            let sql = "SELECT recorded_at FROM audit_read_links WHERE number = ?";
            let row = reader
                .query(sql)
                .bind(number)
                .fetch_optional()
                .await
                .unwrap()
                .unwrap();
            row.get::<Timestamp, _>(0).unwrap()
        };
        let fourth = before(4).await;
        let dry = prune(database, &SystemClock, fourth, None).await.unwrap();
        assert_eq!((dry.chains, dry.links, dry.entries), (1, 3, 3));
        assert_eq!(entries(&rig, 5).await.len(), 5, "nothing is deleted");
        let pruned = prune(database, &SystemClock, fourth, Some("anna@host"))
            .await
            .unwrap();
        assert_eq!(pruned, dry);
        let left = entries(&rig, 3).await;
        assert_eq!(
            (
                &left[2]["kind"],
                &left[2]["outcome"],
                &left[2]["actor"],
                &left[2]["to"]
            ),
            (&json!("prune"), &json!("pruned"), &json!("anna@host"), &json!(3))
        );
        let trusted = TrustedRead {
            chain: kept.chain.parse().unwrap(),
            number: kept.number,
            hash: kept.hash,
        };
        let found = verify(database, &[trusted]).await.unwrap();
        assert_eq!(
            (found.fits, found.pruned, found.links, found.chains),
            (true, 3, 6, 1),
            "{found:?}"
        );
        let [pruning] = &found.prunings[..] else {
            panic!("{found:?}");
        };
        assert_eq!((pruning.actor.as_str(), pruning.to), ("anna@host", Some(3)));
        assert_eq!(found.pruning_count, 1);
        let again = prune(database, &SystemClock, fourth, Some("anna@host"))
            .await
            .unwrap();
        assert_eq!((again.chains, again.entries), (0, 0));

        // The process continues its chain after the link that pruning has added.
        assert_eq!(
            rig.get(&format!("/patients/{NOBODY}")).await.status,
            StatusCode::NOT_FOUND
        );
        assert_eq!((head(&rig).await.number, report(&rig).await.fits), (7, true));

        // The last pruning deletes nothing: only the entry about the previous pruning remains, and no entry
        // is added.
        rig.get(&format!("/patients/{NOBODY}")).await;
        let now = Timestamp::from_micros(before(8).await.as_micros() + 1);
        let rest = prune(database, &SystemClock, now, Some("anna@host"))
            .await
            .unwrap();
        assert_eq!((rest.links, rest.entries), (5, 5), "{rest:?}");
        let later = Timestamp::from_micros(before(9).await.as_micros() + 1);
        let none = prune(database, &SystemClock, later, Some("anna@host"))
            .await
            .unwrap();
        assert_eq!(none.chains, 0);
        let found = report(&rig).await;
        assert_eq!(
            (found.fits, found.pruned, found.entries),
            (true, 8, 1),
            "{found:?}"
        );

        // A link after the last pruned link must have its entries.
        rig.execute("DELETE FROM audit_reads WHERE link = 9").await;
        let found = report(&rig).await;
        assert_eq!(found.fault_count, 9, "{found:?}");
    })
    .await;
}

#[tokio::test]
async fn entries_without_a_chain_are_counted_and_are_no_fault() {
    on_each(ReadRecording::Strict, 100, async |rig| {
        rig.execute(
            "INSERT INTO audit_reads (id, recorded_at, actor, via, kind, outcome) VALUES \
             ('00000000-0000-7000-8000-000000000001', 1, 'older', 'command', 'export', 'given')",
        )
        .await;
        rig.get(&format!("/patients/{NOBODY}")).await;
        let found = report(&rig).await;
        assert_eq!((found.fits, found.unchained, found.entries), (true, 1, 1));
    })
    .await;
}
