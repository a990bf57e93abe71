//! Reading the leaves from the log.

use super::{Frontier, leaf};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::EventLog;
use crate::scan::{Columns, link, scan};

/// Calls `each` with every link from the first up to `end`, in order, and with the index of its leaf. Calls
/// `progress` with the position reached after each block. The links are read as stored: only
/// [`verify`](crate::verify()) detects altered events.
pub(crate) async fn for_each_link(
    log: &EventLog,
    end: Position,
    mut each: impl FnMut(u64, Hash),
    mut progress: impl FnMut(Position),
) -> Result<()> {
    let mut blocks = scan(log.database(), Columns::Links, Position::BEGINNING, end);
    let mut position = Position::BEGINNING;
    let missing = |position| Error::Damaged {
        position,
        what: "the event is missing",
    };
    while let Some(block) = blocks.recv().await {
        for row in &block? {
            let index = position.get();
            position = position.next();
            if row.get::<Position, _>(0)? != position {
                return Err(missing(position));
            }
            each(
                index,
                link(row, 1).map_err(|what| Error::Damaged { position, what })?,
            );
        }
        progress(position);
    }
    if position < end {
        return Err(missing(position.next()));
    }
    Ok(())
}

/// Returns the root of the tree over all events up to `end`. Reads every hash up to `end`.
///
/// # Errors
///
/// [`Error::Database`]; [`Error::Damaged`] if an event up to `end` is missing.
pub async fn root(log: &EventLog, end: Position, progress: impl FnMut(Position)) -> Result<Hash> {
    let mut tree = Frontier::default();
    for_each_link(log, end, |_, link| tree.push(leaf(&link)), progress).await?;
    Ok(tree.root())
}
