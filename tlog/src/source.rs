//! The sources of a published log: the database of the service, or any server with the files of tlog-tiles.

use std::collections::BTreeMap;
use std::future::Future;

use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, StatusCode, Url};
use transparency::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use transparency::note::MAX_NOTE_LEN;
use transparency::tile::{ContentError, FULL_WIDTH, Level, Missing, Tile, decode_hashes};
use transparency::tree::{Frontier, Plan, verify_consistency};
use transparency::{Hash, MAX_SIZE};

use crate::error::TlogError;
use crate::http::{self, HttpError};
use crate::published::PublishedLog;

/// Maximum length in bytes of a tile: 256 hashes.
const MAX_TILE_LEN: usize = 256 * 32;
/// Maximum length in bytes of an entry bundle: 256 entries with their lengths.
const MAX_BUNDLE_LEN: usize = 256 * (2 + 65_535);

/// Reason why a published log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The server cannot be reached, or its response cannot be read.
    #[error("{what}: {error}")]
    Http {
        /// The requested file.
        what: String,
        /// The error.
        #[source]
        error: HttpError,
    },
    /// The newest checkpoint is malformed.
    #[error("the newest checkpoint is malformed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log has no checkpoint yet.
    #[error("the log has no checkpoint yet")]
    NoCheckpoint,
    /// A tile is missing, malformed, or differs from the signed root.
    #[error("{0} is missing or malformed, or differs from the signed root")]
    Tile(Tile),
    /// The tiles do not have the signed root.
    #[error("the tiles do not have the root of the checkpoint of {0} events")]
    Root(u64),
    /// There is no tree of this size.
    #[error("there is no tree of {0} leaves")]
    Size(u64),
    /// The database of the service cannot be used.
    #[error(transparent)]
    Tlog(#[from] TlogError),
}

impl From<ContentError<Missing>> for SourceError {
    fn from(error: ContentError<Missing>) -> Self {
        match error {
            ContentError::Read(Missing(tile)) | ContentError::Malformed(tile) => Self::Tile(tile),
            _ => Self::Size(MAX_SIZE),
        }
    }
}

/// A published log. Everything that it returns is untrusted until it is verified.
pub trait LogSource: Sync {
    /// Returns the newest checkpoint.
    fn checkpoint(&self) -> impl Future<Output = Result<SignedCheckpoint, SourceError>> + Send;

    /// Returns the contents of a tile or entry bundle, or of a wider tile with the same level and index.
    fn tile(&self, tile: &Tile) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
}

/// A log on a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteLog {
    base: Url,
    client: Client,
}

impl RemoteLog {
    /// Creates a reference to the log below a URL, such as `https://api.example.com/log`. Returns `None`
    /// unless it is an `http` or `https` URL without credentials, query and fragment.
    #[must_use]
    pub fn new(base: &str, client: Client) -> Option<Self> {
        let base = http::base_url(base)?;
        Some(Self { base, client })
    }

    /// Returns a file below the URL, or `None` for a response with the status 404.
    async fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let failed = |error| SourceError::Http {
            what: path.to_owned(),
            error,
        };
        let request = self.client.get(http::below(&self.base, path));
        // A cache must not hide a newer checkpoint. Tiles never change.
        let request = if path.starts_with("tile/") {
            request
        } else {
            request.header(CACHE_CONTROL, "no-cache")
        };
        let response = request.send().await.map_err(|error| failed(error.into()))?;
        match response.status() {
            StatusCode::OK => http::body(response, limit).await.map(Some).map_err(failed),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(failed(HttpError::Status(status.as_u16()))),
        }
    }
}

impl LogSource for RemoteLog {
    async fn checkpoint(&self) -> Result<SignedCheckpoint, SourceError> {
        let note = self.get("checkpoint", MAX_NOTE_LEN).await?;
        let note = note.ok_or(SourceError::NoCheckpoint)?;
        Ok(SignedCheckpoint::parse(&note)?)
    }

    async fn tile(&self, tile: &Tile) -> Result<Vec<u8>, SourceError> {
        let limit = match tile.level() {
            Level::Hashes(_) => MAX_TILE_LEN,
            Level::Entries => MAX_BUNDLE_LEN,
        };
        if let Some(content) = self.get(&tile.to_string(), limit).await? {
            return Ok(content);
        }
        // A log can delete a partial tile when the full tile exists.
        let full = tile.full();
        let content = if full == *tile {
            None
        } else {
            self.get(&full.to_string(), limit).await?
        };
        content.ok_or(SourceError::Tile(*tile))
    }
}

impl LogSource for PublishedLog {
    /// Returns the newest checkpoint that has its quorum.
    async fn checkpoint(&self) -> Result<SignedCheckpoint, SourceError> {
        let newest = self.checkpoints().newest_with_quorum().await?;
        Ok(newest.ok_or(SourceError::NoCheckpoint)?.parse()?)
    }

    async fn tile(&self, tile: &Tile) -> Result<Vec<u8>, SourceError> {
        Ok(self.tiles().content(tile).await?)
    }
}

/// Reads the perfect subtrees of a tree, and checks that they have the root of the checkpoint.
pub(crate) async fn frontier(
    source: &impl LogSource,
    checkpoint: &Checkpoint,
) -> Result<Frontier, SourceError> {
    Ok(VerifiedTiles::edge(source, checkpoint).await?.1)
}

/// Whether the tree of `new` extends the tree of `old`, according to a proof computed from tiles. `new` must
/// not be smaller than `old`.
///
/// Each tile is verified with the root of `new` before the proof is computed, so a damaged tile is an error
/// and never a fork.
pub(crate) async fn extends(
    source: &impl LogSource,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<bool, SourceError> {
    let size = new.size();
    if old.size() == size {
        return Ok(old.root() == new.root());
    }
    let (mut tiles, _) = VerifiedTiles::edge(source, new).await?;
    if old.size() == 0 {
        return Ok(old.root() == Hash::EMPTY_ROOT);
    }
    let plan = Plan::consistency(old.size(), size).ok_or(SourceError::Size(size))?;
    for tile in plan.tiles() {
        tiles.read(source, tile).await?;
    }
    let proof = plan.hashes(&mut tiles.contents)?;
    Ok(verify_consistency(&proof, old.size(), &old.root(), size, &new.root()).is_ok())
}

/// Tiles that have been verified with a signed root. Each tile is read once.
struct VerifiedTiles {
    size: u64,
    contents: BTreeMap<Tile, Vec<u8>>,
}

impl VerifiedTiles {
    /// Reads the partial tiles of a tree, and the perfect subtrees that they consist of. The signed root
    /// verifies every hash of these tiles.
    async fn edge(source: &impl LogSource, checkpoint: &Checkpoint) -> Result<(Self, Frontier), SourceError> {
        let size = checkpoint.size();
        let plan = Plan::frontier(size).ok_or(SourceError::Size(size))?;
        let mut contents = BTreeMap::new();
        for tile in plan.tiles() {
            contents.insert(tile, source.tile(&tile).await?);
        }
        let hashes = plan.hashes(&mut contents)?;
        let frontier = Frontier::from_hashes(size, hashes).ok_or(SourceError::Size(size))?;
        if frontier.root() == checkpoint.root() {
            Ok((Self { size, contents }, frontier))
        } else {
            Err(SourceError::Root(size))
        }
    }

    /// Reads a tile, and the tiles above it that verify it.
    async fn read(&mut self, source: &impl LogSource, tile: Tile) -> Result<(), SourceError> {
        // The tiles above a tile end with a partial tile, which `edge` has read.
        let mut missing = Vec::new();
        let mut next = Some(tile);
        while let Some(tile) = next.filter(|tile| !self.contents.contains_key(tile)) {
            missing.push(tile);
            next = above(&tile, self.size).map(|(above, _)| above);
        }
        for tile in missing.into_iter().rev() {
            let (above, within) = above(&tile, self.size).ok_or(SourceError::Tile(tile))?;
            let root = above.hashes(&mut self.contents)?.get(within).copied();
            let content = source.tile(&tile).await?;
            let hashes = decode_hashes(&content).filter(|hashes| Some(root_of(hashes)) == root);
            hashes.ok_or(SourceError::Tile(tile))?;
            self.contents.insert(tile, content);
        }
        Ok(())
    }
}

/// Returns the tile of the tree of `size` leaves that has the root of a full tile, and the index of the root
/// within it. Returns `None` for a partial tile.
pub(crate) fn above(tile: &Tile, size: u64) -> Option<(Tile, usize)> {
    let (Level::Hashes(level), false) = (tile.level(), tile.is_partial()) else {
        return None;
    };
    let width = u64::from(FULL_WIDTH);
    let above = Tile::at(Level::Hashes(level + 1), tile.index() / width, size)?;
    Some((above, usize::try_from(tile.index() % width).ok()?))
}

/// Returns the root of a tree over hashes.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    tree.extend(hashes.iter().copied());
    tree.root()
}
