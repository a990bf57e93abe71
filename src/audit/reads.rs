//! `patients audit reads`: the record of all reads.

use api::read_log::{ReadLog, ReadsWanted, RecordedRead};
use eventstore::{Database, SystemClock};

use crate::output::{print, print_json};

pub(super) async fn run(
    database: &Database,
    wanted: ReadsWanted,
    limit: u32,
    json: bool,
) -> anyhow::Result<()> {
    let log = ReadLog::start(database.clone(), SystemClock::shared());
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
