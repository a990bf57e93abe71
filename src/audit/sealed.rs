//! `patients audit sealed`.

use domain::{PATIENT_ERASED, is_personal, is_sealed_version};
use eventstore::{EventLog, Position};
use serde_json::json;

use crate::output::{lines, print, print_json};
use crate::progress::Progress;

/// Number of events read at a time.
const PAGE: u32 = 500;
/// Maximum number of positions that are shown.
const NAMED: usize = 10;

/// Counts the events with personal data, sealed and unencrypted. Reads the whole log.
pub(super) async fn run(log: &EventLog, json: bool) -> anyhow::Result<()> {
    let head = log.head().await?.position;
    let mut progress = Progress::start("events", 0, head.get(), json);
    let (mut sealed, mut in_clear, mut erased, mut first) = (0_u64, 0_u64, 0_u64, Vec::new());
    let mut after = Position::BEGINNING;
    while after < head {
        let page = log.stored_feed(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in &page {
            if event.event_type == PATIENT_ERASED {
                erased += 1;
            } else if is_personal(&event.event_type) {
                if is_sealed_version(&event.event_version) {
                    sealed += 1;
                } else {
                    in_clear += 1;
                    first.extend((first.len() < NAMED).then_some(event.position));
                }
            }
        }
        progress.at(after.get(), head.get());
    }
    progress.end();
    if json {
        return print_json(&json!({
            "sealed": sealed, "in_clear": in_clear, "first_in_clear": first, "erased_patients": erased,
        }));
    }
    let mut values = vec![
        ("sealed", sealed.to_string()),
        ("unencrypted", in_clear.to_string()),
        ("erased patients", erased.to_string()),
    ];
    if !first.is_empty() {
        let first: Vec<_> = first.iter().map(Position::to_string).collect();
        values.push(("first unencrypted", first.join(", ")));
    }
    print(&lines(&values))
}
