//! `patients audit head`.

use anyhow::anyhow;
use eventstore::{EventLog, Hash, Position, Timestamp, merkle, verify};
use serde::Serialize;

use crate::output::{lines, print, print_json};
use crate::progress::Progress;

#[derive(Serialize)]
struct PrintedHead {
    position: Position,
    hash: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Hash>,
    recorded_at: Timestamp,
}

pub(super) async fn run(log: &EventLog, root: bool, json: bool) -> anyhow::Result<()> {
    let head = verify::head(log)
        .await?
        .map_err(|mismatch| anyhow!("the log is inconsistent at {mismatch}"))?;
    let root = if root {
        let all = head.position.get();
        let mut progress = Progress::start("events", 0, all, json);
        let root = merkle::root(log, head.position, |position| progress.at(position.get(), all)).await?;
        progress.end();
        Some(root)
    } else {
        None
    };
    let head = PrintedHead {
        position: head.position,
        hash: head.hash,
        root,
        recorded_at: head.recorded_at,
    };
    if json {
        return print_json(&head);
    }
    let mut values = vec![
        ("position", head.position.to_string()),
        ("hash", head.hash.to_string()),
    ];
    values.extend(head.root.map(|root| ("root", root.to_string())));
    values.push(("recorded at", head.recorded_at.to_string()));
    print(&lines(&values))
}
