//! Opening the database for a command.

use eventstore::Database;

use crate::database;
use crate::settings::Settings;

/// Database connections of a command.
const CONNECTIONS: u32 = 2;

/// Opens the database, which must have the schema version of this program.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Database> {
    database::open_existing(settings, CONNECTIONS).await
}
