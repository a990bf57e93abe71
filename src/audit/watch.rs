//! `patients audit watch`: a monitor of a published log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use eventstore::{Clock, SystemClock, private};
use tlog::{Alarm, Monitor, MonitorError, RemoteLog, Seen};
use transparency::checkpoint::SignedCheckpoint;
use transparency::note::MAX_NOTE_LEN;
use transparency::policy::Policy;

use super::trust::TrustArguments;
use crate::exit_code::{Alarmed, NoAnswer};
use crate::http;
use crate::output::{causes, print};
use crate::settings;
use crate::shutdown::StopSignals;

/// Time after which a smaller checkpoint, or a checkpoint without a quorum, is read again. Caches keep a
/// checkpoint for at most 5 s.
pub(super) const STALE: Duration = Duration::from_secs(6);
/// Number of times that a checkpoint without a quorum is read again. Witnesses cosign a checkpoint after it
/// was published.
pub(super) const WAITS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct WatchArguments {
    /// URL below which the log is published, such as `https://api.example.com/log`
    #[arg(long, alias = "origin", value_name = "URL")]
    from: String,
    #[command(flatten)]
    trust: TrustArguments,
    /// File for the last checkpoint that was seen, so that a later run continues from it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Check once, and exit
    #[arg(long)]
    once: bool,
    /// Interval between two checks
    #[arg(long, value_name = "DURATION", default_value = "1min", value_parser = settings::duration)]
    every: Duration,
    /// Time after which the log counts as silent: with witnesses, without recent cosignatures; otherwise,
    /// without a newer checkpoint. Default: 10min; without witnesses, only while the log cannot be read
    #[arg(long, value_name = "DURATION", value_parser = settings::duration)]
    silence: Option<Duration>,
}

/// The time after which a log counts as silent, unless the arguments set another time.
const SILENCE: Duration = Duration::from_mins(10);

impl WatchArguments {
    /// Follows the log until a stop signal or an alarm.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let policy = self.trust.policy()?;
        let client = tlog::client(http::client()).context("the HTTP client cannot be created")?;
        let source = RemoteLog::new(&self.from, client);
        let source = source.context("--from: expected a URL such as https://api.example.com/log")?;
        let state = self.state.as_deref().map(SeenFile::open).transpose()?;
        let (last, attested) = match &state {
            Some(state) => (state.last.read(&policy)?, state.attested.read(&policy)?),
            None => (None, None),
        };
        let clock = SystemClock::shared();
        let mut watch = Watch {
            silence: Silence {
                limit: self.silence.unwrap_or(SILENCE),
                quorum: policy.quorum(),
                must_grow: self.silence.is_some(),
                since: clock.monotonic(),
            },
            monitor: Monitor::new(policy, last, attested).context("the state file")?,
            state,
            reported: None,
            is_ahead: false,
        };
        let mut signals = StopSignals::listen()?;
        loop {
            let checked = tokio::select! {
                checked = watch.check(&source, clock.as_ref()) => checked,
                () = signals.asked() => return Ok(()),
            };
            if self.once {
                return watch.once(checked?, &source, clock.as_ref()).await;
            }
            watch.judge(checked, clock.as_ref())?;
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = signals.asked() => return Ok(()),
            }
        }
    }
}

struct Watch {
    monitor: Monitor,
    state: Option<SeenFile>,
    silence: Silence,
    /// The last problem that was logged.
    reported: Option<String>,
    /// Whether a cosignature from the future was logged.
    is_ahead: bool,
}

impl Watch {
    /// Checks the newest checkpoint, and keeps it. Returns an error for an alarm, or if the log cannot be
    /// checked.
    async fn check(&mut self, source: &RemoteLog, clock: &dyn Clock) -> anyhow::Result<Seen> {
        let mut checked = self.monitor.check(source, seconds(clock)).await;
        if matches!(checked, Err(MonitorError::Alarm(Alarm::Shrunk { .. }))) {
            tokio::time::sleep(STALE).await;
            checked = self.monitor.check(source, seconds(clock)).await;
        }
        let seen = match checked {
            Ok(seen) => seen,
            Err(MonitorError::Alarm(alarm)) => {
                self.keep_evidence(&alarm);
                return Err(Alarmed::from(&alarm)).context(causes(&alarm.into()));
            }
            Err(error) => return Err(anyhow::Error::from(error).context(NoAnswer)),
        };
        if let Some(state) = &self.state {
            state.write(&self.monitor)?;
        }
        let was_ahead = std::mem::replace(&mut self.is_ahead, seen.is_ahead);
        if seen.is_ahead && !was_ahead {
            tracing::warn!("a cosignature does not count: its time is more than 5 minutes in the future");
        }
        if seen.is_newer {
            let cosigned = match (self.silence.quorum, seen.has_quorum) {
                (0, _) => "",
                (_, true) => ", and cosigned by enough witnesses",
                (_, false) => ", but not yet cosigned by enough witnesses",
            };
            let size = seen.size;
            let time = clock.now();
            print(&format!("{time}  {size} events: signed and consistent{cosigned}"))?;
        }
        Ok(seen)
    }

    /// Keeps the signed checkpoints that prove an alarm. The alarm is reported even if they cannot be kept.
    fn keep_evidence(&self, alarm: &Alarm) {
        let Some(new) = alarm.evidence() else {
            return;
        };
        if let Some(state) = &self.state {
            let suffix = if matches!(alarm, Alarm::Fork { .. }) {
                ".fork"
            } else {
                ".shrunk"
            };
            // The state is the other half of the evidence.
            let file = NoteFile(super::file::beside(&state.last.0, suffix));
            match file.write(new) {
                Ok(()) => {
                    tracing::error!("{} has the checkpoint that caused the alarm", file.0.display());
                    return;
                }
                Err(error) => tracing::error!(error = causes(&error), "the evidence was not written"),
            }
        }
        for note in self.monitor.last().into_iter().chain([new]) {
            if let Err(error) = print(&note.to_string()) {
                tracing::error!(error = causes(&error), "the evidence was not printed");
            }
        }
    }

    /// Evaluates a single check. A checkpoint that was just published is read again, because its cosignatures
    /// may not have arrived yet.
    async fn once(&mut self, mut seen: Seen, source: &RemoteLog, clock: &dyn Clock) -> anyhow::Result<()> {
        if self.silence.quorum == 0 {
            return Ok(());
        }
        for _ in 0..WAITS {
            if seen.has_quorum || self.silence.is_fresh(seen, clock) {
                break;
            }
            tokio::time::sleep(STALE).await;
            seen = self.check(source, clock).await?;
        }
        if self.silence.is_fresh(seen, clock) {
            Ok(())
        } else if seen.attested_at.is_none() && !seen.has_quorum {
            let size = seen.size;
            Err(NoAnswer).context(format!(
                "too few witnesses have cosigned the checkpoint of {size} events, or any that was seen before"
            ))
        } else {
            self.silence.alarm()
        }
    }

    /// Continues after transient errors, until the log has been silent for too long.
    fn judge(&mut self, checked: anyhow::Result<Seen>, clock: &dyn Clock) -> anyhow::Result<()> {
        let problem = match checked {
            Ok(seen) => {
                if self.silence.is_fresh(seen, clock) {
                    self.silence.since = clock.monotonic();
                }
                None
            }
            Err(error) if error.is::<NoAnswer>() => Some(causes(&error)),
            Err(error) => return Err(error),
        };
        // The same problem is logged only once.
        if let Some(problem) = problem.as_ref().filter(|_| problem != self.reported) {
            tracing::warn!("the log cannot be checked: {problem}");
        }
        self.reported = problem;
        let silent = clock.monotonic().saturating_sub(self.silence.since);
        if silent > self.silence.limit {
            return self.silence.alarm();
        }
        Ok(())
    }
}

/// Returns the time in seconds since 1970-01-01 UTC.
fn seconds(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().as_micros() / 1_000_000).unwrap_or(0)
}

/// When a log counts as silent.
struct Silence {
    limit: Duration,
    quorum: usize,
    must_grow: bool,
    /// Monotonic time at which the log was last known not to be silent.
    since: Duration,
}

impl Silence {
    /// Whether a checkpoint shows that the log is not silent. With witnesses, their cosignatures must be
    /// recent, because a log without new events has no new checkpoints.
    fn is_fresh(&self, seen: Seen, clock: &dyn Clock) -> bool {
        if self.quorum > 0 {
            let recent = |time: u64| seconds(clock).saturating_sub(time) <= self.limit.as_secs().max(1);
            return seen.attested_at.is_some_and(recent);
        }
        seen.is_newer || !self.must_grow
    }

    fn alarm(&self) -> anyhow::Result<()> {
        let limit = humantime::format_duration(self.limit);
        let wanted = if self.quorum > 0 {
            "no checkpoint with recent cosignatures of enough witnesses was seen"
        } else {
            "no newer checkpoint was seen"
        };
        Err(Alarmed::Silence).context(format!("silence: for {limit}, {wanted}"))
    }
}

/// The files of a monitor.
struct SeenFile {
    /// The last checkpoint.
    last: NoteFile,
    /// The last checkpoint with a quorum.
    attested: NoteFile,
    /// Two monitors must not overwrite the checkpoints of each other.
    _lock: std::fs::File,
}

impl SeenFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let lock = super::file::beside(path, ".lock");
        let lock = tlog::lock_file(&lock).with_context(|| format!("{} cannot be locked", lock.display()))?;
        let Some(lock) = lock else {
            bail!("another process has locked {}", path.display());
        };
        Ok(Self {
            last: NoteFile(path.to_owned()),
            attested: NoteFile(super::file::beside(path, ".cosigned")),
            _lock: lock,
        })
    }

    fn write(&self, monitor: &Monitor) -> anyhow::Result<()> {
        for (file, note) in [(&self.last, monitor.last()), (&self.attested, monitor.attested())] {
            note.map_or(Ok(()), |note| file.write(note))?;
        }
        Ok(())
    }
}

/// A file with a signed checkpoint.
struct NoteFile(PathBuf);

impl NoteFile {
    fn read(&self, policy: &Policy) -> anyhow::Result<Option<SignedCheckpoint>> {
        let path = self.0.display();
        let note = match std::fs::read(&self.0) {
            Ok(note) => note,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{path} cannot be read")),
        };
        if note.len() > MAX_NOTE_LEN {
            bail!("{path} is too large for a checkpoint");
        }
        let signed = SignedCheckpoint::parse(&note);
        let signed = signed.with_context(|| format!("{path} is not a checkpoint"))?;
        let origin = signed.checkpoint().origin();
        if origin != policy.origin() {
            bail!("{path} belongs to the log {origin}");
        }
        Ok(Some(signed))
    }

    fn write(&self, signed: &SignedCheckpoint) -> anyhow::Result<()> {
        private::replace(&self.0, signed.to_string().as_bytes())
            .with_context(|| format!("{} cannot be written", self.0.display()))
    }
}
