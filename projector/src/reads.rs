//! Reads of patients: from the read tables, and from the log for events that are not projected yet.

mod by_id;
mod kept_connection;
mod list;
mod names;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use domain::PatientDetails;
use eventstore::{Coalescer, Database, EventLog, Position, Rejected, Session};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::patient_view::mailbox_hash;
use crate::{PATIENT_NAMES, PATIENT_VIEW};
use by_id::PatientBatch;
use list::ListBatch;
pub use list::{PageRequest, PatientPage};
pub use names::SearchBounds;
use trust::{Trust, Trusts};

/// Returns the number of batches of reads by id that run at a time: one per two cores, but at least one and
/// at most two. A MySQL statement costs as much as about twenty additional ids in another statement. On few
/// cores, a second concurrent statement would only split the ids between two statements and increase the
/// total cost.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 2))
}

/// Number of pages that are read at a time. It is larger than the number of batches of reads by id, because
/// reading a page near the end of the list waits for the disk.
const PAGE_WORKERS: usize = 8;
/// Maximum number of reads by id that wait.
const CAPACITY: usize = 4096;
/// Maximum number of reads by id that are answered together.
const LARGEST: usize = 256;
/// Maximum number of page reads that wait.
const PAGE_CAPACITY: usize = 1024;
/// Maximum number of pages that a worker takes at a time.
const MOST_PAGES: usize = 16;
/// Interval at which the checkpoint is polled while a read waits for it.
const LOOK: Duration = Duration::from_millis(20);

/// Result of a lookup by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An active patient, with the sequence of its last event.
    Active(Arc<PatientDetails>, u64),
    /// A deleted patient.
    Deleted,
    /// An erased patient.
    Erased,
    /// No patient has or ever had this id.
    Nothing,
}

/// Reason why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Too many reads are waiting.
    #[error("too many reads are waiting")]
    Overloaded,
    /// The process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// The database read failed.
    #[error(transparent)]
    Store(Arc<eventstore::Error>),
    /// An event of the patient cannot be read.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Position of the event.
        position: Position,
        /// Why the event cannot be read.
        source: domain::StoredEventError,
    },
    /// The claim on an email belongs to a patient who does not have that email.
    #[error("the claim on an email is held by patient {holder}, who does not have that email")]
    ClaimsDamaged {
        /// Aggregate id in the claims table.
        holder: String,
    },
    /// A defect of the service.
    #[error("the read ended without a result")]
    Failed,
}

impl ReadError {
    /// Whether the read table has no rows yet, because its first build has not finished, or has lost its
    /// rows.
    #[must_use]
    pub fn is_not_built(&self) -> bool {
        matches!(self, Self::Store(error) if matches!(
            **error,
            eventstore::Error::NotFilled { .. } | eventstore::Error::NoSuchGeneration { .. }
        ))
    }
}

impl From<eventstore::Error> for ReadError {
    fn from(error: eventstore::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<Rejected> for ReadError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Overloaded => Self::Overloaded,
            Rejected::ShutDown => Self::ShuttingDown,
            Rejected::Failed => Self::Failed,
        }
    }
}

/// What a page of patients is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSource {
    /// The table of the patients.
    Patients,
    /// The table of the patients, and the table of the words of their names.
    Names,
    /// The table of the patients, by email, in the primary database and never in the replica.
    Email,
}

/// Position of a projection, and the time when it was read.
struct Seen {
    database: Database,
    projection: &'static str,
    latest: Mutex<Option<(Position, Instant)>>,
}

/// Reads patients.
pub struct PatientReads {
    log: EventLog,
    trust: Arc<Trust>,
    view: Seen,
    names: Seen,
    email: Seen,
    by_id: Coalescer<PatientBatch>,
    pages: Coalescer<ListBatch>,
}

impl PatientReads {
    /// Starts the tasks that read for all callers. They stop when the result is dropped, or on
    /// [`PatientReads::shutdown`].
    #[must_use]
    pub fn start(log: &EventLog) -> Self {
        Self::start_bounded(log, SearchBounds::default())
    }

    /// Like [`PatientReads::start`], with other limits of the work for a search.
    #[must_use]
    pub fn start_bounded(log: &EventLog, bounds: SearchBounds) -> Self {
        let trust = Arc::new(Trust::of(PATIENT_VIEW));
        let by_id = (0..workers()).map(|_| PatientBatch::new(log.database().clone(), Arc::clone(&trust)));
        let stale = log.database().for_stale_reads();
        // The tables of a replica may have other generations.
        let trusts = Trusts {
            view: Arc::new(Trust::of(PATIENT_VIEW)),
            names: Arc::new(Trust::of(PATIENT_NAMES)),
        };
        let pages = (0..PAGE_WORKERS).map(|_| ListBatch::new(stale.clone(), trusts.clone(), bounds));
        Self {
            by_id: Coalescer::start(by_id, CAPACITY, LARGEST),
            pages: Coalescer::start(pages, PAGE_CAPACITY, MOST_PAGES),
            view: Seen::of(stale, PATIENT_VIEW),
            names: Seen::of(stale, PATIENT_NAMES),
            email: Seen::of(log.database(), PATIENT_VIEW),
            trust,
            log: log.clone(),
        }
    }

    /// Answers the waiting reads, and stops.
    pub async fn shutdown(&self) {
        self.by_id.shutdown().await;
        self.pages.shutdown().await;
    }

    /// Returns the patient with this id. The read is strongly consistent, regardless of the process that
    /// wrote the patient and of the position of the projection. Waiting reads are answered together.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn by_id(&self, id: Uuid) -> Result<Found, ReadError> {
        self.by_id.ask(id).await?
    }

    /// Returns a page of the active patients that have been projected, from the replica if there is one.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn page(&self, request: PageRequest) -> Result<PatientPage, ReadError> {
        self.pages.ask(request).await?
    }

    /// Returns the ids of at most `most` patients whose row may have this email, in the order of their ids
    /// after `after`. Rows from before migration 13 are not found.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`], for example because the read table was never built
    /// ([`ReadError::is_not_built`]).
    pub async fn ids_with_email(
        &self,
        email: &str,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<Uuid>, ReadError> {
        let mut connection = self.log.database().reader().await?;
        let rows = connection
            .query(
                "SELECT v.id, v.generation FROM projections p JOIN patient_view v ON v.generation = p.active_generation \
                 WHERE p.name = ? AND v.mailbox_hash = ? AND v.id > ? ORDER BY v.id LIMIT ?",
            )
            .bind(PATIENT_VIEW)
            .bind(mailbox_hash(email))
            .bind(after.map(|id| id.to_string()).unwrap_or_default())
            .bind(i64::from(most))
            .fetch_all()
            .await?;
        let generation = rows.first().map(|row| row.get(1)).transpose()?;
        self.trust.check_generation(&mut connection, generation).await?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            // A row with another text as its id was altered, and no patient has it.
            ids.extend(Uuid::try_parse(row.get(0)?));
        }
        Ok(ids)
    }

    /// Whether the read table has rows from before migration 13, which [`PatientReads::ids_with_email`] does
    /// not find. A rebuild of the projection completes them.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`].
    pub async fn lacks_emails(database: &Database) -> eventstore::Result<bool> {
        let mut connection = database.reader().await?;
        let row = connection
            .query(
                "SELECT 1 FROM projections p JOIN patient_view v ON v.generation = p.active_generation \
                 WHERE p.name = ? AND v.mailbox_hash IS NULL LIMIT 1",
            )
            .bind(PATIENT_VIEW)
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }

    /// Waits until all tables that a page is read from include the event at `position`, for at most `wait`.
    /// If the time runs out, returns the position that the tables have reached.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`], including if a checkpoint is invalid, because the position is then unknown.
    pub async fn wait_for(
        &self,
        position: Position,
        source: PageSource,
        wait: Duration,
    ) -> Result<Result<(), Position>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            let projected = match source {
                PageSource::Patients => self.view.position().await?,
                PageSource::Names => self.view.position().await?.min(self.names.position().await?),
                PageSource::Email => self.email.position().await?,
            };
            if projected >= position {
                return Ok(Ok(()));
            }
            if Instant::now() + LOOK > deadline {
                return Ok(Err(projected));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Seen {
    fn of(database: &Database, projection: &'static str) -> Self {
        Self {
            database: database.clone(),
            projection,
            latest: Mutex::default(),
        }
    }

    /// Returns the position of the projection, at most [`LOOK`] old. All waiting reads share one query.
    async fn position(&self) -> Result<Position, ReadError> {
        let mut latest = self.latest.lock().await;
        match *latest {
            Some((position, when)) if when.elapsed() < LOOK => Ok(position),
            _ => {
                let position = list::projected(&self.database, self.projection).await?;
                *latest = Some((position, Instant::now()));
                Ok(position)
            }
        }
    }
}
