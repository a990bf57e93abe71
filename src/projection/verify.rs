//! `patients projection verify`.

use anyhow::{Context, bail};
use eventstore::Registered;
use eventstore::projection::{RowChecksum, RowDifference, Verification};
use eventstore::{Database, EventLog};

use crate::exit_code::NoAnswer;
use crate::output;
use crate::progress::Progress;

/// Maximum number of skipped events that are listed.
const NAMED: usize = 10;

pub(super) async fn run(
    database: &Database,
    projections: &[&'static dyn Registered],
    json: bool,
) -> anyhow::Result<()> {
    let mut differing = Vec::new();
    for projection in projections {
        if !same(database, *projection, json).await? {
            differing.push(projection.name());
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    let names = differing.join(", ");
    bail!("{names} does not match the log; `patients projection rebuild` recreates it");
}

/// Compares a projection with the log, and prints the result.
async fn same(database: &Database, projection: &dyn Registered, json: bool) -> anyhow::Result<bool> {
    let log = EventLog::new(database.clone());
    // The number of events is an upper bound on the number of patients, which is good enough for progress.
    let most = log.head().await.context(NoAnswer)?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let found = projection
        .verify(&log, &mut |compared| progress.at(compared, most))
        .await;
    progress.end();
    let found = found.context(NoAnswer)?;
    if json {
        output::print_json(&found)?;
    } else {
        output::print(&table(&found))?;
    }
    Ok(found.same)
}

fn table(found: &Verification) -> String {
    let line = |name: &str, sum: &RowChecksum| format!("{name:<8} {:>12} rows\n  {}", sum.rows, sum.checksum);
    let mut lines = vec![
        format!(
            "{}: position {}, generation {}",
            found.projection, found.position, found.generation
        ),
        line("table", &found.table),
        line("replay", &found.replay),
    ];
    if found.same {
        lines.push("identical".to_owned());
    } else {
        lines.push(format!("{} patients differ, the first:", found.differing));
    }
    if !found.skipped.is_empty() {
        let positions: Vec<String> = found
            .skipped
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        let more = found.skipped.len() - positions.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        lines.push(format!(
            "not compared: the patients of the skipped events at {}{more}",
            positions.join(", ")
        ));
    }
    lines.extend(found.first.iter().map(|difference| {
        let what = match difference.what {
            RowDifference::Missing => "is missing",
            RowDifference::Unexpected => "is unexpected",
            RowDifference::Different => "has different values",
        };
        format!("  {} {what}", difference.id)
    }));
    lines.join("\n")
}
