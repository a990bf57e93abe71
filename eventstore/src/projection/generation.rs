//! Generations of projections, as recorded in the database.

use crate::database::{Database, Row, Session, Transaction};
use crate::error::{Error, Result};

/// Creates the row of a projection in `projections`, unless it exists. If the log is empty, generation 1
/// serves queries immediately. Otherwise generation 0 is active until generation 1 is filled.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn create(database: &Database, projection: &str) -> Result<()> {
    let sql = format!(
        "{} INTO projections (name, active_generation) \
         SELECT ?, CASE WHEN position = 0 THEN {FIRST_GENERATION} ELSE {UNFILLED} END FROM log_head WHERE id = 1",
        database.dialect().insert_ignore()
    );
    let mut connection = database.writer().await?;
    connection.query(&sql).bind(projection).execute().await?;
    Ok(())
}

/// Returns the active generation of a projection, and locks it until the transaction ends. Returns `None` if
/// the projection does not exist.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn lock_active_generation(
    transaction: &mut Transaction<'_>,
    projection: &str,
) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT active_generation FROM projections WHERE name = ?{}",
        transaction.dialect().for_update()
    );
    let row = transaction.query(&sql).bind(projection).fetch_optional().await?;
    row.map(|row| row.get(0)).transpose()
}

/// Active generation of a projection whose first generation is not filled yet.
pub const UNFILLED: i64 = 0;
/// Active generation of a projection that followed the log from its beginning and was never rebuilt.
const FIRST_GENERATION: i64 = 1;

/// The active generation of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveGeneration {
    /// The generation recorded in `projections`.
    pub named: i64,
    /// The last generation that was built.
    pub built: i64,
}

impl ActiveGeneration {
    /// Reads both generation numbers from the database. Returns `None` if the projection does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn of(session: &mut impl Session, projection: &str) -> Result<Option<Self>> {
        let row = session
            .query(
                "SELECT p.active_generation, (SELECT MAX(r.generation) FROM projection_rebuilds r \
                 WHERE r.projection = p.name AND r.state IN ('cleaning', 'done')) FROM projections p WHERE p.name = ?",
            )
            .bind(projection)
            .fetch_optional()
            .await?;
        let read = |row: Row| {
            Ok(Self {
                named: row.get(0)?,
                built: row.get::<Option<i64>, _>(1)?.unwrap_or(FIRST_GENERATION),
            })
        };
        row.map(read).transpose()
    }

    /// Returns the recorded generation if it is also the last generation that was built.
    ///
    /// # Errors
    ///
    /// [`Error::NotFilled`], [`Error::NoSuchGeneration`].
    pub fn check(self, projection: &str) -> Result<i64> {
        let projection = || projection.to_owned();
        match self.named {
            named if named == self.built => Ok(named),
            UNFILLED => Err(Error::NotFilled {
                projection: projection(),
            }),
            generation => Err(Error::NoSuchGeneration {
                projection: projection(),
                generation,
            }),
        }
    }
}
