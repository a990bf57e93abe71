//! The line format of exported events: writing, and reading back when an export resumes.

use api::FeedEvent;
use clap::ValueEnum;
use eventstore::{RecordedEvent, strict_json};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The CSV columns, in order.
const COLUMNS: [&str; 10] = [
    "position",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "event_type",
    "event_version",
    "payload",
    "metadata",
    "recorded_at",
    "hash",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExportFormat {
    /// One JSON object per line, as in GET /events
    Ndjson,
    /// Comma-separated values with a header line; payload and metadata are JSON
    Csv,
}

impl ExportFormat {
    /// Returns the text before the first event. Open exports have one more column.
    pub(super) fn heading(self, open: bool) -> String {
        match self {
            Self::Ndjson => String::new(),
            Self::Csv if open => COLUMNS.join(",") + ",opened\n",
            Self::Csv => COLUMNS.join(",") + "\n",
        }
    }

    /// Appends an event with its opened payload to `out`.
    pub(super) fn write_open(self, event: &FeedEvent, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Ndjson => {
                serde_json::to_writer(&mut *out, event)?;
                out.push(b'\n');
            }
            Self::Csv => {
                self.write(&event.event, out)?;
                // The line of the event, without its end, and one more column.
                out.pop();
                out.push(b',');
                let opened = event
                    .opened
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string);
                csv::Writer::from_writer(out).write_record([opened.as_str()])?;
            }
        }
        Ok(())
    }

    /// Appends an event to `out`.
    pub(super) fn write(self, event: &RecordedEvent, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Ndjson => {
                serde_json::to_writer(&mut *out, event)?;
                out.push(b'\n');
            }
            Self::Csv => csv::Writer::from_writer(out).write_record([
                event.position.to_string().as_str(),
                event.aggregate_type.as_str(),
                event.aggregate_id.as_str(),
                event.sequence.to_string().as_str(),
                event.event_type.as_str(),
                event.event_version.as_str(),
                event.payload.to_string().as_str(),
                event.metadata.to_string().as_str(),
                event.recorded_at.to_string().as_str(),
                event.hash.to_string().as_str(),
            ])?,
        }
        Ok(())
    }

    /// Parses the event on a line; `None` if the line is not an event.
    pub(super) fn read(self, line: &[u8]) -> Option<RecordedEvent> {
        match self {
            Self::Ndjson => serde_json::from_slice(line).ok(),
            Self::Csv => {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
                let record = reader.records().next()?.ok()?;
                let number = |column: usize| record.get(column)?.parse::<u64>().ok();
                let value = |column: usize| strict_json(record.get(column)?).ok();
                serde_json::from_value(json!({
                    "position": number(0)?,
                    "aggregate_type": record.get(1)?,
                    "aggregate_id": record.get(2)?,
                    "sequence": number(3)?,
                    "event_type": record.get(4)?,
                    "event_version": record.get(5)?,
                    "payload": value(6)?,
                    "metadata": value(7)?,
                    "recorded_at": record.get(8)?,
                    "hash": record.get(9)?,
                }))
                .ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the cells of the event's CSV line that a spreadsheet would evaluate as a formula
    /// (<https://owasp.org/www-community/attacks/CSV_Injection>).
    fn cells_of_formulas(event: &RecordedEvent) -> usize {
        let mut line = Vec::new();
        ExportFormat::Csv.write(event, &mut line).unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&line[..]);
        let record = reader.records().next().unwrap().unwrap();
        record
            .iter()
            .filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']))
            .count()
    }

    #[test]
    fn an_exported_event_is_parsed_unchanged() {
        let event: RecordedEvent = serde_json::from_value(json!({
            "position": 7,
            "aggregate_type": "patient",
            "aggregate_id": "a, \"b\"",
            "sequence": 1,
            "event_type": "PatientRegistered",
            "event_version": "1.0",
            "payload": {"=1+1": "=1+1", "name": "Zoë, \"Z\"\n=1+1", "n": [1, 0.5, null]},
            "metadata": {},
            "recorded_at": "2026-11-24T06:51:04.123456Z",
            "hash": "0f".repeat(32),
        }))
        .unwrap();
        assert_eq!(
            cells_of_formulas(&event),
            0,
            "what somebody sent is in objects, which no spreadsheet reckons"
        );
        for format in [ExportFormat::Ndjson, ExportFormat::Csv] {
            let mut line = Vec::new();
            format.write(&event, &mut line).unwrap();
            let ends = line.split(|byte| *byte == b'\n').count();
            assert_eq!(ends, 2, "{format:?}");
            assert_eq!(format.read(&line), Some(event.clone()), "{format:?}");
            assert_eq!(format.read(&line[..line.len() / 2]), None);
            assert_eq!(format.read(b"\n"), None);
            assert_eq!(format.read(format.heading(false).as_bytes()), None);
        }
    }
}
