//! Creation of a proof in one pass over the links.

use super::{Consistency, Format, Inclusion, Proof, ProofError, Tree};
use crate::error::Error;
use crate::event::{Hash, Position, RecordedEvent};
use crate::log::EventLog;
use crate::merkle::{Frontier, Path, for_each_link, leaf};
use crate::verify::{self, Mismatch};

/// Contents of a requested proof.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// Last position of the log to which the proof applies. Defaults to the head.
    pub tree: Option<Position>,
    /// Position of the event whose inclusion is proved.
    pub event: Option<Position>,
    /// Last position of the earlier log that the log extends.
    pub from: Option<Position>,
}

/// Reason why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The log could not be read, or is damaged.
    #[error(transparent)]
    Log(#[from] Error),
    /// `log_head` is inconsistent with the log, or an event precedes position 1.
    #[error("the log is inconsistent at {0}")]
    Mismatch(#[from] Mismatch),
    /// A requested position is beyond the end of the log.
    #[error("there is no position {position}: the log ends at {end}")]
    Beyond {
        /// The requested position.
        position: Position,
        /// Last position of the log.
        end: Position,
    },
    /// A requested position is 0, but positions start at 1.
    #[error("positions start at 1")]
    Zero,
    /// The proof made from the log is invalid.
    #[error("the log is damaged: {0}")]
    Unsound(#[from] ProofError),
}

/// Makes a proof of about `log2(n)` hashes. Reads every hash up to the requested end of the log.
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

/// Reads the event at a position, and the link before it.
async fn event(log: &EventLog, position: Position) -> Result<(RecordedEvent, Hash), ProveError> {
    let before = Position::new(position.get() - 1).unwrap_or_default();
    let mut events = log.at(&[before, position]).await?;
    let event = events.pop().filter(|event| event.position == position);
    let missing = |position| Error::Damaged {
        position,
        what: "the event is missing",
    };
    let event = event.ok_or_else(|| missing(position))?;
    let previous = match events.pop() {
        Some(previous) => previous.hash,
        None if before == Position::BEGINNING => Hash::default(),
        None => return Err(missing(before).into()),
    };
    Ok((event, previous))
}
