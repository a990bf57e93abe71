//! Lines of a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;

/// Maximum length of a line, in bytes.
pub(super) const LONGEST_LINE: usize = 1024 * 1024;

/// Reads the lines of a file, which end with LF or CR LF. Memory use is bounded for any content.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    read: u64,
    size: u64,
}

/// A line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// The whole line is in [`Lines::line`].
    Whole,
    /// The line is longer than [`LONGEST_LINE`].
    TooLong,
}

impl Lines {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be read", path.display());
        let file = File::open(path).with_context(cannot)?;
        let found = file.metadata().with_context(cannot)?;
        anyhow::ensure!(!found.is_dir(), "{} is a directory", path.display());
        Ok(Self {
            reader: BufReader::with_capacity(64 * 1024, file),
            line: Vec::new(),
            number: 0,
            read: 0,
            size: found.len(),
        })
    }

    /// Reads the next line. Returns `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        let line = self.read_line();
        line.with_context(|| format!("line {} cannot be read", self.number + 1))
    }

    /// The line that was read last, with LF as its end. A byte order mark is omitted.
    pub(super) fn line(&self) -> &[u8] {
        let mark = "\u{feff}".as_bytes();
        let line = self.line.strip_prefix(mark).filter(|_| self.number == 1);
        line.unwrap_or(&self.line)
    }

    /// Number of the line that was read last, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Number of bytes that were read, and size of the file.
    pub(super) const fn position(&self) -> (u64, u64) {
        (self.read, self.size)
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LONGEST_LINE as u64 + 1);
        let length = limited.read_until(b'\n', &mut self.line)?;
        if length == 0 {
            return Ok(None);
        }
        self.read += length as u64;
        self.number += 1;
        let is_whole = self.line.ends_with(b"\n") || length <= LONGEST_LINE;
        if !is_whole {
            self.skip_line()?;
            return Ok(Some(Line::TooLong));
        }
        let end = [b"\r\n".as_slice(), b"\n"]
            .into_iter()
            .find(|end| self.line.ends_with(end));
        self.line.truncate(self.line.len() - end.map_or(0, <[u8]>::len));
        self.line.push(b'\n');
        Ok(Some(Line::Whole))
    }

    /// Skips the rest of a line.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let rest = self.reader.fill_buf()?;
            let end = rest.iter().position(|byte| *byte == b'\n');
            let skipped = end.map_or(rest.len(), |end| end + 1);
            self.reader.consume(skipped);
            self.read += skipped as u64;
            if end.is_some() || skipped == 0 {
                return Ok(());
            }
        }
    }
}
