//! `patients mail status`.

use std::io::Write;

use eventstore::{Clock, SystemClock};
use mailer::Ledger;
use serde_json::{Map, json};

use super::command::{Form, open};
use crate::settings::Settings;

pub(super) async fn status(settings: &Settings, form: Form) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let now = SystemClock.now();
    let status = Ledger::new(database.clone()).status(now).await?;
    database.close().await;
    let mut out = std::io::stdout().lock();
    if form.json {
        let counts: Map<_, _> = status
            .counts
            .iter()
            .map(|(state, count)| (state.name().to_owned(), json!(count)))
            .collect();
        let mailers: Vec<_> = status
            .workers
            .iter()
            .map(|worker| {
                json!({
                    "name": worker.owner, "server": worker.place, "state": worker.standing.name(),
                    "error": worker.error, "since": worker.since, "seen_at": worker.seen_at,
                })
            })
            .collect();
        let status = json!({ "mails": counts, "oldest_waiting": status.oldest_waiting, "mailers": mailers });
        writeln!(out, "{status:#}")?;
        return Ok(());
    }
    for (state, count) in &status.counts {
        writeln!(out, "{:<10}{count:>10}", state.name())?;
    }
    if let Some(oldest) = status.oldest_waiting {
        let waited = std::time::Duration::from_secs(now.since(oldest).as_secs());
        writeln!(
            out,
            "\nthe oldest that has not left has waited for {}",
            humantime::format_duration(waited)
        )?;
    }
    writeln!(out)?;
    if status.workers.is_empty() {
        writeln!(out, "no mailer runs")?;
    }
    for worker in &status.workers {
        writeln!(out, "{}  {}", worker.owner, worker.place)?;
        write!(out, "  {} since {}", worker.standing.name(), worker.since)?;
        match &worker.error {
            Some(error) => writeln!(out, ": {error}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
