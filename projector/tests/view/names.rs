//! Tests of `patient_names`, which has several database rows for each patient, on every backend.

use domain::PatientDetails;
use eventstore::projection::verify::verify;
use eventstore::projection::{Requested, RowDifference, RunContext, Verification};
use eventstore::{
    Clock, Lease, Projection, Rebuild, RebuildState, Registered, Runner, Session, Signal, SystemClock,
    overview,
};
use futures::future::join_all;
use projector::{PATIENT_NAMES, PatientNames};
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, SOON, details};

on_every_backend! {
    the_names_of_a_log_with_events_are_filled_followed_rebuilt_and_verified,
    a_page_has_only_whole_patients,
    the_process_that_fills_the_first_generation_is_the_owner,
}

impl Backend {
    pub(crate) async fn names_are(&self, state: &str, generation: i64) {
        wait_until(SOON, state, async || {
            let sql = "SELECT p.active_generation, c.position, h.position FROM projections p JOIN log_head h \
                       JOIN checkpoints c ON c.name = p.name WHERE p.name = 'patient_names'";
            let rows = self.query(sql).await;
            rows.first().is_some_and(|row| {
                let [served, position, head] = [0, 1, 2].map(|column| row.get::<i64, _>(column).unwrap());
                (served, position) == (generation, head)
            })
        })
        .await;
    }

    pub(crate) async fn verify_names(&self) -> Verification {
        verify::<PatientNames>(self.log(), &mut |_| {}).await.unwrap()
    }

    async fn register_named(&self, id: &str, name: &str) {
        let details = PatientDetails {
            name: name.to_owned(),
            ..details(id)
        };
        self.register_as(id, &details).await;
    }
}

async fn the_names_of_a_log_with_events_are_filled_followed_rebuilt_and_verified(backend: Backend) {
    let ids: Vec<_> = (0..1200).map(|number| format!("p{number:06}")).collect();
    for ids in ids.chunks(600) {
        join_all(ids.iter().map(async |id| {
            backend.register_named(id, &format!("Ana {id} Pérez Ruiz")).await;
        }))
        .await;
    }
    for id in &ids[..3] {
        backend.delete(id).await;
    }
    // The migration found an empty log. With the events of an earlier version, it starts with generation 0.
    backend
        .execute("UPDATE projections SET active_generation = 0 WHERE name = 'patient_names'")
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(PatientNames.run(RunContext {
        log: backend.log().clone(),
        signal: Signal::in_process(),
        clock: SystemClock::shared(),
        owner: "test".to_owned(),
        poll: std::time::Duration::from_millis(20),
        stop: stop.clone(),
    }));
    backend.names_are("the first generation is filled", 1).await;
    backend.register_named("q", "Bea").await;
    backend.delete(&ids[3]).await;
    backend.names_are("the log is followed", 1).await;
    let found = backend.verify_names().await;
    assert!(found.same, "{found:?}");
    assert_eq!(found.table.rows, 1197);

    let database = backend.log().database();
    let now = SystemClock.now();
    Rebuild::request(database, PATIENT_NAMES, Runner::Projector, "test", now)
        .await
        .unwrap();
    backend.names_are("generation 2 is served", 2).await;
    wait_until(SOON, "generation 1 is deleted", async || {
        let rebuild = Rebuild::of(database, PATIENT_NAMES, 2, SystemClock.now())
            .await
            .unwrap();
        rebuild.is_some_and(|rebuild| rebuild.state == RebuildState::Done)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    let old = backend
        .query("SELECT COUNT(*) FROM patient_names WHERE generation <> 2")
        .await;
    assert_eq!(old[0].get::<i64, _>(0).unwrap(), 0);
    let whole = backend.verify_names().await;
    assert!(whole.same, "{whole:?}");
    assert_eq!(whole.table, found.table);

    for (sql, what) in [
        (
            "DELETE FROM patient_names WHERE id = 'p000010' AND word = 'ruiz'",
            RowDifference::Different,
        ),
        (
            "UPDATE patient_names SET word = 'anna' WHERE id = 'p000011' AND word = 'ana'",
            RowDifference::Different,
        ),
        (
            "INSERT INTO patient_names (generation, word, id) VALUES (2, 'more', 'p000012')",
            RowDifference::Different,
        ),
        ("DELETE FROM patient_names WHERE id = 'q'", RowDifference::Missing),
        (
            "INSERT INTO patient_names (generation, word, id) VALUES (2, 'more', 'nobody')",
            RowDifference::Unexpected,
        ),
    ] {
        let before = backend.verify_names().await.differing;
        backend.execute(sql).await;
        let found = backend.verify_names().await;
        assert_eq!(found.differing, before + 1, "{sql}: {found:?}");
        assert!(
            found.first.iter().any(|difference| difference.what == what),
            "{sql}"
        );
    }
}

async fn a_page_has_only_whole_patients(backend: Backend) {
    let mut connection = backend.log().database().writer().await.unwrap();
    for number in 0..100 {
        for word in 0..32 {
            let sql = "INSERT INTO patient_names (generation, word, id) VALUES (1, ?, ?)";
            let (word, id) = (format!("w{word:02}"), format!("p{number:06}"));
            connection.query(sql).bind(word).bind(id).execute().await.unwrap();
        }
    }
    drop(connection);
    for limit in [1, 2, 3, 65, 1000] {
        let (mut after, mut patients) = (String::new(), 0);
        let mut snapshot = backend.log().database().snapshot().await.unwrap();
        loop {
            let page = PatientNames::page(&mut snapshot, 1, &after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit as usize);
            assert!(page.iter().all(|row| row.words.len() == 32), "{limit}");
            patients += page.len();
            after.clone_from(&last.id);
        }
        snapshot.rollback().await.unwrap();
        assert_eq!(patients, 100, "{limit}");
    }
}

async fn the_process_that_fills_the_first_generation_is_the_owner(backend: Backend) {
    let database = backend.log().database();
    let clock = SystemClock::shared();
    for (generation, expected) in [(0, Some("filler")), (1, None)] {
        let sql =
            format!("UPDATE projections SET active_generation = {generation} WHERE name = 'patient_names'");
        backend.execute(&sql).await;
        let requested = Rebuild::request(database, PATIENT_NAMES, Runner::Projector, "test", clock.now());
        let (Requested::New(rebuild) | Requested::Unfinished(rebuild)) = requested.await.unwrap() else {
            panic!("there is no projection");
        };
        let mut lease = Lease::new(
            database.clone(),
            clock.clone(),
            rebuild.name,
            "filler".to_owned(),
            SOON,
        );
        assert!(lease.hold().await.unwrap());
        let all = overview(database, clock.now()).await.unwrap();
        let names = all
            .iter()
            .find(|followed| followed.name == PATIENT_NAMES)
            .unwrap();
        assert_eq!(names.owner.as_deref(), expected);
    }
}
