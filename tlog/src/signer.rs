//! The signer of checkpoints: one process at a time, and never two roots of one size.

mod adopt;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Database, EventLog, Lease};
use futures::future::{join, join_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::SigningKey;

use crate::error::TlogError;
use crate::metrics::MeteredLog;
use crate::published::PublishedLog;
use crate::state::{LockedState, StateError, StateFile};
use crate::tiles::LogTables;
use crate::witnesses::Witnesses;

pub use adopt::{AdoptError, adopt};

/// Shortest and longest duration of the lease. If a signer is killed, another one takes over when the lease
/// expires.
const LEASE_DURATION: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// Number of intervals after which a state file that another process has locked is logged. A process that
/// stops can hold the lock for a moment.
const LOCKED: u32 = 3;

/// A log whose checkpoints are signed.
pub trait SignedLog: Send + Sync {
    /// Name of the lease of the signer.
    const LEASE: &'static str;

    /// The database with the entries, the tiles and the checkpoints.
    fn database(&self) -> &Database;

    /// The tables of the log.
    fn tables(&self) -> LogTables;

    /// The metrics of the signer.
    fn metrics(&self) -> MeteredLog;

    /// Returns the number of entries. A log that other tables determine is extended first.
    ///
    /// # Errors
    ///
    /// If the database fails.
    fn size(&self) -> impl Future<Output = eventstore::Result<u64>> + Send;
}

impl SignedLog for EventLog {
    const LEASE: &'static str = "checkpoint signer";

    fn database(&self) -> &Database {
        self.database()
    }

    fn tables(&self) -> LogTables {
        LogTables::EVENTS
    }

    fn metrics(&self) -> MeteredLog {
        MeteredLog::Events
    }

    async fn size(&self) -> eventstore::Result<u64> {
        Ok(self.head().await?.position.get())
    }
}

/// A signer of checkpoints.
pub struct Signer<L = EventLog> {
    log: L,
    published: PublishedLog,
    key: SigningKey,
    state: StateFile,
    clock: Arc<dyn Clock>,
    witnesses: Option<Witnesses>,
}

/// Result of one run of the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A checkpoint of this size was signed and stored.
    Signed(u64),
    /// The newest checkpoint covers the whole log, which has this size (0 if the log is empty).
    UpToDate(u64),
    /// Another process holds the lease.
    Elsewhere,
    /// Another process has locked the state file.
    Locked,
}

/// Reason why no checkpoint was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The log, its tiles or its checkpoints cannot be used.
    #[error(transparent)]
    Tlog(#[from] TlogError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state file does not exist, so it is unknown what the key has signed.
    #[error(
        "the state file {} is missing: put the newest file back, or use `patients audit key adopt`",
        .0.display()
    )]
    StateMissing(PathBuf),
    /// The database has a newer checkpoint than the state, although the state is written before a checkpoint
    /// is signed. The state was restored from a backup, or another state file exists.
    #[error(
        "the state file {} has the size {state}, but a checkpoint of {newest} entries has been signed: \
         put the newest file back, or use `patients audit key adopt`",
        path.display()
    )]
    StateBehind {
        /// Path of the state file.
        path: PathBuf,
        /// Size in the state file.
        state: u64,
        /// Size of the newest checkpoint in the database.
        newest: u64,
    },
    /// The log has fewer events than were signed. It was probably restored from a backup.
    #[error("a checkpoint of {signed} entries has been signed, but the log ends at {size}")]
    Shrunk {
        /// Signed number of events.
        signed: u64,
        /// Number of events in the log.
        size: u64,
    },
    /// The events of the log are not the events that were signed.
    #[error(
        "a checkpoint of {size} entries has been signed, but the first {size} entries of the log have another root"
    )]
    Rewritten {
        /// Size of the signed checkpoint.
        size: u64,
    },
    /// A checkpoint could not be made.
    #[error("the checkpoint cannot be made: {0}")]
    Checkpoint(#[from] transparency::checkpoint::CheckpointError),
}

impl From<eventstore::Error> for SignError {
    fn from(error: eventstore::Error) -> Self {
        Self::Tlog(error.into())
    }
}

impl SignError {
    /// Whether only an operator can solve the problem.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Tlog(TlogError::Store(error)) => !error.passes(),
            Self::Tlog(TlogError::Overtaken(_)) => false,
            _ => true,
        }
    }
}

impl<L: SignedLog> Signer<L> {
    /// Creates a signer. The name of the key is the origin of the log.
    #[must_use]
    pub fn new(log: L, key: SigningKey, state: StateFile, clock: Arc<dyn Clock>) -> Self {
        let origin = key.verifier().name().to_owned();
        Self {
            published: PublishedLog::of(log.database(), origin, log.tables()),
            log,
            key,
            state,
            clock,
            witnesses: None,
        }
    }

    /// Also asks witnesses to cosign each checkpoint. A checkpoint is published before the witnesses are
    /// asked, so they do not delay it.
    #[must_use]
    pub fn with_witnesses(self, witnesses: Witnesses) -> Self {
        let witnesses = Some(witnesses);
        Self { witnesses, ..self }
    }

    /// Signs a checkpoint every `interval` if the log has grown, until `stop` is cancelled. Only one process
    /// signs at a time. `owner` identifies this process.
    pub async fn run(self, owner: String, interval: Duration, stop: CancellationToken) {
        let (shortest, longest) = LEASE_DURATION;
        let duration = (interval / 2).clamp(shortest, longest);
        let mut lease = Lease::new(
            self.log.database().clone(),
            Arc::clone(&self.clock),
            L::LEASE.to_owned(),
            owner,
            duration,
        );
        let tick = interval.min(duration / 3);
        let (newest, signed) = watch::channel(None);
        let cosigners = self.witnesses.iter().flat_map(|witnesses| {
            let cosigners = witnesses.cosigners(&self.published, &self.clock, self.log.metrics());
            cosigners.map(|cosigner| cosigner.follow(signed.clone()))
        });
        let cosigning = join_all(cosigners);
        let signing = self.follow(&mut lease, interval, tick, newest);
        stop.run_until_cancelled(join(signing, cosigning)).await;
        if let Err(error) = lease.release().await {
            tracing::warn!(%error, "the lease of the checkpoint signer was not released; it expires by itself");
        }
    }

    /// Signs checkpoints, and passes the size of the newest checkpoint to the cosigners while this process
    /// signs.
    async fn follow(
        &self,
        lease: &mut Lease,
        interval: Duration,
        tick: Duration,
        newest: watch::Sender<Option<u64>>,
    ) {
        let mut due = Duration::ZERO;
        let mut reported = None;
        let mut is_reviewed = false;
        let mut locked: Option<(Duration, bool)> = None;
        loop {
            let now = self.clock.monotonic();
            let outcome = match lease.hold().await {
                Ok(true) if now >= due => {
                    let mut signed = self.sign(lease).await;
                    if !is_reviewed && matches!(signed, Ok(Outcome::Signed(_) | Outcome::UpToDate(_))) {
                        match self.review().await {
                            Ok(()) => is_reviewed = true,
                            Err(error) => signed = Err(error.into()),
                        }
                    }
                    signed
                }
                Ok(is_held) => {
                    if !is_held {
                        newest.send_if_modified(|size| size.take().is_some());
                        self.log.metrics().elsewhere();
                        reported = None;
                        is_reviewed = false;
                    }
                    Ok(Outcome::Elsewhere)
                }
                Err(error) => Err(error.into()),
            };
            if !matches!(outcome, Ok(Outcome::Locked)) {
                locked = None;
            }
            match outcome {
                Ok(Outcome::Elsewhere) => {}
                Ok(Outcome::Locked) => {
                    let (since, is_logged) = locked.get_or_insert((now, false));
                    if !*is_logged && now >= *since + interval * LOCKED {
                        *is_logged = true;
                        tracing::warn!(
                            path = %self.state.path().display(),
                            "no checkpoint is signed: this process holds the lease, but another process has \
                             locked the state file"
                        );
                    }
                }
                Ok(outcome) => {
                    due = now + interval;
                    if reported.take().is_some() {
                        tracing::info!("checkpoints are signed again");
                    }
                    self.log
                        .metrics()
                        .signing(outcome, self.clock.monotonic().saturating_sub(now));
                    if let Outcome::Signed(size) | Outcome::UpToDate(size) = outcome
                        && size > 0
                    {
                        newest.send_if_modified(|before| before.replace(size) != Some(size));
                        if self.needs_no_witness() {
                            self.log.metrics().quorum(size);
                        }
                    }
                }
                Err(error) => {
                    if error.is_lasting() {
                        due = now + interval;
                        self.log.metrics().stopped();
                    }
                    // The same error is logged only once.
                    let error = error.to_string();
                    if reported.as_ref() != Some(&error) {
                        tracing::error!(error, "no checkpoint was signed");
                        reported = Some(error);
                    }
                }
            }
            tokio::time::sleep(tick).await;
        }
    }

    /// Records which of the newest checkpoints have a quorum by the settings of this process.
    async fn review(&self) -> Result<(), TlogError> {
        let policy = self.witnesses.as_ref().map(Witnesses::policy);
        let is_trusted = |signed: &SignedCheckpoint| {
            self.needs_no_witness() || policy.is_some_and(|policy| policy.check(signed).is_ok())
        };
        self.published.checkpoints().review(is_trusted).await
    }

    /// Whether a checkpoint has its quorum without cosignatures.
    fn needs_no_witness(&self) -> bool {
        self.witnesses
            .as_ref()
            .is_none_or(|witnesses| witnesses.quorum() == 0)
    }

    /// Signs a checkpoint of the current log, unless the newest checkpoint already covers the whole log and
    /// is signed with this key. The caller must hold the lease, which is renewed while the tiles are
    /// extended.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub async fn sign(&self, lease: &mut Lease) -> Result<Outcome, SignError> {
        let Some(locked) = self.state.lock()? else {
            return Ok(Outcome::Locked);
        };
        let (checkpoints, tiles) = (self.published.checkpoints(), self.published.tiles());
        let origin = checkpoints.origin();
        let path = || locked.path().to_owned();
        let state = locked
            .read(origin)?
            .ok_or_else(|| SignError::StateMissing(path()))?;
        let newest = checkpoints.newest().await?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.size > state.size()) {
            return Err(SignError::StateBehind {
                path: path(),
                state: state.size(),
                newest: newest.size,
            });
        }
        let size = self.log.size().await?;
        let mut signed = vec![(state.size(), state.root())];
        signed.extend(newest.iter().map(|newest| (newest.size, newest.root)));
        signed.dedup();
        if let Some((signed, _)) = signed.iter().find(|(signed, _)| *signed > size) {
            return Err(SignError::Shrunk {
                signed: *signed,
                size,
            });
        }
        while !tiles.extend(size).await? {
            if !lease.hold().await? {
                return Ok(Outcome::Elsewhere);
            }
        }
        for (size, root) in signed {
            if tiles.root(size).await? != root {
                return Err(SignError::Rewritten { size });
            }
        }
        let is_current = match &newest {
            Some(newest) => newest.size == size && newest.parse()?.verify([self.key.verifier()]).is_ok(),
            None => size == 0,
        };
        if is_current {
            return Ok(Outcome::UpToDate(size));
        }
        let checkpoint = Checkpoint::new(origin, size, tiles.root(size).await?)?;
        let locked = write(locked, checkpoint.clone()).await?;
        let signed = SignedCheckpoint::sign(checkpoint, &self.key)?;
        let now = self.clock.now();
        checkpoints.store(&signed, self.needs_no_witness(), now).await?;
        drop(locked);
        Ok(Outcome::Signed(size))
    }
}

/// Writes the state in a separate thread, because the flush may take a long time. The lock is held until the
/// write ends, even if the caller's future is dropped.
async fn write(locked: LockedState, state: Checkpoint) -> Result<LockedState, StateError> {
    let path = locked.path().to_owned();
    let writing = tokio::task::spawn_blocking(move || locked.write(&state).map(|()| locked));
    writing.await.unwrap_or_else(|error| {
        let error = std::io::Error::other(error);
        Err(StateError::Io { path, error })
    })
}
