//! Rows of results.

use sqlx::Row as _;
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Position;

/// A row of a result.
pub struct Row(DriverRow);

enum DriverRow {
    MySql(MySqlRow),
    Sqlite(SqliteRow),
}

/// Evaluates an expression on the driver's row.
macro_rules! on_driver_row {
    ($row:expr, $driver_row:ident => $result:expr) => {
        match &$row.0 {
            DriverRow::MySql($driver_row) => $result,
            DriverRow::Sqlite($driver_row) => $result,
        }
        .map_err(Error::from_driver)
    };
}

impl Row {
    pub(super) const fn mysql(row: MySqlRow) -> Self {
        Self(DriverRow::MySql(row))
    }

    pub(super) const fn sqlite(row: SqliteRow) -> Self {
        Self(DriverRow::Sqlite(row))
    }

    /// Returns the value of a column, by name or by number from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the column does not exist or its value has another type.
    pub fn get<'r, T: Column<'r>, I: ColumnIndex>(&'r self, column: I) -> Result<T> {
        T::read(self, column.number(self)?)
    }

    /// Returns the raw bytes of a column with text, JSON or bytes; `None` for NULL.
    pub(crate) fn bytes(&self, column: usize) -> Result<Option<&[u8]>> {
        // Unchecked, because no type of sqlx reads JSON as the bytes that were sent.
        on_driver_row!(self, row => row.try_get_unchecked(column))
    }
}

/// The name of a column, or its number from 0.
pub trait ColumnIndex {
    /// Returns the number of the column in a row.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the row has no such column.
    fn number(self, row: &Row) -> Result<usize>;
}

impl ColumnIndex for usize {
    fn number(self, _: &Row) -> Result<usize> {
        Ok(self)
    }
}

impl ColumnIndex for &str {
    fn number(self, row: &Row) -> Result<usize> {
        on_driver_row!(row, row => sqlx::ColumnIndex::index(&self, row))
    }
}

/// A type that can be read from a column on every database.
pub trait Column<'r>: Sized {
    /// Reads the column with this index, counted from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the column does not exist or its value has another type.
    fn read(row: &'r Row, column: usize) -> Result<Self>;
}

macro_rules! read_by_driver {
    ($($column:ty),+) => {
        $(impl<'r> Column<'r> for $column {
            fn read(row: &'r Row, column: usize) -> Result<Self> {
                on_driver_row!(row, row => row.try_get(column))
            }
        })+
    };
}

read_by_driver!(i32, i64, &'r str, String, Vec<u8>);

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn read(row: &'r Row, column: usize) -> Result<Self> {
        let null =
            on_driver_row!(row, row => row.try_get_raw(column).map(|value| sqlx::ValueRef::is_null(&value)))?;
        if null {
            Ok(None)
        } else {
            T::read(row, column).map(Some)
        }
    }
}

impl Column<'_> for Position {
    fn read(row: &Row, column: usize) -> Result<Self> {
        i64::read(row, column).map(Self::from_stored)
    }
}

impl Column<'_> for Timestamp {
    fn read(row: &Row, column: usize) -> Result<Self> {
        i64::read(row, column).map(Self::from_micros)
    }
}
