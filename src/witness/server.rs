//! The HTTP server of a witness: `POST /add-checkpoint`, and `GET /HASH/checkpoint`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use eventstore::Clock;
use tlog::{Conflict, StateError, WitnessFolder};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::witness::{
    Answer, Latest, MAX_REQUEST_LEN, Refusal, Store as _, Witness, WitnessError, monitoring_path,
};

const TEXT: &str = "text/plain; charset=utf-8";

/// The server of a witness. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server(Arc<Shared>);

struct Shared {
    witness: Witness,
    /// The origin of each log, by its path in [`monitoring_path`].
    paths: BTreeMap<String, String>,
    folder: WitnessFolder,
    /// The logs by origin. A slow flush for one log does not delay the others.
    logs: BTreeMap<String, Mutex<Log>>,
    clock: Arc<dyn Clock>,
    body_timeout: Duration,
}

/// State of a log in this process.
#[derive(Default)]
struct Log {
    /// The last checkpoint that was kept for monitors, with the time of its cosignature in seconds.
    published: Option<(Checkpoint, u64)>,
    /// The conflicts that were logged.
    conflicts: BTreeSet<(u64, Hash)>,
    /// Number of conflicts that were neither kept nor logged since one was logged, and the monotonic time at
    /// which one was logged.
    unkept: (u64, Option<Duration>),
    /// Whether the last cosignature had a time after the time of the clock.
    is_behind: bool,
}

/// Difference in seconds between the time of a cosignature and the clock, above which the clock is logged as
/// wrong.
const BEHIND: u64 = 5 * 60;
/// Maximum number of conflicts that are logged one by one between two cosigned checkpoints of a log. Anyone
/// can send genuine checkpoints with invalid proofs.
const CONFLICTS: usize = 64;
/// Interval at which further conflicts are logged.
const UNKEPT: Duration = Duration::from_mins(1);

impl Server {
    pub(super) fn new(
        witness: Witness,
        origins: &[String],
        folder: WitnessFolder,
        clock: Arc<dyn Clock>,
        request_timeout: Duration,
    ) -> Self {
        let path = |origin: &String| (monitoring_path(origin), origin.clone());
        let log = |origin: &String| (origin.clone(), Mutex::default());
        Self(Arc::new(Shared {
            witness,
            paths: origins.iter().map(path).collect(),
            folder,
            logs: origins.iter().map(log).collect(),
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
        // Requests of strangers do not reach the lock.
        let submission = match shared.witness.verify(body) {
            Ok(submission) => submission,
            Err(refusal) => return Ok(refused(refusal)),
        };
        let Some(log) = shared.logs.get(submission.checkpoint().checkpoint().origin()) else {
            return Ok(refused(Refusal::Unknown));
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = shared.clock.now().as_micros() / 1_000_000;
        let now = u64::try_from(now).unwrap_or(0);
        let answer = shared.witness.cosign(&mut &shared.folder, &submission, now)?;
        match &answer {
            Answer::Cosigned {
                checkpoint,
                timestamp,
                ..
            } => {
                log.compare_clock(*timestamp, now);
                log.publish(&shared.folder, checkpoint, *timestamp);
            }
            Answer::Refused(Refusal::Inconsistent(_)) => {
                log.report(&shared.folder, submission.checkpoint(), shared.clock.monotonic())?;
            }
            Answer::Refused(refusal) => tracing::debug!(%refusal, "a request was refused"),
        }
        Ok(answer)
    }
}

fn refused(refusal: Refusal) -> Answer {
    tracing::debug!(%refusal, "a request was refused");
    Answer::Refused(refusal)
}

impl Log {
    /// Logs once that the clock was set back, or was ahead before.
    fn compare_clock(&mut self, timestamp: u64, now: u64) {
        let is_behind = timestamp > now.saturating_add(BEHIND);
        if is_behind && !self.is_behind {
            let seconds = timestamp - now;
            tracing::error!(
                seconds,
                "the clock is behind the time of the last cosignature, so cosignatures keep that time: correct the clock"
            );
        }
        self.is_behind = is_behind;
    }

    /// Logs at most once a minute that more checkpoints are in conflict than can be remembered.
    fn report_unkept(&mut self, checkpoint: &Checkpoint, now: Duration) {
        let (unlogged, logged_at) = self.unkept;
        if logged_at.is_some_and(|at| now < at + UNKEPT) {
            self.unkept.0 = unlogged.saturating_add(1);
            return;
        }
        self.unkept = (0, Some(now));
        tracing::warn!(
            log.origin = checkpoint.origin(),
            log.size = checkpoint.size(),
            log.root = %checkpoint.root(),
            unlogged,
            "refused a checkpoint that is not kept: {CONFLICTS} checkpoints in conflict were refused before it"
        );
    }

    /// Keeps a cosigned checkpoint for monitors. Anyone can repeat a request, so the same cosignature is not
    /// written each time.
    fn publish(&mut self, folder: &WitnessFolder, signed: &SignedCheckpoint, timestamp: u64) {
        let checkpoint = signed.checkpoint();
        let published = self.published.as_ref();
        if published.is_some_and(|(last, at)| last == checkpoint && *at == timestamp) {
            return;
        }
        tracing::info!(
            log.origin = checkpoint.origin(),
            log.size = checkpoint.size(),
            "cosigned"
        );
        match folder.publish(signed) {
            Ok(()) => self.published = Some((checkpoint.clone(), timestamp)),
            Err(error) => tracing::error!(%error, "the cosigned checkpoint cannot be kept for monitors"),
        }
        // Smaller checkpoints are refused with 409 from now on.
        self.conflicts.retain(|(size, _)| *size >= checkpoint.size());
    }

    /// Logs a conflict, and keeps the signed checkpoint. The same conflict is logged only once.
    fn report(
        &mut self,
        folder: &WitnessFolder,
        signed: &SignedCheckpoint,
        now: Duration,
    ) -> Result<(), WitnessError<StateError>> {
        let checkpoint = signed.checkpoint();
        let mut store = folder;
        let cosigned = store.latest(checkpoint.origin()).map_err(WitnessError::Store)?;
        let cosigned = cosigned.unwrap_or(Latest {
            size: 0,
            root: Hash::EMPTY_ROOT,
            time: 0,
        });
        let Some(conflict) = Conflict::between(cosigned, checkpoint) else {
            tracing::debug!("the proof of the cosigned checkpoint is invalid");
            return Ok(());
        };
        let key = (checkpoint.size(), checkpoint.root());
        let is_full = self.conflicts.len() >= CONFLICTS && conflict == Conflict::Unproved;
        if is_full && !self.conflicts.contains(&key) {
            self.report_unkept(checkpoint, now);
            return Ok(());
        }
        if !self.conflicts.insert(key) {
            return Ok(());
        }
        let kept = folder.keep_conflict(conflict, signed);
        let kept = kept.unwrap_or_else(|error| {
            tracing::error!(%error, "a checkpoint in conflict cannot be kept");
            None
        });
        let evidence = kept.map(|path| path.display().to_string());
        let (origin, size, root) = (checkpoint.origin(), checkpoint.size(), checkpoint.root());
        match conflict {
            Conflict::Fork => tracing::error!(
                log.origin = origin,
                log.size = size,
                log.root = %root,
                cosigned.root = %cosigned.root,
                evidence,
                "refused a fork: the log has signed another root for the cosigned size"
            ),
            Conflict::Unproved => tracing::warn!(
                log.origin = origin,
                log.size = size,
                log.root = %root,
                cosigned.size = cosigned.size,
                evidence,
                "refused a checkpoint: it is not proved that it extends the cosigned checkpoint"
            ),
        }
        Ok(())
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
        // The file is replaced as a whole, so reading it needs no lock.
        server.0.folder.published(&origin)
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
