//! Appending a batch in one round trip, without reading the log first.
//!
//! The batch is decided and chained as if the log were still in the state in which this process last saw it,
//! and as if its aggregates were new and its claims free. The transaction itself checks these assumptions:
//!
//! | assumption | check |
//! |---|---|
//! | the head | conditions of the `UPDATE` that moves the head. The row stays locked until the commit |
//! | the clock is right, and the server accepts writes | further conditions of this `UPDATE` |
//! | the head was moved by this transaction; the event at the earlier head; the format and the rules of the log | the position of the first event is a subquery, which is `NULL` otherwise. `events.position` is `NOT NULL`, and every session uses the strict mode |
//! | the new positions are free | primary key of `events` |
//! | the aggregates have no events with the new sequences | unique key of `events` |
//! | the claims are free | primary key of `claims` |
//! | the aggregates have no data keys | primary key of `subject_keys` |
//!
//! If a check fails, the server stops at that statement, nothing is committed, and the batch is appended in
//! two round trips, which also finds the answer for each append.
//!
//! Locks: both ways lock the head first, so they never wait for each other in a circle. The `UPDATE` must not
//! read another table. While it waited for the head, it would keep a snapshot of that table, which MariaDB
//! with `innodb_snapshot_isolation` rejects after the wait, and a lock on its metadata, which an `ALTER
//! TABLE` and the owner of the head could wait for. The subquery of the `INSERT` locks what it reads.

use super::clock::{CLOCKS_APART, CheckedClock};
use super::decide::{Known, decide};
use super::error::AppendError;
use super::head::LastSeen;
use super::prepared::{Append, Outcome};
use super::writes::{self, Chained, ChainedEvent, INSERT_EVENTS};
use crate::database::{Connection, Script, Value};
use crate::error::Result;
use crate::event::Position;
use crate::log::{Head, clock_of};
use crate::signal::Notice;

/// Maximum number of batches that are appended in two round trips after a failed attempt.
const LONGEST_REST: u32 = 64;

/// A transaction to send, and its result if it is committed.
pub(super) struct Attempt {
    pub(super) script: Script,
    pub(super) head: Head,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notices: Vec<Notice>,
}

/// Returns the transaction for a batch; `None` if the assumptions cannot hold for the batch or the
/// connection, or if the transaction does not fit into one packet.
pub(super) fn prepare(
    connection: &Connection,
    items: &[Append],
    seen: &LastSeen<'_>,
    clock: &CheckedClock,
) -> Result<Option<Attempt>> {
    if !connection.sends_scripts_whole() {
        return Ok(None);
    }
    let Some(recorded_at) = clock.unchecked(seen.head.recorded_at) else {
        return Ok(None);
    };
    let nothing = Known::default();
    let decision = decide(items, &nothing, seen.rules);
    let is_of_old_aggregate =
        |refusal: &Option<AppendError>| matches!(refusal, Some(AppendError::Conflict { .. }));
    if decision.refusals.iter().any(is_of_old_aggregate) {
        return Ok(None);
    }
    let chained = writes::chain(items, &decision, &seen.head, recorded_at);
    let Some(head) = chained.head() else {
        return Ok(None);
    };
    let limit = connection.script_limit();
    let (mut full, mut script) = (Vec::new(), Script::transaction(connection.dialect()));
    move_head(&mut script, &seen.head, &head);
    insert_events(&mut script, &chained, &head, seen);
    writes::release(&mut script, &decision);
    writes::take(&mut script, &decision, limit, &mut full)?;
    let accepted = decision.accepted(items);
    writes::insert_keys(&mut script, accepted, recorded_at, limit, &mut full)?;
    let fits = full.is_empty() && script.len() <= limit;
    let Chained {
        outcomes, notices, ..
    } = chained;
    Ok(fits.then_some(Attempt {
        script,
        head,
        outcomes,
        notices,
    }))
}

/// Adds the statement that locks the head and moves it from `from` to `to`. It changes nothing if the head is
/// another, if the clock is wrong, or if the server accepts no writes.
fn move_head(script: &mut Script, from: &Head, to: &Head) {
    let dialect = script.dialect();
    to.advance(script);
    let conditions: [(&str, Value<'_>); 3] = [
        (" AND position = ", from.position.into()),
        (" AND hash = ", (&from.hash.0).into()),
        (" AND recorded_at = ", from.recorded_at.into()),
    ];
    for (condition, value) in conditions {
        script.sql(condition).value(value);
    }
    script
        .sql(" AND NOT ")
        .sql(dialect.is_read_only())
        .sql(" AND ")
        .sql(clock_of(dialect))
        .sql(" BETWEEN ")
        .value(to.recorded_at - CLOCKS_APART)
        .sql(" AND ")
        .value(to.recorded_at + CLOCKS_APART);
}

/// Adds the statement that inserts the events. It fails unless the head was moved to `head`, and the log
/// still has the last event and the rules that were seen.
fn insert_events(script: &mut Script, chained: &Chained<'_>, head: &Head, seen: &LastSeen<'_>) {
    script.statement(INSERT_EVENTS);
    for (number, event) in chained.events.iter().map(ChainedEvent::row).enumerate() {
        let [position, columns @ ..] = event;
        if number == 0 {
            script.sql(" ((SELECT ").value(position);
            script.sql(" FROM log_head h JOIN log_format f ON f.id = h.id");
            let last = &seen.head;
            if last.position > Position::BEGINNING {
                script
                    .sql(" JOIN events e ON e.position = ")
                    .value(last.position)
                    .sql(" AND e.hash = ")
                    .value(&last.hash.0)
                    .sql(" AND e.recorded_at = ")
                    .value(last.recorded_at);
            }
            script
                .sql(" WHERE h.id = 1 AND h.hash = ")
                .value(&head.hash.0)
                .sql(" AND ");
            seen.rules.require(script);
            script.sql(")");
        } else {
            script.sql(", (").value(position);
        }
        for column in columns {
            script.sql(", ").value(column);
        }
        script.sql(")");
    }
}

/// Decides when to try a batch in one round trip.
///
/// An attempt whose assumptions are wrong costs two round trips more. After such an attempt, batches are
/// therefore appended in two round trips: first one batch, then two, then four, and so on, until an attempt
/// succeeds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Number of batches without an attempt after the last failed attempt.
    rest: u32,
    /// Number of those batches that are left.
    left: u32,
}

impl Pace {
    /// Whether to try the next batch in one round trip.
    pub(super) fn allows(&mut self) -> bool {
        let allows = self.left == 0;
        self.left = self.left.saturating_sub(1);
        allows
    }

    pub(super) const fn succeeded(&mut self) {
        self.rest = 0;
    }

    pub(super) fn failed(&mut self) {
        self.rest = (self.rest * 2).clamp(1, LONGEST_REST);
        self.left = self.rest;
    }
}
