//! The transaction that appends a batch in two round trips: it locks and reads the log, then decides and
//! writes.

use std::collections::HashSet;

use super::clock::CheckedClock;
use super::decide::{Known, decide};
use super::head::{HeadCheck, LogRules};
use super::prepared::{Append, Outcome};
use super::writes::{self, ChainedEvent, INSERT_EVENTS};
use crate::claim::{Claim, ClaimChange};
use crate::clock::Timestamp;
use crate::database::{Connection, Row, Script, Transaction};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::Head;
use crate::signal::Notice;

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
    clock: &CheckedClock,
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
    let chained = writes::chain(items, &decision, &head, recorded_at);
    let (mut full, mut script) = (Vec::new(), Script::new(dialect));
    let limit = transaction.script_limit();
    writes::release(&mut script, &decision);
    writes::take(&mut script, &decision, limit, &mut full)?;
    let accepted = decision.accepted(items);
    writes::insert_keys(&mut script, accepted, recorded_at, limit, &mut full)?;
    let events = chained.events.iter().map(ChainedEvent::row);
    script.insert(INSERT_EVENTS, events, limit, &mut full)?;
    for script in full {
        transaction.run(script).await?;
    }
    let head = chained.head();
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
    clock: &CheckedClock,
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
