use std::time::Duration;

use eventstore::{Clock, Database, DatabaseOptions, SystemClock};
use tempfile::TempDir;
use testkit::TestDatabase;
use tokio::time::Instant;

use super::*;

/// Enough rows for every server to prefer the index to a scan.
const ROWS: i64 = 65_536;

/// Creates a ledger with [`ROWS`] due deliveries.
async fn full(url: &str) -> Database {
    let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
    migrations::migrate(&database, SystemClock::shared(), "test")
        .await
        .unwrap();
    let mut writer = database.writer().await.unwrap();
    let columns = "position, template, aggregate_id, state, due_at, created_at, updated_at";
    writer
        .query(&format!(
            "INSERT INTO mail_deliveries ({columns}) VALUES (1, 'patient_registered', 'a', 'pending', 1, 1, 1)"
        ))
        .execute()
        .await
        .unwrap();
    let mut rows = 1;
    while rows < ROWS {
        writer
            .query(&format!(
                "INSERT INTO mail_deliveries ({columns}) \
                 SELECT position + {rows}, template, aggregate_id, state, due_at + {rows}, 1, 1 FROM mail_deliveries"
            ))
            .execute()
            .await
            .unwrap();
        rows *= 2;
    }
    let analyze = match database.dialect() {
        Dialect::MySql => "ANALYZE TABLE mail_deliveries",
        Dialect::Sqlite => "ANALYZE",
    };
    writer.query(analyze).fetch_all().await.unwrap();
    database
}

/// Returns the name and the URL of an empty database on each backend. A database on a server exists for as
/// long as the third value.
async fn backends(folder: &TempDir) -> Vec<(String, String, Option<TestDatabase>)> {
    let file = format!("sqlite://{}/patients.db", folder.path().display());
    let mut backends = vec![("SQLite".to_owned(), file, None)];
    for server in testkit::mysql_servers() {
        let database = server.create_database().await;
        backends.push((server.flavour.to_string(), database.url.clone(), Some(database)));
    }
    backends
}

/// Returns the database's query plan for taking rows.
async fn plan(database: &Database, order: Order) -> String {
    let explain = match database.dialect() {
        Dialect::MySql => "EXPLAIN FORMAT=JSON ",
        Dialect::Sqlite => "EXPLAIN QUERY PLAN ",
    };
    let sql = format!(
        "{explain}{}",
        due_statement(database.dialect(), Template::ALL.len(), order)
    );
    let mut reader = database.reader().await.unwrap();
    let rows = reader
        .query(&sql)
        .bind(SystemClock.now())
        .bind_all(Template::ALL.map(Template::name))
        .bind(8_i64)
        .fetch_all()
        .await
        .unwrap();
    let column = match database.dialect() {
        Dialect::MySql => 0,
        Dialect::Sqlite => 3,
    };
    rows.iter()
        .map(|row| row.get::<String, _>(column).unwrap() + "\n")
        .collect()
}

#[tokio::test]
async fn the_query_for_due_rows_reads_the_index_in_order_without_sorting_on_every_backend() {
    let folder = tempfile::tempdir().unwrap();
    for (name, url, _held) in backends(&folder).await {
        let database = full(&url).await;
        let mut plans = String::new();
        for order in [Order::FirstDue, Order::LastDue] {
            let plan = plan(&database, order).await;
            assert!(plan.contains("mail_deliveries_due"), "{name}: {plan}");
            plans.push_str(&plan);
        }
        let sorts = [
            "filesort\": true",
            "using_filesort\": true",
            "\"filesort\": {",
            "TEMP B-TREE",
        ];
        assert!(
            !sorts.iter().any(|sorts| plans.contains(sorts)),
            "{name}: {plans}"
        );

        let begun = Instant::now();
        let mut transaction = database.begin().await.unwrap();
        let taken = due(&mut transaction, 8, SystemClock.now(), Order::FirstDue)
            .await
            .unwrap();
        assert_eq!(taken.len(), 8, "{name}");
        transaction.commit().await.unwrap();
        // A scan of all rows takes far longer than this generous limit.
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{name}: {:?}",
            begun.elapsed()
        );
    }
}

/// Reads the due rows as two workers on a server that ignores `SKIP LOCKED`: both read the same rows.
#[tokio::test]
async fn two_workers_that_read_the_same_rows_lease_each_row_once_on_every_backend() {
    let folder = tempfile::tempdir().unwrap();
    for (name, url, _held) in backends(&folder).await {
        let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
        migrations::migrate(&database, SystemClock::shared(), "test")
            .await
            .unwrap();
        let mut writer = database.writer().await.unwrap();
        for (position, state, lease) in [
            (1, "pending", "NULL"),
            (2, "sending", "'expired'"),
            (3, "pending", "NULL"),
        ] {
            let insert = format!(
                "INSERT INTO mail_deliveries (position, template, aggregate_id, state, lease, due_at, created_at, updated_at) \
                 VALUES ({position}, 'patient_registered', 'a', '{state}', {lease}, {position}, 1, 1)"
            );
            writer.query(&insert).execute().await.unwrap();
        }
        drop(writer);
        let now = SystemClock.now();
        let until = now + Duration::from_mins(1);
        let both_read = {
            let mut transaction = database.begin().await.unwrap();
            let read = due(&mut transaction, 8, now, Order::FirstDue).await.unwrap();
            transaction.rollback().await.unwrap();
            read
        };
        let both_read: Vec<_> = both_read.iter().collect();
        let positions = |leased: Vec<&Delivery>| -> Vec<u64> {
            leased.iter().map(|delivery| delivery.position.get()).collect()
        };

        let mut first = database.begin().await.unwrap();
        let leased = leasing::lease(&mut first, &both_read[..2], "first", until, now)
            .await
            .unwrap();
        assert_eq!(positions(leased), [1, 2], "{name}");
        first.commit().await.unwrap();

        let mut second = database.begin().await.unwrap();
        let cancelled = leasing::cancel(&mut second, &both_read[..1], now).await.unwrap();
        assert_eq!(positions(cancelled), [0; 0], "{name}");
        let leased = leasing::lease(&mut second, &both_read, "second", until, now)
            .await
            .unwrap();
        assert_eq!(
            positions(leased),
            [3],
            "{name}: two workers would send the same email"
        );
        second.commit().await.unwrap();
    }
}
