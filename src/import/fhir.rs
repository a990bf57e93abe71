//! FHIR R4 Patient resources, one on each line.

use std::path::Path;

use eventstore::Timestamp;

use super::file::FileRows;
use super::lines::{LONGEST_LINE, Line, Lines};
use super::row::{Code, Place, Read, Row, Unfit};
use crate::fhir::Patient;

/// Length of a date such as `2026-01-31`.
const DATE: usize = 10;

/// The lines of a file.
pub(super) struct FhirRows {
    lines: Lines,
    /// Date at which the import began.
    today: String,
}

impl FhirRows {
    /// Opens a file. `now` determines which names and contacts are out of use.
    pub(super) fn open(path: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let now = now.to_string();
        Ok(Self {
            lines: Lines::open(path)?,
            // The date in RFC 3339.
            today: now.chars().take(DATE).collect(),
        })
    }

    /// Reads the resource on a line.
    fn row(&self, place: Place, line: &[u8]) -> Read {
        let unfit = |code, reason| Read::Unfit(Unfit::whole(place, code, reason));
        // The message of serde_json is omitted, because it can quote the line.
        let Ok(patient) = serde_json::from_slice::<Patient>(line) else {
            return unfit(Code::Malformed, "is not a FHIR resource in JSON");
        };
        if patient.resource_type != "Patient" {
            return unfit(Code::NotAPatient, "has another resource than a Patient");
        }
        if !patient.is_active() {
            return unfit(Code::Inactive, "has a patient who is not active");
        }
        if patient.is_deceased() {
            return unfit(Code::Inactive, "has a patient who is deceased");
        }
        Read::Row(Row {
            place,
            values: patient.into_values(&self.today),
        })
    }
}

impl FileRows for FhirRows {
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        while let Some(line) = self.lines.next()? {
            let place = Place::Line(self.lines.number());
            if line == Line::TooLong {
                let reason = format!("is longer than {LONGEST_LINE} bytes");
                return Ok(Some(Read::Unfit(Unfit::whole(place, Code::TooLong, &reason))));
            }
            if !self.lines.line().trim_ascii().is_empty() {
                return Ok(Some(self.row(place, self.lines.line())));
            }
        }
        Ok(None)
    }

    fn read(&self) -> (u64, u64) {
        self.lines.position()
    }
}
