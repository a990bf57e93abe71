//! How everything that follows the log does, at a glance: for operators, on the command line and over HTTP.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::Database;
use crate::error::Result;
use crate::event::Position;
use crate::rebuild::{ActiveGeneration, Rebuild};
use crate::skip::Skip;
use crate::subscription::{Failure, SubscriptionStatus};

/// A subscription, and what it is beyond that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Followed {
    /// Its name.
    pub name: String,
    /// The last event that it has finished.
    pub position: Position,
    /// The last event of the log.
    pub head: Position,
    /// How many events it has not finished.
    pub lag_events: u64,
    /// How long the first of them has waited, in seconds.
    pub lag_seconds: f64,
    /// The process that owns it; nothing if none does.
    pub owner: Option<String>,
    /// Why it does not move; nothing while it does.
    pub failure: Option<Failure>,
    /// Why what the database says of it cannot be true; nothing if it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Its table, if it is a projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
}

/// A projection's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Projection {
    /// The generation that is served.
    pub active_generation: i64,
    /// The rebuild that is not over, if there is one.
    pub rebuild: Option<Rebuild>,
    /// The events that it passes over.
    pub skips: Vec<Skip>,
}

/// Asks after every subscription that has ever run, in the order of their names.
///
/// # Errors
///
/// [`crate::Error::Database`].
pub async fn overview(database: &Database, now: Timestamp) -> Result<Vec<Followed>> {
    let mut all = Vec::new();
    for status in SubscriptionStatus::all(database, now).await? {
        let (projection, generation) = projection(database, &status.name, now).await?.unzip();
        let generation = generation.map_or(Ok(0), |generation| generation.check(&status.name));
        let damage = status.check().and(generation).err();
        all.push(Followed {
            lag_events: status.lag(),
            lag_seconds: seconds(status.waits(now)),
            name: status.name,
            position: status.position,
            head: status.head,
            owner: status.owner,
            failure: status.failure,
            damage: damage.map(|damage| damage.to_string()),
            projection,
        });
    }
    Ok(all)
}

/// In milliseconds at the finest: what is beyond tells nothing.
fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

async fn projection(
    database: &Database,
    name: &str,
    now: Timestamp,
) -> Result<Option<(Projection, ActiveGeneration)>> {
    let mut connection = database.reader().await?;
    let Some(generation) = ActiveGeneration::of(&mut connection, name).await? else {
        return Ok(None);
    };
    let projection = Projection {
        active_generation: generation.named,
        skips: Skip::all(&mut connection, name).await?,
        rebuild: Rebuild::unfinished_on(&mut connection, name, now).await?,
    };
    Ok(Some((projection, generation)))
}
