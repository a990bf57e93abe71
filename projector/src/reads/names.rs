//! Patients with given words in their names, in order of id.
//!
//! The words come from `patient_names`, and the names from `patient_view`. The last statement reads both, but
//! the two projections may be at different positions. So `patient_names` yields at most candidates: the name
//! in `patient_view` decides whether a patient matches.
//!
//! A search takes two statements or more. The first and the last return the checkpoint of `patient_names`,
//! which changes whenever the table changes. If the checkpoints differ, the search is repeated, in the end in
//! a snapshot.
//!
//! # Candidates
//!
//! Each query word stands for the range of words that begin with it. The work for a page is bounded, whatever
//! the query and however many patients match. The first of these strategies that applies is used:
//!
//! 1. If the range of a query word has few entries, their ids are sorted.
//! 2. If the range of a query word has few distinct words, the ids of these words are merged in order of id.
//! 3. Otherwise, all patients are candidates.
//!
//! A page takes a limited number of candidates. It then ends at the last candidate, and may have fewer
//! patients than requested.

mod statements;

use domain::{NameQuery, prefix_end};
use eventstore::database::Row;
use eventstore::{Result, Session};

use self::statements::{all_statement, merge_statement, ranges_statement, seek_statement, sorted_statement};
use super::trust::{Built, Trust, Trusts};

/// Limits of the work for a page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchBounds {
    /// Maximum number of entries of a query word whose ids are sorted.
    pub entries: usize,
    /// Maximum number of distinct words of a query word whose ids are merged.
    pub distinct: usize,
    /// Number of candidates for a page, if it is more than the patients on the page and one more.
    pub candidates: usize,
}

impl Default for SearchBounds {
    fn default() -> Self {
        Self {
            entries: 500,
            distinct: 4,
            candidates: 200,
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
    /// Id up to which all matches are known; `None` if there are no more matches.
    pub(super) through: Option<String>,
}

/// What the table shows of the range of a query word.
struct Range<'q> {
    word: &'q str,
    end: String,
    /// Whether the range has at most [`SearchBounds::entries`] entries.
    is_rare: bool,
    /// The first distinct words.
    distinct: Vec<String>,
    /// Whether `distinct` contains all distinct words.
    is_complete: bool,
}

impl Range<'_> {
    fn add(&mut self, next: Option<String>) {
        match next {
            Some(word) => self.distinct.push(word),
            None => self.is_complete = true,
        }
    }
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
        let Some((tables, mut ranges)) = self.ranges(session).await? else {
            return Ok(None);
        };
        let mut matches = Matches {
            tables,
            patients: Vec::new(),
            through: None,
        };
        if ranges.iter().any(|range| range.distinct.is_empty()) {
            return Ok(Some(matches));
        }
        let candidates = self.candidates(session, tables, &mut ranges, most + 1).await?;
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

    /// Returns the next candidates. `page` is the number that a page needs if all candidates match.
    async fn candidates(
        &self,
        session: &mut impl Session,
        tables: Tables,
        ranges: &mut [Range<'_>],
        page: usize,
    ) -> Result<Candidates> {
        let most = self.bounds.candidates.max(page);
        // All candidates match a single query word.
        let of_words = if ranges.len() == 1 { page } else { most };
        if let Some(rare) = longest(ranges, |range| range.is_rare) {
            return self.sorted(session, tables, rare, of_words).await;
        }
        self.complete_one(session, tables, ranges).await?;
        match longest(ranges, |range| self.is_mergeable(range)) {
            Some(range) => self.merged(session, tables, &range.distinct, of_words).await,
            None => self.all(session, tables, most).await,
        }
    }

    fn is_mergeable(&self, range: &Range<'_>) -> bool {
        range.is_complete && range.distinct.len() <= self.bounds.distinct
    }

    /// Looks at the range of each query word. Returns `None` if a table changed between two statements.
    async fn ranges(&self, session: &mut impl Session) -> Result<Option<(Tables, Vec<Range<'_>>)>> {
        let Trusts { view, names } = self.trusts;
        // The statement needs a generation, which is nearly always the last generation that was seen.
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
        let words: Vec<(&str, String)> = self.query.words().map(|word| (word, prefix_end(word))).collect();
        let sql = ranges_statement(session.dialect(), words.len());
        let mut query = session.query(&sql);
        for (word, end) in &words {
            query = query.bind(generation).bind(*word).bind(end);
            query = query.bind(count(self.bounds.entries));
            for _ in 0..2 {
                query = query.bind(generation).bind(*word).bind(end);
            }
        }
        query.bind_all(self.projections()).fetch_optional().await
    }

    /// Reads the ranges from a row of [`ranges_statement`]; the columns begin at `column`.
    fn ranges_of(&self, row: &Row, mut column: usize) -> Result<Vec<Range<'_>>> {
        let mut ranges = Vec::new();
        for word in self.query.words() {
            let mut range = Range {
                word,
                end: prefix_end(word),
                is_rare: row.get::<Option<i64>, _>(column)?.is_none(),
                distinct: Vec::new(),
                is_complete: false,
            };
            range.add(row.get(column + 1)?);
            // The second word is known if the first is the query word itself.
            if range.distinct.first().is_some_and(|first| first == word) {
                range.add(row.get(column + 2)?);
            }
            ranges.push(range);
            column += 3;
        }
        Ok(ranges)
    }

    /// Finds further distinct words until a range is complete, or all have too many. Each round finds the
    /// next word of each range by a seek in the index.
    async fn complete_one(
        &self,
        session: &mut impl Session,
        tables: Tables,
        ranges: &mut [Range<'_>],
    ) -> Result<()> {
        let sql = seek_statement(session.dialect(), ranges.len());
        while !ranges.iter().any(|range| range.is_complete)
            && ranges
                .iter()
                .any(|range| range.distinct.len() <= self.bounds.distinct)
        {
            let mut query = session.query(&sql);
            for range in &*ranges {
                let last = range.distinct.last().map_or(range.word, String::as_str);
                query = query.bind(tables.names.generation).bind(last).bind(&range.end);
            }
            let Some(row) = query.fetch_optional().await? else {
                return Ok(());
            };
            let found = (0..ranges.len()).map(|index| row.get::<Option<String>, _>(index));
            let found = found.collect::<Result<Vec<_>>>()?;
            for (range, next) in ranges.iter_mut().zip(found) {
                range.add(next);
            }
        }
        Ok(())
    }

    /// Returns the next patients with a word in a range with few entries.
    async fn sorted(
        &self,
        session: &mut impl Session,
        tables: Tables,
        range: &Range<'_>,
        most: usize,
    ) -> Result<Candidates> {
        let sql = sorted_statement(session.dialect());
        let rows = session
            .query(&sql)
            .bind(tables.names.generation)
            .bind(range.word)
            .bind(&range.end)
            .bind(self.after)
            .bind(count(most))
            .bind(tables.view.generation)
            .bind_all(self.projections())
            .fetch_all()
            .await?;
        Ok(Candidates { rows, most })
    }

    /// Returns the next patients with one of these words.
    async fn merged(
        &self,
        session: &mut impl Session,
        tables: Tables,
        words: &[String],
        most: usize,
    ) -> Result<Candidates> {
        let sql = merge_statement(session.dialect(), words.len());
        let query = words.iter().fold(session.query(&sql), |query, word| {
            query
                .bind(tables.names.generation)
                .bind(word)
                .bind(self.after)
                .bind(count(most))
        });
        let query = if words.len() == 1 {
            query
        } else {
            query.bind(count(most))
        };
        let rows = query
            .bind(tables.view.generation)
            .bind_all(self.projections())
            .fetch_all()
            .await?;
        Ok(Candidates { rows, most })
    }

    /// Returns the next patients.
    async fn all(&self, session: &mut impl Session, tables: Tables, most: usize) -> Result<Candidates> {
        let sql = all_statement(session.dialect());
        let rows = session
            .query(&sql)
            .bind(tables.view.generation)
            .bind(self.after)
            .bind(count(most))
            .bind_all(self.projections())
            .fetch_all()
            .await?;
        Ok(Candidates { rows, most })
    }

    /// Returns the values for the condition of each statement.
    fn projections(&self) -> [&'static str; 2] {
        [&self.trusts.view, &self.trusts.names].map(|trust| Trust::projection(trust))
    }
}

/// Returns the range of the longest query word for which `applies` is true. Long words tend to be rare.
fn longest<'r, 'q>(ranges: &'r [Range<'q>], applies: impl Fn(&Range<'q>) -> bool) -> Option<&'r Range<'q>> {
    ranges
        .iter()
        .filter(|range| applies(range))
        .max_by_key(|range| range.word.len())
}

/// Returns a number of rows as a value to bind.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
