//! The pass over the rows.

use tokio::sync::mpsc;

use super::{Mismatch, Problem, TimeBreak, TimeBreaks, Trusted, Verified};
use crate::append::CLOCKS_APART;
use crate::clock::Timestamp;
use crate::database::Row;
use crate::error::Result;
use crate::event::{Hash, Position};
use crate::merkle::{Frontier, leaf};
use crate::scan::StoredEvent;

/// An intact chain, and the first trusted head beyond its end, if any.
pub(super) type Checked = (Verified, Option<Trusted>);

/// Where and how the chain is broken.
pub(super) enum Broken {
    /// The problem is already known.
    At(Mismatch),
    /// The event at this position does not follow from the link before it.
    Unlinked { position: Position, previous: Hash },
}

/// The chain verified so far, and the heads to compare it with.
pub(super) struct Chain {
    position: Position,
    hash: Hash,
    recorded_at: Timestamp,
    tree: Frontier,
    breaks: TimeBreaks,
    end: Position,
    /// Trusted heads that are not reached yet, in descending order of position.
    trusted: Vec<Trusted>,
    /// Position of the last trusted head that matched.
    trusted_up_to: Position,
    scratch: Vec<u8>,
}

impl Chain {
    pub(super) fn new(mut trusted: Vec<Trusted>, end: Position) -> Self {
        trusted.sort_unstable_by_key(|trusted| std::cmp::Reverse(trusted.position));
        Self {
            position: Position::BEGINNING,
            hash: Hash::default(),
            recorded_at: Timestamp::default(),
            tree: Frontier::default(),
            breaks: TimeBreaks::default(),
            end,
            trusted,
            trusted_up_to: Position::BEGINNING,
            scratch: Vec::new(),
        }
    }

    /// Verifies all rows until the channel closes.
    pub(super) fn check(
        mut self,
        mut blocks: mpsc::Receiver<Result<Vec<Row>>>,
        mut progress: impl FnMut(Position),
    ) -> Result<Result<Checked, Broken>> {
        if let Err(broken) = self.compare() {
            return Ok(Err(broken));
        }
        while let Some(block) = blocks.blocking_recv() {
            for row in &block? {
                if let Err(broken) = self.add(row) {
                    return Ok(Err(broken));
                }
            }
            progress(self.position);
        }
        Ok(self.finish())
    }

    fn add(&mut self, row: &Row) -> Result<(), Broken> {
        let position = self.position.next();
        let at = |problem| Broken::At(Mismatch { position, problem });
        // Check the position first: an unreadable row after a gap is not the first problem.
        match row.get::<Position, _>(0) {
            Ok(found) if found == position => {}
            Ok(_) => return Err(at(Problem::Missing)),
            Err(_) => {
                let what = "its position is not a number";
                return Err(at(Problem::Unreadable { what }));
            }
        }
        let unreadable = |what| at(Problem::Unreadable { what });
        let event = StoredEvent::of(row).map_err(unreadable)?;
        let link = event
            .link(&self.hash, position, &mut self.scratch)
            .map_err(unreadable)?;
        if link != event.hash {
            let previous = self.hash;
            return Err(Broken::Unlinked { position, previous });
        }
        let recorded_at = event.recorded_at;
        if recorded_at < self.recorded_at && position > Position::BEGINNING.next() {
            if self.recorded_at.since(recorded_at) <= CLOCKS_APART {
                return Err(at(Problem::TimeBack));
            }
            self.breaks.add(TimeBreak {
                position,
                before: self.recorded_at,
                after: recorded_at,
            });
        }
        self.position = position;
        self.hash = link;
        self.recorded_at = recorded_at;
        self.tree.push(leaf(&link));
        self.compare()
    }

    /// Compares the chain with the trusted heads at this position.
    fn compare(&mut self) -> Result<(), Broken> {
        while let Some(trusted) = self.trusted.pop_if(|trusted| trusted.position == self.position) {
            if trusted.hash != self.hash && trusted.hash != self.tree.root() {
                return Err(Broken::At(Mismatch {
                    position: self.position,
                    problem: Problem::TrustedDiffers {
                        after: self.trusted_up_to,
                    },
                }));
            }
            self.trusted_up_to = self.position;
        }
        Ok(())
    }

    fn finish(self) -> Result<Checked, Broken> {
        if self.position < self.end {
            return Err(Broken::At(Mismatch {
                position: self.position.next(),
                problem: Problem::Missing,
            }));
        }
        let beyond = self.trusted.last().copied();
        let whole = Verified {
            position: self.position,
            hash: self.hash,
            root: self.tree.root(),
            recorded_at: self.recorded_at,
            breaks: self.breaks,
        };
        Ok((whole, beyond))
    }
}
