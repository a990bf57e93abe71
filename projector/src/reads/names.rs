//! Patients with given words in their names, in order of id.
//!
//! The words come from `patient_names`, and the names from `patient_view`. Both are read from one snapshot,
//! but the two projections may be at different positions. So `patient_names` only yields candidates: the
//! name in `patient_view` decides whether a patient matches.
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

use domain::{NameQuery, prefix_end};
use eventstore::database::Row;
use eventstore::{Dialect, Result, Session, Transaction};

use super::trust::Built;

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
    /// The tables, as the snapshot shows them.
    pub(super) names: Built,
    pub(super) view: Built,
}

/// A patient who matches.
pub(super) struct Match {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
}

/// The first matches, in order of id.
pub(super) struct Matches {
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

impl Search<'_> {
    /// Returns at most `most` matches.
    pub(super) async fn matches(&self, snapshot: &mut Transaction<'_>, most: usize) -> Result<Matches> {
        let mut patients: Vec<Match> = Vec::new();
        let Some((rows, wanted)) = self.candidates(snapshot, most + 1).await? else {
            return Ok(Matches {
                patients,
                through: None,
            });
        };
        let mut candidates = rows
            .iter()
            .map(|row| Ok((row.get::<String, _>(0)?, row.get(1)?, row.get(2)?)))
            .collect::<Result<Vec<(String, Option<String>, Option<String>)>>>()?;
        candidates.sort_unstable();
        let mut through = None;
        if candidates.len() >= wanted {
            through = candidates.last().map(|(id, _, _)| id.clone());
        }
        for (id, name, email) in candidates {
            // A patient without a row is deleted, or not yet in `patient_view`.
            let (Some(name), Some(email)) = (name, email) else {
                continue;
            };
            if !self.query.matches_name(&name) {
                continue;
            }
            if patients.len() == most {
                through = patients.last().map(|last| last.id.clone());
                break;
            }
            patients.push(Match { id, name, email });
        }
        Ok(Matches { patients, through })
    }

    /// Returns the next candidates in any order, each with the name and the email address in `patient_view`,
    /// and the number of candidates that were requested. `page` is the number that a page needs if all
    /// candidates match. Returns `None` if no patient can match.
    async fn candidates(
        &self,
        snapshot: &mut Transaction<'_>,
        page: usize,
    ) -> Result<Option<(Vec<Row>, usize)>> {
        let mut ranges = self.ranges(snapshot).await?;
        if ranges.iter().any(|range| range.distinct.is_empty()) {
            return Ok(None);
        }
        let most = self.bounds.candidates.max(page);
        // All candidates match a single query word.
        let of_words = if ranges.len() == 1 { page } else { most };
        if let Some(rare) = longest(&ranges, |range| range.is_rare) {
            return Ok(Some((self.sorted(snapshot, rare, of_words).await?, of_words)));
        }
        self.complete_one(snapshot, &mut ranges).await?;
        Ok(Some(match longest(&ranges, |range| self.is_mergeable(range)) {
            Some(range) => (self.merged(snapshot, &range.distinct, of_words).await?, of_words),
            None => (self.all(snapshot, most).await?, most),
        }))
    }

    fn is_mergeable(&self, range: &Range<'_>) -> bool {
        range.is_complete && range.distinct.len() <= self.bounds.distinct
    }

    /// Looks at the range of each query word.
    async fn ranges(&self, snapshot: &mut Transaction<'_>) -> Result<Vec<Range<'_>>> {
        let words: Vec<(&str, String)> = self.query.words().map(|word| (word, prefix_end(word))).collect();
        let sql = ranges_statement(snapshot.dialect(), words.len());
        let mut query = snapshot.query(&sql);
        for (word, end) in &words {
            query = query.bind(self.names.generation).bind(*word).bind(end);
            query = query.bind(count(self.bounds.entries));
            for _ in 0..2 {
                query = query.bind(self.names.generation).bind(*word).bind(end);
            }
        }
        let rows = query.fetch_all().await?;
        let mut ranges = Vec::with_capacity(words.len());
        for (index, (word, end)) in words.into_iter().enumerate() {
            let mut range = Range {
                word,
                end,
                is_rare: false,
                distinct: Vec::new(),
                is_complete: false,
            };
            if let Some(row) = rows.first() {
                range.is_rare = row.get::<Option<i64>, _>(3 * index)?.is_none();
                range.add(row.get(3 * index + 1)?);
                // The second word is known if the first is the query word itself.
                if range.distinct.first().is_some_and(|first| first == word) {
                    range.add(row.get(3 * index + 2)?);
                }
            }
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// Finds further distinct words until a range is complete, or all have too many. Each round finds the
    /// next word of each range by a seek in the index.
    async fn complete_one(&self, snapshot: &mut Transaction<'_>, ranges: &mut [Range<'_>]) -> Result<()> {
        let sql = seek_statement(snapshot.dialect(), ranges.len());
        while !ranges.iter().any(|range| range.is_complete)
            && ranges
                .iter()
                .any(|range| range.distinct.len() <= self.bounds.distinct)
        {
            let mut query = snapshot.query(&sql);
            for range in &*ranges {
                let last = range.distinct.last().map_or(range.word, String::as_str);
                query = query.bind(self.names.generation).bind(last).bind(&range.end);
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
        snapshot: &mut Transaction<'_>,
        range: &Range<'_>,
        most: usize,
    ) -> Result<Vec<Row>> {
        let sql = sorted_statement(snapshot.dialect());
        snapshot
            .query(&sql)
            .bind(self.names.generation)
            .bind(range.word)
            .bind(&range.end)
            .bind(self.after)
            .bind(count(most))
            .bind(self.view.generation)
            .fetch_all()
            .await
    }

    /// Returns the next patients with one of these words.
    async fn merged(
        &self,
        snapshot: &mut Transaction<'_>,
        words: &[String],
        most: usize,
    ) -> Result<Vec<Row>> {
        let sql = merge_statement(snapshot.dialect(), words.len());
        let query = words.iter().fold(snapshot.query(&sql), |query, word| {
            query
                .bind(self.names.generation)
                .bind(word)
                .bind(self.after)
                .bind(count(most))
        });
        query
            .bind(count(most))
            .bind(self.view.generation)
            .fetch_all()
            .await
    }

    /// Returns the next patients.
    async fn all(&self, snapshot: &mut Transaction<'_>, most: usize) -> Result<Vec<Row>> {
        let sql = all_statement(snapshot.dialect());
        snapshot
            .query(&sql)
            .bind(self.view.generation)
            .bind(self.after)
            .bind(count(most))
            .fetch_all()
            .await
    }
}

/// Returns the range of the longest query word for which `applies` is true. Long words tend to be rare.
fn longest<'r, 'q>(ranges: &'r [Range<'q>], applies: impl Fn(&Range<'q>) -> bool) -> Option<&'r Range<'q>> {
    ranges
        .iter()
        .filter(|range| applies(range))
        .max_by_key(|range| range.word.len())
}

/// Returns the statement that looks at several ranges. For each range, it returns whether there are more than
/// a number of entries (`NULL` if not), the first word, and the first word after the query word.
///
/// sqlx decodes a column with a binary collation only as bytes, so words are converted.
fn ranges_statement(dialect: Dialect, ranges: usize) -> String {
    let table = dialect.by_primary_key();
    let range = format!(
        "(SELECT 1 FROM patient_names{table} WHERE generation = ? AND word >= ? AND word < ? LIMIT 1 OFFSET ?), \
         (SELECT CAST(word AS CHAR) FROM patient_names{table} \
         WHERE generation = ? AND word >= ? AND word < ? ORDER BY word LIMIT 1), {}",
        next_word(dialect)
    );
    format!("SELECT {}", vec![range; ranges].join(", "))
}

/// Returns the statement that finds the next word of several ranges.
fn seek_statement(dialect: Dialect, ranges: usize) -> String {
    format!("SELECT {}", vec![next_word(dialect); ranges].join(", "))
}

fn next_word(dialect: Dialect) -> String {
    format!(
        "(SELECT CAST(word AS CHAR) FROM patient_names{} \
         WHERE generation = ? AND word > ? AND word < ? ORDER BY word LIMIT 1)",
        dialect.by_primary_key()
    )
}

/// Returns the statement that sorts the ids of a range. At most [`SearchBounds::entries`] are sorted.
fn sorted_statement(dialect: Dialect) -> String {
    with_names(&format!(
        "SELECT DISTINCT id FROM patient_names{} WHERE generation = ? AND word >= ? AND word < ? AND id > ? \
         ORDER BY id LIMIT ?",
        dialect.by_primary_key()
    ))
}

/// Returns the statement that merges the next ids of several words.
fn merge_statement(dialect: Dialect, words: usize) -> String {
    let table = dialect.by_primary_key();
    // Order by id alone: MariaDB does not treat a `word` given as text in another collation as a constant, so
    // it would sort the rows if the order included `word`.
    let lists: Vec<String> = (0..words)
        .map(|list| {
            format!(
                "SELECT id FROM (SELECT id FROM patient_names{table} \
                 WHERE generation = ? AND word = ? AND id > ? ORDER BY id LIMIT ?) AS list{list}"
            )
        })
        .collect();
    with_names(&format!(
        "SELECT DISTINCT id FROM ({}) AS lists ORDER BY id LIMIT ?",
        lists.join(" UNION ALL ")
    ))
}

/// Returns the statement that reads the names of some patients, which another statement selects.
fn with_names(ids: &str) -> String {
    format!(
        "SELECT c.id, v.name, v.email FROM ({ids}) AS c \
         LEFT JOIN patient_view v ON v.generation = ? AND v.id = c.id"
    )
}

/// Returns the statement that reads the next patients.
fn all_statement(dialect: Dialect) -> String {
    format!(
        "SELECT id, name, email FROM patient_view{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
        dialect.by_primary_key()
    )
}

/// Returns a number of rows as a value to bind.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
