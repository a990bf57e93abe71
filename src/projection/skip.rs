//! `patients projection skip POSITION --reason …`.

use anyhow::Context;
use eventstore::{Clock, Database, Position, Registered, Skip, SkipError, SystemClock};

use crate::actor::actor;
use crate::output;

pub(super) async fn run(
    database: &Database,
    position: u64,
    projections: &[&'static dyn Registered],
    reason: String,
    by: Option<String>,
    json: bool,
) -> anyhow::Result<()> {
    let position = Position::new(position).context("the position is too large")?;
    let actor = actor();
    let skipped_by = match by {
        Some(by) => format!("{by} ({actor})"),
        None => actor,
    };
    let skip = Skip {
        position,
        reason,
        skipped_by,
        skipped_at: SystemClock.now(),
    };
    let mut skipping = Vec::new();
    let mut refusal = None;
    for projection in projections {
        match skip.clone().record(database, projection.name()).await {
            Ok(_) => skipping.push(projection.name()),
            Err(error @ SkipError::NotStoppedThere { .. }) => {
                // Prefer the error that names the event at which a projection has stopped.
                if !matches!(refusal, Some(SkipError::NotStoppedThere { stopped: Some(_), .. })) {
                    refusal = Some(error);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, Some(refusal)) = (skipping.is_empty(), refusal) {
        return Err(refusal.into());
    }
    if json {
        return output::print_json(&skip);
    }
    for name in skipping {
        output::print(&format!(
            "{name} skips position {position} at its next attempt, within 30 s"
        ))?;
    }
    Ok(())
}
