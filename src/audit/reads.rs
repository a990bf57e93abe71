//! `patients audit reads`: the record of reads, and commands for its chains.

mod heads;
mod prune;

use api::read_log::{ReadLog, ReadLogOptions, ReadsWanted, RecordedRead};
use clap::Subcommand;
use eventstore::{Database, SystemClock, Timestamp};

use crate::output::{print, print_json};

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum ReadsCommand {
    /// Show the last link of each chain of the record, which an auditor can keep
    Heads {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete entries that were written before a time; without --yes, only count them
    Prune {
        /// Time, in RFC 3339
        #[arg(long, value_name = "TIME")]
        before: Timestamp,
        /// Delete the entries
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command for the chains.
pub(super) async fn command(database: &Database, command: ReadsCommand) -> anyhow::Result<()> {
    match command {
        ReadsCommand::Heads { json } => heads::run(database, json).await,
        ReadsCommand::Prune { before, yes, json } => prune::run(database, before, yes, json).await,
    }
}

/// Shows entries.
pub(super) async fn list(
    database: &Database,
    wanted: ReadsWanted,
    limit: u32,
    json: bool,
) -> anyhow::Result<()> {
    let log = ReadLog::start(database.clone(), SystemClock::shared(), ReadLogOptions::default());
    let reads = log.list(&wanted, limit).await;
    log.shutdown().await;
    let reads = reads?;
    if json {
        return print_json(&reads);
    }
    let mut said: Vec<String> = reads.iter().map(entry).collect();
    if let (Some(last), true) = (reads.last(), reads.len() == limit as usize) {
        said.push(format!("there may be more: --after {}", last.id));
    }
    if said.is_empty() {
        said.push("no reads were found".to_owned());
    }
    print(&said.join("\n"))
}

fn entry(read: &RecordedRead) -> String {
    let mut lines = vec![
        format!(
            "{}  {:<8}{:<10}{}",
            read.recorded_at, read.kind, read.outcome, read.via
        ),
        format!("  by {}", read.actor),
    ];
    lines.extend(read.patient_id.iter().map(|id| format!("  patient {id}")));
    lines.extend(read.event_type.iter().map(|name| format!("  type {name}")));
    let number = |name: &str, number: Option<i64>| number.map(|number| format!("{name} {number}"));
    let range: Vec<_> = [number("after", read.after), number("to", read.to)]
        .into_iter()
        .flatten()
        .collect();
    if !range.is_empty() {
        lines.push(format!("  {}", range.join(" ")));
    }
    lines.extend(read.request_id.iter().map(|id| format!("  request {id}")));
    lines.join("\n")
}
