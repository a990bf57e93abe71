//! The published log, which requires no token: `/log/checkpoint`, `/log/checkpoints/{size}`, `/log/tile/…`
//! and `/log/proof/{position}`. Also `/patients/{id}/receipt`.
//!
//! The contents are in the formats of C2SP. They contain hashes, and no personal data.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cqrs_es::Aggregate;
use domain::Patient;
use eventstore::Position;
use serde_json::json;
use tlog::{NoProof, PublishedLog, TlogError};
use transparency::proof::TlogProof;
use web::RouteKind;
use web::problem::Kind;
use web::routes::Routes;

use super::PatientId;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Caching of a response that changes when a checkpoint is signed.
const CHANGES: &str = "public, max-age=5";
/// Caching of a response that never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const NO_STORE: &str = "no-store";

pub(super) fn routes() -> Routes<Api> {
    use RouteKind::{Published, Read};

    Routes::new()
        .get("/log/checkpoint", Published, newest, newest_described)
        .get("/log/checkpoints/{size}", Published, of_size, of_size_described)
        .get("/log/tile/{*tile}", Published, tile, tile_described)
        .get("/log/proof/{position}", Published, proof, proof_described)
        .get("/patients/{id}/receipt", Read, receipt, receipt_described)
}

fn answered(described: Described, text: &'static str, media: Media, cache: &str) -> Described {
    described.answers(200, text, [media], [fields::cache_control(cache)])
}

fn refused() -> [Kind; 3] {
    [kinds::LOG_NOT_PUBLISHED, kinds::UNAVAILABLE, kinds::LOG_DAMAGED]
}

/// A checkpoint in examples.
const CHECKPOINT: &str = "log.hospital.example/patients\n600\nXQOzt0Iv4hgX9QMTtsb0hKGUR8BJ8zGeAqU3NKuyTuU=\n\n\
    — log.hospital.example/patients m3wtQa0…\n";

fn note() -> Media {
    Media::of(TEXT, fields::string(), Some(json!(CHECKPOINT)))
}

pub(super) fn tlog_proof() -> Media {
    let example = format!(
        "c2sp.org/tlog-proof@v1\nindex 6\n1Qd6JQm0dHxvF7wKzjIHn5N9ZQKNZgm1WZbFb8vVJ2E=\n\n{CHECKPOINT}"
    );
    Media::of(TEXT, fields::string(), Some(json!(example)))
}

fn newest_described() -> Described {
    newest_of(Described::new(
        "Get the newest checkpoint",
        "The newest signed checkpoint of the log, as specified in c2sp.org/tlog-checkpoint: a signed note with the origin, the \
         size and the root of the log. Witnesses cosign the checkpoint after it was published.",
    ))
}

/// Adds the response with the newest checkpoint of a log.
pub(super) fn newest_of(described: Described) -> Described {
    answered(described, "The checkpoint.", note(), CHANGES)
        .problems(refused())
        .problems([kinds::NO_CHECKPOINT_YET])
}

async fn newest(State(api): State<Api>) -> Result<Response, ApiError> {
    newest_in(api.published()?).await
}

/// Returns the newest checkpoint of a log.
pub(super) async fn newest_in(log: &PublishedLog) -> Result<Response, ApiError> {
    let newest = log.checkpoints().newest().await?;
    let newest = newest.ok_or(ApiError::NoCheckpointYet)?;
    Ok(response(newest.note, TEXT, CHANGES))
}

fn of_size_described() -> Described {
    let described = Described::new(
        "Get an earlier checkpoint",
        "The signed checkpoint with this number of events. Checkpoints are signed at intervals, so most sizes have none.",
    );
    checkpoint_of(described, (600, "The number of events."))
}

/// Adds the parameter `size` of a log, with an example and a text, and the response with a checkpoint.
pub(super) fn checkpoint_of(described: Described, (size, text): (u64, &str)) -> Described {
    let size = fields::path("size", fields::whole_number(1), json!(size), text);
    answered(described.takes([size]), "The checkpoint.", note(), CHANGES)
        .problems(refused())
        .problems([kinds::CHECKPOINT_NOT_FOUND])
}

async fn of_size(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    of_size_in(api.published()?, path).await
}

/// Returns an earlier checkpoint of a log.
pub(super) async fn of_size_in(
    log: &PublishedLog,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let size = path.ok().and_then(|Path(size)| canonical(&size));
    let size = size.ok_or(ApiError::NoSuchCheckpoint)?;
    let checkpoint = log.checkpoints().of_size(size.get()).await?;
    let checkpoint = checkpoint.ok_or(ApiError::NoSuchCheckpoint)?;
    Ok(response(checkpoint.note, TEXT, CHANGES))
}

fn tile_described() -> Described {
    let described = Described::new(
        "Get a tile or an entry bundle",
        "A tile of the Merkle tree, or the entries below it, as specified in c2sp.org/tlog-tiles. Each entry is the 32-byte hash \
         of an event; the first entry belongs to the event at position 1. Slashes in the path are not encoded.",
    );
    let text = "`<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`. The index has groups of three digits, such as \
                `x001/234`.";
    tile_of(described, text)
}

/// Adds the parameter `tile` of a log, and the response with a tile.
pub(super) fn tile_of(described: Described, text: &str) -> Described {
    let tile = fields::path("tile", fields::string(), json!("entries/000.p/7"), text);
    let media = Media::of(BYTES, fields::string(), None);
    answered(
        described.takes([tile]),
        "The tile, which never changes.",
        media,
        IMMUTABLE,
    )
    .problems(refused())
    .problems([kinds::TILE_NOT_FOUND])
}

async fn tile(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    tile_in(api.published()?, path).await
}

/// Returns a tile of a log.
pub(super) async fn tile_in(
    log: &PublishedLog,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let tile = path
        .ok()
        .and_then(|Path(tile)| format!("tile/{tile}").parse().ok());
    let tile = tile.ok_or(ApiError::NoSuchTile)?;
    let content = log.tile(&tile).await?.ok_or(ApiError::NoSuchTile)?;
    Ok(response(content, BYTES, IMMUTABLE))
}

fn proof_described() -> Described {
    let described = Described::new(
        "Prove an event",
        "A proof that the log of the newest checkpoint contains the event at this position, as specified in c2sp.org/tlog-proof. \
         If the log has witnesses, the proof uses the newest checkpoint that enough of them have cosigned. The proof contains the \
         checkpoint, but not the event.",
    );
    proof_of(described, "The position of the event.")
}

/// Adds the parameter `position` of a log, and the response with a proof.
pub(super) fn proof_of(described: Described, text: &str) -> Described {
    let position = fields::path("position", fields::whole_number(1), json!(7), text);
    answered(described.takes([position]), "The proof.", tlog_proof(), CHANGES)
        .problems(refused())
        .problems([kinds::NO_CHECKPOINT_YET, kinds::NOT_COVERED_YET])
}

async fn proof(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    proof_in(api.published()?, path).await
}

/// Returns the proof of an entry of a log.
pub(super) async fn proof_in(
    log: &PublishedLog,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let position = path.ok().and_then(|Path(position)| canonical(&position));
    let position = position.ok_or(ApiError::NotCoveredYet)?;
    let proof = log.prove(position).await?;
    Ok(response(proof.to_string(), TEXT, CHANGES))
}

fn receipt_described() -> Described {
    let described = Described::new(
        "Get the receipt of a registration",
        "A proof that the log contains the registration of the patient, in the form of `GET /log/proof/{position}`. The `extra` \
         line has the hash of the event, as the JSON object `{\"hash\": …}`, so that the holder can check the file with the \
         verifier key of the log alone. The file contains no personal data, and does not show which patient the event is about. \
         It stays available after the patient is deleted or erased.",
    )
    .takes([fields::patient_id()]);
    answered(described, "The proof.", tlog_proof(), NO_STORE)
        .problems(refused())
        .problems([
            kinds::PATIENT_NOT_FOUND,
            kinds::NO_CHECKPOINT_YET,
            kinds::NOT_COVERED_YET,
        ])
}

async fn receipt(State(api): State<Api>, PatientId(id): PatientId) -> Result<Response, ApiError> {
    let published = api.published()?;
    let registered = api.log.position_of(Patient::TYPE, &id.to_string(), 1).await;
    let position = registered
        .map_err(TlogError::from)?
        .ok_or(ApiError::PatientNotFound)?;
    let proof = published.prove_hash(&api.log, position).await?;
    Ok(proof_response(&proof))
}

/// Returns the response with a proof, which must not be cached.
pub(super) fn proof_response(proof: &TlogProof) -> Response {
    response(proof.to_string(), TEXT, NO_STORE)
}

/// Parses a positive number without leading zeros or a sign.
fn canonical(number: &str) -> Option<Position> {
    let position: Position = number.parse().ok()?;
    (position > Position::BEGINNING && position.to_string() == number).then_some(position)
}

fn response(body: impl IntoResponse, media: &'static str, cache: &'static str) -> Response {
    let mut response = body.into_response();
    for (name, value) in [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, cache)] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Api {
    pub(super) fn published(&self) -> Result<&PublishedLog, ApiError> {
        self.published_log.as_ref().ok_or(ApiError::LogNotPublished)
    }

    pub(super) fn published_reads(&self) -> Result<&PublishedLog, ApiError> {
        self.published_reads.as_ref().ok_or(ApiError::LogNotPublished)
    }
}

impl From<TlogError> for ApiError {
    fn from(error: TlogError) -> Self {
        tracing::error!(%error, "the published log could not be read");
        match error {
            TlogError::Store(error) => Self::from(&error),
            _ => Self::LogDamaged,
        }
    }
}

impl From<NoProof> for ApiError {
    fn from(none: NoProof) -> Self {
        match none {
            NoProof::NoCheckpoint => Self::NoCheckpointYet,
            NoProof::Tlog(error) => Self::from(error),
            NoProof::TooLong(_) => {
                tracing::error!(error = %none, "an event cannot be proved");
                Self::LogDamaged
            }
            _ => Self::NotCoveredYet,
        }
    }
}
