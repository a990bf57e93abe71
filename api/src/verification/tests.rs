use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use eventstore::projection::{Outcome, RebuildError, RunContext, Step};
use eventstore::{Clock, Database, DatabaseOptions, Position, Rebuild, SystemClock};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use testkit::wait_until;
use tokio::time::Instant;

use super::*;

/// A projection whose verification never ends.
struct Endless {
    is_running: &'static AtomicBool,
}

/// Marks the end of a verification.
struct Mark(&'static AtomicBool);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Endless {
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            is_running: Box::leak(Box::default()),
        }))
    }
}

impl Registered for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn run(&self, _: RunContext) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    fn rebuild<'a>(
        &self,
        _: EventLog,
        _: Arc<dyn Clock>,
        _: String,
        _: &'a Rebuild,
        _: &'a CancellationToken,
        _: &'a mut (dyn FnMut(Step) + Send),
    ) -> BoxFuture<'a, Result<Outcome, RebuildError>> {
        std::future::pending().boxed()
    }

    fn is_rid_of<'a>(
        &self,
        _: &'a Database,
        _: &'a str,
        _: Position,
    ) -> BoxFuture<'a, eventstore::Result<bool>> {
        std::future::pending().boxed()
    }

    fn verify<'a>(
        &self,
        _: &'a EventLog,
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> BoxFuture<'a, Result<Verification, ProjectionError>> {
        let is_running = self.is_running;
        async move {
            is_running.store(true, Ordering::SeqCst);
            let _mark = Mark(is_running);
            for compared in 0.. {
                progress(compared * 1000);
                sleep(INTERVAL / 4).await;
            }
            std::future::pending().await
        }
        .boxed()
    }
}

type Lines = Pin<Box<dyn Stream<Item = Result<Bytes, Incomplete>> + Send>>;

struct Rig {
    log: EventLog,
    verifications: Verifications,
    projection: &'static Endless,
    allowed: Arc<AtomicBool>,
}

impl Rig {
    async fn new() -> Self {
        let database = Database::connect("sqlite::memory:", DatabaseOptions::default())
            .await
            .unwrap();
        migrations::migrate(&database, SystemClock::shared(), "test")
            .await
            .unwrap();
        Self {
            log: EventLog::new(database),
            verifications: Verifications::default(),
            projection: Endless::new(),
            allowed: Arc::new(AtomicBool::new(true)),
        }
    }

    async fn start(&self) -> Result<Lines, ApiError> {
        let allowed = Arc::clone(&self.allowed);
        let allowed = move || allowed.load(Ordering::SeqCst);
        let lines = self.verifications.start(&self.log, self.projection, allowed);
        Ok(Box::pin(lines.await?))
    }

    async fn started(&self) -> Lines {
        let lines = self.start().await.unwrap();
        wait_until(Duration::from_secs(5), "the comparison runs", async || {
            self.is_running()
        })
        .await;
        lines
    }

    fn is_running(&self) -> bool {
        self.projection.is_running.load(Ordering::SeqCst)
    }

    async fn stops(&self) {
        wait_until(Duration::from_secs(5), "the comparison has stopped", async || {
            !self.is_running()
        })
        .await;
    }
}

#[tokio::test]
async fn the_progress_is_sent_at_once_and_then_every_second() {
    let rig = Rig::new().await;
    let mut lines = rig.started().await;
    tokio::time::pause();
    let begin = Instant::now();
    for seconds in 0..3 {
        let line = lines.next().await.unwrap().unwrap();
        assert_eq!(begin.elapsed().as_secs(), seconds);
        assert_eq!(line.last(), Some(&b'\n'));
        let line: Value = serde_json::from_slice(&line).unwrap();
        let compared = line["compared"].as_u64().unwrap();
        assert!(
            (seconds * 3000..seconds * 5000 + 5000).contains(&compared),
            "{line}"
        );
        let expected =
            json!({"state": "comparing", "projection": "endless", "compared": compared, "at_most": 0});
        assert_eq!(line, expected);
    }
}

#[tokio::test]
async fn one_verification_runs_at_a_time_and_stops_with_its_response() {
    let rig = Rig::new().await;
    let lines = rig.started().await;
    assert!(matches!(rig.start().await, Err(ApiError::VerificationUnderWay)));
    drop(lines);
    rig.stops().await;
    drop(rig.started().await);
}

#[tokio::test]
async fn a_verification_stops_when_its_client_is_no_longer_authorized() {
    let rig = Rig::new().await;
    let mut lines = rig.started().await;
    lines.next().await.unwrap().unwrap();
    rig.allowed.store(false, Ordering::SeqCst);
    assert!(matches!(lines.next().await, Some(Err(Incomplete::NotAllowed))));
    rig.stops().await;
}

#[tokio::test]
async fn verifications_stop_at_shutdown_and_no_other_begins() {
    let rig = Rig::new().await;
    let mut lines = rig.started().await;
    lines.next().await.unwrap().unwrap();
    rig.verifications.close();
    assert!(matches!(lines.next().await, Some(Err(Incomplete::ShuttingDown))));
    rig.stops().await;
    assert!(matches!(rig.start().await, Err(ApiError::ShuttingDown)));
}
