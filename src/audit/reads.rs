//! `patients audit reads`: the record of who read what.

use api::read_log::{ReadLog, ReadsWanted, RecordedRead};
use eventstore::{Database, SystemClock};

use super::output::{print, print_json};

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
    let mut said: Vec<String> = reads.iter().map(line).collect();
    if let (Some(last), true) = (reads.last(), reads.len() == limit as usize) {
        said.push(format!("there may be more: --after {}", last.id));
    }
    if said.is_empty() {
        said.push("nothing was read".to_owned());
    }
    print(&said.join("\n"))
}

fn line(read: &RecordedRead) -> String {
    let mut said = format!(
        "{}  {:<8}{:<10}{}  {}",
        read.recorded_at, read.kind, read.outcome, read.via, read.actor
    );
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    for (name, value) in [
        ("patient", read.patient_id.clone()),
        ("type", read.event_type.clone()),
        ("after", number(read.after)),
        ("to", number(read.to)),
        ("request", read.request_id.clone()),
    ] {
        if let Some(value) = value {
            said.extend(["  ", name, " ", value.as_str()]);
        }
    }
    said
}
