//! Status of all subscriptions, for operators, on the command line and over HTTP.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::event::Position;
use crate::projection::{ActiveGeneration, Rebuild, Skip, UNFILLED};
use crate::subscription::{SubscriptionFailure, SubscriptionStatus};

/// Status of a subscription and, for a projection, of its table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Followed {
    /// Name of the subscription.
    pub name: String,
    /// Position of the last processed event.
    pub position: Position,
    /// Position of the last event of the log.
    pub head: Position,
    /// Number of events not processed yet.
    pub lag_events: u64,
    /// How long the first of these events has waited, in seconds.
    pub lag_seconds: f64,
    /// The process that owns the subscription, if any.
    pub owner: Option<String>,
    /// Current failure, if any.
    pub failure: Option<SubscriptionFailure>,
    /// Description of the problem if the status in the database is impossible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Status of the projection, if the subscription is a projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<ProjectionStatus>,
}

/// Status of a projection's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectionStatus {
    /// The active generation, which serves queries.
    pub active_generation: i64,
    /// The unfinished rebuild, if any.
    pub rebuild: Option<Rebuild>,
    /// The events that the projection skips.
    pub skips: Vec<Skip>,
}

/// Returns the status of every projection and of every subscription that has ever run, ordered by name.
///
/// # Errors
///
/// [`crate::Error::Database`].
pub async fn overview(database: &Database, now: Timestamp) -> Result<Vec<Followed>> {
    let mut all = Vec::new();
    for status in SubscriptionStatus::all(database, now).await? {
        let (projection, generation) = projection(database, &status.name, now).await?.unzip();
        // The process that fills the first generation also owns the subscription, which begins afterwards.
        let filler = projection
            .as_ref()
            .filter(|projection| projection.active_generation == UNFILLED)
            .and_then(|projection| projection.rebuild.as_ref()?.owner.clone());
        let generation = generation.map_or(Ok(0), |generation| generation.check(&status.name));
        let damage = status.check().and(generation).err().filter(Error::is_damage);
        all.push(Followed {
            lag_events: status.lag(),
            lag_seconds: seconds(status.waits(now)),
            name: status.name,
            position: status.position,
            head: status.head,
            owner: status.owner.or(filler),
            failure: status.failure,
            damage: damage.map(|damage| damage.to_string()),
            projection,
        });
    }
    Ok(all)
}

/// Returns the duration in seconds, truncated to milliseconds.
fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

async fn projection(
    database: &Database,
    name: &str,
    now: Timestamp,
) -> Result<Option<(ProjectionStatus, ActiveGeneration)>> {
    let mut connection = database.reader().await?;
    let Some(generation) = ActiveGeneration::of(&mut connection, name).await? else {
        return Ok(None);
    };
    let projection = ProjectionStatus {
        active_generation: generation.named,
        skips: Skip::all(&mut connection, name).await?,
        rebuild: Rebuild::unfinished_on(&mut connection, name, now).await?,
    };
    Ok(Some((projection, generation)))
}
