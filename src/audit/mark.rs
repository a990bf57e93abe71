//! How far an export into a file is durable, so that a run that is interrupted again and again still
//! advances.
//!
//! To check again what an interrupted run has written takes about as long as writing it. A run that is always
//! killed after the same time would therefore never get further. `NAME.part.mark` says up to where the part
//! was checked and flushed, with a digest of its bytes, which is many times faster to compare than the chain
//! is to check.

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
use super::format::Format;

/// The shortest time between two marks.
const EVERY: Duration = Duration::from_millis(100);
/// Maximum share of the time that marks may take: one part in as many.
const SHARE: u32 = 10;
/// Maximum length of a mark's file, in bytes.
const LONGEST: u64 = 4096;
/// Bytes that are read at a time.
const BLOCK: usize = 64 * 1024;

/// Up to where a part is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// The export: what comes before its first event, and its format.
    pub(super) after: Position,
    pub(super) format: Format,
    /// The last event up to there, and its hash.
    pub(super) position: Position,
    pub(super) hash: Hash,
    /// The bytes up to there, and their SHA-256.
    length: u64,
    sha256: Hash,
}

/// The bytes of a part so far.
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

    /// The first `length` bytes of a file; `None` if it has fewer.
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

/// The file of the marks of one export.
pub(super) struct Marks {
    path: PathBuf,
    file: File,
    /// When the next mark may be made.
    next: Duration,
}

impl Marks {
    /// Opens the marks of the export into `target`.
    pub(super) fn open(target: &Path) -> anyhow::Result<Self> {
        let path = beside(target, ".part.mark");
        let file = open_private(&path)?;
        Ok(Self {
            path,
            file,
            next: SystemClock.monotonic() + EVERY,
        })
    }

    /// The last mark, and the bytes up to it, if `part` still has them.
    pub(super) fn last(&self, part: &mut File) -> std::io::Result<Option<(Mark, Written)>> {
        let mut text = Vec::new();
        (&self.file).take(LONGEST).read_to_end(&mut text)?;
        // Half a mark is none.
        let Ok(mark) = serde_json::from_slice::<Mark>(&text) else {
            return Ok(None);
        };
        let written = Written::read(part, mark.length)?;
        Ok(written
            .filter(|written| written.sha256() == mark.sha256)
            .map(|written| (mark, written)))
    }

    /// Makes a mark if it is time: flushes the part, and then says so.
    pub(super) fn make(
        &mut self,
        part: &File,
        written: &Written,
        export: (Position, Format),
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

    /// Removes the file: the export is whole.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("{} cannot be removed", self.path.display())),
        }
    }
}
