//! The report of the rows that are not imported.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::row::{Code, Field, Unfit};
use crate::audit::PartFile;

/// Number of bytes that are written together.
const BUFFER: usize = 64 * 1024;

/// The report. A file gets its final name when the import has ended. Without a file, only the number of rows
/// for each kind of reason is logged, because log lines must not contain old ids.
pub(super) struct Report {
    file: Option<(PathBuf, PartFile)>,
    buffer: Vec<u8>,
    /// Number of reasons of each kind, if no file is written.
    counts: BTreeMap<(Option<Field>, Code), u64>,
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
            counts: BTreeMap::new(),
        })
    }

    /// Adds a reason.
    pub(super) fn add(&mut self, unfit: &Unfit) -> anyhow::Result<()> {
        if self.file.is_some() {
            serde_json::to_writer(&mut self.buffer, unfit)?;
            self.buffer.push(b'\n');
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        } else {
            *self.counts.entry((unfit.field, unfit.code)).or_default() += 1;
        }
        Ok(())
    }

    /// Writes or logs what was added.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        if let Some((path, part)) = &mut self.file {
            part.file()
                .write_all(&self.buffer)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        self.buffer.clear();
        for ((field, code), rows) in std::mem::take(&mut self.counts) {
            let field = field.map_or("row", Field::name);
            tracing::warn!(
                "rows that are not imported because of `{field}` ({}): {rows}",
                code.name()
            );
        }
        Ok(())
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.file.map_or(Ok(()), |(_, part)| part.finish())
    }
}
