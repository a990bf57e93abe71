//! Tests of rebuilds, on every backend.

mod stopped;

use std::time::Duration;

use domain::PatientDetails;
use eventstore::Registered;
use eventstore::projection::{Outcome, Rebuilder, Requested, RunContext, Step};
use eventstore::{Clock, Position, Rebuild, RebuildState, Runner, Signal, SystemClock};
use futures::future::join_all;
use projector::{PATIENT_VIEW, PatientView};
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, SOON, details};

on_every_backend! {
    a_rebuild_creates_the_same_table_and_deletes_the_old_one,
    a_rebuild_without_a_projector_serves_the_whole_log,
    a_rebuild_gives_every_name_a_key,
    a_deletion_finds_the_row_that_the_previous_batch_wrote,
    readers_see_every_row_and_never_an_earlier_state_during_a_rebuild,
    a_switch_applies_the_events_that_only_the_projector_has_processed,
    the_projector_runs_a_requested_rebuild,
    a_rebuild_ends_at_the_end_of_the_log_despite_a_checkpoint_beyond_it,
}

/// Number of patients that fill more than two batches of a rebuild.
const MANY: usize = 8500;

impl Backend {
    fn rebuilder(&self, owner: &str) -> Rebuilder<PatientView> {
        Rebuilder::new(self.log().clone(), SystemClock::shared(), owner.to_owned())
    }

    async fn request(&self, runner: Runner) -> Rebuild {
        let database = self.log().database();
        let now = SystemClock.now();
        match Rebuild::request(database, PATIENT_VIEW, runner, "test", now)
            .await
            .unwrap()
        {
            Requested::New(rebuild) | Requested::Unfinished(rebuild) => rebuild,
            Requested::NoProjection => panic!("there is no projection"),
        }
    }

    pub(crate) async fn rebuild(&self) -> Outcome {
        let rebuild = self.request(Runner::Command).await;
        let stop = CancellationToken::new();
        self.rebuilder("rebuilder")
            .carry_out(&rebuild, &stop, &mut |_| {})
            .await
            .unwrap()
    }

    pub(crate) async fn rebuilt(&self) {
        assert_eq!(self.rebuild().await, Outcome::Done);
    }

    async fn now(&self, rebuild: &Rebuild) -> Rebuild {
        Rebuild::of(
            self.log().database(),
            PATIENT_VIEW,
            rebuild.generation,
            SystemClock.now(),
        )
        .await
        .unwrap()
        .unwrap()
    }

    /// Runs a rebuild until its first batch is written.
    async fn fill_one_batch(&self, rebuild: &Rebuild) -> Position {
        let stop = CancellationToken::new();
        let mut filled = Position::BEGINNING;
        let rebuilder = self.rebuilder("first");
        let mut progress = |step| {
            if let Step::Filled { position, .. } = step {
                filled = position;
                stop.cancel();
            }
        };
        let outcome = rebuilder.carry_out(rebuild, &stop, &mut progress);
        assert_eq!(outcome.await.unwrap(), Outcome::Stopped);
        filled
    }

    async fn register_many(&self) {
        self.register_numbered(MANY).await;
    }

    async fn register_numbered(&self, many: usize) {
        let ids: Vec<_> = (0..many).map(|number| format!("many-{number:06}")).collect();
        for ids in ids.chunks(1000) {
            join_all(ids.iter().map(|id| self.register(id))).await;
        }
    }

    /// Returns the active generation, the number of its rows, the number of all rows, and the checkpoint, all
    /// from a single statement.
    async fn served(&self) -> (i64, i64, i64, i64) {
        let sql = "SELECT p.active_generation, \
                   (SELECT COUNT(*) FROM patient_view v WHERE v.generation = p.active_generation), \
                   (SELECT COUNT(*) FROM patient_view), \
                   COALESCE((SELECT c.position FROM checkpoints c WHERE c.name = p.name), 0) FROM projections p \
                   WHERE p.name = 'patient_view'";
        let rows = self.query(sql).await;
        let get = |column: usize| rows[0].get(column).unwrap();
        (get(0), get(1), get(2), get(3))
    }
}

async fn a_rebuild_creates_the_same_table_and_deletes_the_old_one(backend: Backend) {
    for id in ["a", "b", "c"] {
        backend.register(id).await;
    }
    backend.delete("b").await;
    backend.project().await.unwrap();
    let mut before = backend.shown().await;
    assert_eq!(backend.rebuild().await, Outcome::Done);
    for row in &mut before {
        row.generation = 2;
    }
    assert_eq!(backend.shown().await, before);
    assert_eq!(backend.served().await, (2, 2, 2, 4));
    assert!(
        backend
            .query("SELECT * FROM checkpoints WHERE name LIKE '%@%'")
            .await
            .is_empty()
    );
    // The projector continues from the position at which the rebuild ended.
    backend.delete("a").await;
    backend.register("d").await;
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, ["c", "d"]);
    // The table can be rebuilt again.
    assert_eq!(backend.rebuild().await, Outcome::Done);
    assert_eq!(backend.served().await, (3, 2, 2, 6));
}

async fn a_rebuild_without_a_projector_serves_the_whole_log(backend: Backend) {
    backend.register("a").await;
    assert_eq!(backend.rebuild().await, Outcome::Done);
    assert_eq!(backend.served().await, (2, 1, 1, 1));
}

async fn a_rebuild_gives_every_name_a_key(backend: Backend) {
    let spaces = "\u{a0}".repeat(64);
    for (id, name) in [("a", spaces.clone() + "a"), ("b", spaces), ("c", String::new())] {
        let details = PatientDetails { name, ..details(id) };
        backend.register_as(id, &details).await;
    }
    backend.project().await.unwrap();
    // An earlier version of the program wrote empty keys for these names.
    backend.execute("UPDATE patient_view SET name_key = ''").await;
    assert!(!backend.verify().await.same);
    backend.rebuilt().await;
    assert!(backend.verify().await.same);
    let unknown = backend
        .query("SELECT id FROM patient_view WHERE name_key = ''")
        .await;
    assert!(unknown.is_empty());
}

async fn a_deletion_finds_the_row_that_the_previous_batch_wrote(backend: Backend) {
    // The deleted row is the last row of a batch. Its deletion is the first event of the next batch.
    backend.register_numbered(4000).await;
    backend.delete("many-003999").await;
    assert_eq!(backend.rebuild().await, Outcome::Done);
    assert_eq!(backend.served().await, (2, 3999, 3999, 4001));
}

async fn readers_see_every_row_and_never_an_earlier_state_during_a_rebuild(backend: Backend) {
    let stop = CancellationToken::new();
    let projector = tokio::spawn(backend.projector().run(stop.clone()));
    let register = async {
        let mut number = 0;
        while !stop.is_cancelled() {
            let ids: Vec<_> = (0..20).map(|n| format!("p{:06}", number + n)).collect();
            join_all(ids.iter().map(|id| backend.register(id))).await;
            number += 20;
        }
    };
    let watch = async {
        let (mut looks, mut latest) = (0, (0, 0));
        while !stop.is_cancelled() {
            let (generation, rows, _, checkpoint) = backend.served().await;
            // Each event is a registration, so the number of rows equals the number of processed events.
            assert_eq!(rows, checkpoint, "generation {generation}");
            assert!(
                (generation, rows) >= latest && rows >= latest.1,
                "{latest:?}, then {generation}, {rows}"
            );
            latest = (generation, rows);
            looks += 1;
        }
        looks
    };
    let rebuild = async {
        for _ in 0..8 {
            assert_eq!(backend.rebuild().await, Outcome::Done);
        }
        stop.cancel();
    };
    let ((), looks, ()) = tokio::join!(register, watch, rebuild);
    projector.await.unwrap();
    assert!(looks > 20, "{looks}");
    assert_eq!(backend.served().await.0, 9);
    backend.project().await.unwrap();
    let (_, rows, all, checkpoint) = backend.served().await;
    assert_eq!((rows, all), (checkpoint, checkpoint));
}

/// Tests a switch when the projector has processed events that the new generation does not contain.
async fn a_switch_applies_the_events_that_only_the_projector_has_processed(backend: Backend) {
    for id in ["a", "b"] {
        backend.register(id).await;
    }
    let rebuild = backend.request(Runner::Command).await;
    let stop = CancellationToken::new();
    let runtime = tokio::runtime::Handle::current();
    let rebuilder = backend.rebuilder("rebuilder");
    let mut switched = None;
    let mut progress = |step| match step {
        // The generation contains all events, and the switch is next. The projector now processes further
        // events before the switch.
        Step::Filled { .. } => {
            std::thread::scope(|scope| {
                scope
                    .spawn(|| {
                        runtime.block_on(async {
                            backend.delete("a").await;
                            backend.register("c").await;
                            backend.project().await.unwrap();
                        });
                    })
                    .join()
                    .unwrap();
            });
        }
        Step::Switched { position } => switched = Some(position),
        Step::Cleaned { .. } => {}
    };
    let outcome = rebuilder.carry_out(&rebuild, &stop, &mut progress);
    let outcome = tokio::task::block_in_place(|| runtime.block_on(outcome));
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!(switched.map(Position::get), Some(4));
    assert_eq!(backend.ids().await, ["b", "c"]);
    assert_eq!(backend.served().await, (2, 2, 2, 4));
}

async fn the_projector_runs_a_requested_rebuild(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    let stop = CancellationToken::new();
    let poll = Duration::from_millis(20);
    let roles = ["one", "other"].map(|owner| {
        tokio::spawn(PatientView.run(RunContext {
            log: backend.log().clone(),
            signal: Signal::in_process(),
            clock: SystemClock::shared(),
            owner: owner.to_owned(),
            poll,
            stop: stop.clone(),
        }))
    });
    let rebuild = backend.request(Runner::Projector).await;
    wait_until(SOON, "it is over", async || {
        backend.now(&rebuild).await.state == RebuildState::Done
    })
    .await;
    assert_eq!(backend.served().await, (2, 1, 1, 1));

    // The projector does not continue a rebuild that a command started, but it ends such a rebuild after its
    // cancellation.
    let rebuild = backend.request(Runner::Command).await;
    tokio::time::sleep(poll * 5).await;
    assert_eq!(backend.now(&rebuild).await.position, Some(Position::BEGINNING));
    assert!(rebuild.cancel(backend.log().database()).await.unwrap());
    wait_until(SOON, "it is called off", async || {
        backend.now(&rebuild).await.state == RebuildState::Cancelled
    })
    .await;
    assert_eq!(backend.served().await, (2, 1, 1, 1));
    stop.cancel();
    for role in roles {
        role.await.unwrap();
    }
}

async fn a_rebuild_ends_at_the_end_of_the_log_despite_a_checkpoint_beyond_it(backend: Backend) {
    for id in ["a", "b", "c"] {
        backend.register(id).await;
    }
    backend.project().await.unwrap();
    for position in [4, 300, 1000, -1] {
        backend
            .execute(&format!("UPDATE checkpoints SET position = {position}"))
            .await;
        assert!(
            PatientView.verify(backend.log(), &mut |_| {}).await.is_err(),
            "{position}"
        );
        let rebuilt = tokio::time::timeout(SOON, backend.rebuild()).await;
        assert_eq!(rebuilt.unwrap(), Outcome::Done, "{position}");
        assert_eq!(backend.checkpoint().await.get(), 3, "{position}");
        assert_eq!(backend.ids().await, ["a", "b", "c"]);
        assert!(backend.verify().await.same);
    }
}
