//! `patients projection verify`.

use anyhow::{Context, bail};
use eventstore::{Database, EventLog};
use projector::verify::{Sum, Verification, What};

use crate::audit::NoAnswer;
use crate::progress::Progress;

/// Maximum number of skipped events that are listed.
const NAMED: usize = 10;

pub(super) async fn run(database: &Database, json: bool) -> anyhow::Result<()> {
    let log = EventLog::new(database.clone());
    // The number of events is an upper bound on the number of patients, which is good enough for progress.
    let most = log.head().await.context(NoAnswer)?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let found = projector::verify(&log, |compared| progress.at(compared, most)).await;
    progress.end();
    let found = found.context(NoAnswer)?;
    if json {
        super::print_json(&found)?;
    } else {
        super::print(&table(&found))?;
    }
    if !found.same {
        bail!("the read table does not match the log; `patients projection rebuild` recreates it");
    }
    Ok(())
}

fn table(found: &Verification) -> String {
    let line = |name: &str, sum: &Sum| format!("{name:<8} {:>12} rows\n  {}", sum.rows, sum.checksum);
    let mut lines = vec![
        format!("position {}, generation {}", found.position, found.generation),
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
            What::Missing => "is missing",
            What::Unexpected => "is unexpected",
            What::Different => "has different values",
        };
        format!("  {} {what}", difference.id)
    }));
    lines.join("\n")
}
