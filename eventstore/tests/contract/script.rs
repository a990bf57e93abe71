//! Statements that are sent together, and their values.

use std::sync::Arc;

use eventstore::database::{Script, Value};
use eventstore::{Dialect, Session};

use crate::backend::Backend;

on_every_backend!(
    any_value_comes_back_as_it_was,
    values_are_found_by_what_they_are,
    a_script_answers_the_rows_of_all_its_statements_in_order,
    a_script_that_fails_leaves_nothing_though_it_ends_with_the_commit,
);

const TEXTS: [&str; 14] = [
    "",
    "plain",
    "'",
    "''",
    "\\",
    "\\'",
    "'); DROP TABLE kept; -- ",
    "\"",
    "? ?1 :a @b",
    "X'41' _utf8mb4 0x41 NULL",
    "\n\r\t\u{1a}\u{7f}",
    "a\u{0}b",
    "Zoë 漢字 🏥 \u{202e}",
    "%_/* */ # --",
];

async fn table(backend: &Backend) {
    let table = match backend.database.dialect() {
        Dialect::MySql => {
            "CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, text LONGTEXT COLLATE utf8mb4_bin, digest BINARY(32)) \
             CHARACTER SET utf8mb4"
        }
        Dialect::Sqlite => "CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, text TEXT, digest BLOB)",
    };
    backend.execute(table).await;
}

async fn any_value_comes_back_as_it_was(backend: Arc<Backend>) {
    table(&backend).await;
    let long = "x\\'é".repeat(100_000);
    let texts: Vec<&str> = TEXTS.into_iter().chain([long.as_str()]).collect();
    let digest: [u8; 32] = std::array::from_fn(|n| [0, b'\'', b'\\', 0xff][n % 4]);
    let modes = match backend.database.dialect() {
        Dialect::MySql => &["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES"][..],
        Dialect::Sqlite => &[""],
    };
    for mode in modes {
        let mut connection = backend.database.writer().await.unwrap();
        if !mode.is_empty() {
            let set = format!("SET SESSION sql_mode = '{mode}'");
            connection.query(&set).execute().await.unwrap();
        }
        let mut script = Script::new(connection.dialect());
        script
            .statement("INSERT INTO kept (id, text, digest) VALUES ")
            .rows(
                (0_i64..)
                    .zip(&texts)
                    .map(|(id, text)| [id.into(), (*text).into(), (&digest).into()]),
            );
        script
            .statement("INSERT INTO kept (id, text, digest) VALUES ")
            .rows([i64::MIN, i64::MAX, -1].map(|id| [id.into(), Value::Null, None::<&str>.into()]));
        connection.run(script).await.unwrap();
        let rows = connection
            .query("SELECT id, text, digest FROM kept ORDER BY id")
            .fetch_all()
            .await
            .unwrap();
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        let expected = [i64::MIN, -1]
            .into_iter()
            .chain((0..).take(texts.len()))
            .chain([i64::MAX]);
        assert_eq!(ids, expected.collect::<Vec<_>>());
        for (row, id) in rows.iter().zip(ids) {
            let text = usize::try_from(id).ok().and_then(|id| texts.get(id));
            // The driver reads text with a binary collation as bytes.
            let stored: Option<Vec<u8>> = row.get(1).unwrap();
            assert_eq!(stored.as_deref(), text.map(|text| text.as_bytes()));
            let stored: Option<Vec<u8>> = row.get(2).unwrap();
            assert_eq!(stored.as_deref(), text.map(|_| digest.as_slice()));
        }
        connection.query("DELETE FROM kept").execute().await.unwrap();
        connection.close_on_drop();
    }
}

async fn values_are_found_by_what_they_are(backend: Arc<Backend>) {
    table(&backend).await;
    let mut connection = backend.database.writer().await.unwrap();
    let mut script = Script::new(connection.dialect());
    script
        .statement("INSERT INTO kept (id, text) VALUES ")
        .rows((0_i64..).zip(TEXTS).map(|(id, text)| [id.into(), text.into()]));
    connection.run(script).await.unwrap();
    for (id, text) in (0_i64..).zip(TEXTS) {
        let mut script = Script::new(connection.dialect());
        script
            .statement("SELECT id FROM kept WHERE text IN ")
            .list([text, "no such"]);
        let rows = connection.run(script).await.unwrap();
        let found: Vec<i64> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(found, [id], "{text:?}");
    }
}

async fn a_script_answers_the_rows_of_all_its_statements_in_order(backend: Arc<Backend>) {
    table(&backend).await;
    let mut connection = backend.database.writer().await.unwrap();
    let mut script = Script::new(connection.dialect());
    script
        .statement("INSERT INTO kept (id) VALUES ")
        .rows([[7_i64.into()], [8_i64.into()]]);
    script.statement("SELECT id FROM kept ORDER BY id");
    script.statement("DELETE FROM kept WHERE id = ").value(7_i64);
    script.statement("SELECT id FROM kept");
    let rows = connection.run(script).await.unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(ids, [7, 8, 8]);
}

async fn a_script_that_fails_leaves_nothing_though_it_ends_with_the_commit(backend: Arc<Backend>) {
    table(&backend).await;
    let transaction = backend.database.begin().await.unwrap();
    let mut script = Script::new(transaction.dialect());
    for id in [1_i64, 2, 1, 3] {
        script
            .statement("INSERT INTO kept (id) VALUES ")
            .rows([[id.into()]]);
    }
    let error = transaction.commit_with(script).await.unwrap_err();
    assert!(error.is_of_data(), "{error}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM kept").await, 0);
}
