//! Rows of a CSV file.

mod record;

use std::path::Path;

use anyhow::bail;
use csv_core::{Reader, ReaderBuilder, Terminator};

use super::file::FileRows;
use super::lines::{LONGEST_LINE, Line, Lines};
use super::options::ImportArguments;
use super::row::{Code, Field, Place, Read, Row, Unfit};
use record::Record;

/// The rows of a CSV file with a header.
pub(super) struct CsvRows {
    lines: Lines,
    reader: Reader,
    delimiter: u8,
    record: Record,
    /// Number of values of the header.
    width: usize,
    /// Column of each field, in the order of [`Field::ALL`].
    columns: [Option<usize>; 5],
}

impl CsvRows {
    pub(super) fn open(path: &Path, arguments: &ImportArguments) -> anyhow::Result<Self> {
        let mut rows = Self {
            lines: Lines::open(path)?,
            reader: ReaderBuilder::new()
                .delimiter(arguments.delimiter)
                .terminator(Terminator::Any(b'\n'))
                .build(),
            delimiter: arguments.delimiter,
            record: Record::default(),
            width: 0,
            columns: [None; 5],
        };
        let path = path.display();
        match rows.next_record()? {
            None => bail!("{path} has no header"),
            Some(Found::Unfit(unfit)) => bail!("the header of {path} cannot be read: it {}", unfit.reason),
            Some(Found::Record { .. }) => {}
        }
        let header: Vec<&[u8]> = rows.record.values().map(<[u8]>::trim_ascii).collect();
        if header.iter().any(|name| name.contains(&b'\r')) {
            bail!("the lines of {path} end with CR: convert the file, so that they end with LF or CR LF");
        }
        let mut columns = [None; 5];
        for (field, column) in Field::ALL.into_iter().zip(&mut columns) {
            let name = arguments.column_of(field);
            let has_name = |column: &usize| header[*column] == name.as_bytes();
            let mut found = (0..header.len()).filter(has_name);
            *column = found.next();
            let is_optional = field == Field::DocumentUrl && arguments.document_url.is_some();
            let option = field.name();
            if column.is_none() && !is_optional {
                bail!("{path} has no column {name:?}: --column {option}=NAME names the column");
            }
            if found.next().is_some() {
                bail!("{path} has several columns {name:?}: rename all but one of them in the file");
            }
        }
        rows.width = header.len();
        rows.columns = columns;
        Ok(rows)
    }
}

impl FileRows for CsvRows {
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        let found = self.next_record()?;
        Ok(found.map(|found| match found {
            Found::Record { first } => self.row(first),
            Found::Unfit(unfit) => Read::Unfit(unfit),
        }))
    }

    fn read(&self) -> (u64, u64) {
        self.lines.position()
    }
}

/// What was read from one or more lines.
enum Found {
    /// The record that begins on this line.
    Record { first: u64 },
    /// Lines that are not a record.
    Unfit(Unfit),
}

impl CsvRows {
    /// Reads the next record. Empty lines are skipped. Returns `None` at the end.
    fn next_record(&mut self) -> anyhow::Result<Option<Found>> {
        self.record.clear();
        self.reader.reset();
        let (mut first, mut length) = (None, 0);
        while let Some(read) = self.lines.next()? {
            let line = self.lines.line();
            if first.is_none() && read == Line::Whole && self.is_empty(line) {
                continue;
            }
            let first = *first.get_or_insert(self.lines.number());
            length += line.len();
            if read == Line::TooLong || length > LONGEST_LINE {
                // The next record is assumed to begin on the next line.
                let reason = format!("is longer than {LONGEST_LINE} bytes: does a quoted value not end?");
                return Ok(Some(Found::Unfit(self.unfit(first, Code::TooLong, &reason))));
            }
            if self.record.extend(&mut self.reader, line) {
                return Ok(Some(Found::Record { first }));
            }
        }
        let unended =
            first.map(|first| self.unfit(first, Code::Malformed, "has a quoted value that does not end"));
        Ok(unended.map(Found::Unfit))
    }

    fn is_empty(&self, line: &[u8]) -> bool {
        line.trim_ascii().is_empty() && !line.contains(&self.delimiter)
    }

    /// Returns a reason about the record from the line `first` to the line that was read last.
    fn unfit(&self, first: u64, code: Code, reason: &str) -> Unfit {
        let last = self.lines.number();
        let place = Place::Line(first);
        if first == last {
            Unfit::whole(place, code, reason)
        } else {
            Unfit::whole(place, code, &format!("{reason} (lines {first} to {last})"))
        }
    }

    fn row(&self, first: u64) -> Read {
        let (values, width) = (self.record.values().len(), self.width);
        if values != width {
            let reason = format!("has {values} values, but the header has {width}");
            return Read::Unfit(self.unfit(first, Code::Malformed, &reason));
        }
        let value = |column: Option<usize>| {
            let bytes = column.and_then(|column| self.record.values().nth(column));
            bytes
                .map(|bytes| std::str::from_utf8(bytes).map(str::to_owned))
                .transpose()
        };
        let [id, name, email, phone, document_url] = self.columns.map(value);
        let (Ok(id), Ok(name), Ok(email), Ok(phone), Ok(document_url)) =
            (id, name, email, phone, document_url)
        else {
            return Read::Unfit(self.unfit(first, Code::Malformed, "is not UTF-8"));
        };
        Read::Row(Row {
            place: Place::Line(first),
            values: [id, name, email, phone, document_url],
        })
    }
}
