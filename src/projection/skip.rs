//! `patients projection skip POSITION --reason …`.

use anyhow::Context;
use eventstore::{Clock, Database, Position, Skip, SystemClock};
use projector::PATIENT_VIEW;

use crate::actor::actor;

pub(super) async fn run(
    database: &Database,
    position: u64,
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
    skip.clone().record(database, PATIENT_VIEW).await?;
    if json {
        return super::print_json(&skip);
    }
    super::print(&format!(
        "{PATIENT_VIEW} skips position {position} at its next attempt, within 30 s"
    ))
}
