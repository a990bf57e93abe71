//! Rows of a CSV file.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Terminator};

use super::file::{self, FileRows, LONGEST_LINE};
use super::options::ImportArguments;
use super::row::{Code, Field, Place, Read, Row, Unfit};

/// The rows of a CSV file with a header.
pub(super) struct CsvRows {
    reader: Reader<LimitedFile>,
    /// Column of each field, in the order of [`Field::ALL`].
    columns: [Option<usize>; 5],
    record: ByteRecord,
    /// Position up to which a record may be read.
    limit: Arc<AtomicU64>,
    size: u64,
}

impl CsvRows {
    pub(super) fn open(path: &Path, arguments: &ImportArguments) -> anyhow::Result<Self> {
        let (file, size) = file::open(path)?;
        let limit = Arc::new(AtomicU64::new(limit_after(0)));
        let mut reader = ReaderBuilder::new()
            .delimiter(arguments.delimiter)
            // Records with another number of values are reported.
            .flexible(true)
            // With the default, the numbers of lines are wrong if lines end with CR and LF.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(LimitedFile {
                file,
                read: Cell::new(0),
                limit: Arc::clone(&limit),
            });
        let cannot = || format!("the header of {} cannot be read", path.display());
        let header = reader.byte_headers().with_context(cannot)?.clone();
        let column = |field: Field| {
            let name = arguments.column_of(field);
            let found = header
                .iter()
                .position(|header| header.trim_ascii() == name.as_bytes());
            let is_optional = field == Field::DocumentUrl && arguments.document_url.is_some();
            if found.is_none() && !is_optional {
                bail!(
                    "{} has no column {name:?}: --column {}=NAME names the column",
                    path.display(),
                    field.name()
                );
            }
            Ok(found)
        };
        let [id, name, email, phone, document_url] = Field::ALL.map(column);
        Ok(Self {
            columns: [id?, name?, email?, phone?, document_url?],
            record: ByteRecord::new(),
            reader,
            limit,
            size,
        })
    }
}

impl FileRows for CsvRows {
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        while let Some(place) = self.read_record()? {
            // A line that has only a CR is empty.
            if self.record.len() != 1 || !self.record[0].trim_ascii().is_empty() {
                return self.row(place).map(Some);
            }
        }
        Ok(None)
    }

    fn read(&self) -> (u64, u64) {
        (self.reader.position().byte(), self.size)
    }
}

impl CsvRows {
    /// Reads the next record. Returns the place where it begins; `None` at the end.
    fn read_record(&mut self) -> anyhow::Result<Option<Place>> {
        let start = self.reader.position().clone();
        self.limit.store(limit_after(start.byte()), Ordering::Relaxed);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {
                let start = self.record.position().unwrap_or(&start);
                Ok(Some(Place::Line(start.line())))
            }
            Ok(false) => Ok(None),
            Err(error) => {
                let cannot = format!("line {} cannot be read", start.line());
                match error.into_kind() {
                    ErrorKind::Io(error) => Err(error).context(cannot),
                    // The other errors of the reader concern values, which are read as bytes here.
                    _ => bail!(cannot),
                }
            }
        }
    }

    fn row(&mut self, place: Place) -> anyhow::Result<Read> {
        let expected = self.reader.byte_headers()?.len();
        if self.record.len() != expected {
            let reason = format!("has {} values, but the header has {expected}", self.record.len());
            return Ok(Read::Unfit(Unfit::whole(place, Code::Malformed, &reason)));
        }
        let value = |column: Option<usize>| {
            let bytes = column.and_then(|column| self.record.get(column));
            // The last value ends with the CR of the line break.
            let bytes = bytes.map(|bytes| bytes.strip_suffix(b"\r").unwrap_or(bytes));
            bytes
                .map(|bytes| std::str::from_utf8(bytes).map(str::to_owned))
                .transpose()
        };
        let [id, name, email, phone, document_url] = self.columns.map(value);
        let (Ok(id), Ok(name), Ok(email), Ok(phone), Ok(document_url)) =
            (id, name, email, phone, document_url)
        else {
            return Ok(Read::Unfit(Unfit::whole(place, Code::Malformed, "is not UTF-8")));
        };
        Ok(Read::Row(Row {
            place,
            values: [id, name, email, phone, document_url],
        }))
    }
}

/// Returns up to where a record that starts at `position` may be read.
const fn limit_after(position: u64) -> u64 {
    position + LONGEST_LINE as u64
}

/// A file of which no record can fill the memory: without an end of a quoted value, the rest of the file
/// would be one record.
struct LimitedFile {
    file: File,
    read: Cell<u64>,
    limit: Arc<AtomicU64>,
}

impl io::Read for LimitedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > self.limit.load(Ordering::Relaxed) {
            return Err(io::Error::other(format!(
                "a row is longer than {LONGEST_LINE} bytes: does a quoted value not end?"
            )));
        }
        let read = self.file.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
