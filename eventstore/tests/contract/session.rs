//! Connections and transactions that are dropped at any moment.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Database, DatabaseOptions, Dialect, Session};
use tokio::time::{sleep, timeout};

use crate::backend::Backend;

on_every_backend!(
    statements_dropped_half_way_cost_the_pool_no_connection,
    transactions_dropped_at_any_moment_leave_nothing_behind,
);

const CONNECTIONS: u32 = 3;
const SOON: Duration = Duration::from_secs(10);

async fn small_pool(backend: &Backend) -> Database {
    let options = DatabaseOptions {
        connections: CONNECTIONS,
        ..DatabaseOptions::default()
    };
    Database::connect(&backend.url, options).await.unwrap()
}

/// Returns a query with a result of about 2 MB, so that a dropped read has usually not reached its end.
const fn long_answer(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, REPEAT('x', 2000) FROM n"
        }
        Dialect::Sqlite => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, hex(zeroblob(1000)) FROM n"
        }
    }
}

async fn statements_dropped_half_way_cost_the_pool_no_connection(backend: Arc<Backend>) {
    backend.migrate().await;
    let database = small_pool(&backend).await;
    for micros in (0..60).map(|round| 100 * round) {
        let reading = tokio::spawn({
            let database = database.clone();
            async move {
                let mut connection = database.reader().await.unwrap();
                connection
                    .query(long_answer(database.dialect()))
                    .fetch_all()
                    .await
                    .unwrap()
                    .len()
            }
        });
        sleep(Duration::from_micros(micros)).await;
        reading.abort();
    }
    // All connections can be used at the same time.
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(timeout(SOON, database.reader()).await.unwrap().unwrap());
    }
    for connection in &mut connections {
        let row = connection
            .query("SELECT 1")
            .fetch_optional()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.get::<i64, _>(0).unwrap(), 1);
    }
}

async fn transactions_dropped_at_any_moment_leave_nothing_behind(backend: Arc<Backend>) {
    backend.migrate().await;
    let database = small_pool(&backend).await;
    let lease = "INSERT INTO leases (name, owner, expires_at) VALUES (?, 'dropped', 0)";
    for round in 0..60_u64 {
        let writing = tokio::spawn({
            let database = database.clone();
            async move {
                let mut transaction = database.begin().await.unwrap();
                transaction
                    .query(lease)
                    .bind(format!("lease-{round}"))
                    .execute()
                    .await
                    .unwrap();
                std::future::pending::<()>().await;
            }
        });
        sleep(Duration::from_micros(50 * round)).await;
        writing.abort();
        drop(writing.await);
    }
    let mut transaction = timeout(SOON, database.begin()).await.unwrap().unwrap();
    let row = transaction
        .query("SELECT COUNT(*) FROM leases WHERE owner = 'dropped'")
        .fetch_optional()
        .await
        .unwrap();
    assert_eq!(row.unwrap().get::<i64, _>(0).unwrap(), 0);
    transaction.query(lease).bind("kept").execute().await.unwrap();
    transaction.commit().await.unwrap();
}
