//! FHIR R4 Patient resources, one on each line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use super::file::{self, FileRows, LONGEST_LINE};
use super::row::{Code, Place, Read, Row, Unfit};
use crate::fhir::Patient;

/// The lines of a file.
pub(super) struct FhirRows {
    reader: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    read: u64,
    size: u64,
}

impl FhirRows {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let (file, size) = file::open(path)?;
        Ok(Self {
            reader: BufReader::with_capacity(64 * 1024, file),
            line: Vec::new(),
            number: 0,
            read: 0,
            size,
        })
    }

    /// Reads the next line. Returns `None` at the end, and `false` if the line is too long.
    fn next_line(&mut self) -> std::io::Result<Option<bool>> {
        self.line.clear();
        let most = LONGEST_LINE as u64 + 1;
        let length = self
            .reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        if length == 0 {
            return Ok(None);
        }
        self.read += length as u64;
        self.number += 1;
        if self.line.ends_with(b"\n") || length <= LONGEST_LINE {
            return Ok(Some(true));
        }
        loop {
            let rest = self.reader.fill_buf()?;
            let end = rest.iter().position(|byte| *byte == b'\n');
            let skipped = end.map_or(rest.len(), |end| end + 1);
            let is_last = end.is_some() || rest.is_empty();
            self.reader.consume(skipped);
            self.read += skipped as u64;
            if is_last {
                return Ok(Some(false));
            }
        }
    }
}

impl FileRows for FhirRows {
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        loop {
            let Some(is_whole) = self.next_line()? else {
                return Ok(None);
            };
            let place = Place::Line(self.number);
            if !is_whole {
                let reason = format!("is longer than {LONGEST_LINE} bytes");
                return Ok(Some(Read::Unfit(Unfit::whole(place, Code::TooLong, &reason))));
            }
            let line = self
                .line
                .strip_prefix("\u{feff}".as_bytes())
                .unwrap_or(&self.line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(row(place, line)));
        }
    }

    fn read(&self) -> (u64, u64) {
        (self.read, self.size)
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
