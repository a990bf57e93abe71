//! The checkpoint that all witnesses of a log are asked to cosign.
//!
//! While the log grows, each witness answers at another moment. If each witness were asked for the checkpoint
//! that is the newest at that moment, they would cosign different checkpoints, and none would get its quorum.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Maximum duration of a round. It exceeds the timeout of a request, so that a witness that answers in time
/// can complete the quorum.
const LONGEST: Duration = Duration::from_secs(15);

/// A round: one checkpoint, which the witnesses are asked to cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    /// Size of the checkpoint.
    size: u64,
    /// Monotonic time at which the round ends without a quorum.
    ends: Duration,
    /// Whether the checkpoint has its quorum.
    has_quorum: bool,
}

/// The current round, shared by the tasks of all witnesses. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rounds(Arc<watch::Sender<Option<Round>>>);

/// Waits for the end of rounds.
pub(super) struct Changes(watch::Receiver<Option<Round>>);

impl Default for Rounds {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Changes {
    /// Ignores the changes so far.
    pub(super) fn mark_unchanged(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a round that begins or gets its quorum.
    pub(super) async fn changed(&mut self) {
        // Each task keeps a sender.
        let _ = self.0.changed().await;
    }
}

impl Rounds {
    pub(super) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Returns the size to ask for at this moment, and the time at which another round can begin although
    /// the checkpoint of this round has no quorum. `newest` is the size of the newest checkpoint.
    pub(super) fn wanted(&self, newest: u64, now: Duration) -> (u64, Option<Duration>) {
        match held(self.0.borrow().as_ref(), newest, now) {
            Some(round) => (round.size, (round.size < newest).then_some(round.ends)),
            None => (newest, None),
        }
    }

    /// Joins the current round, or begins a round for the newest checkpoint. Returns the size to ask for.
    pub(super) fn join(&self, newest: u64, now: Duration) -> u64 {
        let mut size = newest;
        self.0.send_if_modified(|current| {
            if let Some(round) = held(current.as_ref(), newest, now) {
                size = round.size;
                return false;
            }
            let has_quorum = current.is_some_and(|round| round.size == newest && round.has_quorum);
            *current = Some(Round {
                size: newest,
                ends: now + LONGEST,
                has_quorum,
            });
            true
        });
        size
    }

    /// Ends the round of this size, because its checkpoint has its quorum.
    pub(super) fn end(&self, size: u64) {
        self.0.send_if_modified(|current| match current {
            Some(round) if round.size <= size && !round.has_quorum => {
                round.has_quorum = true;
                true
            }
            _ => false,
        });
    }
}

/// Returns the current round, unless another round can begin.
fn held(current: Option<&Round>, newest: u64, now: Duration) -> Option<Round> {
    let round = current.copied()?;
    let is_over = round.has_quorum || now >= round.ends || round.size > newest;
    (!is_over).then_some(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn a_round_lasts_until_its_quorum_or_its_timeout() {
        let rounds = Rounds::default();
        assert_eq!(rounds.wanted(3, START), (3, None));
        assert_eq!(rounds.join(3, START), 3);
        let later = START + Duration::from_secs(1);
        // The log grows, and the other witnesses are asked for the same checkpoint.
        assert_eq!(rounds.wanted(9, later), (3, Some(START + LONGEST)));
        assert_eq!(rounds.join(9, later), 3);
        // The quorum of an earlier checkpoint does not end the round.
        rounds.end(2);
        assert_eq!(rounds.join(9, later), 3);
        rounds.end(3);
        assert_eq!(rounds.wanted(9, later), (9, None));
        assert_eq!(rounds.join(9, later), 9);
        assert_eq!(rounds.join(12, later), 9);
        assert_eq!(rounds.join(12, later + LONGEST), 12);
        // Another process has signed meanwhile.
        assert_eq!(rounds.join(11, later + LONGEST), 11);
    }
}
