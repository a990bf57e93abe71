//! Rewriting of SQLite's files after erasures.
//!
//! SQLite overwrites deleted rows with zeros (`secure_delete`), but can leave copies of rows that it has
//! moved to another page. Only `VACUUM`, which writes all pages again, is certain to remove these copies. One
//! `VACUUM` completes all erasures whose rows have been deleted before it. A checkpoint records how far the
//! files have been rewritten, so that erasures are not forgotten when a process is killed.

use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_ERASED, Patient};
use eventstore::sealing::StoredKey;
use eventstore::{Clock, Database, EventFilter, EventLog, Position, RecordedEvent, SystemClock, checkpoint};
use tokio::sync::{Mutex, Notify};

use crate::PROJECTIONS;

/// Name of the checkpoint: SQLite's files have no data of patients whose erasure is at or before its
/// position. The `@` marks that it is not the checkpoint of a subscription.
pub const REWRITTEN: &str = "eraser@files";

/// First pause for a read that began earlier. Each attempt to truncate the write-ahead log blocks all writers
/// for a moment, so the pauses grow.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Minimum pause between two attempts to rewrite the files.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause between two attempts, and therefore about the longest delay after the rows were deleted.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Number of erasures read at a time.
const PAGE: u32 = 500;

/// Held by the task of this process that rewrites files.
static REWRITING: Mutex<()> = Mutex::const_new(());

/// Whether SQLite's files have no data of the patient whose erasure is at `position`, provided that the rows
/// and the key of the patient are deleted. On MySQL, always true.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn are_rewritten(database: &Database, position: Position) -> eventstore::Result<bool> {
    Ok(!database.has_files() || rewritten_to(database).await? >= position)
}

async fn rewritten_to(database: &Database) -> eventstore::Result<Position> {
    let found = checkpoint::load(&mut database.reader().await?, REWRITTEN).await?;
    Ok(found.unwrap_or(Position::BEGINNING))
}

/// Rewrites SQLite's files if they may have data of patients whose rows and keys are deleted. Then waits for
/// reads that began earlier, for about `patience`. Returns false if an erasure remains, or if another task of
/// this process is already rewriting. On MySQL, does nothing.
///
/// # Errors
///
/// The errors of the reads of the log, and [`eventstore::Error::Database`], for example without free space
/// for a second copy of the file.
pub async fn rewrite(log: &EventLog, patience: Duration) -> eventstore::Result<bool> {
    let database = log.database();
    if !database.has_files() {
        return Ok(true);
    }
    let Ok(_only) = REWRITING.try_lock() else {
        return Ok(false);
    };
    let from = rewritten_to(database).await?;
    let Reached { to, all } = deleted_to(log, from).await?;
    if to > from {
        if !rewrite_all(database, patience).await? {
            return Ok(false);
        }
        advance(database, from, to).await?;
    }
    Ok(all)
}

/// Rewrites SQLite's files, even if no erasure requires it. Then waits for reads that began earlier, for
/// about `patience`. Returns false if such a read remains. On MySQL, does nothing.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`], [`eventstore::Error::Keys`].
pub async fn rewrite_all(database: &Database, patience: Duration) -> eventstore::Result<bool> {
    database.vacuum().await?;
    let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
    while !database.truncate_journal().await? {
        if waited >= patience {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(true)
}

/// Rewrites SQLite's files at the start and whenever `erased` is notified, and retries while an erasure
/// remains. Never ends.
pub async fn follow(log: &EventLog, erased: &Notify) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let longest = match rewrite(log, Duration::MAX).await {
            Ok(true) => Duration::MAX,
            Ok(false) => pause,
            Err(error) => {
                tracing::warn!(%error, "the database file was not rewritten after an erasure");
                pause
            }
        };
        pause = match tokio::time::timeout(longest, erased.notified()).await {
            Ok(()) => SHORTEST_PAUSE,
            Err(_) => (pause * 2).min(LONGEST_PAUSE),
        };
    }
}

/// Position up to which all erased patients have neither rows nor keys.
struct Reached {
    to: Position,
    /// Whether this position covers all erasures in the log.
    all: bool,
}

async fn deleted_to(log: &EventLog, from: Position) -> eventstore::Result<Reached> {
    let filter = EventFilter {
        event_type: Some(PATIENT_ERASED.to_owned()),
        aggregate: None,
    };
    let (mut to, mut after) = (from, from);
    loop {
        let page = log.page(&filter, after, Position::LAST, PAGE).await?;
        for erasure in page.events.iter().filter(|event| super::is_erasure(event)) {
            if !is_deleted(log.database(), erasure).await? {
                return Ok(Reached { to, all: false });
            }
            to = erasure.position;
        }
        after = page.reaches;
        if page.events.len() < PAGE as usize {
            return Ok(Reached { to, all: true });
        }
    }
}

/// Whether an erased patient has neither rows nor a key.
async fn is_deleted(database: &Database, erasure: &RecordedEvent) -> eventstore::Result<bool> {
    let patient = &*erasure.aggregate_id;
    if let Some(sealing) = database.sealing() {
        let mut reader = database.reader().await?;
        let keys = sealing
            .keys()
            .find(&mut reader, Patient::TYPE, &[patient])
            .await?;
        if !matches!(keys.get(patient), Some(StoredKey::Erased(_))) {
            return Ok(false);
        }
    }
    for projection in PROJECTIONS {
        if !projection.is_rid_of(database, patient, erasure.position).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves the checkpoint, unless another process has moved it in the meantime.
async fn advance(database: &Database, from: Position, to: Position) -> eventstore::Result<()> {
    checkpoint::load_or_create(database, REWRITTEN).await?;
    let mut transaction = database.begin().await?;
    let moved = checkpoint::advance(&mut transaction, REWRITTEN, from, to, SystemClock.now()).await;
    match moved {
        Ok(()) => transaction.commit().await,
        Err(eventstore::Error::Superseded { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
