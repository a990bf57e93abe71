//! The leaves, as the log has them.

use super::{Frontier, leaf};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::EventLog;
use crate::scan::{Columns, link, scan};

/// Takes the links from the first up to `end` in order, each with the index of its leaf, and `progress` now
/// and then. They are taken as they are stored: what was altered behind them is for
/// [`verify`](crate::verify()) to find.
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
        what: "it is missing",
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

/// The root of the tree over all events up to `end`. Reads every hash up to there.
///
/// # Errors
///
/// [`Error::Database`]; [`Error::Damaged`] if an event up to there is missing.
pub async fn root(log: &EventLog, end: Position, progress: impl FnMut(Position)) -> Result<Hash> {
    let mut tree = Frontier::default();
    for_each_link(log, end, |_, link| tree.push(leaf(&link)), progress).await?;
    Ok(tree.root())
}
