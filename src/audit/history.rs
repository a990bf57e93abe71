//! `patients audit history` and `patients audit state`: one patient, deleted or not, read from the log alone.

use anyhow::bail;
use api::history::{HistoryEntry, LookupRecord, PastLookup, PatientHistory};
use api::read_log::{ReadKind, ReadOutcome};
use domain::Until;
use eventstore::{Clock, EventLog, SystemClock, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::recorder::{ReadRange, Recorder};
use crate::output::{lines, print, print_json};

/// Number of events read at a time.
const PAGE: u32 = 500;

/// Returns every event of a patient, in order.
async fn events(log: &EventLog, id: Uuid) -> anyhow::Result<Vec<HistoryEntry>> {
    let histories = PatientHistory::new(log.clone());
    let mut events: Vec<HistoryEntry> = Vec::new();
    loop {
        let after = events.last().map_or(0, |last| last.event.sequence);
        let page = histories.entries(id, after, PAGE).await?;
        let ends = page.len() < PAGE as usize;
        events.extend(page);
        if ends {
            break;
        }
    }
    Ok(events)
}

/// Shows every event of a patient.
pub(super) async fn history(log: &EventLog, recorder: &Recorder, id: Uuid, json: bool) -> anyhow::Result<()> {
    let events = events(log, id).await?;
    let to = events.last().map(|last| last.event.sequence);
    record(recorder, ReadKind::History, id, to.map(|to| (0, to))).await?;
    if events.is_empty() {
        bail!("no patient {id} was ever registered");
    }
    if json {
        return print_json(&events);
    }
    let events: Vec<String> = events.iter().map(block).collect();
    print(&events.join("\n\n"))
}

/// Records the read of a patient: its sequence range (exclusive, inclusive), or that nothing was found.
async fn record(
    recorder: &Recorder,
    kind: ReadKind,
    id: Uuid,
    sequences: Option<(u64, u64)>,
) -> anyhow::Result<()> {
    let outcome = match sequences {
        Some(_) => ReadOutcome::Given,
        None => ReadOutcome::NotFound,
    };
    let range = ReadRange {
        patient: Some(id),
        after: sequences.map(|(after, _)| after),
        to: sequences.map(|(_, to)| to),
    };
    recorder.record(kind, outcome, range).await
}

fn block(HistoryEntry { event, changes }: &HistoryEntry) -> String {
    let heading = format!(
        "{}  {} {}  {}",
        event.sequence, event.event_type, event.event_version, event.recorded_at
    );
    let mut values = vec![("position", event.position.to_string())];
    for said in [&event.payload, &event.metadata] {
        let members = said.as_object().into_iter().flatten();
        // The payload's `type` repeats the event type.
        let members = members.filter(|(name, value)| *name != "type" || **value != event.event_type);
        values.extend(members.map(|(name, value)| {
            let shown = plain(value);
            let shown = match changes.get(name.as_str()) {
                Some(change) => format!("{} -> {shown}", plain(&change.from.as_str().into())),
                None => shown,
            };
            (name.as_str(), shown)
        }));
    }
    values.push(("hash", event.hash.to_string()));
    let body = lines(&values);
    let body: Vec<String> = body.lines().map(|line| format!("   {line}")).collect();
    format!("{heading}\n{}", body.join("\n"))
}

/// Formats a value for display: text without quotes, control characters escaped.
pub(super) fn plain(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned);
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// Shows a patient after the last event that `until` includes, as `GET /patients/{id}?at=…` does.
pub(super) async fn state(
    log: &EventLog,
    recorder: &Recorder,
    id: Uuid,
    until: Until<Timestamp>,
    json: bool,
) -> anyhow::Result<()> {
    let histories = PatientHistory::new(log.clone());
    let lookup = match until {
        Until::Moment(moment) => histories.at(id, moment, SystemClock.now()).await?,
        Until::Sequence(sequence) => histories.after(id, sequence).await?,
        Until::Now => histories.state(id, until).await?,
    };
    let entry = lookup.record();
    if entry != LookupRecord::None {
        record(recorder, ReadKind::State, id, entry.sequences()).await?;
    }
    let past = match lookup {
        PastLookup::Found(past) => past,
        PastLookup::NotRegisteredYet => bail!("no patient was registered under this id at that time"),
        PastLookup::NotFound => bail!("no patient {id} was ever registered"),
        PastLookup::Erased => bail!("the patient was erased"),
        PastLookup::NoSuchSequence { last: 0 } => bail!("sequence numbers start at 1"),
        PastLookup::NoSuchSequence { last } => bail!("the patient has {last} events"),
        PastLookup::InFuture => bail!("--at is in the future"),
    };
    let past = past.shown(id);
    if json {
        return print_json(&past);
    }
    let mut values = vec![
        ("id", id.to_string()),
        ("state", past.state.to_owned()),
        ("sequence", past.sequence.to_string()),
        ("position", past.position.to_string()),
        ("recorded at", past.recorded_at.to_string()),
    ];
    if let Some(details) = past.details {
        let details = [
            ("name", &details.name),
            ("email", &details.email),
            ("phone", &details.phone),
            ("document_url", &details.document_url),
        ];
        values.extend(details.map(|(name, value)| (name, plain(&value.as_str().into()))));
    }
    print(&lines(&values))
}
