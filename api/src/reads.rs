//! Reads: from the read table, and from the log for what is not projected yet.

mod by_id;
mod by_name;
mod kept;
mod list;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use domain::{Email, PatientDetails};
use eventstore::{Claim, Coalescer, EventLog, Position, Rejected};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::commands::{email_claim, older_email_claim};
use by_id::PatientBatch;
pub use by_name::NameRange;
use list::ListBatch;
pub use list::{PageRequest, PatientPage};
use trust::Trust;

/// Batches of reads by id that are under way at a time: one for every two cores, and two at most. A statement
/// costs MySQL as much as some twenty more ids in one, so on few cores a second one beside it only makes both
/// smaller.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 2))
}

/// Pages that are read at a time. More than of those by id: a page far behind the first waits for the disk.
const PAGE_WORKERS: usize = 8;
/// Reads by id that may wait.
const CAPACITY: usize = 4096;
/// Reads by id that are answered together.
const LARGEST: usize = 256;
/// Pages that may be waited for.
const PAGE_CAPACITY: usize = 1024;
/// Pages that one worker takes at a time.
const MOST_PAGES: usize = 16;
/// How often the checkpoint is looked at while a read waits for it.
const LOOK: Duration = Duration::from_millis(20);

/// The name under which the projector keeps its checkpoint and its active generation.
pub(crate) const PROJECTION: &str = "patient_view";

/// What there is under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An active patient, and the sequence of the last event.
    Active(Arc<PatientDetails>, u64),
    /// A patient who was deleted.
    Deleted,
    /// Nothing, nor ever was.
    Nothing,
}

/// Why a read was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Too many reads wait.
    #[error("overloaded")]
    Overloaded,
    /// The process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// The database could not be read.
    #[error(transparent)]
    Store(Arc<eventstore::Error>),
    /// An event of the patient cannot be read.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Where it is.
        position: Position,
        /// What is wrong with it.
        source: domain::StoredEventError,
    },
    /// The patient who holds the claim on an email does not have that email.
    #[error("the claim on an email is held by {holder}, who does not have that email")]
    ClaimsDamaged {
        /// The aggregate id in the table of claims.
        holder: String,
    },
    /// The read table has rows that an earlier version wrote, which are not found by name.
    #[error("the read table is to be rebuilt before names can be searched")]
    RebuildNeeded,
    /// A defect.
    #[error("the read ended without an answer")]
    Failed,
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

/// Reads patients.
pub struct PatientReads {
    log: EventLog,
    /// Where the projection was when somebody last looked.
    seen: Mutex<Option<(Position, Instant)>>,
    by_id: Coalescer<PatientBatch>,
    pages: Coalescer<ListBatch>,
}

impl PatientReads {
    pub(crate) fn start(log: &EventLog) -> Self {
        let database = || log.database().clone();
        let trust = Arc::new(Trust::default());
        let by_id = (0..workers()).map(|_| PatientBatch::new(database(), Arc::clone(&trust)));
        let pages = (0..PAGE_WORKERS).map(|_| ListBatch::new(database(), Arc::clone(&trust)));
        Self {
            by_id: Coalescer::start(by_id, CAPACITY, LARGEST),
            pages: Coalescer::start(pages, PAGE_CAPACITY, MOST_PAGES),
            seen: Mutex::default(),
            log: log.clone(),
        }
    }

    pub(crate) async fn shutdown(&self) {
        self.by_id.shutdown().await;
        self.pages.shutdown().await;
    }

    /// What there is under an id: strongly consistent, whatever process wrote it and however far the
    /// projection is. Reads that wait are answered together.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn by_id(&self, id: Uuid) -> Result<Found, ReadError> {
        self.by_id.ask(id).await?
    }

    /// The active patient with that email, and what is known of them: strongly consistent, as the reads by id
    /// are.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn by_email(&self, email: &Email) -> Result<Option<(Uuid, Arc<PatientDetails>)>, ReadError> {
        let asked = email_claim(email.as_str());
        let mut claim = asked;
        let mut holder = self.holder(claim).await?;
        if let (None, Some(older)) = (&holder, older_email_claim(email.as_str())) {
            claim = older;
            holder = self.holder(claim).await?;
        }
        let Some(holder) = holder else {
            return Ok(None);
        };
        let damaged = |holder| Err(ReadError::ClaimsDamaged { holder });
        let Ok(id) = Uuid::try_parse(&holder) else {
            return damaged(holder);
        };
        match self.by_id(id).await? {
            Found::Active(details, _) if email_claim(&details.email) == asked => Ok(Some((id, details))),
            Found::Active(..) => damaged(holder),
            // Deleted since, and then the claim is gone: at that moment nobody had the email.
            Found::Deleted | Found::Nothing => match self.holder(claim).await? {
                Some(still) if still == holder => damaged(holder),
                _ => Ok(None),
            },
        }
    }

    async fn holder(&self, claim: Claim) -> Result<Option<String>, ReadError> {
        let mut connection = self.log.database().reader().await?;
        Ok(claim.holder(&mut connection).await?)
    }

    /// The active patients of a page, as far as they are projected.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn page(&self, request: PageRequest) -> Result<PatientPage, ReadError> {
        self.pages.ask(request).await?
    }

    /// Waits until the projection has finished `position`, at most `wait`; whether it has, and where it is.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`], also if the checkpoint cannot be true: then nothing is finished for certain.
    pub async fn wait_for(
        &self,
        position: Position,
        wait: Duration,
    ) -> Result<Result<(), Position>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            let projected = self.projected().await?;
            if projected >= position {
                return Ok(Ok(()));
            }
            if Instant::now() + LOOK > deadline {
                return Ok(Err(projected));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How far the projection is, or was a moment ago: all who wait look together.
    async fn projected(&self) -> Result<Position, ReadError> {
        let mut seen = self.seen.lock().await;
        match *seen {
            Some((position, when)) if when.elapsed() < LOOK => Ok(position),
            _ => {
                let position = list::projected(self.log.database()).await?;
                *seen = Some((position, Instant::now()));
                Ok(position)
            }
        }
    }
}
