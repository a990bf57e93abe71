//! Patients whose names begin with a prefix, ordered by name.
//!
//! Each statement reads one range of the index on `(generation, name_key, id)`, from the end of the previous
//! page. The cost of a page therefore does not depend on how many patients there are, match the prefix, or
//! share a name.

use domain::NamePrefix;
use eventstore::database::Row;
use eventstore::{Connection, Result, Session};

use super::list::page_of;
use crate::PATIENT_VIEW;

/// Patients whose names begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRange {
    /// The prefix.
    pub prefix: NamePrefix,
    /// Name key of the last patient on the previous page.
    pub after: Option<String>,
}

impl NameRange {
    /// Returns at most `most` rows. Among the patients with the same name as the last patient on the previous
    /// page, only patients with an id greater than `after` are returned. Returns `None` if there are rows
    /// without a name key.
    pub(super) async fn rows(
        &self,
        connection: &mut Connection,
        after: &str,
        most: i64,
    ) -> Result<Option<Vec<Row>>> {
        if !select(connection, "v.name_key = ? LIMIT ?", &[""], 1)
            .await?
            .is_empty()
        {
            return Ok(None);
        }
        let (prefix, end) = (self.prefix.as_str(), self.prefix.end());
        let Some(key) = self.after.as_deref().filter(|key| *key >= prefix) else {
            let within = "v.name_key >= ? AND v.name_key < ? ORDER BY v.name_key, v.id LIMIT ?";
            return select(connection, within, &[prefix, &end], most).await.map(Some);
        };
        let mut rows = Vec::new();
        if key.starts_with(prefix) {
            // Order by id alone: MariaDB does not treat a `name_key` given as text in another collation as a
            // constant, so it would sort the rows if the order included `name_key`.
            let same_name = "v.name_key = ? AND v.id > ? ORDER BY v.id LIMIT ?";
            rows = select(connection, same_name, &[key, after], most).await?;
        }
        let rest = most - i64::try_from(rows.len()).unwrap_or(most);
        if rest > 0 {
            let further = "v.name_key > ? AND v.name_key < ? ORDER BY v.name_key, v.id LIMIT ?";
            rows.extend(select(connection, further, &[key, &end], rest).await?);
        }
        Ok(Some(rows))
    }
}

/// Returns the patients in the served generation that meet `condition`.
async fn select(
    connection: &mut Connection,
    condition: &str,
    values: &[&str],
    most: i64,
) -> Result<Vec<Row>> {
    let sql = format!("{} AND {condition}", page_of(""));
    connection
        .query(&sql)
        .bind(PATIENT_VIEW)
        .bind_all(values.iter().copied())
        .bind(most)
        .fetch_all()
        .await
}
