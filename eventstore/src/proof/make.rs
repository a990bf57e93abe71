//! Making a proof, in one pass over the links.

use super::{Consistency, Format, Inclusion, Proof, ProofError, Tree};
use crate::error::Error;
use crate::event::{Hash, Position, RecordedEvent};
use crate::log::EventLog;
use crate::merkle::{Frontier, Path, for_each_link, leaf};
use crate::verify::{self, Misfit};

/// What is to be proved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// The last position of the log that is spoken of; the head if it is not said.
    pub tree: Option<Position>,
    /// The event that it holds.
    pub event: Option<Position>,
    /// The last position of the earlier log that it goes on from.
    pub from: Option<Position>,
}

/// Why there is no such proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The log could not be read, or is damaged.
    #[error(transparent)]
    Log(#[from] Error),
    /// `log_head` does not fit the log.
    #[error("the log does not fit at {0}")]
    Misfit(#[from] Misfit),
    /// The log that is spoken of does not reach that far.
    #[error("there is no position {position}: the log ends at {end}")]
    Beyond {
        /// The position that was asked for.
        position: Position,
        /// The last one.
        end: Position,
    },
    /// Positions count from 1.
    #[error("positions count from 1")]
    Zero,
    /// What the log says does not make a proof.
    #[error("the log is damaged: {0}")]
    Unsound(#[from] ProofError),
}

/// Makes a proof. Reads every hash up to the end of the log that is spoken of; the proof has about `log2(n)`
/// of them.
///
/// # Errors
///
/// [`ProveError`].
pub async fn prove(
    log: &EventLog,
    request: Request,
    progress: impl FnMut(Position),
) -> Result<Proof, ProveError> {
    let head = verify::head(log).await??.position;
    let end = request.tree.unwrap_or(head);
    for (asked, end) in [(request.tree, head), (request.event, end), (request.from, end)] {
        match asked {
            Some(Position::BEGINNING) => return Err(ProveError::Zero),
            Some(position) if position > end => return Err(ProveError::Beyond { position, end }),
            _ => {}
        }
    }
    let event = match request.event {
        Some(position) => Some(event(log, position).await?),
        None => None,
    };
    let from = request.from.map_or(0, Position::get);

    let (mut tree, mut earlier) = (Frontier::default(), Frontier::default());
    let index = request.event.map_or(u64::MAX, |position| position.get() - 1);
    let mut inclusion = Path::inclusion(index, end.get());
    let mut consistency = Path::consistency(from, end.get());
    let each = |index, link| {
        let leaf = leaf(&link);
        tree.push(leaf);
        if index < from {
            earlier.push(leaf);
        }
        inclusion.push(index, leaf);
        consistency.push(index, leaf);
    };
    for_each_link(log, end, each, progress).await?;

    let proof = Proof {
        format: Format::V1,
        tree: Tree {
            size: tree.size(),
            root: tree.root(),
        },
        inclusion: event.map(|(event, previous_hash)| Inclusion {
            event,
            previous_hash,
            path: inclusion.hashes(),
        }),
        consistency: request.from.map(|_| Consistency {
            size: earlier.size(),
            root: earlier.root(),
            path: consistency.hashes(),
        }),
    };
    proof.check()?;
    Ok(proof)
}

/// The event at a position, and the link before it.
async fn event(log: &EventLog, position: Position) -> Result<(RecordedEvent, Hash), ProveError> {
    let before = Position::new(position.get() - 1).unwrap_or_default();
    let mut events = log.at(&[before, position]).await?;
    let event = events.pop().filter(|event| event.position == position);
    let missing = |position| Error::Damaged {
        position,
        what: "it is missing",
    };
    let event = event.ok_or_else(|| missing(position))?;
    let previous = match events.pop() {
        Some(previous) => previous.hash,
        None if before == Position::BEGINNING => Hash::default(),
        None => return Err(missing(before).into()),
    };
    Ok((event, previous))
}
