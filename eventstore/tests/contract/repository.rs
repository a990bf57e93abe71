//! Commands that cqrs-es runs on the log, and reads of the same log by mysql-es and sqlite-es.

use std::collections::HashMap;
use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{
    PersistedEventRepository, PersistedEventStore, PersistenceError, SemanticVersionEventUpcaster,
    SerializedEvent,
};
use cqrs_es::{Aggregate, AggregateError, CqrsFramework, DomainEvent};
use eventstore::claim::NoClaims;
use eventstore::claim::table::verify;
use eventstore::{
    Append, AppendError, AppendQueue, Claim, ClaimRules, ClaimRulesError, Dialect, EventRepository,
    HeldClaim, NewEvent, Position, Receipt,
};
use mysql_es::MysqlEventRepository;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlite_es::SqliteEventRepository;
use sqlx::{MySqlPool, SqlitePool};

use crate::backend::{Backend, position};
use crate::sample::append;

on_every_backend!(
    cqrs_es_drives_commands_over_the_log,
    the_receipt_says_where_the_events_went,
    a_conflict_is_an_optimistic_lock_error,
    a_taken_claim_is_told_apart_by_its_type,
    a_claim_in_an_older_form_is_valid_and_is_released_with_its_state,
    a_fresh_aggregate_is_not_asked_for,
    an_absent_aggregate_is_checked_by_the_append_without_an_effect_on_others,
    old_events_go_through_the_upcasters,
    mysql_es_and_sqlite_es_read_the_log_unchanged,
    all_events_are_streamed_in_the_order_of_the_log,
);

/// A ticket for a theater seat. The seat is reserved, then freed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    seat: Option<String>,
}

pub(crate) enum TicketCommand {
    Reserve { seat: &'static str },
    Free,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TicketEvent {
    Reserved { seat: String },
    Freed {},
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ticket has no seat, or already has a seat")]
pub(crate) struct TicketError;

impl DomainEvent for TicketEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Reserved { .. } => "Reserved".into(),
            Self::Freed {} => "Freed".into(),
        }
    }

    fn event_version(&self) -> String {
        "2.0.0".into()
    }
}

impl Aggregate for Ticket {
    const TYPE: &'static str = "ticket";
    type Command = TicketCommand;
    type Event = TicketEvent;
    type Error = TicketError;
    type Services = ();

    async fn handle(
        &mut self,
        command: TicketCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), TicketError> {
        let event = match (command, &self.seat) {
            (TicketCommand::Reserve { seat }, None) => TicketEvent::Reserved { seat: seat.into() },
            (TicketCommand::Free, Some(_)) => TicketEvent::Freed {},
            _ => return Err(TicketError),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: TicketEvent) {
        self.seat = match event {
            TicketEvent::Reserved { seat } => Some(seat),
            TicketEvent::Freed {} => None,
        };
    }
}

/// Rules under which each seat is reserved by at most one ticket at a time.
struct Seats;

impl ClaimRules for Seats {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let seat = events
            .last()
            .and_then(|event| event.payload["Reserved"]["seat"].as_str());
        let held = seat.map(|seat| HeldClaim::new(Claim::on("seat", seat)));
        Ok(held.into_iter().collect())
    }
}

/// Rules of a later version of the program, which claims a seat in lower case. [`Seats`] contains the older
/// rules.
struct SeatsInLowerCase;

impl ClaimRules for SeatsInLowerCase {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let seat = events
            .last()
            .and_then(|event| event.payload["Reserved"]["seat"].as_str());
        let held = seat.map(|seat| HeldClaim {
            claim: Claim::on("seat", &seat.to_lowercase()),
            older: vec![Claim::on("seat", seat)],
            optional: false,
        });
        Ok(held.into_iter().collect())
    }
}

/// Runs one command in the same way as a program.
async fn execute(
    backend: &Backend,
    queue: &AppendQueue,
    id: &str,
    command: TicketCommand,
) -> Result<Receipt, AggregateError<TicketError>> {
    execute_by(Seats, backend, queue, id, command).await
}

/// Like [`execute`], with other rules for claims.
async fn execute_by(
    rules: impl ClaimRules,
    backend: &Backend,
    queue: &AppendQueue,
    id: &str,
    command: TicketCommand,
) -> Result<Receipt, AggregateError<TicketError>> {
    let repository = EventRepository::new(backend.log.clone(), queue.clone(), Arc::new(rules), false);
    let receipt = repository.receipt();
    let store = PersistedEventStore::<_, Ticket>::new_event_store(repository);
    let metadata = HashMap::from([("actor".to_owned(), "usher".to_owned())]);
    CqrsFramework::new(store, Vec::new(), ())
        .execute_with_metadata(id, command, metadata)
        .await?;
    Ok(receipt)
}

fn reserved(sequence: usize) -> SerializedEvent {
    SerializedEvent {
        aggregate_id: "t1".into(),
        sequence,
        aggregate_type: Ticket::TYPE.into(),
        event_type: "Reserved".into(),
        event_version: "2.0.0".into(),
        payload: json!({"Reserved": {"seat": "7B"}}),
        metadata: json!({"actor": "usher"}),
    }
}

async fn cqrs_es_drives_commands_over_the_log(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let reserve = || TicketCommand::Reserve { seat: "7B" };
    execute(&backend, &queue, "t1", reserve()).await.unwrap();
    let refused = execute(&backend, &queue, "t1", reserve()).await;
    assert!(
        matches!(refused, Err(AggregateError::UserError(TicketError))),
        "the command read the earlier events"
    );
    execute(&backend, &queue, "t1", TicketCommand::Free)
        .await
        .unwrap();
    execute(&backend, &queue, "t2", reserve()).await.unwrap();
    let feed = backend.log.feed(Position::BEGINNING, 10).await.unwrap();
    let seen: Vec<_> = feed
        .iter()
        .map(|event| {
            (
                event.aggregate_id.as_str(),
                event.sequence,
                event.event_type.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("t1", 1, "Reserved"), ("t1", 2, "Freed"), ("t2", 1, "Reserved")]
    );
    assert_eq!(feed[0].payload, reserved(1).payload);
    assert_eq!(feed[0].metadata, reserved(1).metadata);
}

async fn the_receipt_says_where_the_events_went(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(append("other", 1)).await.unwrap();
    let receipt = execute(&backend, &queue, "t1", TicketCommand::Reserve { seat: "7B" })
        .await
        .unwrap();
    let appended = receipt.appended().unwrap();
    assert_eq!((appended.first, appended.last), (position(2), position(2)));
    let read = backend.log.at(&[position(2)]).await.unwrap();
    assert_eq!(appended.recorded_at, read[0].recorded_at);

    let repository = EventRepository::new(backend.log.clone(), queue.clone(), Arc::new(Seats), false);
    let receipt = repository.receipt();
    repository.persist::<Ticket>(&[], None).await.unwrap();
    repository
        .persist::<Ticket>(&[reserved(7)], None)
        .await
        .unwrap_err();
    assert_eq!(receipt.appended(), None, "nothing was appended");
}

async fn a_conflict_is_an_optimistic_lock_error(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let repository = || EventRepository::new(backend.log.clone(), queue.clone(), Arc::new(NoClaims), false);
    repository()
        .persist::<Ticket>(&[reserved(1)], None)
        .await
        .unwrap();
    let refused = repository()
        .persist::<Ticket>(&[reserved(1)], None)
        .await
        .unwrap_err();
    let refused: AggregateError<TicketError> = refused.into();
    assert!(matches!(refused, AggregateError::AggregateConflict), "{refused}");
}

async fn a_taken_claim_is_told_apart_by_its_type(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let reserve = || TicketCommand::Reserve { seat: "7B" };
    execute(&backend, &queue, "t1", reserve()).await.unwrap();
    let Err(AggregateError::UnexpectedError(refused)) = execute(&backend, &queue, "t2", reserve()).await
    else {
        panic!("the seat is taken");
    };
    assert!(matches!(
        refused.downcast_ref::<AppendError>(),
        Some(AppendError::ClaimTaken)
    ));
    execute(&backend, &queue, "t1", TicketCommand::Free)
        .await
        .unwrap();
    execute(&backend, &queue, "t2", reserve()).await.unwrap();
}

async fn a_claim_in_an_older_form_is_valid_and_is_released_with_its_state(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let fits = async || {
        let verified = verify(&backend.log, &SeatsInLowerCase, Ticket::TYPE, |_| {}).await;
        verified.unwrap().fits
    };
    let reserve = || TicketCommand::Reserve { seat: "7B" };
    execute(&backend, &queue, "t1", reserve()).await.unwrap();
    assert!(fits().await, "the aggregate may hold either form");
    execute_by(SeatsInLowerCase, &backend, &queue, "t1", TicketCommand::Free)
        .await
        .unwrap();
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 0);
    assert!(fits().await);
    execute_by(SeatsInLowerCase, &backend, &queue, "t2", reserve())
        .await
        .unwrap();
    let refused = execute_by(SeatsInLowerCase, &backend, &queue, "t3", reserve()).await;
    assert!(matches!(refused, Err(AggregateError::UnexpectedError(_))));
    assert!(fits().await);
}

async fn a_fresh_aggregate_is_not_asked_for(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    execute(&backend, &queue, "t1", TicketCommand::Reserve { seat: "7B" })
        .await
        .unwrap();
    let fresh = EventRepository::new(backend.log.clone(), queue.clone(), Arc::new(NoClaims), true);
    assert!(fresh.get_events::<Ticket>("t1").await.unwrap().is_empty());
    // If the aggregate is not new after all, the append fails.
    fresh.persist::<Ticket>(&[reserved(1)], None).await.unwrap_err();
}

async fn an_absent_aggregate_is_checked_by_the_append_without_an_effect_on_others(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    execute(&backend, &queue, "t1", TicketCommand::Reserve { seat: "7B" })
        .await
        .unwrap();
    let repository = || {
        EventRepository::new(backend.log.clone(), queue.clone(), Arc::new(NoClaims), false)
            .of_absent_aggregate()
    };
    let (taken, other) = (repository(), repository());
    assert!(taken.get_events::<Ticket>("t1").await.unwrap().is_empty());
    let mut of_other = reserved(1);
    "t2".clone_into(&mut of_other.aggregate_id);
    let (first, second) = (reserved(1), of_other);
    let (refused, appended) = tokio::join!(
        taken.persist::<Ticket>(std::slice::from_ref(&first), None),
        other.persist::<Ticket>(std::slice::from_ref(&second), None)
    );
    assert!(matches!(refused, Err(PersistenceError::OptimisticLockError)));
    appended.unwrap();
}

async fn old_events_go_through_the_upcasters(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let old = NewEvent {
        event_version: "1.0.0".into(),
        payload: json!({"Reserved": {"row": 7, "letter": "B"}}),
        ..reserved(1).into()
    };
    queue
        .append(Append::new(vec![old], Vec::new()).unwrap())
        .await
        .unwrap();

    let repository = EventRepository::new(backend.log.clone(), queue, Arc::new(Seats), false);
    let upcaster = SemanticVersionEventUpcaster::new(
        "Reserved",
        "2.0.0",
        Box::new(|payload| {
            let old = &payload["Reserved"];
            let seat = format!("{}{}", old["row"], old["letter"].as_str().unwrap());
            json!({"Reserved": {"seat": seat}})
        }),
    );
    let store = PersistedEventStore::<_, Ticket>::new_event_store(repository)
        .with_upcasters(vec![Box::new(upcaster)]);
    let events = cqrs_es::EventStore::load_events(&store, "t1").await.unwrap();
    assert_eq!(events[0].payload, TicketEvent::Reserved { seat: "7B".into() });
}

/// Reads a ticket that was reserved and then freed, through the given repository.
async fn reads_both(repository: impl PersistedEventRepository) {
    let freed = SerializedEvent {
        event_type: "Freed".into(),
        payload: json!({"Freed": {}}),
        ..reserved(2)
    };
    let all = repository.get_events::<Ticket>("t1").await.unwrap();
    assert_eq!(all, [reserved(1), freed.clone()]);
    let last = repository.get_last_events::<Ticket>("t1", 1).await.unwrap();
    assert_eq!(last, std::slice::from_ref(&freed));
    assert!(repository.get_events::<Ticket>("t2").await.unwrap().is_empty());
}

async fn mysql_es_and_sqlite_es_read_the_log_unchanged(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(append("other", 1)).await.unwrap();
    execute(&backend, &queue, "t1", TicketCommand::Reserve { seat: "7B" })
        .await
        .unwrap();
    execute(&backend, &queue, "t1", TicketCommand::Free)
        .await
        .unwrap();

    match backend.database.dialect() {
        Dialect::MySql => {
            let pool = MySqlPool::connect(&backend.url).await.unwrap();
            reads_both(MysqlEventRepository::new(pool)).await;
        }
        Dialect::Sqlite => {
            let pool = SqlitePool::connect(&backend.url).await.unwrap();
            reads_both(SqliteEventRepository::new(pool)).await;
        }
    }
    let own = EventRepository::new(backend.log.clone(), queue, Arc::new(NoClaims), false);
    reads_both(own).await;
}

async fn all_events_are_streamed_in_the_order_of_the_log(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    // The second ticket's first event follows the first ticket's second event, so the order of positions
    // differs from the order of sequences.
    execute(&backend, &queue, "t1", TicketCommand::Reserve { seat: "1A" })
        .await
        .unwrap();
    execute(&backend, &queue, "t1", TicketCommand::Free)
        .await
        .unwrap();
    queue.append(append("other", 1)).await.unwrap();
    execute(&backend, &queue, "t2", TicketCommand::Reserve { seat: "1B" })
        .await
        .unwrap();
    let repository = EventRepository::new(backend.log.clone(), queue, Arc::new(NoClaims), false);
    let mut stream = repository.stream_all_events::<Ticket>().await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = stream.next::<Ticket>(&[]).await {
        let event = event.unwrap();
        seen.push((event.aggregate_id, event.sequence));
    }
    assert_eq!(seen, [("t1".into(), 1), ("t1".into(), 2), ("t2".into(), 1)]);
    let mut stream = repository.stream_events::<Ticket>("t2").await.unwrap();
    assert_eq!(stream.next::<Ticket>(&[]).await.unwrap().unwrap().sequence, 1);
    assert!(stream.next::<Ticket>(&[]).await.is_none());
}
