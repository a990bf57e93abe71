//! The values of a CSV record.

use csv_core::{ReadRecordResult, Reader};

/// A record, which is read line by line. It can be reused.
#[derive(Default)]
pub(super) struct Record {
    /// The values, one after another, in the first `length` bytes.
    bytes: Vec<u8>,
    length: usize,
    /// End of each value, in the first `values` items.
    ends: Vec<usize>,
    values: usize,
}

impl Record {
    pub(super) const fn clear(&mut self) {
        (self.length, self.values) = (0, 0);
    }

    /// Adds a line, which ends with LF. Returns whether the record ends with the line. Otherwise, the line
    /// break belongs to a quoted value.
    pub(super) fn extend(&mut self, reader: &mut Reader, line: &[u8]) -> bool {
        let mut rest = line;
        // The reader takes an empty input as the end of the file.
        while !rest.is_empty() {
            // Values are at most as long as the text that they come from.
            self.bytes.resize(self.length + rest.len(), 0);
            let (bytes, ends) = (&mut self.bytes[self.length..], &mut self.ends[self.values..]);
            let (result, read, written, ended) = reader.read_record(rest, bytes, ends);
            rest = &rest[read..];
            self.length += written;
            self.values += ended;
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return true,
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.values + 8, 0),
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {}
            }
        }
        false
    }

    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let ends = &self.ends[..self.values];
        ends.iter().enumerate().map(|(value, end)| {
            let start = value.checked_sub(1).map_or(0, |before| ends[before]);
            &self.bytes[start..*end]
        })
    }
}
