//! Rows of a table in MySQL or MariaDB.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, MySqlConnection, Row as _};
use tokio::sync::mpsc;

use super::file::{Batch, Batches, channel};
use super::options::ImportArguments;
use super::row::{Field, Place, Read, Row};

/// Number of rows in a page.
const PAGE: usize = 512;
/// Maximum number of characters that are read of a value. No valid value is that long.
const LONGEST: usize = 5000;
/// Timeout of a statement.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Types of columns that can be read page by page in the order of their values.
const INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];
/// Reason why a table with ids above `i64::MAX` cannot be read.
const TOO_LARGE: &str = "the ids of the table are too large: export the table as a CSV file instead";

/// Opens the table, and reads its rows ahead, in the order of their ids.
pub(super) async fn read(url: &str, arguments: &ImportArguments) -> anyhow::Result<Batches> {
    let opened = tokio::time::timeout(TIMEOUT, Table::open(url, arguments)).await;
    let mut table = opened.context("the database of the patients does not respond")??;
    let (sender, batches) = channel();
    tokio::spawn(async move {
        if let Err(error) = table.send(&sender).await {
            // The importer has stopped if it takes no more batches.
            drop(sender.send(Err(error)).await);
        }
    });
    Ok(batches)
}

struct Table {
    connection: MySqlConnection,
    page: String,
    /// Approximate number of rows.
    rows: u64,
}

impl Table {
    async fn open(url: &str, arguments: &ImportArguments) -> anyhow::Result<Self> {
        // The error of an invalid URL does not contain the URL.
        let connection = MySqlConnection::connect(url).await;
        let mut connection = connection.context("the database of the patients cannot be opened")?;
        sqlx::query("SET SESSION TRANSACTION READ ONLY")
            .execute(&mut connection)
            .await?;
        let table = arguments.table.as_str();
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT CONVERT(column_name USING utf8mb4), CONVERT(data_type USING utf8mb4) \
             FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?",
        )
        .bind(table)
        .fetch_all(&mut connection)
        .await
        .context("the columns of the table cannot be read")?;
        if columns.is_empty() {
            bail!("the database has no table {table:?}: --table names the table");
        }
        let type_of = |column: &str| {
            let mut columns = columns.iter();
            columns
                .find(|(name, _)| name.eq_ignore_ascii_case(column))
                .map(|(_, data_type)| data_type.as_str())
        };
        let mut values = String::new();
        for field in Field::ALL {
            let column = arguments.column_of(field);
            match type_of(column) {
                None if field == Field::DocumentUrl && arguments.document_url.is_some() => {
                    values.push_str(", NULL");
                }
                None => bail!(
                    "the table {table:?} has no column {column:?}: --column {}=NAME names the column",
                    field.name()
                ),
                Some(data_type) if field == Field::Id && !INTEGERS.contains(&data_type) => {
                    bail!("the column {column:?} is not an integer; export the table as a CSV file instead")
                }
                Some(_) if field == Field::Id => {}
                Some(_) => write!(
                    values,
                    ", LEFT(CONVERT({} USING utf8mb4), {LONGEST})",
                    quoted(column)
                )?,
            }
        }
        let id = arguments.column_of(Field::Id);
        check_unique(&mut connection, table, id).await?;
        let id = quoted(id);
        let is_too_large = format!(
            "SELECT CAST(MAX({id}) > {} AS SIGNED) FROM {}",
            i64::MAX,
            quoted(table)
        );
        let is_too_large: Option<i64> = sqlx::query_scalar(&is_too_large)
            .fetch_one(&mut connection)
            .await?;
        if is_too_large == Some(1) {
            bail!("{TOO_LARGE}");
        }
        let page = format!(
            "SELECT CAST({id} AS SIGNED){values} FROM {} WHERE {id} > ? ORDER BY {id} LIMIT {PAGE}",
            quoted(table)
        );
        let rows: Option<u64> = sqlx::query_scalar(
            "SELECT CAST(table_rows AS UNSIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = ?",
        )
        .bind(table)
        .fetch_one(&mut connection)
        .await?;
        Ok(Self {
            connection,
            page,
            rows: rows.unwrap_or_default(),
        })
    }

    async fn send(&mut self, sender: &mpsc::Sender<anyhow::Result<Batch>>) -> anyhow::Result<()> {
        let (mut after, mut read) = (i64::MIN, 0);
        loop {
            let page = sqlx::query(&self.page)
                .bind(after)
                .fetch_all(&mut self.connection);
            let page = tokio::time::timeout(TIMEOUT, page).await;
            let page = page
                .map_err(|_| anyhow!("the database of the patients does not respond"))?
                .context("the patients cannot be read")?;
            let mut rows = Vec::with_capacity(page.len());
            for row in &page {
                let (id, row) = parsed(row)?;
                if id <= after {
                    bail!("{TOO_LARGE}");
                }
                after = id;
                rows.push(Read::Row(row));
            }
            read += page.len() as u64;
            let batch = Batch {
                rows,
                read: (read, self.rows.max(read)),
            };
            if sender.send(Ok(batch)).await.is_err() || page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Checks that the ids of a table are unique and not NULL. Rows with NULL, and some rows with equal ids,
/// would otherwise be lost between two pages.
async fn check_unique(connection: &mut MySqlConnection, table: &str, id: &str) -> anyhow::Result<()> {
    let indexes: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT index_name FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = ? AND non_unique = 0 GROUP BY index_name \
         HAVING COUNT(*) = 1 AND MAX(LOWER(column_name)) = LOWER(?) AND MAX(nullable) <> 'YES') found",
    )
    .bind(table)
    .bind(id)
    .fetch_one(connection)
    .await
    .context("the indexes of the table cannot be read")?;
    if indexes == 0 {
        bail!(
            "the column {id:?} is not a key of the table {table:?}: it must be NOT NULL, and have a primary or unique index \
             of its own; otherwise, export the table as a CSV file instead"
        );
    }
    Ok(())
}

fn parsed(row: &MySqlRow) -> anyhow::Result<(i64, Row)> {
    let id: i64 = row.try_get(0)?;
    let value = |column: usize| -> anyhow::Result<Option<String>> { Ok(row.try_get(column)?) };
    Ok((
        id,
        Row {
            place: Place::Id(id),
            values: [Some(id.to_string()), value(1)?, value(2)?, value(3)?, value(4)?],
        },
    ))
}

/// Quotes the name of a table or a column.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
