//! Inserts rows in statements no larger than the server accepts.

use super::script::Script;
use super::value::Value;
use crate::error::{Error, Result};

/// Maximum number of rows in one statement. SQLite allows 32,766 values.
const ROWS: usize = 1000;

impl Script {
    /// Adds statements that insert `rows`. Each statement is `insert`, which ends with `VALUES`, followed by
    /// rows. When the script would exceed `limit` bytes, the script is moved to `full`, and later statements
    /// are added to an empty script.
    ///
    /// # Errors
    ///
    /// [`Error::RowTooLarge`] if a single row exceeds the limit.
    pub fn insert<'v, const N: usize>(
        &mut self,
        insert: &str,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
        limit: usize,
        full: &mut Vec<Self>,
    ) -> Result<()> {
        let mut number = 0;
        for row in rows {
            let before = self.len();
            if number == 0 {
                self.statement(insert).sql(" ");
            } else {
                self.sql(", ");
            }
            let begin = self.len();
            self.list(row);
            number += 1;
            if self.len() > limit {
                let row = self.cut(begin);
                let bytes = insert.len() + 1 + row.len();
                if bytes > limit {
                    return Err(Error::RowTooLarge { bytes, limit });
                }
                self.cut(before);
                let empty = Self::new(self.dialect());
                full.push(std::mem::replace(self, empty));
                self.statement(insert).sql(" ").sql(&row);
                number = 1;
            }
            number %= ROWS;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::*;

    const INSERT: &str = "INSERT INTO t (a) VALUES";

    fn scripts(texts: &[String], limit: usize) -> Result<Vec<String>> {
        let mut script = Script::new(Dialect::MySql);
        script.statement("DELETE FROM t");
        let mut full = Vec::new();
        script.insert(INSERT, texts.iter().map(|text| [text.into()]), limit, &mut full)?;
        full.push(script);
        Ok(full
            .iter()
            .map(|script| script.text().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn rows_fill_scripts_up_to_the_limit_and_each_is_in_one_of_them() {
        let texts: Vec<_> = (0..50).map(|n| "x".repeat(n)).collect();
        for limit in [90, 100, 150, 1000, 10_000] {
            let scripts = scripts(&texts, limit).unwrap();
            assert!(scripts.iter().all(|script| script.len() <= limit), "{limit}");
            let rows: usize = scripts.iter().map(|script| script.matches("('").count()).sum();
            assert_eq!(rows, texts.len(), "{limit}");
            assert!(scripts.iter().skip(1).all(|script| script.starts_with(INSERT)));
            assert!(scripts[0].starts_with("DELETE FROM t"));
        }
    }

    #[test]
    fn a_row_that_no_script_holds_is_an_error_that_says_how_large_it_is() {
        let error = scripts(&["x".repeat(100)], 99).unwrap_err();
        assert!(error.to_string().contains("max_allowed_packet"), "{error}");
    }

    #[test]
    fn a_statement_has_no_more_rows_than_sqlite_has_places_for() {
        let texts = vec![String::new(); 2500];
        let scripts = scripts(&texts, usize::MAX).unwrap();
        assert_eq!(scripts.len(), 1);
        assert_eq!(scripts[0].matches(INSERT).count(), 3);
    }
}
