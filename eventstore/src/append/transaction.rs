//! The statements of one append transaction.

use std::collections::{BTreeMap, HashMap};

use super::decide::{Aggregate, Decision, Known, decide};
use super::{Append, Appended, Outcome, Prepared};
use crate::claim::{Claim, ClaimChange};
use crate::clock::{Clock, Timestamp};
use crate::database::{Connection, Row, Session, Transaction, in_list, padded, values_list};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::Head;
use crate::signal::Notice;

/// The most events in one `INSERT`: of ten values each, where SQLite has places for 32,766 and MySQL for 65,535.
const STATEMENT_EVENTS: usize = 1000;
/// The most bytes of JSON in one `INSERT`. A server ends the connection on a packet that is too large (MariaDB's
/// `max_allowed_packet` is 16 MiB by default).
const STATEMENT_BYTES: usize = 4 * 1024 * 1024;

/// A transaction that is ready to be committed.
pub(super) struct Open<'c> {
    pub(super) transaction: Transaction<'c>,
    /// Where the head moves; nowhere if no append could be made.
    pub(super) head: Option<Head>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notices: Vec<Notice>,
}

/// Writes all of `items` that can be, in a new transaction that is left open.
pub(super) async fn write<'c>(
    connection: &'c mut Connection,
    items: &[Append],
    clock: &dyn Clock,
) -> Result<Open<'c>> {
    let lock = Head::lock(connection.dialect());
    let reads = holders(items).map_or_else(|| lock.clone(), |holders| format!("{lock}; {holders}"));
    let (mut transaction, rows) = connection.begin_with(&reads).await?;
    let (head, holders) = rows.split_first().ok_or(Error::NoHead)?;
    let head = Head::of(Some(head))?;
    let known = Known {
        sequences: sequences(&mut transaction, items).await?,
        holders: holders.iter().map(holder).collect::<Result<_>>()?,
    };
    let decision = decide(items, &known);
    // A clock may go back, and clocks of several machines differ; the log's order is the order of its times too, so
    // that "as of a moment" is always a prefix of the log.
    let recorded_at = clock.now().max(head.recorded_at);
    let chained = chain(items, &decision, &head, recorded_at);
    release(&mut transaction, &decision).await?;
    take(&mut transaction, &decision).await?;
    for rows in statements(&chained.rows) {
        insert(&mut transaction, rows, recorded_at).await?;
    }
    let head = chained.rows.last().map(|last| Head {
        position: last.position,
        hash: last.hash,
        recorded_at,
    });
    Ok(Open {
        head,
        outcomes: chained.outcomes,
        notices: chained.notices,
        transaction,
    })
}

/// Whether the event at `position` is the one with that hash. Waits for an append that is still under way.
pub(super) async fn holds(connection: &mut Connection, position: Position, hash: Hash) -> Result<bool> {
    let lock = Head::lock(connection.dialect());
    let (mut transaction, _) = connection.begin_with(&lock).await?;
    let row = transaction
        .query("SELECT hash FROM events WHERE position = ?")
        .bind(position)
        .fetch_optional()
        .await?;
    let found = row.map(|row| row.get::<Vec<u8>, _>("hash")).transpose()?;
    transaction.rollback().await?;
    Ok(found.is_some_and(|found| found == hash.0))
}

struct Link<'a> {
    prepared: &'a Prepared,
    position: Position,
    hash: Hash,
}

struct Chained<'a> {
    rows: Vec<Link<'a>>,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
}

/// Gives every event of the appends that can be made its position and its link.
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
            chained.rows.push(Link {
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

async fn sequences(
    transaction: &mut Transaction<'_>,
    items: &[Append],
) -> Result<HashMap<(String, String), u64>> {
    let ids: Vec<&str> = items
        .iter()
        .filter(|item| !item.new_aggregate)
        .filter_map(|item| item.events.first())
        .map(|first| first.event.aggregate_id.as_str())
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT aggregate_type, aggregate_id, MAX(sequence) FROM events WHERE aggregate_id IN ({}) \
         GROUP BY aggregate_type, aggregate_id",
        in_list(ids.len())
    );
    let rows = transaction.query(&sql).bind_all(padded(&ids)).fetch_all().await?;
    rows.iter()
        .map(|row| {
            let sequence: i64 = row.get(2)?;
            Ok(((row.get(0)?, row.get(1)?), sequence.unsigned_abs()))
        })
        .collect()
}

/// The statement that asks who holds the claims that `items` take; none if they take none.
fn holders(items: &[Append]) -> Option<String> {
    let claims: Vec<String> = items
        .iter()
        .flat_map(|item| &item.claims)
        .filter_map(|change| match change {
            ClaimChange::Take(claim) => Some(format!("X'{}'", Hash(claim.0))),
            ClaimChange::ReleaseAll => None,
        })
        .collect();
    (!claims.is_empty()).then(|| {
        format!(
            "SELECT claim, aggregate_type, aggregate_id FROM claims WHERE claim IN ({})",
            claims.join(", ")
        )
    })
}

/// A claim and its holder, in a row of [`holders`].
fn holder(row: &Row) -> Result<(Claim, (String, String))> {
    let claim = row.get::<Vec<u8>, _>(0)?.try_into().map_err(|_| Error::Damaged {
        position: Position::BEGINNING,
        what: "a claim that is not 32 bytes",
    })?;
    Ok((Claim(claim), (row.get(1)?, row.get(2)?)))
}

async fn release(transaction: &mut Transaction<'_>, decision: &Decision<'_>) -> Result<()> {
    let mut by_type: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (aggregate_type, aggregate_id) in &decision.released {
        by_type.entry(aggregate_type).or_default().push(aggregate_id);
    }
    for (aggregate_type, ids) in by_type {
        let sql = format!(
            "DELETE FROM claims WHERE aggregate_type = ? AND aggregate_id IN ({})",
            in_list(ids.len())
        );
        transaction
            .query(&sql)
            .bind(aggregate_type)
            .bind_all(padded(&ids))
            .execute()
            .await?;
    }
    Ok(())
}

async fn take(transaction: &mut Transaction<'_>, decision: &Decision<'_>) -> Result<()> {
    if decision.taken.is_empty() {
        return Ok(());
    }
    // In the order of their bytes, as the index has them.
    let taken: BTreeMap<&Claim, &Aggregate<'_>> = decision.taken.iter().collect();
    let sql = format!(
        "INSERT INTO claims (claim, aggregate_type, aggregate_id) VALUES {}",
        values_list(taken.len(), 3)
    );
    taken
        .into_iter()
        .fold(
            transaction.query(&sql),
            |query, (claim, (aggregate_type, aggregate_id))| {
                query
                    .bind(claim.0.as_slice())
                    .bind(*aggregate_type)
                    .bind(*aggregate_id)
            },
        )
        .execute()
        .await?;
    Ok(())
}

/// Divides the events among as few statements as may be; among ordinary events, one.
fn statements<'r, 'a>(mut rest: &'r [Link<'a>]) -> impl Iterator<Item = &'r [Link<'a>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = rest
            .iter()
            .take(STATEMENT_EVENTS)
            .take_while(|row| {
                bytes += row.prepared.payload.len() + row.prepared.metadata.len();
                bytes <= STATEMENT_BYTES
            })
            .count();
        let (now, later) = rest.split_at(fit.max(1).min(rest.len()));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

async fn insert(transaction: &mut Transaction<'_>, rows: &[Link<'_>], recorded_at: Timestamp) -> Result<()> {
    let sql = format!(
        "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
         metadata, recorded_at, hash) VALUES {}",
        values_list(rows.len(), 10)
    );
    rows.iter()
        .fold(transaction.query(&sql), |query, row| {
            let event = &row.prepared.event;
            query
                .bind(row.position)
                .bind(event.aggregate_type.as_str())
                .bind(event.aggregate_id.as_str())
                .bind(event.sequence.cast_signed())
                .bind(event.event_type.as_str())
                .bind(event.event_version.as_str())
                .bind(row.prepared.payload.as_str())
                .bind(row.prepared.metadata.as_str())
                .bind(recorded_at)
                .bind(row.hash.0.as_slice())
        })
        .execute()
        .await?;
    Ok(())
}
