//! The report of the rows that are not imported.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::row::{Place, Unfit};
use crate::audit::PartFile;

/// Number of reasons that are logged without a report.
const LOGGED: u64 = 10;
/// Number of bytes that are written together.
const BUFFER: usize = 64 * 1024;

/// The report. A file appears under its name when the import has ended.
pub(super) struct Report {
    file: Option<(PathBuf, PartFile)>,
    buffer: Vec<u8>,
    reasons: u64,
}

impl Report {
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let mut part = PartFile::open(path)?;
                part.file().set_len(0)?;
                Some((path.to_owned(), part))
            }
        };
        Ok(Self {
            file,
            buffer: Vec::new(),
            reasons: 0,
        })
    }

    /// Adds a reason. Without a file, logs the first reasons.
    pub(super) fn add(&mut self, unfit: &Unfit) -> anyhow::Result<()> {
        self.reasons += 1;
        if self.file.is_some() {
            serde_json::to_writer(&mut self.buffer, unfit)?;
            self.buffer.push(b'\n');
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        } else if self.reasons <= LOGGED {
            let place = match unfit.place {
                Place::Line(line) => format!("line {line}"),
                Place::Id(id) => format!("the row with the id {id}"),
            };
            let field = unfit.field.map_or("", |field| field.name());
            tracing::warn!("{place} is not imported: {field} {}", unfit.reason);
        } else if self.reasons == LOGGED + 1 {
            tracing::warn!("further reasons are not logged; --report FILE writes all of them to a file");
        }
        Ok(())
    }

    /// Writes what was added.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        if let Some((path, part)) = &mut self.file {
            part.file()
                .write_all(&self.buffer)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.file.map_or(Ok(()), |(_, part)| part.finish())
    }
}
