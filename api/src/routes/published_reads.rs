//! The published log of the record of reads, for everybody: `/reads-log/checkpoint`,
//! `/reads-log/checkpoints/{size}`, `/reads-log/tile/…` and `/reads-log/proof/{position}`.
//!
//! The entries are hashes of links of the record. They contain no personal data.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use web::RouteKind::Published;
use web::routes::Routes;

use super::published::{
    checkpoint_of, newest_in, newest_of, of_size_in, proof_in, proof_of, tile_in, tile_of,
};
use crate::openapi::Described;
use crate::problem::ApiError;
use crate::state::Api;

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get("/reads-log/checkpoint", Published, newest, newest_described)
        .get(
            "/reads-log/checkpoints/{size}",
            Published,
            of_size,
            of_size_described,
        )
        .get("/reads-log/tile/{*tile}", Published, tile, tile_described)
        .get("/reads-log/proof/{position}", Published, proof, proof_described)
}

fn newest_described() -> Described {
    newest_of(Described::new(
        "Get the newest checkpoint of the record of reads",
        "The newest signed checkpoint of the log of the record of reads, as specified in c2sp.org/tlog-checkpoint. The entries of \
         this log are the hashes of links that were the last link of their chain in the record.",
    ))
}

async fn newest(State(api): State<Api>) -> Result<Response, ApiError> {
    newest_in(api.published_reads()?).await
}

fn of_size_described() -> Described {
    let described = Described::new(
        "Get an earlier checkpoint of the record of reads",
        "The signed checkpoint with this number of entries. Checkpoints are signed at intervals, so most sizes have none.",
    );
    checkpoint_of(described, (40, "The number of entries."))
}

async fn of_size(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    of_size_in(api.published_reads()?, path).await
}

fn tile_described() -> Described {
    let described = Described::new(
        "Get a tile or an entry bundle of the record of reads",
        "A tile of the Merkle tree, or the entries below it, as specified in c2sp.org/tlog-tiles. Each entry is the 32-byte hash \
         of a link of the record. Slashes in the path are not encoded.",
    );
    tile_of(described, "As in `GET /log/tile/{tile}`.")
}

async fn tile(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    tile_in(api.published_reads()?, path).await
}

fn proof_described() -> Described {
    let described = Described::new(
        "Prove a head of the record of reads",
        "A proof that the log of the newest checkpoint with enough cosignatures contains the entry at this position, as specified \
         in c2sp.org/tlog-proof.",
    );
    let text = "The position of the entry, which `patients audit reads heads` shows.";
    proof_of(described, text)
}

async fn proof(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    proof_in(api.published_reads()?, path).await
}
