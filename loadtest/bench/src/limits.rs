//! Yardsticks (b), (c) and (d): plain statements over sqlx, without HTTP.

use std::time::{Duration, Instant};

use eventstore::{Database, DatabaseOptions, EventLog, Position};
use futures::future::join_all;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, MySqlPool};

use crate::fill;
use crate::stats::{Notes, Stats};

/// Measures yardstick (b): inserts rows like the registrations that are in the database, `batch` rows per
/// `INSERT` and one commit at a time. Returns rows per second.
pub(crate) async fn inserts(url: &str, batch: usize, duration: Duration) -> anyhow::Result<f64> {
    let options: MySqlConnectOptions = url.parse()?;
    let mut connection = options.statement_cache_capacity(1024).connect().await?;
    sqlx::query(
        "CREATE TABLE bare_events (position bigint NOT NULL PRIMARY KEY, \
         aggregate_type varchar(64) CHARACTER SET ascii NOT NULL, aggregate_id varchar(64) CHARACTER SET ascii NOT NULL, \
         sequence bigint NOT NULL, event_type varchar(128) CHARACTER SET ascii NOT NULL, \
         event_version varchar(16) CHARACTER SET ascii NOT NULL, payload json NOT NULL, metadata json NOT NULL, \
         recorded_at bigint NOT NULL, hash binary(32) NOT NULL, \
         UNIQUE KEY (aggregate_id, aggregate_type, sequence)) CHARACTER SET utf8mb4",
    )
    .execute(&mut connection)
    .await?;
    let (event_version, payload, metadata): (String, String, String) = sqlx::query_as(
        "SELECT event_version, CAST(payload AS CHAR), CAST(metadata AS CHAR) FROM events ORDER BY position LIMIT 1",
    )
    .fetch_one(&mut connection)
    .await?;
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; batch].join(", ");
    let sql = format!("INSERT INTO bare_events VALUES {values}");
    let (started, mut rows) = (Instant::now(), 0_u64);
    while started.elapsed() < duration {
        let mut query = sqlx::query(&sql);
        for _ in 0..batch {
            rows += 1;
            query = query
                .bind(rows.cast_signed())
                .bind("patient")
                .bind(fill::id(rows).to_string())
                .bind(1_i64)
                .bind("PatientRegistered")
                .bind(&event_version)
                .bind(&payload)
                .bind(&metadata)
                .bind(1_700_000_000_000_000_i64)
                .bind([7_u8; 32].as_slice());
        }
        query.execute(&mut connection).await?;
    }
    let rate = rows as f64 / started.elapsed().as_secs_f64();
    sqlx::query("DROP TABLE bare_events")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(rate)
}

/// Runs `clients` loops over `statement` for `duration`.
async fn loops<F: Future<Output = anyhow::Result<()>>>(
    clients: usize,
    duration: Duration,
    statement: impl Fn() -> F,
) -> anyhow::Result<Stats> {
    let started = Instant::now();
    let all = join_all((0..clients).map(|_| async {
        let mut notes = Notes::default();
        while started.elapsed() < duration {
            let began = Instant::now();
            statement().await?;
            notes.good.push(began.elapsed().as_micros() as u32);
        }
        anyhow::Ok(notes)
    }))
    .await
    .into_iter()
    .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Notes::sum(all, started.elapsed()))
}

/// Creates a pool with the same number of connections as the program.
async fn pool(url: &str) -> anyhow::Result<MySqlPool> {
    let pool = MySqlPoolOptions::new()
        .max_connections(DatabaseOptions::default().connections)
        .test_before_acquire(false);
    Ok(pool.connect(url).await?)
}

/// Measures yardstick (c): reads the rows of random patients, one by one, by primary key.
pub(crate) async fn selects(
    url: &str,
    patients: u64,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<Stats> {
    let pool = pool(url).await?;
    loops(clients, duration, || async {
        let id = fill::id(fastrand::u64(0..patients)).to_string();
        let row = sqlx::query(
            "SELECT id, name, email, phone, document_url, sequence FROM patient_view WHERE generation = 1 AND id = ?",
        )
        .bind(id)
        .fetch_optional(&pool)
        .await?;
        anyhow::ensure!(row.is_some(), "a patient is missing");
        Ok(())
    })
    .await
}

/// Reads the events of random patients, one patient at a time.
pub(crate) async fn histories(
    url: &str,
    patients: u64,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<Stats> {
    let pool = pool(url).await?;
    loops(clients, duration, || async {
        let id = fill::id(fastrand::u64(0..patients)).to_string();
        let rows = sqlx::query(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
             recorded_at, hash FROM events WHERE aggregate_id = ? AND aggregate_type = 'patient' ORDER BY sequence",
        )
        .bind(id)
        .fetch_all(&pool)
        .await?;
        anyhow::ensure!(!rows.is_empty(), "a patient is missing");
        Ok(())
    })
    .await
}

/// Reads pages of 100 patients with the same plan as the program. Each page begins after a random patient
/// below `deepest`, or at the beginning if `deepest` is 0.
pub(crate) async fn pages(
    url: &str,
    deepest: u64,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<Stats> {
    let pool = pool(url).await?;
    loops(clients, duration, || async {
        let after = if deepest == 0 {
            String::new()
        } else {
            fill::id(fastrand::u64(0..deepest)).to_string()
        };
        let rows = sqlx::query(
            "SELECT id, name, email FROM patient_view FORCE INDEX (PRIMARY) WHERE generation = 1 AND id > ? ORDER BY id LIMIT 101",
        )
        .bind(after)
        .fetch_all(&pool)
        .await?;
        anyhow::ensure!(!rows.is_empty(), "a page is empty");
        Ok(())
    })
    .await
}

/// Measures yardstick (d): reads the whole feed in order and discards it. Returns events per second.
pub(crate) async fn feed(url: &str) -> anyhow::Result<f64> {
    let log = EventLog::new(Database::connect(url, DatabaseOptions::default()).await?);
    let (started, mut after) = (Instant::now(), Position::BEGINNING);
    loop {
        let events = log.feed(after, 500).await?;
        let Some(last) = events.last() else {
            break;
        };
        after = last.position;
    }
    log.database().close().await;
    Ok(after.get() as f64 / started.elapsed().as_secs_f64())
}
