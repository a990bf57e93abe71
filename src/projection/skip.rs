//! `patients projection skip POSITION --reason …`.

use anyhow::Context;
use eventstore::{Clock, Database, Position, Skip, SystemClock};
use projector::PATIENT_VIEW;

pub(super) async fn run(
    database: &Database,
    position: u64,
    reason: String,
    by: String,
    json: bool,
) -> anyhow::Result<()> {
    let position = Position::new(position).context("there is no such position")?;
    let skip = Skip {
        position,
        reason,
        skipped_by: by,
        skipped_at: SystemClock.now(),
    };
    skip.clone().record(database, PATIENT_VIEW).await?;
    if json {
        return super::print_json(&skip);
    }
    super::print(&format!(
        "{PATIENT_VIEW} passes over position {position} from its next try on, in 30 s at most"
    ))
}
