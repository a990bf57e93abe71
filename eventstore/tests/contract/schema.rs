//! Any process can migrate the schema at any time: the tables of the log, and those of the service.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use eventstore::schema::{self, SchemaError, Step};
use eventstore::{
    Clock, Database, DatabaseOptions, Dialect, ManualClock, Session, Signal, SystemClock, Timestamp, verify,
};
use futures::future::join_all;
use testkit::wait_until;
use tokio::time::timeout;

use crate::backend::{Backend, SOON, position};
use crate::follower::Follower;
use crate::sample::append;

on_every_backend!(
    without_steps_of_its_own_a_service_has_the_whole_log_and_may_add_steps_later,
    an_empty_database_is_behind_until_it_is_migrated,
    migrating_again_changes_nothing,
    several_that_migrate_at_once_do_not_disturb_each_other,
    what_was_killed_half_way_is_finished,
    an_older_program_takes_the_schema_of_a_newer_one,
    one_that_was_killed_while_it_migrated_holds_others_up_for_a_minute_at_most,
);

/// The steps of a service.
const STEPS: [Step; 2] = [
    Step {
        version: 5,
        name: "orders",
        mysql: "CREATE TABLE IF NOT EXISTS orders (id BIGINT NOT NULL PRIMARY KEY) ENGINE = InnoDB;",
        sqlite: "CREATE TABLE IF NOT EXISTS orders (id INTEGER NOT NULL PRIMARY KEY) STRICT;",
    },
    Step {
        version: 6,
        name: "first order",
        mysql: "INSERT IGNORE INTO orders (id) VALUES (1);",
        sqlite: "INSERT OR IGNORE INTO orders (id) VALUES (1);",
    },
];

async fn migrate(database: &Database, clock: Arc<dyn Clock>, owner: &str) -> Result<(), SchemaError> {
    schema::migrate(database, clock, owner, &STEPS).await
}

async fn check(database: &Database) -> Result<(), SchemaError> {
    schema::check(database, &STEPS).await
}

impl Backend {
    async fn migrate_service(&self) {
        migrate(&self.database, SystemClock::shared(), "test")
            .await
            .unwrap();
    }
}

async fn without_steps_of_its_own_a_service_has_the_whole_log_and_may_add_steps_later(backend: Arc<Backend>) {
    let empty = schema::check(&backend.database, &[]).await;
    assert!(
        matches!(
            empty,
            Err(SchemaError::Behind {
                found: 0,
                needed: 1_000_000
            })
        ),
        "{empty:?}"
    );
    schema::migrate(&backend.database, SystemClock::shared(), "test", &[])
        .await
        .unwrap();
    schema::check(&backend.database, &[]).await.unwrap();
    let signal = Signal::in_process();
    let queue = backend.queue_with(&signal, SystemClock::shared());
    queue.append(append("a", 1)).await.unwrap();
    queue.append(append("a", 2)).await.unwrap();
    assert_eq!(backend.log.feed(position(0), 10).await.unwrap().len(), 2);
    verify(&backend.log, Vec::new(), |_| {}).await.unwrap().unwrap();
    backend.create_followed().await;
    let follower = Follower::default();
    let seen = follower.seen();
    backend.run(follower.subscribe(&backend, "follower", "a", &signal));
    wait_until(SOON, "the events are processed", async || {
        seen.is_all_up_to(position(2))
    })
    .await;

    let behind = check(&backend.database).await;
    assert!(
        matches!(
            behind,
            Err(SchemaError::Behind {
                found: 4,
                needed: 1_000_000
            })
        ),
        "{behind:?}"
    );
    backend.migrate_service().await;
    check(&backend.database).await.unwrap();
    assert_eq!(backend.number("SELECT id FROM orders").await, 1);
    assert_eq!(backend.head().await, position(2));
}

async fn an_empty_database_is_behind_until_it_is_migrated(backend: Arc<Backend>) {
    let behind = check(&backend.database).await;
    assert!(
        matches!(behind, Err(SchemaError::Behind { found: 0, needed }) if needed > 0),
        "{behind:?}"
    );
    backend.migrate_service().await;
    check(&backend.database).await.unwrap();
    backend
        .execute("DELETE FROM _sqlx_migrations WHERE version > 1")
        .await;
    let behind = check(&backend.database).await;
    assert!(
        matches!(behind, Err(SchemaError::Behind { found: 1, .. })),
        "{behind:?}"
    );
}

/// This occurs during a rolling upgrade, or after a rollback to an older program.
async fn an_older_program_takes_the_schema_of_a_newer_one(backend: Arc<Backend>) {
    backend.migrate_service().await;
    backend
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'newer', TRUE, X'00', 0)",
        )
        .await;
    backend.migrate_service().await;
    check(&backend.database).await.unwrap();
}

async fn migrating_again_changes_nothing(backend: Arc<Backend>) {
    backend.migrate_service().await;
    backend.queue().append(append("a", 1)).await.unwrap();
    let head = backend.log.head().await.unwrap();
    backend.migrate_service().await;
    assert_eq!(backend.log.head().await.unwrap(), head);
    assert_eq!(backend.number("SELECT COUNT(*) FROM events").await, 1);
}

async fn several_that_migrate_at_once_do_not_disturb_each_other(backend: Arc<Backend>) {
    let others = [backend.open().await, backend.open().await, backend.open().await];
    let migrate = |n: usize| {
        let database = &others[n];
        async move { migrate(database, SystemClock::shared(), &format!("process {n}")).await }
    };
    let (a, b, c) = tokio::join!(migrate(0), migrate(1), migrate(2));
    for migrated in [a, b, c] {
        migrated.unwrap();
    }
    check(&backend.database).await.unwrap();
    assert_eq!(backend.number("SELECT COUNT(*) FROM log_head").await, 1);
    backend.queue().append(append("a", 1)).await.unwrap();
}

async fn what_was_killed_half_way_is_finished(backend: Arc<Backend>) {
    backend.migrate_service().await;
    backend.queue().append(append("a", 1)).await.unwrap();
    let versions = backend
        .numbers("SELECT version FROM _sqlx_migrations ORDER BY version")
        .await;
    for version in versions {
        if backend.database.dialect() == Dialect::Sqlite {
            // On SQLite, a migration is one transaction, so a killed migration leaves no trace.
            backend
                .execute(&format!(
                    "DELETE FROM _sqlx_migrations WHERE version >= {version}"
                ))
                .await;
        } else {
            // State after a kill: the migration is marked as begun, it has created some of its tables, and no
            // later migration has run.
            backend
                .execute(&format!("DELETE FROM _sqlx_migrations WHERE version > {version}"))
                .await;
            backend
                .execute(&format!(
                    "UPDATE _sqlx_migrations SET success = FALSE WHERE version = {version}"
                ))
                .await;
        }
        if version == 1 {
            backend.execute("DROP TABLE checkpoints").await;
        }
        assert!(matches!(
            check(&backend.database).await,
            Err(SchemaError::Behind { .. })
        ));
        backend.migrate_service().await;
        check(&backend.database).await.unwrap();
        assert_eq!(backend.number("SELECT COUNT(*) FROM checkpoints").await, 0);
        assert_eq!(backend.head().await, position(1), "no event is lost");
    }
}

async fn one_that_was_killed_while_it_migrated_holds_others_up_for_a_minute_at_most(backend: Arc<Backend>) {
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    {
        let mut killed = pin!(migrate(&backend.database, clock.clone(), "killed"));
        tokio::select! {
            migrated = &mut killed => migrated.unwrap(),
            () = holds_the_lease(&backend, "killed") => {}
        }
    }
    clock.advance(Duration::from_mins(1));
    let other = backend.open().await;
    timeout(SOON, migrate(&other, clock, "another"))
        .await
        .unwrap()
        .unwrap();
    check(&other).await.unwrap();
}

async fn holds_the_lease(backend: &Backend, owner: &str) {
    let observer = backend.open().await;
    let mut observer = observer.reader().await.unwrap();
    loop {
        let lease = "SELECT COUNT(*) FROM leases WHERE name = 'migrate' AND owner = ?";
        // The table does not exist before the first migration.
        if let Ok(Some(row)) = observer.query(lease).bind(owner).fetch_optional().await
            && row.get::<i64, _>(0).unwrap() == 1
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_new_sqlite_file_may_be_opened_and_migrated_by_several_at_once() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("new/log.db").display());
        let openings = (0..4).map(async |n| {
            let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
            migrate(&database, SystemClock::shared(), &format!("process {n}"))
                .await
                .unwrap();
            database.close().await;
        });
        join_all(openings).await;
    }
}
