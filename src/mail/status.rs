//! `patients mail status`.

use std::io::Write;

use eventstore::{Clock, SystemClock};
use mailer::Ledger;

use super::database::open;
use crate::output::{self, OutputFormat};
use crate::settings::Settings;

pub(super) async fn status(settings: &Settings, format: OutputFormat) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let now = SystemClock.now();
    let status = Ledger::new(database.clone()).status(now).await?;
    database.close().await;
    let mut out = Vec::new();
    if format.json {
        return output::print_pretty_json(&status);
    }
    for (state, count) in &status.counts {
        writeln!(out, "{:<10}{count:>10}", state.name())?;
    }
    if let Some(oldest) = status.oldest_waiting {
        let waited = std::time::Duration::from_secs(now.since(oldest).as_secs());
        writeln!(
            out,
            "\nthe oldest unsent email has waited for {}",
            humantime::format_duration(waited)
        )?;
    }
    if let Some(due) = status.oldest_due {
        let due = std::time::Duration::from_secs(now.since(due).as_secs());
        writeln!(
            out,
            "the email due for longest has been due for {}",
            humantime::format_duration(due)
        )?;
    }
    if status.due_too_late > 0 {
        writeln!(
            out,
            "{} are due later than the schedule allows, because a clock was wrong; a mailer makes them due now",
            status.due_too_late
        )?;
    }
    writeln!(out)?;
    if status.workers.is_empty() {
        writeln!(out, "no mailer is running")?;
    }
    for worker in &status.workers {
        writeln!(out, "{}  {}", worker.name, worker.server)?;
        write!(out, "  {} since {}", worker.state.name(), worker.since)?;
        match &worker.error {
            Some(error) => writeln!(out, ": {error}")?,
            None => writeln!(out)?,
        }
    }
    output::write(&out)
}
