//! Reading rows from files.

use tokio::sync::mpsc;

use super::row::{Read, Row};

/// Maximum number of rows in a batch.
pub(super) const BATCH: usize = 256;
/// Size of the values at which a batch ends, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// Maximum number of batches that wait.
const AHEAD: usize = 4;

/// Rows that were read together.
pub(super) struct Batch {
    pub(super) rows: Vec<Read>,
    /// How much was read so far, and how much there is approximately in all.
    pub(super) read: (u64, u64),
}

/// Batches, in the order of the rows. An error is the last item.
pub(super) type Batches = mpsc::Receiver<anyhow::Result<Batch>>;

/// Creates a channel for batches.
pub(super) fn channel() -> (mpsc::Sender<anyhow::Result<Batch>>, Batches) {
    mpsc::channel(AHEAD)
}

/// The rows of a file.
pub(super) trait FileRows: Send + 'static {
    /// Returns the next row; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<Read>>;

    /// Number of bytes that were read, and size of the file.
    fn read(&self) -> (u64, u64);
}

/// Reads the rows of a file ahead.
pub(super) fn read(mut rows: impl FileRows) -> Batches {
    let (sender, batches) = channel();
    tokio::task::spawn_blocking(move || {
        loop {
            let batch = next_batch(&mut rows);
            let is_last = match &batch {
                Ok(batch) => batch.rows.is_empty(),
                Err(_) => true,
            };
            // The importer has stopped if it takes no more batches.
            if sender.blocking_send(batch).is_err() || is_last {
                return;
            }
        }
    });
    batches
}

fn next_batch(rows: &mut impl FileRows) -> anyhow::Result<Batch> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Some(read) = rows.next()? else { break };
        if let Read::Row(Row { values, .. }) = &read {
            bytes += values.iter().flatten().map(String::len).sum::<usize>();
        }
        batch.push(read);
    }
    Ok(Batch {
        rows: batch,
        read: rows.read(),
    })
}
