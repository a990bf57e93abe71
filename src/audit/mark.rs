//! The durable prefix of an export file. It lets even a repeatedly interrupted export make progress.
//!
//! Checking the chain of an interrupted export again takes about as long as writing it. Without marks, an
//! export that is always killed after the same time would never finish. `NAME.part.mark` records the length
//! up to which the part was checked and flushed, with a digest of those bytes. Comparing the digest is many
//! times faster than checking the chain.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use eventstore::{Clock, Hash, Position, SystemClock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::file::{beside, open_private};
use super::format::ExportFormat;

/// Minimum time between two marks.
const EVERY: Duration = Duration::from_millis(100);
/// Divisor of the maximum share of time spent on marks: one part in `SHARE`.
const SHARE: u32 = 10;
/// Maximum length of the mark file, in bytes.
const LONGEST: u64 = 4096;
/// Size of a read, in bytes.
const BLOCK: usize = 64 * 1024;

/// The durable prefix of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// The export: the position after which it begins, and its format.
    pub(super) after: Position,
    pub(super) format: ExportFormat,
    /// The last event of the prefix, and its hash.
    pub(super) position: Position,
    pub(super) hash: Hash,
    /// The length of the prefix in bytes, and its SHA-256.
    length: u64,
    sha256: Hash,
}

/// Length and digest of the bytes written so far.
#[derive(Clone, Default)]
pub(super) struct Written {
    pub(super) length: u64,
    digest: Sha256,
}

impl Written {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Reads the first `length` bytes of a file; `None` if the file is shorter.
    fn read(file: &mut File, length: u64) -> std::io::Result<Option<Self>> {
        let mut written = Self::default();
        file.seek(SeekFrom::Start(0))?;
        let mut reader = file.take(length);
        let mut block = vec![0; BLOCK];
        loop {
            match reader.read(&mut block)? {
                0 => break,
                read => written.add(&block[..read]),
            }
        }
        Ok((written.length == length).then_some(written))
    }

    fn sha256(&self) -> Hash {
        Hash(self.digest.clone().finalize().into())
    }
}

/// The mark file of an export.
pub(super) struct Marks {
    path: PathBuf,
    file: File,
    /// Earliest time of the next mark.
    next: Duration,
}

impl Marks {
    /// Opens the mark file of the export to `target`.
    pub(super) fn open(target: &Path) -> anyhow::Result<Self> {
        let path = beside(target, ".part.mark");
        let file = open_private(&path)?;
        Ok(Self {
            path,
            file,
            next: SystemClock.monotonic() + EVERY,
        })
    }

    /// Returns the last mark and the prefix it describes, if `part` still begins with that prefix.
    pub(super) fn last(&self, part: &mut File) -> std::io::Result<Option<(Mark, Written)>> {
        let mut text = Vec::new();
        (&self.file).take(LONGEST).read_to_end(&mut text)?;
        // A mark that was only partly written is ignored.
        let Ok(mark) = serde_json::from_slice::<Mark>(&text) else {
            return Ok(None);
        };
        let written = Written::read(part, mark.length)?;
        Ok(written
            .filter(|written| written.sha256() == mark.sha256)
            .map(|written| (mark, written)))
    }

    /// Flushes the part and writes a mark, if enough time has passed since the last mark.
    pub(super) fn make(
        &mut self,
        part: &File,
        written: &Written,
        export: (Position, ExportFormat),
        last: (Position, Hash),
    ) -> anyhow::Result<()> {
        let begun = SystemClock.monotonic();
        if begun < self.next {
            return Ok(());
        }
        let mark = Mark {
            after: export.0,
            format: export.1,
            position: last.0,
            hash: last.1,
            length: written.length,
            sha256: written.sha256(),
        };
        let text = serde_json::to_vec(&mark)?;
        let make = || {
            part.sync_data()?;
            self.file.write_all_at(&text, 0)?;
            self.file.set_len(text.len() as u64)
        };
        make().with_context(|| format!("{} cannot be written", self.path.display()))?;
        let ended = SystemClock.monotonic();
        self.next = ended + EVERY.max(ended.saturating_sub(begun) * SHARE);
        Ok(())
    }

    /// Removes the mark file of a finished export.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("{} cannot be removed", self.path.display())),
        }
    }
}
