//! The folder of a witness: its key, and the checkpoints that it has cosigned.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use eventstore::private;
use transparency::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use transparency::note::MAX_NOTE_LEN;
use transparency::witness::{Latest, Store, monitoring_path};

use crate::key_file::KeyFile;
use crate::state::{self, StateError};

/// Returns the key file in the folder of a witness.
#[must_use]
pub fn witness_key_file(folder: &Path) -> KeyFile {
    KeyFile::new(folder.join("witness.key"))
}

/// Maximum number of kept conflicts of a log, for each kind of conflict.
const CONFLICTS: usize = 64;
/// Beginning of the line with the time in a state.
const TIME: &str = "time ";

/// The locked folder of a witness. For each log, the file `HASH.state` has the largest checkpoint that the
/// witness may have cosigned, with the time of the last cosignature in the extension line `time SECONDS`.
/// `HASH` is the SHA-256 hash of the origin. The file is written and flushed before the witness returns a
/// cosignature.
///
/// The file `HASH.checkpoint` has the last cosigned checkpoint. If it is newer than the state, the state was
/// lost, and the witness cosigns nothing.
///
/// The files `HASH.SIZE.ROOT.fork` and `HASH.SIZE.ROOT.unproved` have checkpoints that the log has signed but
/// that the witness has not cosigned ([`Conflict`]). The witness never reads them.
#[derive(Debug)]
pub struct WitnessFolder {
    folder: PathBuf,
    /// The states that this process has written and flushed.
    flushed: Mutex<BTreeMap<String, Latest>>,
    _lock: File,
}

/// A checkpoint that the log has signed but that is not proved to extend the cosigned checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The log has signed another root for the cosigned size. The two checkpoints prove a fork.
    Fork,
    /// The sizes differ, and the consistency proof is invalid. Anyone can send an invalid proof, so this
    /// proves nothing.
    Unproved,
}

impl Conflict {
    /// Returns the kind of the conflict between a cosigned and a submitted checkpoint. Returns `None` if they
    /// are the same tree.
    #[must_use]
    pub fn between(cosigned: Latest, submitted: &Checkpoint) -> Option<Self> {
        match (
            cosigned.size == submitted.size(),
            cosigned.root == submitted.root(),
        ) {
            (true, true) => None,
            (true, false) => Some(Self::Fork),
            (false, _) => Some(Self::Unproved),
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Fork => ".fork",
            Self::Unproved => ".unproved",
        }
    }
}

impl WitnessFolder {
    /// Locks the folder. Returns `None` if another process has locked it. The lock ends with the returned
    /// value, or with the process.
    ///
    /// # Errors
    ///
    /// [`StateError::Lock`].
    pub fn lock(folder: &Path) -> Result<Option<Self>, StateError> {
        let path = folder.join("witness.lock");
        match state::lock_file(&path) {
            Ok(lock) => Ok(lock.map(|lock| Self {
                folder: folder.to_owned(),
                flushed: Mutex::default(),
                _lock: lock,
            })),
            Err(error) => Err(StateError::Lock { path, error }),
        }
    }

    /// Keeps the cosigned checkpoint of a log, so that monitors can read it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn publish(&self, cosigned: &SignedCheckpoint) -> io::Result<()> {
        let file = self.file(cosigned.checkpoint().origin(), "checkpoint");
        private::replace(&file, cosigned.to_string().as_bytes())
    }

    /// Returns the last cosigned checkpoint of a log, if any.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn published(&self, origin: &str) -> io::Result<Option<String>> {
        let mut note = String::new();
        let file = File::open(self.file(origin, "checkpoint"));
        match file.and_then(|file| file.take(MAX_NOTE_LEN as u64).read_to_string(&mut note)) {
            Ok(_) => Ok(Some(note)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a checkpoint in conflict with the cosigned checkpoint, and a copy of the cosigned checkpoint
    /// beside it, with the suffix `.cosigned`. Returns the path of the file, or `None` if the checkpoint or
    /// the maximum number of conflicts is kept already.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub fn keep_conflict(
        &self,
        conflict: Conflict,
        signed: &SignedCheckpoint,
    ) -> io::Result<Option<PathBuf>> {
        let checkpoint = signed.checkpoint();
        let origin = checkpoint.origin();
        let log = self.file(origin, "");
        let mut kept = 0;
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.to_string_lossy();
            let is_of_log = name.starts_with(&*log.to_string_lossy());
            kept += usize::from(is_of_log && name.ends_with(conflict.suffix()));
        }
        if kept >= CONFLICTS {
            return Ok(None);
        }
        let root = checkpoint.root().0.map(|byte| format!("{byte:02x}")).concat();
        let name = format!("{}.{root}", checkpoint.size());
        let file = self.file(origin, &format!("{name}{}", conflict.suffix()));
        match private::write_new(&file, signed.to_string().as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        }
        if let Some(cosigned) = self.published(origin)? {
            private::replace(
                &self.file(origin, &format!("{name}.cosigned")),
                cosigned.as_bytes(),
            )?;
        }
        Ok(Some(file))
    }

    fn file(&self, origin: &str, suffix: &str) -> PathBuf {
        let path = monitoring_path(origin);
        let hash = path.split('/').next().unwrap_or_default();
        self.folder.join(format!("{hash}.{suffix}"))
    }
}

/// Returns the time of the last cosignature in a state, or 0 if the state has no time.
fn time_of(state: &Checkpoint) -> Result<u64, CheckpointError> {
    match state.extensions() {
        [] => Ok(0),
        [line] => {
            let time = line.strip_prefix(TIME).and_then(|time| time.parse().ok());
            time.ok_or(CheckpointError::Line)
        }
        _ => Err(CheckpointError::Line),
    }
}

impl Store for &WitnessFolder {
    type Error = StateError;

    fn latest(&mut self, origin: &str) -> Result<Option<Latest>, StateError> {
        let path = self.file(origin, "state");
        let state = state::read(&path, origin)?;
        let published = self.file(origin, "checkpoint");
        match self.published(origin) {
            Ok(None) => {}
            Ok(Some(note)) => {
                let cosigned = match SignedCheckpoint::parse(note.as_bytes()) {
                    Ok(cosigned) => cosigned,
                    Err(error) => {
                        let path = published;
                        return Err(StateError::Content { path, error });
                    }
                };
                let newest = cosigned.checkpoint().size();
                if state.as_ref().is_none_or(|state| state.size() < newest) {
                    return Err(StateError::Behind { path, newest });
                }
            }
            Err(error) => {
                let path = published;
                return Err(StateError::Io { path, error });
            }
        }
        let Some(state) = state else {
            return Ok(None);
        };
        Ok(Some(Latest {
            size: state.size(),
            root: state.root(),
            time: time_of(&state).map_err(|error| StateError::Content { path, error })?,
        }))
    }

    fn replace(&mut self, origin: &str, old: Option<Latest>, new: Latest) -> Result<bool, StateError> {
        if self.latest(origin)? != old {
            return Ok(false);
        }
        let flushed = || self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if old == Some(new) && flushed().get(origin) == Some(&new) {
            return Ok(true);
        }
        let path = self.file(origin, "state");
        let state = Checkpoint::new(origin, new.size, new.root);
        let state = match state.and_then(|state| state.with_extension(format!("{TIME}{}", new.time))) {
            Ok(state) => state,
            Err(error) => return Err(StateError::Content { path, error }),
        };
        // After an error, it is unknown which state is durable.
        flushed().remove(origin);
        let written = private::replace(&path, state.to_string().as_bytes());
        written.map_err(|error| StateError::Io { path, error })?;
        flushed().insert(origin.to_owned(), new);
        Ok(true)
    }
}
