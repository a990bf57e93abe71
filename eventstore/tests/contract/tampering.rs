//! Every alteration of the log is found, with the first inconsistent position and a description of the
//! alteration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventstore::chain::Canonical;
use eventstore::merkle::{Frontier, leaf, root};
use eventstore::verify::Problem;
use eventstore::{Append, Dialect, Error, Hash, Mismatch, RecordedEvent, Trusted, Verified, verify};
use futures::future::join_all;
use serde_json::json;
use testkit::wait_until;

use crate::backend::{Backend, SOON, position};
use crate::sample::{append, event};

on_every_backend!(
    a_log_that_nobody_touched_fits_with_its_root_and_every_head_it_had,
    a_changed_byte_in_any_column_is_found_and_named,
    removed_added_and_swapped_rows_are_found_and_named,
    a_head_that_does_not_fit_is_found_and_named,
    a_cut_tail_and_a_log_written_anew_are_found_against_a_trusted_head,
    a_row_that_cannot_be_read_is_found_and_named,
    appends_may_go_on_while_the_log_is_checked,
    a_double_comes_back_as_the_number_that_was_appended,
);

const EVENTS: u64 = 600;

async fn check(backend: &Backend, trusted: &[Trusted]) -> Result<Verified, Mismatch> {
    verify(&backend.log, trusted.to_vec(), |_| {}).await.unwrap()
}

/// Appends `EVENTS` events, and keeps a copy of the tables `events` and `log_head`.
async fn filled(backend: &Backend) {
    backend.migrate().await;
    let queue = backend.queue();
    let ids: Vec<String> = (1..=EVENTS).map(|n| format!("a{n}")).collect();
    // The appends are queued in this order, so the event of a7 is at position 7.
    let appends = ids.iter().map(|id| queue.append(append(id, 1)));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    for table in ["events", "log_head"] {
        let sql = format!("CREATE TABLE original_{table} AS SELECT * FROM {table}");
        backend.execute(&sql).await;
    }
}

async fn restore(backend: &Backend) {
    for table in ["events", "log_head"] {
        backend.execute(&format!("DELETE FROM {table}")).await;
        let sql = format!("INSERT INTO {table} SELECT * FROM original_{table}");
        backend.execute(&sql).await;
    }
}

/// Runs the statements, checks that verification finds the problem, and undoes the statements.
async fn finds(backend: &Backend, statements: &[&str], trusted: &[Trusted], at: u64, problem: Problem) {
    for sql in statements {
        assert!(backend.execute(sql).await > 0, "{sql} changed nothing");
    }
    let expected = Mismatch {
        position: position(at),
        problem,
    };
    assert_eq!(
        check(backend, trusted).await,
        Err(expected),
        "after {statements:?}"
    );
    restore(backend).await;
    assert!(check(backend, trusted).await.is_ok(), "{statements:?} is undone");
}

async fn events(backend: &Backend) -> Vec<RecordedEvent> {
    backend.log.feed(position(0), 10_000).await.unwrap()
}

fn trusting(event: &RecordedEvent) -> Trusted {
    Trusted {
        position: event.position,
        hash: event.hash,
    }
}

async fn a_log_that_nobody_touched_fits_with_its_root_and_every_head_it_had(backend: Arc<Backend>) {
    backend.migrate().await;
    let empty = check(&backend, &[]).await.unwrap();
    assert_eq!((empty.position, empty.hash), (position(0), Hash::default()));
    filled(&backend).await;
    let events = events(&backend).await;
    let mut tree = Frontier::default();
    let mut trusted = vec![Trusted {
        position: position(0),
        hash: tree.root(),
    }];
    for event in &events {
        tree.push(leaf(&event.hash));
        trusted.push(trusting(event));
        trusted.push(Trusted {
            position: event.position,
            hash: tree.root(),
        });
    }
    let reached = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&reached);
    let progress = move |position: eventstore::Position| last.store(position.get(), Ordering::SeqCst);
    let verified = verify(&backend.log, trusted, progress).await.unwrap().unwrap();
    assert_eq!(verified.root, tree.root());
    let scanned = root(&backend.log, position(EVENTS), |_| {}).await.unwrap();
    assert_eq!(scanned, tree.root());
    assert!(root(&backend.log, position(EVENTS + 1), |_| {}).await.is_err());
    assert_eq!(
        (verified.position, verified.hash),
        (position(EVENTS), events[599].hash)
    );
    assert_eq!(reached.load(Ordering::SeqCst), EVENTS);
}

async fn a_changed_byte_in_any_column_is_found_and_named(backend: Arc<Backend>) {
    filled(&backend).await;
    let hash = match backend.database.dialect() {
        Dialect::MySql => {
            "hash = CONCAT(SUBSTRING(hash, 1, 31), CHAR(ASCII(SUBSTRING(hash, 32)) ^ 1 USING binary))"
        }
        Dialect::Sqlite => {
            "hash = unhex(substr(hex(hash), 1, 63) || CASE substr(hex(hash), 64) WHEN '0' THEN '1' ELSE '0' END)"
        }
    };
    let columns = [
        ("aggregate_type = 'thinG'", Problem::Altered),
        ("aggregate_id = 'b7'", Problem::Altered),
        ("sequence = 2", Problem::Altered),
        ("event_type = 'ThingHappenes'", Problem::Altered),
        ("event_version = '1.1'", Problem::Altered),
        (
            "payload = REPLACE(payload, 'happened', 'happenes')",
            Problem::Altered,
        ),
        ("payload = REPLACE(payload, 'what', 'whet')", Problem::Altered),
        ("metadata = REPLACE(metadata, 'r-1', 'r-2')", Problem::Altered),
        ("recorded_at = recorded_at + 1", Problem::Altered),
        (hash, Problem::HashAltered),
    ];
    // The first event, the events on both sides of the end of a block, and the last event, which has no next
    // event to compare with.
    for at in [1, 256, 257, EVENTS] {
        for (change, problem) in columns {
            let sql = format!("UPDATE events SET {change} WHERE position = {at}");
            finds(&backend, &[&sql], &[], at, problem).await;
        }
    }
    finds(
        &backend,
        &[
            "UPDATE events SET event_version = '1.1' WHERE position = 9",
            "UPDATE events SET event_version = '1.1' WHERE position = 7",
        ],
        &[],
        7,
        Problem::Altered,
    )
    .await;
}

async fn removed_added_and_swapped_rows_are_found_and_named(backend: Arc<Backend>) {
    filled(&backend).await;
    let swap = |one: u64, other: u64| {
        [(one, 9999), (other, one), (9999, other)]
            .map(|(from, to)| format!("UPDATE events SET position = {to} WHERE position = {from}"))
    };
    for (one, other) in [(1, 2), (7, 8), (7, 400), (599, 600), (255, 600)] {
        let swap = swap(one, other);
        let statements = swap.each_ref().map(String::as_str);
        let with = position(other);
        finds(&backend, &statements, &[], one, Problem::Swapped { with }).await;
    }
    for at in [1, 7, 256, EVENTS] {
        let sql = format!("DELETE FROM events WHERE position = {at}");
        finds(&backend, &[&sql], &[], at, Problem::Missing).await;
    }
    finds(&backend, &["DELETE FROM events"], &[], 1, Problem::Missing).await;

    let added = |at: i64| {
        format!(
            "INSERT INTO events SELECT {at}, aggregate_type, 'new', sequence, event_type, event_version, payload, \
             metadata, recorded_at, hash FROM original_events WHERE position = 7"
        )
    };
    // In two steps, so that two rows never have the same position.
    let moved = |behind: u64, by: i64| {
        [
            format!("UPDATE events SET position = -position WHERE position > {behind}"),
            format!("UPDATE events SET position = -position + {by} WHERE position < 0"),
        ]
    };
    // An event is inserted: the later events and the head move up by one position.
    let room = moved(6, 1);
    let one_more = "UPDATE log_head SET position = 601";
    finds(
        &backend,
        &[&room[0], &room[1], one_more, &added(7)],
        &[],
        7,
        Problem::Added,
    )
    .await;
    // An event is removed: the later events and the head move down by one position.
    let closed = moved(7, -1);
    let removed = "DELETE FROM events WHERE position = 7";
    let one_less = "UPDATE log_head SET position = 599";
    finds(
        &backend,
        &[removed, &closed[0], &closed[1], one_less],
        &[],
        7,
        Problem::Replaced,
    )
    .await;
    // An event is moved to a later position.
    let away = "UPDATE events SET position = 9999 WHERE position = 7";
    let back = "UPDATE events SET position = 10 WHERE position = 9999";
    let three = [7, 8, 9].map(|at| format!("UPDATE events SET position = {at} WHERE position = {}", at + 1));
    let to = position(10);
    finds(
        &backend,
        &[away, &three[0], &three[1], &three[2], back],
        &[],
        7,
        Problem::Moved { to },
    )
    .await;

    finds(&backend, &[&added(601)], &[], 601, Problem::BehindHead).await;
    finds(&backend, &[&added(700)], &[], 601, Problem::BehindHead).await;
    backend.execute(&added(-3)).await;
    let mismatch = check(&backend, &[]).await.unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "position -3: the event was added before the first event"
    );
}

async fn a_head_that_does_not_fit_is_found_and_named(backend: Arc<Backend>) {
    filled(&backend).await;
    let back = "UPDATE log_head SET position = 599";
    let behind = Problem::HeadBehind { last: position(600) };
    finds(&backend, &[back], &[], 600, behind).await;
    let back =
        "UPDATE log_head SET position = 599, hash = (SELECT hash FROM original_events WHERE position = 599)";
    // The trusted head is beyond `log_head`, but its event exists.
    let trusted = [trusting(&events(&backend).await[599])];
    finds(&backend, &[back], &trusted, 600, behind).await;
    for back in [0, -1, i64::MIN] {
        let sql = format!("UPDATE log_head SET position = {back}");
        backend.execute(&sql).await;
        let mismatch = check(&backend, &trusted).await.unwrap_err();
        assert_eq!(mismatch.problem, behind, "{sql}");
        restore(&backend).await;
    }
    let far = format!("UPDATE log_head SET position = {}", i64::MAX);
    finds(&backend, &[&far], &trusted, 601, Problem::Missing).await;
    let on = "UPDATE log_head SET position = 601";
    finds(&backend, &[on], &[], 601, Problem::Missing).await;
    let other = "UPDATE log_head SET hash = (SELECT hash FROM original_events WHERE position = 1)";
    finds(&backend, &[other], &[], 600, Problem::Head).await;
    // The next event would be recorded at this time.
    let later = "UPDATE log_head SET recorded_at = recorded_at + 1";
    finds(&backend, &[later], &[], 600, Problem::HeadTime).await;
    let gone = "DELETE FROM log_head";
    finds(&backend, &[gone], &[], 600, Problem::MissingHead).await;
    let altered = "UPDATE events SET event_version = '1.1' WHERE position = 7";
    finds(&backend, &[gone, altered], &[], 7, Problem::Altered).await;
    finds(
        &backend,
        &[gone, "DELETE FROM events"],
        &[],
        0,
        Problem::MissingHead,
    )
    .await;
}

async fn a_cut_tail_and_a_log_written_anew_are_found_against_a_trusted_head(backend: Arc<Backend>) {
    filled(&backend).await;
    let mut events = events(&backend).await;
    let cut = [
        "DELETE FROM events WHERE position > 500",
        "UPDATE log_head SET position = 500, hash = (SELECT hash FROM events WHERE position = 500), \
         recorded_at = (SELECT recorded_at FROM events WHERE position = 500)",
    ];
    let end = position(500);
    let trusted = [trusting(&events[399]), trusting(&events[549])];
    let beyond = Problem::TrustedBeyond {
        trusted: position(550),
        end,
    };
    finds(&backend, &cut, &trusted, 501, beyond).await;
    for sql in cut {
        backend.execute(sql).await;
    }
    assert!(
        check(&backend, &[]).await.is_ok(),
        "the log itself is still consistent"
    );
    restore(&backend).await;

    // Rewrites the log from position 100 on, with all links recomputed.
    let kept = [50, 99, 150, 600].map(|at: usize| trusting(&events[at - 1]));
    events[99].payload = json!({"what": "another thing happened"});
    let mut previous = events[98].hash;
    for event in &mut events[99..] {
        event.hash =
            Canonical::of_recorded(event)
                .unwrap()
                .link(&previous, event.position, event.recorded_at);
        previous = event.hash;
        let sql = format!(
            "UPDATE events SET hash = X'{}', payload = '{}' WHERE position = {}",
            event.hash, event.payload, event.position
        );
        backend.execute(&sql).await;
    }
    backend
        .execute(&format!("UPDATE log_head SET hash = X'{previous}'"))
        .await;
    assert!(
        check(&backend, &[]).await.is_ok(),
        "the log itself is still consistent"
    );
    assert!(check(&backend, &kept[..2]).await.is_ok(), "heads before 100");
    let differs = |at, after| Mismatch {
        position: position(at),
        problem: Problem::TrustedDiffers {
            after: position(after),
        },
    };
    assert_eq!(check(&backend, &kept).await, Err(differs(150, 99)));
    assert_eq!(check(&backend, &kept[3..]).await, Err(differs(600, 0)));
}

async fn a_row_that_cannot_be_read_is_found_and_named(backend: Arc<Backend>) {
    filled(&backend).await;
    let what = "its recorded_at is not within the years 1 to 9999";
    for recorded_at in [
        -62_135_596_800_000_001,
        253_402_300_800_000_000,
        i64::MIN,
        i64::MAX,
    ] {
        let sql = format!("UPDATE events SET recorded_at = {recorded_at} WHERE position = 7");
        backend.execute(&sql).await;
        let read = backend.log.feed(position(0), 100).await;
        assert!(
            matches!(&read, Err(Error::Damaged { position: p, .. }) if *p == position(7)),
            "{read:?}"
        );
        restore(&backend).await;
        finds(&backend, &[&sql], &[], 7, Problem::Unreadable { what }).await;
    }
    // MySQL accepts only JSON, and keeps only the last of several members with the same name.
    if backend.database.dialect() == Dialect::Sqlite {
        let what = "its payload is not JSON in the form that appends write";
        for payload in [
            "{",
            "",
            "{\"what\":\"a7 happened\"",
            "nothing",
            "[9007199254740992]",
            "[123456789012345678901234567890]",
            "[0.10000000000000001]",
        ] {
            let sql = format!("UPDATE events SET payload = '{payload}' WHERE position = 7");
            finds(&backend, &[&sql], &[], 7, Problem::Unreadable { what }).await;
        }
        let twice = r#"UPDATE events SET metadata = '{"actor":"x","actor":"test","request_id":"r-1"}' WHERE position = 7"#;
        let what = "its metadata is not JSON in the form that appends write";
        finds(&backend, &[twice], &[], 7, Problem::Unreadable { what }).await;
    }
}

async fn appends_may_go_on_while_the_log_is_checked(backend: Arc<Backend>) {
    filled(&backend).await;
    let queue = backend.queue();
    let (_, stop) = backend.tasks();
    let appending = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut appended = 0;
            while !stop.is_cancelled() {
                queue.append(append(&format!("b{appended}"), 1)).await.unwrap();
                appended += 1;
            }
            appended
        }
    });
    let before = check(&backend, &[]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(check(&backend, &[]).await.map(|_| ()), Ok(()));
    }
    wait_until(SOON, "an event is appended between two checks", async || {
        check(&backend, &[]).await.unwrap().position > before.position
    })
    .await;
    stop.cancel();
    assert!(appending.await.unwrap() > 0);
}

/// A log is unreadable if the database does not write each double as its shortest decimal number.
async fn a_double_comes_back_as_the_number_that_was_appended(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let powers_of_two = (-1074..1024).map(|power| f64::from(power).exp2());
    let of_all_sorts = (0..2000).map(|_| f64::from_bits(fastrand::u64(..)));
    let doubles: Vec<f64> = powers_of_two
        .chain(of_all_sorts)
        .filter(|double| double.is_finite())
        .collect();
    for (n, some) in doubles.chunks(500).enumerate() {
        let mut event = event(&format!("a{n}"), 1);
        event.payload = json!({ "doubles": some });
        queue
            .append(Append::new(vec![event.clone()], Vec::new()).unwrap())
            .await
            .unwrap();
        let read = backend.log.feed(position(n as u64), 1).await.unwrap();
        assert_eq!(read[0].payload, event.payload);
    }
    check(&backend, &[]).await.unwrap();
}
