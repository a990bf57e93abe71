//! Verifications: comparisons of a read table with a replay of the log, whose progress is streamed.
//!
//! A verification belongs to the response that streams it. It ends when the client disconnects, when the
//! client is no longer authorized, and when the process shuts down. Nothing is stored, so it does not matter
//! which process answers.
//!
//! A verification of a large table takes minutes, uses one database connection and keeps one snapshot open,
//! so a process runs one verification at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use eventstore::projection::Verification;
use eventstore::{EventLog, ProjectionError, Registered};
use futures::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use web::RequestError;
use web::problem::Problem;

use crate::feed::Incomplete;
use crate::problem::ApiError;

/// Interval between two lines about the progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// The verifications of this process.
#[derive(Debug)]
pub(crate) struct Verifications {
    turn: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Default for Verifications {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            stop: CancellationToken::new(),
        }
    }
}

/// A line of a response.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Line<'v> {
    /// The verification continues.
    Comparing {
        projection: &'static str,
        /// Number of patients that were compared.
        compared: u64,
        /// Number of events of the log. The log has at most as many patients.
        at_most: u64,
    },
    /// The last line of a verification with a result.
    Finished(&'v Verification),
    /// The last line of a verification that failed.
    Failed {
        projection: &'static str,
        problem: Problem,
    },
}

impl Line<'_> {
    fn written(&self) -> serde_json::Result<Bytes> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line.into())
    }
}

/// A running verification.
struct Running {
    projection: &'static str,
    at_most: u64,
    /// Stops the comparison when the response ends for any reason.
    task: AbortOnDropHandle<Result<Verification, ProjectionError>>,
    compared: watch::Receiver<u64>,
    stop: CancellationToken,
    /// Whether the client may continue to read.
    allowed: Box<dyn Fn() -> bool + Send + Sync>,
    _turn: OwnedSemaphorePermit,
}

/// What follows in the stream.
enum Next {
    /// A line about the progress, at once for the first line.
    Progress(Running, Duration),
    Nothing,
}

impl Verifications {
    /// Starts to compare a projection with the log. Returns the lines of the response: the progress every
    /// second, and then the result. The stream ends with an error once `allowed` returns false.
    ///
    /// # Errors
    ///
    /// [`ApiError::VerificationUnderWay`], [`ApiError::ShuttingDown`], and the errors of [`EventLog::head`].
    pub(crate) async fn start<A: Fn() -> bool + Send + Sync + 'static>(
        &self,
        log: &EventLog,
        projection: &'static dyn Registered,
        allowed: A,
    ) -> Result<impl Stream<Item = Result<Bytes, Incomplete>> + use<A>, ApiError> {
        if self.stop.is_cancelled() {
            return Err(ApiError::ShuttingDown);
        }
        let turn = Arc::clone(&self.turn).try_acquire_owned();
        let turn = turn.map_err(|_| ApiError::VerificationUnderWay)?;
        let head = log.head().await.map_err(|error| {
            tracing::error!(%error, "the head of the log could not be read");
            ApiError::from(&error)
        })?;
        let (progress, compared) = watch::channel(0);
        let log = log.clone();
        let task = tokio::spawn(async move {
            let mut progress = |compared| _ = progress.send_replace(compared);
            projection.verify(&log, &mut progress).await
        });
        let running = Running {
            projection: projection.name(),
            at_most: head.position.get(),
            task: AbortOnDropHandle::new(task),
            compared,
            stop: self.stop.clone(),
            allowed: Box::new(allowed),
            _turn: turn,
        };
        let first = Next::Progress(running, Duration::ZERO);
        Ok(stream::try_unfold(first, |next| async move {
            match next {
                Next::Progress(running, pause) => running.line(pause).await.map(Some),
                Next::Nothing => Ok(None),
            }
        }))
    }

    /// Ends all verifications. No new verification can be started afterward.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Returns the next line: the result, or the progress after a pause.
    async fn line(mut self, pause: Duration) -> Result<(Bytes, Next), Incomplete> {
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Incomplete::ShuttingDown),
            ended = &mut self.task => Some(ended),
            () = sleep(pause) => None,
        };
        if !(self.allowed)() {
            return Err(Incomplete::NotAllowed);
        }
        Ok(match ended {
            None => (self.progress()?, Next::Progress(self, INTERVAL)),
            Some(ended) => (last(self.projection, ended)?, Next::Nothing),
        })
    }

    fn progress(&self) -> serde_json::Result<Bytes> {
        let line = Line::Comparing {
            projection: self.projection,
            compared: *self.compared.borrow(),
            at_most: self.at_most,
        };
        line.written()
    }
}

/// Returns the last line.
fn last(
    projection: &'static str,
    ended: Result<Result<Verification, ProjectionError>, JoinError>,
) -> serde_json::Result<Bytes> {
    let error = match ended {
        Ok(Ok(found)) => {
            if !found.same {
                tracing::warn!(
                    projection,
                    differing = found.differing,
                    "a read table differs from the log"
                );
            }
            return Line::Finished(&found).written();
        }
        Ok(Err(error)) => {
            tracing::error!(projection, %error, "a read table could not be verified");
            match &error {
                ProjectionError::Unreadable { .. } => ApiError::PatientUnreadable,
                ProjectionError::Store(error) => error.into(),
                _ => ApiError::ReadTableDamaged,
            }
        }
        Err(error) => {
            tracing::error!(projection, %error, "a verification panicked");
            RequestError::Internal.into()
        }
    };
    let problem = error.into();
    Line::Failed { projection, problem }.written()
}

#[cfg(test)]
mod tests;
