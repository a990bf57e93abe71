//! SQL dialects.

/// An SQL dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8.4 and later, MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}

impl Dialect {
    /// Returns the statement that begins a transaction that writes.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::MySql => "BEGIN",
            // Takes the write lock immediately. A transaction that reads first and writes later could find at
            // its first write that another transaction has written since. It would then have to start again.
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }

    /// Returns the suffix of a `SELECT` that locks its rows until the transaction ends. SQLite locks the
    /// whole database at `BEGIN IMMEDIATE` instead.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// Like [`Dialect::for_update`], but other transactions may lock the rows in the same way.
    #[must_use]
    pub const fn for_share(self) -> &'static str {
        match self {
            // MariaDB does not know FOR SHARE.
            Self::MySql => " LOCK IN SHARE MODE",
            Self::Sqlite => "",
        }
    }

    /// Like [`Dialect::for_update`], but skips rows that another transaction has locked. Some servers ignore
    /// this, so the statement that changes the rows must compare them with what was read.
    #[must_use]
    pub const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// Returns the suffix of a table name that makes the query read in primary key order. MySQL sometimes
    /// prefers to find all rows by a prefix of another index and sort them, in particular for about a
    /// thousand rows.
    #[must_use]
    pub const fn by_primary_key(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (PRIMARY)",
            Self::Sqlite => "",
        }
    }

    /// Returns the suffix of the table `events` that makes a query find events by their aggregates. SQLite
    /// does so if the query uses `+position`.
    pub(crate) const fn by_aggregate(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (events_aggregate)",
            Self::Sqlite => "",
        }
    }

    /// Returns an expression that is 1 if the server accepts no writes, and otherwise 0. A privileged user
    /// may be able to write nevertheless, but no user should.
    #[must_use]
    pub const fn is_read_only(self) -> &'static str {
        match self {
            // MariaDB has no super_read_only, and its read_only is a word from version 12.
            Self::MySql => {
                "(CONCAT(@@global.read_only) NOT IN ('0', 'OFF') OR @@global.innodb_read_only = 1 \
                 /*!80000 OR @@global.super_read_only = 1 */)"
            }
            Self::Sqlite => "0",
        }
    }

    /// Returns the start of an `INSERT` that leaves existing rows unchanged.
    #[must_use]
    pub const fn insert_ignore(self) -> &'static str {
        match self {
            Self::MySql => "INSERT IGNORE",
            Self::Sqlite => "INSERT OR IGNORE",
        }
    }
}
