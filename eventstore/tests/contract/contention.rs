//! Transactions that the database aborts because of other transactions.
//!
//! The tests let a trigger raise the errors that clusters report, because a single server never reports them.

use std::sync::Arc;
use std::time::Duration;

use eventstore::database::Script;
use eventstore::{AppendError, Lease, SystemClock};

use crate::backend::{Backend, on_mysql, position};
use crate::sample::append;

const FOR_A_MOMENT: Duration = Duration::from_millis(500);
const FOR_EVER: Duration = Duration::from_hours(1);

/// The errors of a failed certification: Group Replication, Galera, and any other error of SQLSTATE class 40.
const ABORTS: [(&str, u16, &str); 4] = [
    (
        "40000",
        3101,
        "Plugin instructed the server to rollback the current transaction.",
    ),
    (
        "HY000",
        1180,
        "Got error 149 \"Lock deadlock; Retry transaction\" during COMMIT",
    ),
    (
        "40001",
        1213,
        "Deadlock found when trying to get lock; try restarting transaction",
    ),
    ("40002", 1644, "another reason"),
];

/// Fails the insertion of events with an error for the given time.
async fn fail_inserts(backend: &Backend, time: Duration, error: (&str, u16, &str)) {
    fail(backend, "INSERT ON events", time, error).await;
}

/// Fails a kind of change, such as `INSERT ON events`, with an error for the given time.
async fn fail(backend: &Backend, change: &str, time: Duration, (state, number, text): (&str, u16, &str)) {
    let mut connection = backend.database.writer().await.unwrap();
    let mut script = Script::new(connection.dialect());
    let until = format!(
        "INSERT INTO fails VALUES (SYSDATE(6) + INTERVAL {} MICROSECOND)",
        time.as_micros()
    );
    script
        .statement("DROP TRIGGER IF EXISTS failing")
        .statement("DROP TABLE IF EXISTS fails")
        .statement("CREATE TABLE fails (until DATETIME(6) NOT NULL PRIMARY KEY) ENGINE=InnoDB")
        .statement(&until)
        .statement(&format!(
            "CREATE TRIGGER failing BEFORE {change} FOR EACH ROW BEGIN \
             IF SYSDATE(6) < (SELECT until FROM fails) THEN \
             SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{text}'; \
             END IF; END"
        ));
    connection.run(script).await.unwrap();
}

#[tokio::test]
async fn an_append_that_a_cluster_aborts_is_made_again() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let queue = backend.queue();
        for (number, abort) in (1..).zip(ABORTS) {
            fail_inserts(&backend, FOR_A_MOMENT, abort).await;
            let appended = queue.append(append(&format!("a{number}"), 1)).await;
            assert_eq!(appended.unwrap().first, position(number), "{abort:?}");
            let left = "SELECT COUNT(*) FROM fails WHERE until > SYSDATE(6)";
            assert_eq!(backend.number(left).await, 0, "{abort:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_append_that_a_cluster_always_aborts_was_not_written_for_sure() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let queue = backend.queue();
        fail_inserts(&backend, FOR_EVER, ABORTS[0]).await;
        let refused = queue.append(append("a", 1)).await;
        let Err(AppendError::Unavailable(error)) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.is_contention(), "{error:?}");
        assert_eq!(backend.head().await.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn another_error_during_a_commit_is_not_contention() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let queue = backend.queue();
        let full = (
            "HY000",
            1180,
            "Got error 28 \"No space left on device\" during COMMIT",
        );
        fail_inserts(&backend, FOR_EVER, full).await;
        let refused = queue.append(append("a", 1)).await;
        let Err(AppendError::Unavailable(error)) = refused else {
            panic!("{refused:?}")
        };
        assert!(!error.is_contention() && !error.is_connection(), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_a_cluster_aborts_is_run_again_and_gives_its_lease_back() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        fail(&backend, "UPDATE ON leases", FOR_A_MOMENT, ABORTS[2]).await;
        backend.migrate().await;
        let held = "SELECT COUNT(*) FROM leases WHERE name = 'migrate' AND expires_at > 0";
        assert_eq!(backend.number(held).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_released_although_a_cluster_aborts_the_statement() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let lease = |owner: &str| {
            let clock = SystemClock::shared();
            Lease::new(
                backend.database.clone(),
                clock,
                "role".into(),
                owner.into(),
                FOR_EVER,
            )
        };
        let (mut ours, mut others) = (lease("ours"), lease("others"));
        assert!(ours.hold().await.unwrap());
        fail(
            &backend,
            "UPDATE ON leases",
            Duration::from_millis(300),
            ABORTS[2],
        )
        .await;
        ours.release().await.unwrap();
        assert!(others.hold().await.unwrap());
    })
    .await;
}
