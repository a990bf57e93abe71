//! The HTTP server of a witness: `POST /add-checkpoint`, and `GET /HASH/checkpoint`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use eventstore::Clock;
use tlog::{StateError, WitnessFolder};
use transparency::checkpoint::SignedCheckpoint;
use transparency::witness::{
    AddCheckpoint, Answer, MAX_REQUEST_LEN, Refusal, Witness, WitnessError, monitoring_path,
};

const TEXT: &str = "text/plain; charset=utf-8";

/// The server of a witness. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server(Arc<Shared>);

struct Shared {
    witness: Witness,
    /// The origin of each log, by its path in [`monitoring_path`].
    paths: BTreeMap<String, String>,
    store: Mutex<Record>,
    clock: Arc<dyn Clock>,
    body_timeout: Duration,
}

/// The folder, and the last conflict that was logged.
struct Record {
    folder: WitnessFolder,
    conflict: Option<SignedCheckpoint>,
}

impl Server {
    pub(super) fn new(
        witness: Witness,
        origins: &[String],
        folder: WitnessFolder,
        clock: Arc<dyn Clock>,
        request_timeout: Duration,
    ) -> Self {
        let path = |origin: &String| (monitoring_path(origin), origin.clone());
        let conflict = None;
        Self(Arc::new(Shared {
            witness,
            paths: origins.iter().map(path).collect(),
            store: Mutex::new(Record { folder, conflict }),
            clock,
            body_timeout: request_timeout / 2,
        }))
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/{hash}/checkpoint", get(checkpoint))
            .with_state(self)
    }

    /// Answers a request. The record is flushed, so this function blocks.
    fn answer(&self, body: &[u8]) -> Result<Answer, WitnessError<StateError>> {
        let shared = &self.0;
        let mut record = shared.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now = shared.clock.now().as_micros() / 1_000_000;
        let now = u64::try_from(now).unwrap_or(0);
        let answer = shared.witness.add_checkpoint(&mut record.folder, body, now)?;
        match &answer {
            Answer::Cosigned { checkpoint, .. } => {
                let cosigned = checkpoint.checkpoint();
                tracing::info!(
                    log.origin = cosigned.origin(),
                    log.size = cosigned.size(),
                    "cosigned"
                );
                if let Err(error) = record.folder.publish(checkpoint) {
                    tracing::error!(%error, "the cosigned checkpoint cannot be kept for monitors");
                }
            }
            Answer::Refused(Refusal::Inconsistent(reason)) => record.report(body, &reason.to_string()),
            Answer::Refused(refusal) => tracing::debug!(%refusal, "a request was refused"),
        }
        Ok(answer)
    }
}

impl Record {
    /// Logs a conflict, and keeps the signed checkpoint as evidence.
    fn report(&mut self, body: &[u8], reason: &str) {
        let Ok(request) = AddCheckpoint::parse(body) else {
            return;
        };
        let signed = request.checkpoint();
        // Anyone can repeat a request, so the same checkpoint is logged only once.
        if self.conflict.as_ref() == Some(signed) {
            return;
        }
        let checkpoint = signed.checkpoint();
        let kept = match self.folder.keep_conflict(signed) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            log.origin = checkpoint.origin(),
            log.size = checkpoint.size(),
            log.root = %checkpoint.root(),
            cosigned.size = request.old_size(),
            reason,
            evidence = kept,
            "refused a fork: the log has signed a checkpoint that is not proved to extend the cosigned checkpoint"
        );
        self.conflict = Some(signed.clone());
    }
}

async fn add_checkpoint(State(server): State<Server>, body: Body) -> Response {
    let reading = to_bytes(body, MAX_REQUEST_LEN);
    let body = match tokio::time::timeout(server.0.body_timeout, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::BAD_REQUEST.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let answering = tokio::task::spawn_blocking(move || server.answer(&body));
    let answer = match answering.await {
        Ok(Ok(answer)) => answer.response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a checkpoint cannot be cosigned");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        // The panic hook has logged the panic.
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, answer.content_type(), answer.body())
}

async fn checkpoint(State(server): State<Server>, Path(hash): Path<String>) -> Response {
    let Some(origin) = server.0.paths.get(&format!("{hash}/checkpoint")).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let reading = tokio::task::spawn_blocking(move || {
        let record = server.0.store.lock().unwrap_or_else(PoisonError::into_inner);
        record.folder.published(&origin)
    });
    match reading.await {
        Ok(Ok(Some(note))) => text(StatusCode::OK, TEXT, note),
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "the cosigned checkpoint cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn text(status: StatusCode, media: &'static str, body: String) -> Response {
    let media = [(header::CONTENT_TYPE, HeaderValue::from_static(media))];
    (status, media, body).into_response()
}
