//! FHIR R4 Patient resources, one on each line.

use std::path::Path;

use super::file::FileRows;
use super::lines::{LONGEST_LINE, Line, Lines};
use super::row::{Code, Place, Read, Row, Unfit};
use crate::fhir::Patient;

/// The lines of a file.
pub(super) struct FhirRows(Lines);

impl FhirRows {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(Lines::open(path)?))
    }
}

impl FileRows for FhirRows {
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        while let Some(line) = self.0.next()? {
            let place = Place::Line(self.0.number());
            if line == Line::TooLong {
                let reason = format!("is longer than {LONGEST_LINE} bytes");
                return Ok(Some(Read::Unfit(Unfit::whole(place, Code::TooLong, &reason))));
            }
            if !self.0.line().trim_ascii().is_empty() {
                return Ok(Some(row(place, self.0.line())));
            }
        }
        Ok(None)
    }

    fn read(&self) -> (u64, u64) {
        self.0.position()
    }
}

/// Reads the resource on a line.
fn row(place: Place, line: &[u8]) -> Read {
    let unfit = |code, reason| Read::Unfit(Unfit::whole(place, code, reason));
    // The message of serde_json is omitted, because it can quote the line.
    let Ok(patient) = serde_json::from_slice::<Patient>(line) else {
        return unfit(Code::Malformed, "is not a FHIR resource in JSON");
    };
    if patient.resource_type != "Patient" {
        return unfit(Code::NotAPatient, "has another resource than a Patient");
    }
    if patient.active == Some(false) {
        return unfit(Code::Inactive, "has a patient who is not active");
    }
    Read::Row(Row {
        place,
        values: patient.into_values(),
    })
}
