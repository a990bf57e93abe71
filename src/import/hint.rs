//! A hint for operators whose database has the table of the service that this service replaces.

use api::commands::{AGGREGATE_TYPE, ids_of_import};
use domain::OldId;
use eventstore::{Database, Dialect, EventLog, Sealing, Session};

use crate::settings::Settings;

/// Number of rows of the former table that are looked up in the log. If none of them was imported, the table
/// counts as not imported.
const SAMPLE: u32 = 20;

/// Logs how to import the patients of the former service, if the database has its table and no import of this
/// table is known.
pub(crate) async fn log(settings: &Settings, database: &Database) {
    match has_former_table(database).await {
        // The user may have no privileges on the rows of the table.
        Ok(true) if was_imported(settings, database).await.unwrap_or(false) => {}
        Ok(true) => tracing::info!(
            "the database has a table `patients` with numbers as ids, like that of the FastAPI service: `patients import --from \
             mysql://user:password@host/database` imports its patients"
        ),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "it is unknown whether the database has the table of a former service");
        }
    }
}

/// Whether one of some rows of the table was imported as a patient of `LEGACY_SOURCE`.
async fn was_imported(settings: &Settings, database: &Database) -> eventstore::Result<bool> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT CONVERT(CAST(id AS CHAR) USING utf8mb4) FROM patients LIMIT {SAMPLE}");
    let rows = connection.query(&sql).fetch_all().await?;
    let keyring = database.sealing().map(Sealing::keyring);
    let mut ids = Vec::new();
    for row in &rows {
        let old_id: String = row.get(0)?;
        if let Ok(old_id) = OldId::parse(&old_id) {
            let derived = ids_of_import(&settings.legacy_source, &old_id, keyring.as_deref());
            ids.extend(derived.map(|id| id.to_string()));
        }
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let imported = EventLog::first_events_of(&mut connection, AGGREGATE_TYPE, &ids).await?;
    Ok(!imported.is_empty())
}

async fn has_former_table(database: &Database) -> eventstore::Result<bool> {
    if database.dialect() == Dialect::Sqlite {
        return Ok(false);
    }
    let mut connection = database.reader().await?;
    let rows = connection
        .query(
            "SELECT CONVERT(column_name USING utf8mb4), CONVERT(data_type USING utf8mb4) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = 'patients'",
        )
        .fetch_all()
        .await?;
    let (mut has_number, mut has_name, mut has_email) = (false, false, false);
    for row in &rows {
        let (column, data_type): (String, String) = (row.get(0)?, row.get(1)?);
        match column.to_ascii_lowercase().as_str() {
            "id" => has_number = data_type.ends_with("int"),
            "name" => has_name = true,
            "email" => has_email = true,
            _ => {}
        }
    }
    Ok(has_number && has_name && has_email)
}
