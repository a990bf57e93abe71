//! Tests of the modes of the record of reads, and of its chains.

use std::time::Duration;

use api::ApiOptions;
use api::read_log::heads::{self, ReadHead, TrustedRead};
use api::read_log::prune::prune;
use api::read_log::verify::{ReadFault, ReadProblem, ReadsVerified, verify};
use api::read_log::{ReadLogOptions, ReadRecording};
use axum::http::StatusCode;
use eventstore::{Hash, Session, SystemClock, Timestamp};
use serde_json::{Value, json};
use testkit::{mysql_servers, wait_until};
use web::access::Access;

use crate::rig::{Answer, Rig, every_host};

const SOON: Duration = Duration::from_secs(30);
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

fn options(recording: ReadRecording, capacity: usize) -> ApiOptions {
    ApiOptions {
        read_log: ReadLogOptions { recording, capacity },
        ..every_host().into()
    }
}

/// Runs `test` on SQLite and on every available MySQL and MariaDB server.
async fn on_each(recording: ReadRecording, capacity: usize, test: impl AsyncFn(Rig)) {
    test(Rig::with_options(Access::open(), options(recording, capacity)).await).await;
    for server in mysql_servers() {
        println!("on {}", server.flavour.name());
        let database = server.create_database().await;
        test(Rig::over(&database.url, Access::open(), options(recording, capacity), None).await).await;
    }
}

/// Returns all entries, once there are this many.
async fn entries(rig: &Rig, count: usize) -> Vec<Value> {
    wait_until(SOON, "the entries are recorded", async || {
        rig.get("/audit/reads").await.body.as_array().unwrap().len() >= count
    })
    .await;
    let all = rig.get("/audit/reads").await.body.as_array().unwrap().clone();
    assert_eq!(all.len(), count, "{all:?}");
    all
}

fn gist(read: &Value) -> Value {
    json!([read["kind"], read["outcome"], read["patient_id"], read["to"]])
}

/// Reads the same patients in every way. Returns the expected entries, with the requests' ids.
async fn read_everything(rig: &Rig) -> Vec<(String, Value)> {
    let mut ids: Vec<String> = Vec::new();
    for email in ["a@example.com", "b@example.com"] {
        ids.push(rig.register(email).await.id().to_owned());
    }
    let gone = rig.register("c@example.com").await.id().to_owned();
    assert_eq!(rig.delete(&gone).await.status, StatusCode::NO_CONTENT);
    rig.project().await;
    ids.sort_unstable();
    let both = |kind: &str| {
        let entry = |id: &String| json!([kind, "given", id, null]);
        ids.iter().map(entry).collect::<Vec<_>>()
    };
    let a = ids[0].clone();
    let mut expected = Vec::new();
    for (path, entries) in [
        (format!("/patients/{a}"), vec![json!(["patient", "given", a, 1])]),
        (
            format!("/patients/{gone}"),
            vec![json!(["patient", "not_found", gone, null])],
        ),
        (
            format!("/patients/{NOBODY}"),
            vec![json!(["patient", "not_found", NOBODY, null])],
        ),
        ("/patients".to_owned(), both("list")),
        ("/getPatients".to_owned(), both("list")),
        ("/patients?name=doe".to_owned(), both("search")),
        (
            "/patients?email=nobody@example.com".to_owned(),
            vec![json!(["search", "not_found", null, null])],
        ),
        (
            format!("/patients?after={}", ids[1]),
            vec![json!(["list", "not_found", null, null])],
        ),
        // Rejected requests read nothing.
        ("/patients?limit=0".to_owned(), vec![]),
        ("/patients/x".to_owned(), vec![]),
    ] {
        let answer = rig.get(&path).await;
        let request = answer.header("x-request-id").to_owned();
        expected.extend(entries.into_iter().map(|entry| (request.clone(), entry)));
    }
    let found = rig.get("/patients?email=b@example.com").await;
    let request = found.header("x-request-id").to_owned();
    expected.push((request, json!(["search", "given", found.body[0]["id"], null])));
    // A patch that changes nothing returns the patient without an event.
    let patch = axum::http::Request::patch(format!("/patients/{a}"))
        .header("content-type", "application/merge-patch+json")
        .body(json!({"name": "John Doe"}).to_string().into());
    let patched = rig.send(patch.unwrap()).await;
    assert_eq!(patched.status, StatusCode::OK);
    let request = patched.header("x-request-id").to_owned();
    expected.push((request, json!(["patient", "given", a, 1])));
    expected
}

#[tokio::test]
async fn all_and_strict_record_every_read_of_patients() {
    for recording in [ReadRecording::All, ReadRecording::Strict] {
        on_each(recording, 1000, async |rig| {
            // The rig reads lists while it waits for the projections.
            let expected = read_everything(&rig).await;
            let first = &expected[0].0;
            let found = async || {
                let all = rig.get("/audit/reads?limit=1000").await.body;
                let all = all.as_array().unwrap().iter();
                all.map(|read| (read["request_id"].as_str().unwrap().to_owned(), gist(read)))
                    .skip_while(|(request, _)| request != first)
                    .collect::<Vec<_>>()
            };
            wait_until(SOON, "all are recorded", async || {
                found().await.len() >= expected.len()
            })
            .await;
            assert_eq!(found().await, expected);
            let text = rig.get("/audit/reads?limit=1000").await.body.to_string();
            assert!(!text.contains("example.com") && !text.contains("Doe"), "{text}");
            assert!(report(&rig).await.fits);
        })
        .await;
    }
}

#[tokio::test]
async fn off_records_nothing_and_past_records_no_current_state() {
    for (recording, count) in [(ReadRecording::Off, 0), (ReadRecording::Past, 3)] {
        let rig = Rig::with_options(Access::open(), options(recording, 1000)).await;
        let expected = read_everything(&rig).await;
        let id = expected[0].1[2].as_str().unwrap();
        for path in [
            format!("/patients/{id}/history"),
            format!("/patients/{id}/history/1"),
            "/events".to_owned(),
        ] {
            assert_eq!(rig.get(&path).await.status, StatusCode::OK);
        }
        rig.api.shutdown().await;
        entries(&rig, count).await;
    }
}

#[tokio::test]
async fn an_access_log_of_a_patient_has_all_kinds_page_by_page() {
    on_each(ReadRecording::Strict, 1000, async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        rig.project().await;
        let own = format!("/patients/{id}/reads");
        let before = rig
            .get(&format!("{own}?limit=1000"))
            .await
            .body
            .as_array()
            .unwrap()
            .len();
        rig.get(&format!("/patients/{id}")).await;
        rig.get(&format!("/patients/{id}/history")).await;
        rig.get("/patients?name=john").await;
        rig.get(&format!("/patients/{NOBODY}")).await;
        rig.delete(&id).await;
        rig.get(&format!("/patients/{id}")).await;
        let all = rig.get(&format!("{own}?limit=1000")).await;
        let kinds: Vec<_> = all.body.as_array().unwrap()[before..]
            .iter()
            .map(|read| {
                format!(
                    "{} {}",
                    read["kind"].as_str().unwrap(),
                    read["outcome"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "patient given",
                "history given",
                "search given",
                "patient not_found"
            ]
        );
        let same = rig.get(&format!("/audit/reads?patient_id={id}&limit=1000")).await;
        assert_eq!(all.body, same.body);
        let (mut paged, mut next) = (Vec::new(), Some(format!("{own}?limit=2")));
        while let Some(path) = next {
            assert!(path.starts_with(&own), "{path}");
            let page = rig.get(&path).await;
            paged.extend(page.body.as_array().unwrap().clone());
            next = page.link("next");
        }
        assert_eq!(json!(paged), all.body);
        let of_nobody = rig.get(&format!("/patients/{NOBODY}/reads")).await;
        assert_eq!(of_nobody.body.as_array().unwrap().len(), 1);
        let of_another = rig
            .get("/patients/00000000-0000-7000-8000-000000000001/reads")
            .await;
        assert_eq!((of_another.status, of_another.body), (StatusCode::OK, json!([])));
        assert_eq!(rig.get("/patients/x/reads").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

/// Takes the number of the next link, so that the writer waits until the transaction of the test ends.
const TAKE: &str = "INSERT INTO audit_read_links (chain, number, recorded_at, entries, digest, previous_hash, hash) \
                    SELECT chain, number + 1, recorded_at, entries, digest, previous_hash, hash FROM audit_read_links";

#[tokio::test]
async fn reads_by_id_do_not_wait_for_the_writer_until_the_queue_is_full() {
    on_each(ReadRecording::All, 5, async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        let path = format!("/patients/{id}");
        assert_eq!(rig.get(&path).await.status, StatusCode::OK);
        entries(&rig, 1).await;
        let mut lock = rig.hold_the_database().await;
        lock.query(TAKE).execute().await.unwrap();
        let mut recorded = Vec::new();
        for _ in 0..5 {
            let answer = rig.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK);
            recorded.push(answer.header("x-request-id").to_owned());
        }
        for path in [
            path.as_str(),
            &format!("/patients/{NOBODY}"),
            "/patients?email=a@example.com",
        ] {
            let full = rig.get(path).await;
            assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(full.body["type"], "/problems/overloaded");
        }
        lock.rollback().await.unwrap();
        // The entries of all answered reads are recorded, once.
        let all = entries(&rig, 6).await;
        let requests: Vec<_> = all[1..]
            .iter()
            .map(|read| read["request_id"].as_str().unwrap())
            .collect();
        assert_eq!(requests, recorded);
        wait_until(SOON, "there is room again", async || {
            rig.get(&path).await.status == StatusCode::OK
        })
        .await;
        rig.api.shutdown().await;
        // The shutdown writes what waits.
        entries(&rig, 7).await;
        assert!(report(&rig).await.fits);
    })
    .await;
}

#[tokio::test]
async fn entries_of_answered_reads_are_written_again_after_a_failure() {
    on_each(ReadRecording::All, 100, async |rig| {
        rig.get(&format!("/patients/{NOBODY}")).await;
        entries(&rig, 1).await;
        rig.execute("ALTER TABLE audit_read_links RENAME TO elsewhere")
            .await;
        for _ in 0..3 {
            let answer = rig.get(&format!("/patients/{NOBODY}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
        }
        // A read of the past is recorded first, and shares the failed transaction.
        let past = rig.get(&format!("/patients/{NOBODY}/history")).await;
        assert_eq!(past.status, StatusCode::SERVICE_UNAVAILABLE);
        rig.execute("ALTER TABLE elsewhere RENAME TO audit_read_links")
            .await;
        let all = entries(&rig, 4).await;
        assert!(all.iter().all(|read| read["kind"] == "patient"), "{all:?}");
        let found = report(&rig).await;
        assert_eq!((found.fits, found.entries, found.chains), (true, 4, 1));
    })
    .await;
}

#[tokio::test]
async fn strict_returns_nothing_that_is_not_recorded() {
    let rig = Rig::with_options(Access::open(), options(ReadRecording::Strict, 100)).await;
    let id = rig.register("a@example.com").await.id().to_owned();
    rig.execute("ALTER TABLE audit_read_links RENAME TO elsewhere")
        .await;
    for path in [
        format!("/patients/{id}"),
        "/patients?email=a@example.com".to_owned(),
    ] {
        assert_eq!(
            rig.get(&path).await.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{path}"
        );
    }
    rig.execute("ALTER TABLE elsewhere RENAME TO audit_read_links")
        .await;
    let answer: Answer = rig.get(&format!("/patients/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    entries(&rig, 1).await;
}

async fn report(rig: &Rig) -> ReadsVerified {
    verify(rig.log.database(), &[]).await.unwrap()
}

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

        // The process goes on with its chain, although pruning has added a link to it.
        assert_eq!(
            rig.get(&format!("/patients/{NOBODY}")).await.status,
            StatusCode::NOT_FOUND
        );
        assert_eq!((head(&rig).await.number, report(&rig).await.fits), (7, true));

        // Only the entry about a pruning remains, and does not add another entry.
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
