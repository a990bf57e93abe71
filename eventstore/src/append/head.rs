//! Compares the locked head of the log with the events before anything is appended after it.

use std::cmp::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::chain;
use crate::clock::Timestamp;
use crate::database::{Row, Script, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::format::LogFormat;
use crate::log::{self, EventLog, Head};

/// Time after a comparison during which this process does not compare the head with the events again, as long
/// as no other process changes the head. A comparison takes one statement under the lock, which is a tenth of
/// the duration of an append with one client.
const KNOWN_FOR: Duration = Duration::from_millis(20);

/// Time after which this process reads the rules and the clock of the database again, although the head has
/// not changed.
const SEEN_FOR: Duration = Duration::from_secs(1);

/// Locks the head of the log and compares it with the last event.
///
/// The comparison is skipped only while the head is exactly the head that this process last compared or
/// wrote, and only for less than [`KNOWN_FOR`] after a comparison. An altered head is therefore always found.
/// If the last event is deleted and an append follows, both within that time, only a verification of the log
/// finds the gap.
#[derive(Debug, Default)]
pub(super) struct HeadCheck {
    known: Option<Known>,
    /// Whether another process wrote the last head that this process has seen. If so, the next head is
    /// probably from another process too.
    shared: bool,
    /// Position and hash of the last event that this process has acknowledged, or has heard that another
    /// process has acknowledged.
    acknowledged: Option<(Position, Hash)>,
    /// Whether the connection is new, and may therefore lead to a server that lacks acknowledged events.
    is_new_connection: bool,
    /// Whether an assumption about the log was wrong, so that the next comparison is due.
    is_doubted: bool,
    /// The rules that were last read under the lock, and when.
    rules: Option<(LogRules, Instant)>,
}

/// The state in which this process last saw the log.
pub(super) struct LastSeen<'c> {
    pub(super) head: Head,
    pub(super) rules: &'c LogRules,
}

/// A head that was the end of the log.
#[derive(Debug, Clone, Copy)]
struct Known {
    head: Head,
    /// When the head was last compared with the events.
    compared: Instant,
}

/// Rules of the log that every append must follow.
#[derive(Debug, Clone, Default)]
pub(super) struct LogRules {
    pub(super) format: LogFormat,
    /// Ids of the retired wrapping keys.
    pub(super) retired: String,
    /// Version of the claim rules.
    pub(super) claims: i64,
}

impl LogRules {
    /// Reads the rules from a row of [`Head::lock`].
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            format: LogFormat::of(row, Head::FORMAT)?,
            retired: LogFormat::retired(row)?,
            claims: LogFormat::locked_claims(row)?,
        })
    }

    /// Adds the condition that the row `f` of `log_format` has these rules.
    pub(super) fn require(&self, script: &mut Script) {
        let log_id = self.format.log_id();
        script
            .sql("f.format = ")
            .value(self.format.number())
            .sql(" AND f.log_id <=> ")
            .value(log_id.as_ref().map(|id| &id.0[..]))
            // The column ignores case.
            .sql(" AND CAST(f.retired AS BINARY) = ")
            .value(self.retired.as_bytes())
            .sql(" AND f.claims = ")
            .value(self.claims);
    }
}

/// A head under the lock.
pub(super) struct Locked<'r> {
    pub(super) head: Head,
    /// The database's clock; `None` for SQLite.
    pub(super) database_clock: Option<Timestamp>,
    pub(super) rules: LogRules,
    /// Rows of the statements that the caller has added after the statements of [`HeadCheck::ask`].
    pub(super) rows: &'r [Row],
}

/// A difference between the head and the events.
#[derive(Debug)]
enum HeadMismatch {
    At(&'static str),
    /// The log has events after the head.
    EventsBehind,
}

impl HeadCheck {
    /// Adds the statement that locks the head and, if the comparison is due, the statement that reads the
    /// last event. Returns whether the comparison is due.
    pub(super) fn ask(&self, script: &mut Script) -> bool {
        let dialect = script.dialect();
        let stale = |known: Known| known.compared.elapsed() >= KNOWN_FOR;
        let due = self.shared || self.is_doubted || self.known.is_none_or(stale);
        script.statement(&Head::lock(dialect));
        if due {
            script.statement(Head::LAST_EVENT);
        }
        due
    }

    /// Reads the rows of the statements of [`HeadCheck::ask`].
    ///
    /// # Errors
    ///
    /// [`Error::MissingHead`], [`Error::Damaged`] if the head is not the end of the log, [`Error::Database`].
    pub(super) async fn locked<'r>(
        &mut self,
        transaction: &mut Transaction<'_>,
        rows: &'r [Row],
        due: bool,
    ) -> Result<Locked<'r>> {
        let known = self.known.take();
        let (row, mut rows) = rows.split_first().ok_or(Error::MissingHead)?;
        // Without a head, the first row belongs to another statement, and its first column is not a number.
        row.get::<Position, _>(0).map_err(|_| Error::MissingHead)?;
        Head::check_writable(row)?;
        let head = Head::of(Some(row))?;
        let unchanged = known.filter(|known| known.head == head);
        self.shared = known.is_some() && unchanged.is_none();
        self.is_doubted = false;
        let compared = match unchanged {
            Some(known) if !due => known.compared,
            _ => {
                let last = if due {
                    let last = rows.first().map_or(Ok(None), end)?;
                    rows = &rows[usize::from(last.is_some())..];
                    last
                } else {
                    let mut script = Script::new(transaction.dialect());
                    script.statement(Head::LAST_EVENT);
                    transaction.run(script).await?.first().map_or(Ok(None), end)?
                };
                compare(&head, &last.unwrap_or_default(), transaction).await?;
                Instant::now()
            }
        };
        self.check_acknowledged(&head, transaction).await?;
        self.known = Some(Known { head, compared });
        let rules = LogRules::of(row)?;
        self.rules = Some((rules.clone(), Instant::now()));
        Ok(Locked {
            head,
            database_clock: row.get(3)?,
            rules,
            rows,
        })
    }

    /// Returns the state in which this process last saw the log, if the log is probably still in that state.
    pub(super) fn last_seen(&self) -> Option<LastSeen<'_>> {
        let (rules, read_at) = self.rules.as_ref()?;
        let is_recent = !self.shared && !self.is_new_connection && read_at.elapsed() < SEEN_FOR;
        let head = self.known.filter(|_| is_recent)?.head;
        Some(LastSeen { head, rules })
    }

    /// Checks that the log still has the events that were acknowledged. A replica that was made the primary,
    /// or a restored backup, may lack them. Events that were appended there instead would look like a sound
    /// log.
    async fn check_acknowledged(&mut self, head: &Head, transaction: &mut Transaction<'_>) -> Result<()> {
        let Some((position, hash)) = self.acknowledged else {
            self.is_new_connection = false;
            return Ok(());
        };
        let is_there = match head.position.cmp(&position) {
            Ordering::Less => {
                return Err(Error::Damaged {
                    position,
                    what: "the log ends before this event, which was acknowledged: its server lacks acknowledged events",
                });
            }
            Ordering::Equal => head.hash == hash,
            Ordering::Greater if !self.is_new_connection => true,
            Ordering::Greater => {
                let mut script = Script::new(transaction.dialect());
                script
                    .statement("SELECT hash FROM events WHERE position IN ")
                    .list([position]);
                let rows = transaction.run(script).await?;
                let found = rows.first().map(|row| log::hash(row, 0, position)).transpose()?;
                found == Some(hash)
            }
        };
        if !is_there {
            return Err(Error::Damaged {
                position,
                what: "another event was acknowledged at this position: its server lacks acknowledged events",
            });
        }
        self.is_new_connection = false;
        Ok(())
    }

    /// Notes that the next append uses a new connection, which may lead to another server.
    pub(super) const fn connected(&mut self) {
        self.is_new_connection = true;
    }

    /// Returns position and hash of the last acknowledged event.
    pub(super) const fn acknowledged(&self) -> Option<(Position, Hash)> {
        self.acknowledged
    }

    /// Notes an event that a process acknowledges.
    pub(super) fn acknowledge(&mut self, (position, hash): (Position, Hash)) {
        if self.acknowledged.is_none_or(|(last, _)| last < position) {
            self.acknowledged = Some((position, hash));
        }
    }

    /// Notes that the locked head was moved to `head`.
    pub(super) const fn moved(&mut self, head: Head) {
        self.acknowledged = Some((head.position, head.hash));
        if let Some(known) = &mut self.known {
            known.head = head;
        }
    }

    /// Makes the next comparison due, because an assumption about the log was wrong.
    pub(super) const fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// Makes the next comparison due, after a transaction that failed.
    pub(super) const fn forget(&mut self) {
        self.known = None;
    }
}

/// Reads the expected head from the rows of [`Head::LAST_EVENT`]; `None` for an empty log.
fn end(row: &Row) -> Result<Option<Head>> {
    // The second column of other statements' rows is not a number.
    let Ok(position) = row.get(1) else { return Ok(None) };
    Ok(Some(Head {
        position,
        hash: log::hash(row, 0, position)?,
        recorded_at: row.get(2)?,
    }))
}

impl EventLog {
    /// Checks that the head is the end of the log, as before an append. Reads the head and the last event.
    ///
    /// # Errors
    ///
    /// [`Error::MissingHead`], [`Error::Damaged`] if the head is not the end of the log, [`Error::Database`].
    pub async fn check_head(&self) -> Result<()> {
        let mut connection = self.database().reader().await?;
        // A single statement, so that no append can come between.
        let row = connection
            .query(
                "SELECT h.position, h.hash, h.recorded_at, e.hash, e.position, e.recorded_at FROM log_head h \
                 LEFT JOIN events e ON e.position = (SELECT MAX(position) FROM events) WHERE h.id = 1",
            )
            .fetch_optional()
            .await?;
        let row = row.ok_or(Error::MissingHead)?;
        let last = match row.get::<Option<Position>, _>(4)? {
            None => Head::default(),
            Some(position) => Head {
                position,
                hash: log::hash(&row, 3, position)?,
                recorded_at: row.get(5)?,
            },
        };
        compare(&Head::of(Some(&row))?, &last, &mut connection).await
    }
}

/// Compares the head with the head that is expected after the last event.
async fn compare(head: &Head, last: &Head, session: &mut impl Session) -> Result<()> {
    let position = head.position;
    match mismatch(head, last) {
        None => Ok(()),
        Some(HeadMismatch::At(what)) => Err(Error::Damaged { position, what }),
        Some(HeadMismatch::EventsBehind) => Err(Error::Damaged {
            position: position.next(),
            what: if was_moved_back(head, last, session).await? {
                "log_head was moved back: the log continues after it"
            } else {
                "an event was added after log_head"
            },
        }),
    }
}

fn mismatch(head: &Head, last: &Head) -> Option<HeadMismatch> {
    if head.position < Position::BEGINNING {
        return Some(HeadMismatch::At("log_head was moved before the first event"));
    }
    match last.position.cmp(&head.position) {
        Ordering::Greater => Some(HeadMismatch::EventsBehind),
        Ordering::Less => Some(HeadMismatch::At(
            "log_head was moved ahead: there is no event at its position",
        )),
        Ordering::Equal if head.hash != last.hash => Some(HeadMismatch::At(
            "log_head and the event at its position have different hashes",
        )),
        Ordering::Equal if head.recorded_at != last.recorded_at => Some(HeadMismatch::At(
            "log_head and the event at its position have different times",
        )),
        Ordering::Equal => None,
    }
}

/// Whether the log continues after the head. Otherwise, the events after the head are not part of the log.
async fn was_moved_back(head: &Head, last: &Head, session: &mut impl Session) -> Result<bool> {
    if last.hash == head.hash {
        return Ok(true);
    }
    let next = EventLog::first_after(session, head.position).await?;
    next.map_or(Ok(false), |next| chain::follows(&head.hash, &next))
}
