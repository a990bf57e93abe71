//! Patients with given words in their names, in order of id.
//!
//! The words come from `patient_names`, and the names from `patient_view`. The last statement reads both, but
//! the two projections may be at different positions. `patient_names` therefore yields only candidates, and
//! the name in `patient_view` decides whether a patient matches.
//!
//! A search takes two statements or more. The first and the last return the checkpoint of `patient_names`,
//! which changes whenever the table changes. If the checkpoints differ, the search is repeated, and after
//! some attempts in a snapshot.
//!
//! # Candidates
//!
//! The range of a query word consists of the words that begin with it. The work for a page is bounded,
//! regardless of the query and of the number of matches. Candidates come from the range of one of the two
//! longest query words, because long words tend to be rare. The first of these strategies that applies is
//! used:
//!
//! 1. If the range of one of these words has few entries, their ids are sorted.
//! 2. If the range of one of these words has few entries of longer words, their ids are sorted together with
//!    the next ids of the word, which are already in order.
//! 3. Otherwise, all patients are candidates.
//!
//! A page takes a limited number of candidates. It then ends at the last candidate, and may have fewer
//! patients than requested.

mod statements;

use std::cmp::Reverse;

use domain::{NameQuery, prefix_end};
use eventstore::database::Row;
use eventstore::{Result, Session};

use self::statements::{all_statement, merged_statement, ranges_statement, sorted_statement, word_statement};
use super::trust::{Built, Trust, Trusts};

/// Maximum number of ranges that a search reads.
const RANGES: usize = 2;

/// Limits of the work for a page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchBounds {
    /// Maximum number of entries of a range whose ids are sorted. For words with more entries, all patients
    /// are candidates, so a small number causes empty pages. A search counts the entries of two ranges twice,
    /// and then sorts one range, so it reads up to five times this number of index entries.
    pub entries: usize,
    /// Maximum number of candidates for a page of a query with several words. If all patients are candidates,
    /// a page with a larger limit takes one candidate more than its limit.
    pub candidates: usize,
    /// Maximum number of candidates for a page of a query with one word. All these candidates match.
    pub matches: usize,
}

impl Default for SearchBounds {
    fn default() -> Self {
        Self {
            entries: 128,
            candidates: 24,
            matches: 40,
        }
    }
}

/// A search for the patients after an id.
pub(super) struct Search<'s> {
    pub(super) query: &'s NameQuery,
    pub(super) after: &'s str,
    pub(super) bounds: SearchBounds,
    pub(super) trusts: &'s Trusts,
}

/// The state of both tables, as a statement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) names: Built,
    pub(super) view: Built,
}

impl Tables {
    /// Reads the four columns of `statements::TABLES`, which begin at `column`.
    fn of(row: &Row, column: usize) -> Result<Self> {
        Ok(Self {
            names: Built {
                generation: row.get(column)?,
                checkpoint: row.get(column + 1)?,
            },
            view: Built {
                generation: row.get(column + 2)?,
                checkpoint: row.get(column + 3)?,
            },
        })
    }
}

/// A patient who matches.
pub(super) struct Match {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
}

/// The first matches, in order of id.
pub(super) struct Matches {
    pub(super) tables: Tables,
    pub(super) patients: Vec<Match>,
    /// Id up to which all matches are known; `None` if all matches are known.
    pub(super) through: Option<String>,
}

/// The size of the range of a query word. Entries are counted up to one more than [`SearchBounds::entries`].
#[derive(Debug, PartialEq, Eq)]
struct Range<'q> {
    word: &'q str,
    /// Number of entries in the range.
    entries: usize,
    /// Number of these entries whose word is longer than the query word.
    longer: usize,
}

/// The patients who can match, and how they are found.
#[derive(Debug, PartialEq, Eq)]
enum Strategy<'r> {
    /// A range has no entry, so no patient matches.
    NoMatch,
    /// The patients with an entry in the range of this word; the entries are few.
    Sorted(&'r str),
    /// The patients with this word.
    Word(&'r str),
    /// The patients with an entry in the range of this word; those with a longer word are few.
    Merged(&'r str),
    /// All patients.
    All,
}

/// The next candidates in any order, each with the name and the email address in `patient_view`.
struct Candidates {
    rows: Vec<Row>,
    /// Number of candidates that were requested.
    most: usize,
}

impl Search<'_> {
    /// Returns at most `most` matches; `None` if a table changed between the statements.
    pub(super) async fn matches(&self, session: &mut impl Session, most: usize) -> Result<Option<Matches>> {
        let Some((tables, ranges)) = self.ranges(session).await? else {
            return Ok(None);
        };
        let mut matches = Matches {
            tables,
            patients: Vec::new(),
            through: None,
        };
        let strategy = self.strategy(&ranges);
        if strategy == Strategy::NoMatch {
            return Ok(Some(matches));
        }
        let candidates = self.candidates(session, tables, &strategy, most + 1).await?;
        let Some(row) = candidates.rows.first() else {
            return Ok(None);
        };
        let Tables { names, view } = Tables::of(row, 3)?;
        if names != tables.names || view.generation != tables.view.generation {
            return Ok(None);
        }
        matches.tables.view = view;
        self.choose(&candidates, most, &mut matches)?;
        Ok(Some(matches))
    }

    /// Adds the candidates who match, up to `most`.
    fn choose(&self, candidates: &Candidates, most: usize, matches: &mut Matches) -> Result<()> {
        let mut sorted: Vec<(&str, &Row)> = Vec::with_capacity(candidates.rows.len());
        for row in &candidates.rows {
            // Without candidates, there is one row without an id.
            if let Some(id) = row.get(0)? {
                sorted.push((id, row));
            }
        }
        sorted.sort_unstable_by_key(|(id, _)| *id);
        if sorted.len() >= candidates.most {
            matches.through = sorted.last().map(|(id, _)| (*id).to_owned());
        }
        for (id, row) in sorted {
            // A patient without a row is deleted, or not yet in `patient_view`.
            let (Some(name), Some(email)) = (row.get::<Option<&str>, _>(1)?, row.get::<Option<&str>, _>(2)?)
            else {
                continue;
            };
            if !self.query.matches_name(name) {
                continue;
            }
            if matches.patients.len() == most {
                matches.through = matches.patients.last().map(|last| last.id.clone());
                break;
            }
            matches.patients.push(Match {
                id: id.to_owned(),
                name: name.to_owned(),
                email: email.to_owned(),
            });
        }
        Ok(())
    }

    fn strategy<'r>(&self, ranges: &[Range<'r>]) -> Strategy<'r> {
        let most = self.bounds.entries;
        if let Some(rarest) = ranges.iter().min_by_key(|range| range.entries)
            && rarest.entries <= most
        {
            return if rarest.entries == 0 {
                Strategy::NoMatch
            } else {
                Strategy::Sorted(rarest.word)
            };
        }
        let mergeable = ranges.iter().filter(|range| range.longer <= most);
        match mergeable.max_by_key(|range| range.word.len()) {
            Some(range) if range.longer == 0 => Strategy::Word(range.word),
            Some(range) => Strategy::Merged(range.word),
            None => Strategy::All,
        }
    }

    /// Returns the next candidates. `page` is the number that a page needs if all candidates match.
    async fn candidates(
        &self,
        session: &mut impl Session,
        tables: Tables,
        strategy: &Strategy<'_>,
        page: usize,
    ) -> Result<Candidates> {
        let most = match strategy {
            // The next patients are neighbours in the table, and cost little to read.
            Strategy::All => self.bounds.candidates.max(page),
            _ if self.query.words().count() == 1 => self.bounds.matches.min(page),
            _ => self.bounds.candidates,
        };
        let limit = count(most);
        let (names, view) = (tables.names.generation, tables.view.generation);
        let dialect = session.dialect();
        let rows = match *strategy {
            Strategy::NoMatch => Vec::new(),
            Strategy::Sorted(word) => {
                let sql = sorted_statement(dialect);
                let query = session.query(&sql).bind(names).bind(word).bind(prefix_end(word));
                let query = query.bind(self.after).bind(limit).bind(view);
                query.bind_all(self.projections()).fetch_all().await?
            }
            Strategy::Word(word) => {
                let sql = word_statement(dialect);
                let query = session.query(&sql).bind(names).bind(word);
                let query = query.bind(self.after).bind(limit).bind(view);
                query.bind_all(self.projections()).fetch_all().await?
            }
            Strategy::Merged(word) => {
                let sql = merged_statement(dialect);
                let query = session
                    .query(&sql)
                    .bind(names)
                    .bind(word)
                    .bind(self.after)
                    .bind(limit);
                let query = query.bind(names).bind(word).bind(prefix_end(word));
                let query = query.bind(self.after).bind(limit).bind(view);
                query.bind_all(self.projections()).fetch_all().await?
            }
            Strategy::All => {
                let sql = all_statement(dialect);
                let query = session.query(&sql).bind(view).bind(self.after).bind(limit);
                query.bind_all(self.projections()).fetch_all().await?
            }
        };
        Ok(Candidates { rows, most })
    }

    /// Returns the words whose ranges are read.
    fn longest_words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.query.words().collect();
        words.sort_by_key(|word| Reverse(word.len()));
        words.truncate(RANGES);
        words
    }

    /// Reads the ranges of the longest query words. Returns `None` if a table changed between two statements.
    async fn ranges(&self, session: &mut impl Session) -> Result<Option<(Tables, Vec<Range<'_>>)>> {
        let Trusts { view, names } = self.trusts;
        // The statement of `ranges_in` needs the current generation, which is nearly always the last one that
        // was seen.
        let mut generation = names.known_generation();
        for _ in 0..2 {
            if generation == 0 {
                generation = names.check_generation(session, None).await?;
            }
            let Some(row) = self.ranges_in(session, generation).await? else {
                view.check_generation(session, None).await?;
                names.check_generation(session, None).await?;
                return Ok(None);
            };
            let tables = Tables::of(&row, 0)?;
            view.check_generation(session, Some(tables.view.generation))
                .await?;
            names
                .check_generation(session, Some(tables.names.generation))
                .await?;
            if tables.names.generation == generation {
                return Ok(Some((tables, self.ranges_of(&row, 4)?)));
            }
            generation = tables.names.generation;
        }
        Ok(None)
    }

    async fn ranges_in(&self, session: &mut impl Session, generation: i64) -> Result<Option<Row>> {
        let words = self.longest_words();
        let sql = ranges_statement(session.dialect(), words.len());
        let mut query = session.query(&sql);
        for word in words {
            for _ in 0..2 {
                query = query.bind(generation).bind(word).bind(prefix_end(word));
                query = query.bind(count(self.bounds.entries + 1));
            }
        }
        query.bind_all(self.projections()).fetch_optional().await
    }

    /// Reads the ranges from a row of [`ranges_statement`]; the columns begin at `column`.
    fn ranges_of(&self, row: &Row, column: usize) -> Result<Vec<Range<'_>>> {
        let entries = |column| row.get::<i64, _>(column).map(rows);
        let columns = (column..).step_by(2);
        let ranges = self
            .longest_words()
            .into_iter()
            .zip(columns)
            .map(|(word, column)| {
                Ok(Range {
                    word,
                    entries: entries(column)?,
                    longer: entries(column + 1)?,
                })
            });
        ranges.collect()
    }

    /// Returns the values for the condition of each statement.
    fn projections(&self) -> [&'static str; 2] {
        [&self.trusts.view, &self.trusts.names].map(|trust| Trust::projection(trust))
    }
}

/// Returns a counted number of rows.
fn rows(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Returns a number of rows as a value to bind.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
