//! A hint for operators whose database has the table of the service that this service replaces.

use eventstore::{Database, Dialect, Session};

/// Logs how to import the patients of the former service, if the database has its table.
pub(crate) async fn log(database: &Database) {
    match has_former_table(database).await {
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
