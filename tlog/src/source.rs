//! Where a published log is read: the database of the service, or any server with the files of tlog-tiles.

use std::collections::BTreeMap;
use std::future::Future;

use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, StatusCode, Url};
use transparency::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use transparency::note::MAX_NOTE_LEN;
use transparency::tile::{ContentError, Level, Missing, Tile};
use transparency::tree::{Frontier, Plan, verify_consistency};
use transparency::{Hash, MAX_SIZE};

use crate::error::TlogError;
use crate::http::{self, HttpError};
use crate::published::PublishedLog;

/// Maximum length of a tile, and of an entry bundle: 256 entries with their lengths.
const MAX_TILE_LEN: usize = 256 * 32;
const MAX_BUNDLE_LEN: usize = 256 * (2 + 65_535);

/// Reason why a published log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The server cannot be reached, or its response cannot be read.
    #[error("{what}: {error}")]
    Http {
        /// What was requested.
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

/// A published log. What it returns is untrusted until it is verified.
pub trait LogSource: Sync {
    /// Returns the newest checkpoint.
    fn checkpoint(&self) -> impl Future<Output = Result<SignedCheckpoint, SourceError>> + Send;

    /// Returns the contents of a tile or entry bundle, or those of a wider one.
    fn tile(&self, tile: &Tile) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
}

/// A log on a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteLog {
    base: Url,
    client: Client,
}

impl RemoteLog {
    /// Names the log below a URL, such as `https://api.example.com/log`. Returns `None` unless it is an
    /// `http` or `https` URL without credentials, query and fragment.
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

/// Reads the hashes of a plan.
async fn hashes(source: &impl LogSource, plan: &Plan) -> Result<Vec<Hash>, SourceError> {
    let mut tiles = BTreeMap::new();
    for tile in plan.tiles() {
        tiles.insert(tile, source.tile(&tile).await?);
    }
    Ok(plan.hashes(&mut tiles)?)
}

/// Reads the perfect subtrees of a tree, and checks that they have the root of the checkpoint.
pub(crate) async fn frontier(
    source: &impl LogSource,
    checkpoint: &Checkpoint,
) -> Result<Frontier, SourceError> {
    let size = checkpoint.size();
    let plan = Plan::frontier(size).ok_or(SourceError::Size(size))?;
    let hashes = hashes(source, &plan).await?;
    let frontier = Frontier::from_hashes(size, hashes).ok_or(SourceError::Size(size))?;
    if frontier.root() == checkpoint.root() {
        Ok(frontier)
    } else {
        Err(SourceError::Root(size))
    }
}

/// Whether the tree of `new` extends the tree of `old`, by a proof that is computed from tiles. The size of
/// `new` must not be smaller.
///
/// If the tiles do not have the root of `new`, nothing is known, and the result is an error.
pub(crate) async fn extends(
    source: &impl LogSource,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<bool, SourceError> {
    if old.size() == new.size() {
        return Ok(old.root() == new.root());
    }
    if old.size() > 0 {
        let size = new.size();
        let plan = Plan::consistency(old.size(), size).ok_or(SourceError::Size(size))?;
        let proof = hashes(source, &plan).await?;
        if verify_consistency(&proof, old.size(), &old.root(), size, &new.root()).is_ok() {
            return Ok(true);
        }
    }
    frontier(source, new).await?;
    Ok(old.size() == 0)
}
