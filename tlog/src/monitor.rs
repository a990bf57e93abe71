//! A monitor: it follows the checkpoints of a log from outside.

use transparency::checkpoint::SignedCheckpoint;
use transparency::note::Verified;
use transparency::policy::{Policy, Untrusted};

use crate::source::{LogSource, SourceError, extends};

/// What a monitor has detected. Only people can decide what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Alarm {
    /// The log has signed two checkpoints, and the later tree does not extend the earlier tree.
    #[error(
        "fork: the checkpoint of {} events does not extend the checkpoint of {old} events that was seen before: \
         events were changed, removed or inserted",
        new.checkpoint().size()
    )]
    Fork {
        /// Size of the checkpoint that was seen before.
        old: u64,
        /// The checkpoint that does not extend it.
        new: Box<SignedCheckpoint>,
    },
    /// The newest checkpoint is smaller than a checkpoint that was seen before.
    #[error(
        "the log has shrunk: its newest checkpoint has {new} events, but a checkpoint of {old} events was seen before"
    )]
    Shrunk {
        /// Size of the checkpoint that was seen before.
        old: u64,
        /// Size of the newest checkpoint.
        new: u64,
    },
    /// The newest checkpoint is not signed by the log, or a known signature is invalid.
    #[error("the newest checkpoint is not trusted: {0}")]
    Signature(#[source] Untrusted),
}

/// Reason why a check did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The log is not what it was.
    #[error(transparent)]
    Alarm(#[from] Alarm),
    /// The log cannot be read, so nothing is known.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What a monitor has seen, without an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Number of events of the newest checkpoint.
    pub size: u64,
    /// Whether the checkpoint is larger than each checkpoint that was seen before.
    pub is_newer: bool,
    /// Whether enough witnesses have cosigned.
    pub has_quorum: bool,
    /// The time, in seconds since 1970-01-01 UTC, since which enough witnesses have stated that the
    /// checkpoint is the newest. `None` without a quorum.
    pub attested_at: Option<u64>,
}

/// A monitor of one log.
#[derive(Debug)]
pub struct Monitor {
    policy: Policy,
    last: Option<SignedCheckpoint>,
}

impl Monitor {
    /// Makes a monitor that trusts checkpoints by this policy. `last` is the last checkpoint that was seen.
    ///
    /// # Errors
    ///
    /// If `last` is not signed by the log.
    pub fn new(policy: Policy, last: Option<SignedCheckpoint>) -> Result<Self, Untrusted> {
        if let Some(last) = &last {
            signatures(&policy, last)?;
        }
        Ok(Self { policy, last })
    }

    /// The last checkpoint that was seen.
    #[must_use]
    pub const fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// Reads the newest checkpoint, checks its signatures, and checks by a proof from tiles that it extends
    /// the last one. Then it becomes the last one.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub async fn check(&mut self, source: &impl LogSource) -> Result<Seen, MonitorError> {
        let newest = source.checkpoint().await?;
        let attested_at = signatures(&self.policy, &newest).map_err(Alarm::Signature)?;
        let new = newest.checkpoint();
        let before = self.last.as_ref().map(SignedCheckpoint::checkpoint);
        let mut is_newer = true;
        if let Some(old) = before {
            is_newer = new.size() > old.size();
            if new.size() < old.size() {
                let (old, new) = (old.size(), new.size());
                return Err(Alarm::Shrunk { old, new }.into());
            }
            if !extends(source, old, new).await? {
                let (old, new) = (old.size(), Box::new(newest));
                return Err(Alarm::Fork { old, new }.into());
            }
        } else {
            crate::source::frontier(source, new).await?;
        }
        let seen = Seen {
            size: new.size(),
            is_newer,
            has_quorum: attested_at.is_some() || self.policy.quorum() == 0,
            attested_at,
        };
        self.last = Some(newest);
        Ok(seen)
    }
}

/// Checks the signatures of a checkpoint. Cosignatures can be missing, because witnesses cosign a checkpoint
/// after it was published. If there are enough, returns the time since which they exist.
fn signatures(policy: &Policy, signed: &SignedCheckpoint) -> Result<Option<u64>, Untrusted> {
    let verified = match policy.check(signed) {
        Ok(verified) => verified,
        Err(Untrusted::Quorum { .. }) => return Ok(None),
        Err(untrusted) => return Err(untrusted),
    };
    let Some(last) = policy.quorum().checked_sub(1) else {
        return Ok(None);
    };
    let mut times: Vec<(&str, u64)> = Vec::new();
    for Verified { key, timestamp } in verified {
        let Some(time) = timestamp else { continue };
        // A witness with two keys counts once.
        match times.iter_mut().find(|(name, _)| *name == key.name()) {
            Some((_, latest)) => *latest = time.max(*latest),
            None => times.push((key.name(), time)),
        }
    }
    times.sort_unstable_by_key(|(_, time)| std::cmp::Reverse(*time));
    Ok(times.get(last).map(|(_, time)| *time))
}
