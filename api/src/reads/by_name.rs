//! Patients whose names begin with something, in the order of their names.
//!
//! Each statement is one range of the index on `(generation, name_key, id)`, from where the page before
//! ended, so that a page costs the same however many patients there are, have that beginning, or share one
//! name.

use domain::NamePrefix;
use eventstore::database::Row;
use eventstore::{Connection, Result, Session};

use super::PROJECTION;
use super::list::COLUMNS;

/// Those whose names begin with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRange {
    /// What their names begin with.
    pub prefix: NamePrefix,
    /// The key of the name of whom the page comes after.
    pub after: Option<String>,
}

impl NameRange {
    /// At most so many of them, those who share the name of `after` after that id; nothing if there are rows
    /// without a key.
    pub(super) async fn rows(
        &self,
        connection: &mut Connection,
        after: &str,
        most: i64,
    ) -> Result<Option<Vec<Row>>> {
        if !select(connection, "name_key = ? LIMIT ?", &[""], 1)
            .await?
            .is_empty()
        {
            return Ok(None);
        }
        let (prefix, end) = (self.prefix.as_str(), self.prefix.end());
        let Some(key) = self.after.as_deref().filter(|key| *key >= prefix) else {
            let within = "name_key >= ? AND name_key < ? ORDER BY name_key, id LIMIT ?";
            return select(connection, within, &[prefix, &end], most).await.map(Some);
        };
        let mut rows = Vec::new();
        if key.starts_with(prefix) {
            // By id alone: a name_key that is given as text in another collation is no constant to MariaDB,
            // which would sort.
            let same_name = "name_key = ? AND id > ? ORDER BY id LIMIT ?";
            rows = select(connection, same_name, &[key, after], most).await?;
        }
        let rest = most - i64::try_from(rows.len()).unwrap_or(most);
        if rest > 0 {
            let further = "name_key > ? AND name_key < ? ORDER BY name_key, id LIMIT ?";
            rows.extend(select(connection, further, &[key, &end], rest).await?);
        }
        Ok(Some(rows))
    }
}

/// The patients of the generation that is served for whom `condition` holds.
async fn select(
    connection: &mut Connection,
    condition: &str,
    values: &[&str],
    most: i64,
) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM patient_view \
         WHERE generation = (SELECT active_generation FROM projections WHERE name = ?) AND {condition}"
    );
    connection
        .query(&sql)
        .bind(PROJECTION)
        .bind(PROJECTION)
        .bind_all(values.iter().copied())
        .bind(most)
        .fetch_all()
        .await
}
