//! The event repository for cqrs-es.
//!
//! Reads use mysql-es and sqlite-es, which find the columns that they expect in the `events` table. Writes go
//! through the [`AppendQueue`]. Each repository serves one command and keeps the receipt of its append.

use std::sync::{Arc, OnceLock};

use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use mysql_es::MysqlEventRepository;
use serde_json::Value;
use sqlite_es::SqliteEventRepository;

use crate::append::{Append, AppendError, AppendQueue, Appended};
use crate::claim::{self, ClaimChange, ClaimRules, ClaimRulesError};
use crate::clock::Timestamp;
use crate::database::LibraryPool;
use crate::error::Error;
use crate::event::{Hash, NewEvent, Position, RecordedEvent};
use crate::log::EventLog;
use crate::sealing::{SealedEvents, Sealing, SealingError};

/// Positions of a command's events, available once they are durable.
#[derive(Debug, Clone, Default)]
pub struct Receipt(Arc<OnceLock<Appended>>);

impl Receipt {
    /// Returns the result of the append, or `None` if the command failed or produced no events.
    #[must_use]
    pub fn appended(&self) -> Option<Appended> {
        self.0.get().copied()
    }
}

/// The repository of cqrs-es's `PersistedEventStore`, for one command.
pub struct EventRepository {
    log: EventLog,
    sealing: Option<Sealing>,
    appends: AppendQueue,
    claims: Arc<dyn ClaimRules>,
    receipt: Receipt,
    fresh: bool,
    /// Whether the append checks that the aggregate has no events, although no events were read.
    checks_absence: bool,
    /// The events that the command has read.
    read: OnceLock<Vec<NewEvent>>,
}

impl EventRepository {
    /// Creates a repository for one command. If `fresh` is set, the aggregate's id is newly generated, so no
    /// events are read.
    #[must_use]
    pub fn new(log: EventLog, appends: AppendQueue, claims: Arc<dyn ClaimRules>, fresh: bool) -> Self {
        Self {
            log,
            sealing: None,
            appends,
            claims,
            receipt: Receipt::default(),
            fresh,
            checks_absence: false,
            read: OnceLock::new(),
        }
    }

    /// Makes the command expect that its aggregate has no events. No events are read. If the aggregate has
    /// events, the append is rejected as a conflict, without an effect on other appends. Use this for an id
    /// that is derived from a value rather than generated.
    #[must_use]
    pub fn of_absent_aggregate(mut self) -> Self {
        self.fresh = true;
        self.checks_absence = true;
        self
    }

    /// Seals the command's events, and opens the events that it reads. `sealing` is the sealing of the log
    /// that `claims` also use: the log may be sealed while a command runs.
    #[must_use]
    pub fn with_sealing(mut self, sealing: Option<Sealing>) -> Self {
        self.sealing = sealing;
        self
    }

    /// Returns the changes that `events` make to the claims of their aggregate.
    fn claim_changes(&self, events: &[NewEvent]) -> Result<Vec<ClaimChange>, ClaimRulesError> {
        if self.claims.releases_all(events) {
            return Ok(vec![ClaimChange::ReleaseAll]);
        }
        let earlier = self.read.get().map_or(&[][..], Vec::as_slice);
        let all: Vec<NewEvent> = earlier.iter().chain(events).cloned().collect();
        Ok(claim::changes(
            &self.claims.held(earlier)?,
            &self.claims.held(&all)?,
        ))
    }

    /// Prepares the append. Seals the events if the log is sealed.
    async fn prepare(&self, events: Vec<NewEvent>, claims: Vec<ClaimChange>) -> Result<Append, AppendError> {
        let database = self.log.database();
        let append = match &self.sealing {
            None => Append::new(events, claims)?,
            Some(sealing) => {
                let sealed = sealing.seal(database, events, self.fresh).await;
                let SealedEvents { events, new_key } =
                    sealed.map_err(|error| AppendError::unwritten(Arc::new(error.into())))?;
                Append::new(events, claims)?.sealed(sealing.keys(), new_key)
            }
        };
        let append = append.by_claim_rules(self.claims.version());
        Ok(if self.fresh && !self.checks_absence {
            append.of_new_aggregate()
        } else {
            append
        })
    }

    /// Returns the receipt of the command's append.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        self.receipt.clone()
    }

    /// Runs a read of mysql-es or sqlite-es on their connection pool.
    async fn read_by_library(
        &self,
        read: impl AsyncFnOnce(LibraryPool) -> Result<Vec<SerializedEvent>, PersistenceError>,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let answer = self.log.database().with_library_pool(read).await;
        answer.map_err(|error| PersistenceError::ConnectionError(Box::new(error)))?
    }

    /// Opens the personal data of events. A command cannot decide about an aggregate whose data was erased.
    async fn open(&self, events: Vec<SerializedEvent>) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let Some(sealing) = self.sealing.as_ref().filter(|_| !events.is_empty()) else {
            return Ok(events);
        };
        let recorded = events.into_iter().map(recorded).collect();
        let opened = async {
            let mut reader = self.log.database().reader().await?;
            Ok::<_, Error>(sealing.open(&mut reader, recorded).await?)
        };
        let opened = opened.await.map_err(unexpected)?;
        let open = |opened: RecordedEvent| match opened.erased_at {
            Some(at) => Err(unexpected(Error::from(SealingError::Erased { at }))),
            None => Ok(opened.into()),
        };
        opened.into_iter().map(open).collect()
    }
}

/// Wraps an error, so that the caller can recover it by downcasting `AggregateError::UnexpectedError`.
fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> PersistenceError {
    PersistenceError::UnknownError(Box::new(error))
}

/// Returns the parts of an event that sealing binds. The columns that mysql-es and sqlite-es do not read are
/// unknown.
fn recorded(event: SerializedEvent) -> RecordedEvent {
    RecordedEvent {
        position: Position::BEGINNING,
        aggregate_type: event.aggregate_type,
        aggregate_id: event.aggregate_id,
        sequence: event.sequence as u64,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: event.payload,
        metadata: event.metadata,
        recorded_at: Timestamp::default(),
        hash: Hash::default(),
        erased_at: None,
    }
}

impl PersistedEventRepository for EventRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        if self.fresh {
            return Ok(Vec::new());
        }
        let events = self
            .read_by_library(async |pool| match pool {
                LibraryPool::MySql(pool) => {
                    MysqlEventRepository::new(pool)
                        .get_events::<A>(aggregate_id)
                        .await
                }
                LibraryPool::Sqlite(pool) => {
                    SqliteEventRepository::new(pool)
                        .get_events::<A>(aggregate_id)
                        .await
                }
            })
            .await?;
        let events = self.open(events).await?;
        // A repository serves one command, and a command reads the events once.
        let _ = self
            .read
            .set(events.iter().cloned().map(NewEvent::from).collect());
        Ok(events)
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self
            .read_by_library(async |pool| match pool {
                LibraryPool::MySql(pool) => {
                    MysqlEventRepository::new(pool)
                        .get_last_events::<A>(aggregate_id, last_sequence)
                        .await
                }
                LibraryPool::Sqlite(pool) => {
                    SqliteEventRepository::new(pool)
                        .get_last_events::<A>(aggregate_id, last_sequence)
                        .await
                }
            })
            .await?;
        self.open(events).await
    }

    /// Returns `None`: snapshots are not used, because aggregates have few events.
    async fn get_snapshot<A: Aggregate>(
        &self,
        _aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        _snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if events.is_empty() {
            return Ok(());
        }
        let events: Vec<NewEvent> = events.iter().cloned().map(NewEvent::from).collect();
        let claims = self
            .claim_changes(&events)
            .map_err(PersistenceError::UnknownError)?;
        let append = self.prepare(events, claims).await.map_err(unexpected)?;
        let appended = self.appends.append(append).await.map_err(|error| match error {
            AppendError::Conflict { .. } => PersistenceError::OptimisticLockError,
            other => unexpected(other),
        })?;
        // A repository serves one command, so the receipt is still empty.
        let _ = self.receipt.0.set(appended);
        Ok(())
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let events = self.get_events::<A>(aggregate_id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    /// Streams all events of the aggregate type, in order of position. (mysql-es orders by sequence alone.)
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        const PAGE: u32 = 500;
        let (mut feed, stream) = ReplayStream::new(PAGE as usize);
        let log = self.log.clone();
        tokio::spawn(async move {
            let mut after = Position::BEGINNING;
            loop {
                let events = match log.feed(after, PAGE).await {
                    Ok(events) => events,
                    Err(error) => {
                        // If the stream was dropped, the error is not needed.
                        drop(
                            feed.push(Err(PersistenceError::UnknownError(Box::new(error))))
                                .await,
                        );
                        return;
                    }
                };
                let Some(last) = events.last() else { return };
                after = last.position;
                for event in events.into_iter().filter(|event| event.aggregate_type == A::TYPE) {
                    if feed.push(Ok(event.into())).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(stream)
    }
}

impl From<SerializedEvent> for NewEvent {
    fn from(event: SerializedEvent) -> Self {
        Self {
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence as u64,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
        }
    }
}

impl From<RecordedEvent> for SerializedEvent {
    fn from(event: RecordedEvent) -> Self {
        Self {
            aggregate_id: event.aggregate_id,
            sequence: usize::try_from(event.sequence).unwrap_or(usize::MAX),
            aggregate_type: event.aggregate_type,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
        }
    }
}
