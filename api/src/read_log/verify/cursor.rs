//! Cursors over the links and the entries, in order of chain and link.

use std::collections::VecDeque;

use eventstore::database::Value;
use eventstore::{Dialect, Result, Row, Session, Transaction};

use super::super::chain::{COLUMNS, LINK_COLUMNS, Link};
use super::super::record::RecordedRead;
use super::super::writer::hash;

/// Number of rows in a page.
const PAGE: usize = 1000;

/// The rows that a page begins with: a condition, and its values.
pub(super) type Range = (&'static str, Vec<Value<'static>>);

/// A row in order of chain and link.
pub(super) trait Ordered: Sized {
    /// Returns a statement up to its condition.
    fn select(dialect: Dialect) -> String;

    /// Order of the rows.
    const ORDER: &'static str;

    fn of(row: &Row) -> Result<Self>;

    /// Returns the ranges after this row, in order. Each range uses the index from its beginning, which a
    /// database does not do for one condition with `OR`.
    fn ranges_after(&self) -> Vec<Range>;
}

/// Ranges of all rows with a chain. An empty text is not a chain that this program writes, but a row could be
/// added with it.
fn all() -> Vec<Range> {
    vec![("chain >= ?", vec!["".into()])]
}

/// Reads rows page by page.
pub(super) struct Cursor<T> {
    page: VecDeque<T>,
    /// The ranges of the next page; empty after the last page.
    ranges: Vec<Range>,
}

impl<T> Default for Cursor<T> {
    fn default() -> Self {
        Self {
            page: VecDeque::new(),
            ranges: all(),
        }
    }
}

impl<T: Ordered> Cursor<T> {
    /// Returns the next row.
    pub(super) async fn next(&mut self, snapshot: &mut Transaction<'_>) -> Result<Option<T>> {
        self.next_if(snapshot, |_| true).await
    }

    /// Returns the next row if the condition holds for it.
    pub(super) async fn next_if(
        &mut self,
        snapshot: &mut Transaction<'_>,
        condition: impl Fn(&T) -> bool,
    ) -> Result<Option<T>> {
        if self.page.is_empty() && !self.ranges.is_empty() {
            self.read(snapshot).await?;
        }
        Ok(match self.page.front() {
            Some(first) if condition(first) => self.page.pop_front(),
            _ => None,
        })
    }

    async fn read(&mut self, snapshot: &mut Transaction<'_>) -> Result<()> {
        for (condition, values) in std::mem::take(&mut self.ranges) {
            let room = PAGE - self.page.len();
            let sql = format!(
                "{} WHERE {condition} ORDER BY {} LIMIT ?",
                T::select(snapshot.dialect()),
                T::ORDER
            );
            let rows = snapshot
                .query(&sql)
                .bind_all(values)
                .bind(i64::try_from(room).unwrap_or(i64::MAX))
                .fetch_all()
                .await?;
            for row in &rows {
                self.page.push_back(T::of(row)?);
            }
            if self.page.len() >= PAGE {
                break;
            }
        }
        if self.page.len() >= PAGE
            && let Some(last) = self.page.back()
        {
            self.ranges = last.ranges_after();
        }
        Ok(())
    }
}

impl Ordered for Link {
    fn select(_: Dialect) -> String {
        format!("SELECT {LINK_COLUMNS} FROM audit_read_links")
    }

    const ORDER: &'static str = "chain, number";

    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            chain: row.get(0)?,
            number: row.get(1)?,
            recorded_at: row.get(2)?,
            entries: row.get(3)?,
            digest: hash(row, 4)?,
            previous: hash(row, 5)?,
            hash: hash(row, 6)?,
        })
    }

    fn ranges_after(&self) -> Vec<Range> {
        let chain = || Value::from(self.chain.clone());
        vec![
            ("chain = ? AND number > ?", vec![chain(), self.number.into()]),
            ("chain > ?", vec![chain()]),
        ]
    }
}

/// An entry with a chain.
pub(super) struct ChainedEntry {
    pub(super) read: RecordedRead,
    pub(super) chain: String,
    pub(super) link: Option<i64>,
}

impl ChainedEntry {
    pub(super) fn key(&self) -> (&str, Option<i64>) {
        (&self.chain, self.link)
    }
}

impl Ordered for ChainedEntry {
    fn select(dialect: Dialect) -> String {
        let index = match dialect {
            Dialect::MySql => " FORCE INDEX (audit_reads_link)",
            Dialect::Sqlite => " INDEXED BY audit_reads_link",
        };
        format!("SELECT {COLUMNS}, chain, link FROM audit_reads{index}")
    }

    const ORDER: &'static str = "chain, link, id";

    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            read: RecordedRead::of(row)?,
            chain: row.get(11)?,
            link: row.get(12)?,
        })
    }

    /// Entries without a number come first, as in an index.
    fn ranges_after(&self) -> Vec<Range> {
        let chain = || Value::from(self.chain.clone());
        let id = || Value::from(self.read.id.clone());
        let [first, second] = match self.link {
            Some(link) => [
                (
                    "chain = ? AND link = ? AND id > ?",
                    vec![chain(), link.into(), id()],
                ),
                ("chain = ? AND link > ?", vec![chain(), link.into()]),
            ],
            None => [
                ("chain = ? AND link IS NULL AND id > ?", vec![chain(), id()]),
                ("chain = ? AND link IS NOT NULL", vec![chain()]),
            ],
        };
        vec![first, second, ("chain > ?", vec![chain()])]
    }
}
