//! The statements of an append transaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::clock::CheckedClock;
use super::decide::{Aggregate, Decision, Known, decide};
use super::head::{HeadCheck, LogRules};
use super::prepared::{Append, Appended, Outcome, PreparedEvent};
use crate::claim::{Claim, ClaimChange};
use crate::clock::Timestamp;
use crate::database::{Connection, Row, Script, Transaction};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::Head;
use crate::sealing::key_store;
use crate::signal::Notice;

const INSERT_EVENTS: &str = "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                             metadata, recorded_at, hash) VALUES";

/// A transaction that is ready to commit.
pub(super) struct Open<'c> {
    pub(super) transaction: Transaction<'c>,
    /// Statements still to be run in the transaction.
    pub(super) rest: Script,
    /// The new head; `None` if every append was rejected.
    pub(super) head: Option<Head>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notices: Vec<Notice>,
}

/// Begins a transaction, locks the head, and decides which of `items` can be written. Their statements run
/// together with the commit, except statements that do not fit into the same packet.
pub(super) async fn open<'c>(
    connection: &'c mut Connection,
    items: &[Append],
    clock: &mut CheckedClock,
    check: &mut HeadCheck,
) -> Result<Open<'c>> {
    let dialect = connection.dialect();
    let mut due = true;
    let (mut transaction, rows) = connection
        .begin_with(|script| {
            due = check.ask(script);
            ask_for_holders(script, items);
            ask_for_sequences(script, items);
        })
        .await?;
    let begun = begin_after(&mut transaction, &rows, due, clock, check).await;
    let Begun {
        head,
        recorded_at,
        rules,
        rows,
    } = match begun {
        Ok(begun) => begun,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    let known = known(rows)?;
    let decision = decide(items, &known, &rules);
    let chained = chain(items, &decision, &head, recorded_at);
    let (mut full, mut script) = (Vec::new(), Script::new(dialect));
    let limit = transaction.script_limit();
    release(&mut script, &decision);
    take(&mut script, &decision, limit, &mut full)?;
    let accepted = items.iter().zip(&decision.refusals);
    let accepted = accepted
        .filter(|(_, refusal)| refusal.is_none())
        .map(|(item, _)| item);
    insert_keys(&mut script, accepted, recorded_at, limit, &mut full)?;
    insert(&mut script, &chained.rows, recorded_at, limit, &mut full)?;
    for script in full {
        transaction.run(script).await?;
    }
    let head = chained.rows.last().map(|last| Head {
        position: last.position,
        hash: last.hash,
        recorded_at,
    });
    if let Some(head) = &head {
        head.advance(&mut script);
    }
    Ok(Open {
        transaction,
        rest: script,
        head,
        outcomes: chained.outcomes,
        notices: chained.notices,
    })
}

/// The state of the log under the lock.
struct Begun<'r> {
    head: Head,
    /// Time at which the appends are recorded.
    recorded_at: Timestamp,
    rules: LogRules,
    /// The remaining rows, which are about the appends.
    rows: &'r [Row],
}

/// Checks the head and the clock.
///
/// The log is also ordered by time, so a past state of the log is always a prefix of it. The new time is
/// therefore not before the head, unless the head is too far ahead.
async fn begin_after<'r>(
    transaction: &mut Transaction<'_>,
    rows: &'r [Row],
    due: bool,
    clock: &mut CheckedClock,
    check: &mut HeadCheck,
) -> Result<Begun<'r>> {
    let locked = check.locked(transaction, rows, due).await?;
    let now = clock.now(locked.database_clock, locked.head.recorded_at)?;
    Ok(Begun {
        head: locked.head,
        recorded_at: now.after(locked.head.recorded_at),
        rules: locked.rules,
        rows: locked.rows,
    })
}

/// Returns for each of `links` whether the log has an event at that position with that hash. Waits for any
/// append in progress. There must be at least one link.
pub(super) async fn has_links(connection: &mut Connection, links: &[(Position, Hash)]) -> Result<Vec<bool>> {
    let lock = Head::lock(connection.dialect());
    let (transaction, rows) = connection
        .begin_with(|script| {
            script
                .statement(&lock)
                .statement("SELECT position, hash FROM events WHERE position IN ")
                .list(links.iter().map(|(position, _)| *position));
        })
        .await?;
    transaction.rollback().await?;
    Head::check_writable(rows.first().ok_or(Error::MissingHead)?)?;
    let mut found = HashSet::with_capacity(links.len());
    // The first row is the head.
    for row in rows.iter().skip(1) {
        found.insert((row.get::<Position, _>(0)?, row.get::<Vec<u8>, _>(1)?));
    }
    let has = |(position, hash): &(Position, Hash)| found.contains(&(*position, hash.0.to_vec()));
    Ok(links.iter().map(has).collect())
}

struct ChainedEvent<'a> {
    prepared: &'a PreparedEvent,
    position: Position,
    hash: Hash,
}

struct Chained<'a> {
    rows: Vec<ChainedEvent<'a>>,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
}

/// Assigns a position and a link to each event of the accepted appends.
fn chain<'a>(
    items: &'a [Append],
    decision: &Decision<'_>,
    head: &Head,
    recorded_at: Timestamp,
) -> Chained<'a> {
    let mut chained = Chained {
        rows: Vec::with_capacity(items.len()),
        outcomes: Vec::with_capacity(items.len()),
        notices: Vec::with_capacity(items.len()),
    };
    let (mut position, mut hash) = (head.position, head.hash);
    for (item, refusal) in items.iter().zip(&decision.refusals) {
        if let Some(refusal) = refusal {
            chained.outcomes.push(Err(refusal.clone()));
            continue;
        }
        let first = position.next();
        for prepared in &item.events {
            position = position.next();
            hash = prepared.canonical.link(&hash, position, recorded_at);
            chained.rows.push(ChainedEvent {
                prepared,
                position,
                hash,
            });
            chained.notices.push(Notice {
                position,
                event_type: prepared.event.event_type.clone(),
                aggregate_id: prepared.event.aggregate_id.clone(),
                sequence: prepared.event.sequence,
            });
        }
        chained.outcomes.push(Ok(Appended {
            first,
            last: position,
            recorded_at,
        }));
    }
    chained
}

/// Adds a query for the holders of the claims that `items` take. This query and the query of
/// [`ask_for_sequences`] have the same columns: claim, aggregate type, aggregate id, sequence, first
/// position.
fn ask_for_holders(script: &mut Script, items: &[Append]) {
    let mut claims = items
        .iter()
        .flat_map(|item| &item.claims)
        .filter_map(|change| match change {
            ClaimChange::Take(claim) => Some(&claim.0),
            ClaimChange::Release(_) | ClaimChange::ReleaseAll => None,
        })
        .peekable();
    if claims.peek().is_some() {
        script
            .statement("SELECT claim, aggregate_type, aggregate_id, NULL, NULL FROM claims WHERE claim IN ")
            .list(claims);
    }
}

/// Adds a query for the number of events of each aggregate of `items`, except aggregates known to be new.
fn ask_for_sequences(script: &mut Script, items: &[Append]) {
    let mut ids = items
        .iter()
        .filter(|item| !item.new_aggregate)
        .filter_map(|item| item.events.first())
        .map(|first| &first.event.aggregate_id)
        .peekable();
    if ids.peek().is_some() {
        script
            .statement(
                "SELECT NULL, aggregate_type, aggregate_id, MAX(sequence), MIN(position) FROM events WHERE aggregate_id IN ",
            )
            .list(ids)
            .sql(" GROUP BY aggregate_type, aggregate_id");
    }
}

/// Reads the rows of [`ask_for_holders`] and [`ask_for_sequences`].
fn known(rows: &[Row]) -> Result<Known> {
    let mut known = Known::default();
    for row in rows {
        let aggregate = (row.get(1)?, row.get(2)?);
        if let Some(claim) = row.get::<Option<Vec<u8>>, _>(0)? {
            let claim = claim.try_into().map_err(|_| Error::Damaged {
                position: Position::BEGINNING,
                what: "a claim is not 32 bytes long",
            })?;
            known.holders.insert(Claim(claim), aggregate);
        } else {
            let sequence: i64 = row.get(3)?;
            known
                .sequences
                .insert(aggregate, (sequence.unsigned_abs(), row.get(4)?));
        }
    }
    Ok(known)
}

fn release(script: &mut Script, decision: &Decision<'_>) {
    // In byte order, as in the index.
    let released: BTreeSet<_> = decision.released.iter().collect();
    let mut released = released.into_iter();
    if let Some(first) = released.next() {
        script.statement("DELETE FROM claims WHERE ");
        held(script, first);
        for pair in released {
            script.sql(" OR ");
            held(script, pair);
        }
    }
    let mut by_type: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (aggregate_type, aggregate_id) in &decision.without_claims {
        by_type.entry(aggregate_type).or_default().insert(aggregate_id);
    }
    for (aggregate_type, ids) in by_type {
        script
            .statement("DELETE FROM claims WHERE aggregate_id IN ")
            .list(ids)
            .sql(" AND aggregate_type = ")
            .value(aggregate_type);
    }
}

/// Adds the condition that an aggregate holds a claim.
fn held(script: &mut Script, (claim, (aggregate_type, aggregate_id)): &(Claim, Aggregate<'_>)) {
    script
        .sql("(claim = ")
        .value(&claim.0)
        .sql(" AND aggregate_type = ")
        .value(*aggregate_type)
        .sql(" AND aggregate_id = ")
        .value(*aggregate_id)
        .sql(")");
}

fn take(script: &mut Script, decision: &Decision<'_>, limit: usize, full: &mut Vec<Script>) -> Result<()> {
    // In byte order, as in the index.
    let taken: BTreeMap<&Claim, &Aggregate<'_>> = decision.taken.iter().collect();
    let rows = taken.into_iter().map(|(claim, (aggregate_type, aggregate_id))| {
        [
            (&claim.0).into(),
            (*aggregate_type).into(),
            (*aggregate_id).into(),
        ]
    });
    let insert = "INSERT INTO claims (claim, aggregate_type, aggregate_id) VALUES";
    script.insert(insert, rows, limit, full)
}

/// Adds the new data keys of the accepted appends. The statement fails if an aggregate already has a key.
fn insert_keys<'a>(
    script: &mut Script,
    accepted: impl Iterator<Item = &'a Append>,
    now: Timestamp,
    limit: usize,
    full: &mut Vec<Script>,
) -> Result<()> {
    let rows: Vec<_> = accepted
        .filter_map(|item| {
            let (key, first) = (item.key.as_ref()?, &item.events.first()?.event);
            Some([
                (&first.aggregate_id).into(),
                (&first.aggregate_type).into(),
                (&key.id.0[..]).into(),
                key.wrapping_key.as_str().into(),
                (&key.wrapped[..]).into(),
                now.into(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    script.insert(key_store::INSERT, rows, limit, full)
}

fn insert(
    script: &mut Script,
    rows: &[ChainedEvent<'_>],
    recorded_at: Timestamp,
    limit: usize,
    full: &mut Vec<Script>,
) -> Result<()> {
    let rows = rows.iter().map(|row| {
        let event = &row.prepared.event;
        [
            row.position.into(),
            (&event.aggregate_type).into(),
            (&event.aggregate_id).into(),
            event.sequence.cast_signed().into(),
            (&event.event_type).into(),
            (&event.event_version).into(),
            (&row.prepared.payload).into(),
            (&row.prepared.metadata).into(),
            recorded_at.into(),
            (&row.hash.0).into(),
        ]
    });
    script.insert(INSERT_EVENTS, rows, limit, full)
}
