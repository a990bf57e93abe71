//! A mirror: the checkpoint, the tiles and the entry bundles of a log as static files, exactly at the paths
//! of tlog-tiles.
//!
//! Every file is verified before it is written. The partial tiles on the right edge of the tree are verified
//! with the signed root, a full tile with its hash in the tile above it, and an entry bundle with the hashes
//! of its tile of level 0. The checkpoint is written last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use transparency::Hash;
use transparency::checkpoint::{CheckpointError, SignedCheckpoint};
use transparency::policy::{Policy, Untrusted};
use transparency::tile::{Level, Tile, decode_entries, decode_hashes, encode_entries};
use transparency::tree::Frontier;

use crate::monitor::keep_cosignatures;
use crate::source::{self, LogSource, SourceError, extends, frontier, root_of};
use crate::state::lock_file;

/// Name of the lock in the folder of a mirror.
const LOCK: &str = ".lock";

/// Reason why a mirror is not up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The log cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The newest checkpoint is not trusted.
    #[error("the newest checkpoint is not trusted: {0}")]
    Untrusted(#[from] Untrusted),
    /// The checkpoint of the mirror is not signed with a known key of the log.
    #[error("{}: the mirrored checkpoint is not trusted: {error}; if the key was replaced, also pass the old key", path.display())]
    MirroredUntrusted {
        /// Path of the checkpoint.
        path: PathBuf,
        /// The error.
        #[source]
        error: Untrusted,
    },
    /// The checkpoint of the mirror is not a checkpoint of the log.
    #[error("{}: {error}", path.display())]
    Mirrored {
        /// Path of the checkpoint.
        path: PathBuf,
        /// The error.
        #[source]
        error: CheckpointError,
    },
    /// The log does not extend the mirrored log.
    #[error("fork: the checkpoint of {new} events does not extend the mirrored checkpoint of {old} events")]
    Fork {
        /// Size of the mirrored checkpoint.
        old: u64,
        /// Size of the newest checkpoint.
        new: u64,
    },
    /// The log has fewer events than the mirror.
    #[error("the newest checkpoint has {new} events, but the mirror has {old}")]
    Shrunk {
        /// Size of the mirrored checkpoint.
        old: u64,
        /// Size of the newest checkpoint.
        new: u64,
    },
    /// Another process writes to the same mirror.
    #[error("another process has locked {}", .0.display())]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
}

/// Result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    /// Number of events of the mirrored checkpoint.
    pub size: u64,
    /// Number of tiles and entry bundles that were written.
    pub written: u64,
}

/// The folder of a mirror.
#[derive(Debug)]
pub struct Mirror {
    folder: PathBuf,
}

impl Mirror {
    /// Creates a reference to the folder. [`Mirror::update`] creates the folder if it does not exist.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes the files that the mirror lacks up to the newest checkpoint. `progress` receives the number of
    /// files that are done, and the number of all files. After an interruption, the next run verifies the
    /// files that exist and does not read them again.
    ///
    /// # Errors
    ///
    /// [`MirrorError`].
    pub async fn update(
        &self,
        source: &impl LogSource,
        policy: &Policy,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Mirrored, MirrorError> {
        let mut newest = source.checkpoint().await?;
        policy.check(&newest)?;
        let _lock = self.lock()?;
        let old = self.checkpoint(policy)?;
        let new = newest.checkpoint();
        let covered = old.as_ref().map_or(0, |old| old.checkpoint().size());
        if let Some(old) = &old {
            let (old, new_size) = (old.checkpoint(), new.size());
            if new_size < covered {
                return Err(MirrorError::Shrunk {
                    old: covered,
                    new: new_size,
                });
            }
            if !extends(source, old, new).await? {
                return Err(MirrorError::Fork {
                    old: covered,
                    new: new_size,
                });
            }
        }
        let edge = Edge::new(&frontier(source, new).await?);
        let mut tiles: Vec<Tile> = Tile::between(covered, new.size()).collect();
        // A tile is verified with the tile above it.
        tiles.sort_by_key(|tile| match tile.level() {
            Level::Hashes(level) => (63 - u16::from(level), tile.index()),
            Level::Entries => (64, tile.index()),
        });
        let all = tiles.len() as u64;
        let mut folders = BTreeSet::new();
        let mut written = 0;
        let mut above = Above::default();
        for (tile, done) in tiles.iter().zip(1..) {
            let expected = self.expected(&edge, &mut above, tile, new.size())?;
            let path = self.folder.join(tile.to_string());
            let there = read(&path)?.and_then(|content| expected.accepts(tile, &content));
            if there.is_none() {
                let content = source.tile(tile).await?;
                let content = expected.accepts(tile, &content).ok_or(SourceError::Tile(*tile))?;
                write(&path, &content)?;
                written += 1;
            }
            // A run that was interrupted can have left files whose folders are not durable.
            folders.extend(path.ancestors().skip(1).map(Path::to_owned));
            progress(done, all);
        }
        folders.retain(|folder| folder.starts_with(&self.folder));
        for folder in &folders {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| failed(folder, error))?;
        }
        let size = new.size();
        // The same checkpoint can have got more cosignatures.
        if let Some(old) = old.as_ref().filter(|old| old.checkpoint().size() == size) {
            keep_cosignatures(&mut newest, old, policy);
        }
        if old.as_ref() != Some(&newest) {
            let path = self.folder.join("checkpoint");
            // On some network file systems, a lock does not exclude processes of other machines.
            if self.checkpoint(policy)? != old {
                return Err(MirrorError::Locked(path));
            }
            write(&path, newest.to_string().as_bytes())?;
            let synced = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| failed(&self.folder, error))?;
        }
        Ok(Mirrored { size, written })
    }

    /// Locks the folder, which is created if it does not exist.
    fn lock(&self) -> Result<fs::File, MirrorError> {
        fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let path = self.folder.join(LOCK);
        match lock_file(&path) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(MirrorError::Locked(self.folder.clone())),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Returns the mirrored checkpoint, if any. It must be signed by the log.
    fn checkpoint(&self, policy: &Policy) -> Result<Option<SignedCheckpoint>, MirrorError> {
        let path = self.folder.join("checkpoint");
        let Some(note) = read(&path)? else {
            return Ok(None);
        };
        let signed = match SignedCheckpoint::parse(&note) {
            Ok(signed) => signed,
            Err(error) => return Err(MirrorError::Mirrored { path, error }),
        };
        match policy.check(&signed) {
            Ok(_) | Err(Untrusted::Quorum { .. }) => Ok(Some(signed)),
            Err(error) => Err(MirrorError::MirroredUntrusted { path, error }),
        }
    }

    /// Returns the hashes that verify a tile of the tree of `size` leaves.
    fn expected(
        &self,
        edge: &Edge,
        above: &mut Above,
        tile: &Tile,
        size: u64,
    ) -> Result<Expected, MirrorError> {
        let level = match tile.level() {
            Level::Entries => {
                let hashes = Tile::at(Level::Hashes(0), tile.index(), size);
                let hashes = self.hashes(above, hashes.ok_or(SourceError::Tile(*tile))?)?;
                return Ok(Expected::Leaves(hashes.to_vec()));
            }
            Level::Hashes(level) => level,
        };
        if tile.is_partial() {
            return Ok(Expected::Edge(edge.of(level)));
        }
        let (parent, within) = source::above(tile, size).ok_or(SourceError::Tile(*tile))?;
        let root = self.hashes(above, parent)?.get(within).copied();
        Ok(Expected::Root(root.ok_or(SourceError::Tile(parent))?))
    }

    /// Returns the hashes of a tile of the mirror. The last tile is kept in memory.
    fn hashes<'a>(&self, above: &'a mut Above, tile: Tile) -> Result<&'a [Hash], MirrorError> {
        if above.tile != Some(tile) {
            let content = read(&self.folder.join(tile.to_string()))?;
            let hashes = content.and_then(|content| decode_hashes(&content));
            let hashes = hashes.filter(|hashes| hashes.len() == usize::from(tile.width()));
            above.hashes = hashes.ok_or(SourceError::Tile(tile))?;
            above.tile = Some(tile);
        }
        Ok(&above.hashes)
    }
}

/// The tile that was read last.
#[derive(Default)]
struct Above {
    tile: Option<Tile>,
    hashes: Vec<Hash>,
}

/// The perfect subtrees of the tree, by height. They verify the partial tile of each level.
struct Edge(BTreeMap<u8, Hash>);

impl Edge {
    fn new(frontier: &Frontier) -> Self {
        let heights = (0..64_u8)
            .rev()
            .filter(|height| frontier.size() >> height & 1 == 1);
        Self(heights.zip(frontier.hashes().iter().copied()).collect())
    }

    /// Returns the roots of the perfect subtrees that the partial tile of a level consists of, with the
    /// number of hashes of the tile below each.
    fn of(&self, level: u8) -> Vec<(usize, Hash)> {
        let lowest = 8 * level;
        let heights = (lowest..=lowest.saturating_add(7)).rev();
        heights
            .filter_map(|height| Some((1 << (height - lowest), *self.0.get(&height)?)))
            .collect()
    }
}

/// The hashes that verify a tile.
enum Expected {
    /// The root of a full tile.
    Root(Hash),
    /// The roots of the perfect subtrees of a partial tile.
    Edge(Vec<(usize, Hash)>),
    /// The leaf hashes of the entries of a bundle.
    Leaves(Vec<Hash>),
}

impl Expected {
    /// Returns the contents of the tile if they are the expected contents. A wider tile is truncated.
    fn accepts(&self, tile: &Tile, content: &[u8]) -> Option<Vec<u8>> {
        let width = usize::from(tile.width());
        if let Self::Leaves(leaves) = self {
            let entries = decode_entries(content)?;
            let entries = entries.get(..width)?;
            let found = entries.iter().map(|entry| Hash::leaf(entry));
            return found
                .eq(leaves.iter().copied())
                .then(|| encode_entries(entries.iter().copied()))?;
        }
        let hashes = decode_hashes(content)?;
        let hashes = hashes.get(..width)?;
        let matches = match self {
            Self::Root(root) => root_of(hashes) == *root,
            Self::Edge(parts) => {
                let mut rest = hashes;
                let all = parts.iter().all(|(count, root)| {
                    let Some((part, after)) = rest.split_at_checked(*count) else {
                        return false;
                    };
                    rest = after;
                    root_of(part) == *root
                });
                all && rest.is_empty()
            }
            Self::Leaves(_) => false,
        };
        matches.then(|| content.get(..width * Hash::LEN).map(<[u8]>::to_vec))?
    }
}

/// Reads a file, if it exists.
fn read(path: &Path) -> Result<Option<Vec<u8>>, MirrorError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

/// Writes a file as a whole. The folder's entry is not durable yet.
fn write(path: &Path, content: &[u8]) -> Result<(), MirrorError> {
    let write = || {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(io::Error::other)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.tmp", u64::from_be_bytes(suffix)));
        let temporary = path.with_file_name(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create_new(&temporary)?;
        let written = io::Write::write_all(&mut file, content)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The error of the write is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    };
    write().map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> MirrorError {
    let path = path.to_owned();
    MirrorError::Io { path, error }
}
