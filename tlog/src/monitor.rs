//! A monitor, which follows the checkpoints of a published log without access to the service.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use transparency::checkpoint::SignedCheckpoint;
use transparency::note::{Verified, VerifierKey};
use transparency::policy::{Policy, Untrusted};

use crate::source::{LogSource, SourceError, extends};

/// How far in the future the time of a cosignature can be, in seconds. Without this limit, a witness with a
/// wrong clock could hide that a log is silent.
pub const MAX_AHEAD: u64 = 5 * 60;

/// A contradiction that a monitor has detected. A person must decide how to respond.
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
        "the log has shrunk: its newest checkpoint has {} events, but a checkpoint of {old} events was seen before",
        new.checkpoint().size()
    )]
    Shrunk {
        /// Size of the checkpoint that was seen before.
        old: u64,
        /// The newest checkpoint.
        new: Box<SignedCheckpoint>,
    },
    /// The newest checkpoint is not signed by the log, or a known signature is invalid.
    #[error("the newest checkpoint is not trusted: {0}")]
    Signature(#[source] Untrusted),
}

impl Alarm {
    /// Returns the checkpoint that contradicts the checkpoint that was seen before, if the log has signed
    /// one.
    #[must_use]
    pub fn evidence(&self) -> Option<&SignedCheckpoint> {
        match self {
            Self::Fork { new, .. } | Self::Shrunk { new, .. } => Some(new),
            Self::Signature(_) => None,
        }
    }
}

/// Reason why a check did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The log contradicts a checkpoint that was seen before.
    #[error(transparent)]
    Alarm(#[from] Alarm),
    /// The log cannot be read, so it could not be checked.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Result of a check without an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Number of events of the newest checkpoint.
    pub size: u64,
    /// Whether the checkpoint is larger than each checkpoint that was seen before.
    pub is_newer: bool,
    /// Whether enough witnesses have cosigned the newest checkpoint.
    pub has_quorum: bool,
    /// The latest time, in seconds since 1970-01-01 UTC, at which enough witnesses had stated that this
    /// checkpoint or an earlier one was the newest. `None` if no checkpoint with a quorum was seen.
    pub attested_at: Option<u64>,
    /// Whether a cosignature has a time more than 5 minutes in the future. This time is ignored.
    pub is_ahead: bool,
}

/// A monitor of one log.
#[derive(Debug)]
pub struct Monitor {
    policy: Policy,
    last: Option<SignedCheckpoint>,
    /// The checkpoint with the latest time of a quorum.
    attested: Option<SignedCheckpoint>,
}

impl Monitor {
    /// Makes a monitor that trusts checkpoints by this policy. `last` is the last checkpoint that was seen,
    /// and `attested` the last checkpoint with a quorum, as returned by [`Monitor::attested`].
    ///
    /// # Errors
    ///
    /// If one of the two is not signed by the log.
    pub fn new(
        policy: Policy,
        last: Option<SignedCheckpoint>,
        attested: Option<SignedCheckpoint>,
    ) -> Result<Self, Untrusted> {
        for seen in [&last, &attested].into_iter().flatten() {
            times(&policy, seen)?;
        }
        Ok(Self {
            policy,
            last,
            attested,
        })
    }

    /// The last checkpoint that was seen.
    #[must_use]
    pub const fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// The last checkpoint with a quorum that was seen. Checkpoints that are newer have no quorum yet.
    #[must_use]
    pub const fn attested(&self) -> Option<&SignedCheckpoint> {
        self.attested.as_ref()
    }

    /// Reads the newest checkpoint, checks its signatures, and checks with a proof from tiles that it extends
    /// the last checkpoint. If all checks succeed, the newest checkpoint becomes the last checkpoint. `now`
    /// is the time in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub async fn check(&mut self, source: &impl LogSource, now: u64) -> Result<Seen, MonitorError> {
        let mut newest = source.checkpoint().await?;
        times(&self.policy, &newest).map_err(Alarm::Signature)?;
        let new = newest.checkpoint();
        let mut is_newer = true;
        if let Some(last) = &self.last {
            let old = last.checkpoint();
            is_newer = new.size() > old.size();
            if new.size() < old.size() {
                let (old, new) = (old.size(), Box::new(newest));
                return Err(Alarm::Shrunk { old, new }.into());
            }
            if !extends(source, old, new).await? {
                let (old, new) = (old.size(), Box::new(newest));
                return Err(Alarm::Fork { old, new }.into());
            }
            if !is_newer {
                keep_cosignatures(&mut newest, last, &self.policy);
            }
        } else {
            crate::source::frontier(source, new).await?;
        }
        let times = times(&self.policy, &newest).map_err(Alarm::Signature)?;
        let latest = now.saturating_add(MAX_AHEAD);
        let attested_at = quorum_time(&self.policy, &times, latest);
        let before = self.attested.as_ref().and_then(|attested| {
            let times = self::times(&self.policy, attested).ok()?;
            quorum_time(&self.policy, &times, latest)
        });
        if attested_at > before {
            self.attested = Some(newest.clone());
        }
        let seen = Seen {
            size: newest.checkpoint().size(),
            is_newer,
            has_quorum: times.len() >= self.policy.quorum(),
            attested_at: attested_at.max(before),
            is_ahead: times.values().any(|time| *time > latest),
        };
        self.last = Some(newest);
        Ok(seen)
    }
}

/// Checks the signatures of a checkpoint, and returns the latest time at which each witness has cosigned.
/// Cosignatures can be missing, because witnesses cosign a checkpoint after it was published.
fn times(policy: &Policy, signed: &SignedCheckpoint) -> Result<BTreeMap<String, u64>, Untrusted> {
    match policy.check(signed) {
        Ok(_) | Err(Untrusted::Quorum { .. }) => {}
        Err(untrusted) => return Err(untrusted),
    }
    let mut times = BTreeMap::new();
    let verified = signed.verify(policy.log().iter().chain(policy.witnesses()))?;
    for Verified { key, timestamp } in verified {
        let Some(time) = timestamp else { continue };
        // A witness with two keys counts once.
        let latest = times.entry(key.name().to_owned()).or_insert(time);
        *latest = time.max(*latest);
    }
    Ok(times)
}

/// Returns the time since which enough cosignatures exist. Cosignatures after `latest` do not count.
fn quorum_time(policy: &Policy, times: &BTreeMap<String, u64>, latest: u64) -> Option<u64> {
    let mut times: Vec<u64> = times.values().copied().filter(|time| *time <= latest).collect();
    times.sort_unstable_by_key(|time| Reverse(*time));
    times.get(policy.quorum().checked_sub(1)?).copied()
}

/// Adds the cosignatures of an earlier copy of the same checkpoint that are missing or older in `newest`. A
/// server behind a cache can return fewer cosignatures than were seen before.
pub(crate) fn keep_cosignatures(newest: &mut SignedCheckpoint, earlier: &SignedCheckpoint, policy: &Policy) {
    let time_of = |signed: &SignedCheckpoint, key: &VerifierKey| {
        let verified = signed.verify([key]).ok()?;
        verified.first()?.timestamp
    };
    for key in policy.witnesses() {
        if time_of(earlier, key) > time_of(newest, key) {
            let lines = earlier.note().signatures().iter();
            // The encoding of a cosignature begins with its time.
            let latest = lines
                .filter(|line| line.is_of(key))
                .max_by_key(|line| line.bytes());
            // If the note has no room, it stays unchanged.
            let _ = latest.map(|line| newest.add(line.clone()));
        }
    }
}
