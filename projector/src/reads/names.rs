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
//! 1. If the range of a query word has few entries, all its ids are candidates.
//! 2. If the range of a query word has few distinct words, the ids of these words are merged in order of id.
//! 3. Otherwise, the next patients in order of id are candidates if all their words match.
//!
//! Strategies 2 and 3 read a limited number of entries. The page then ends at the last id up to which all
//! candidates are known, and may have fewer patients than requested.

use std::collections::BTreeSet;

use domain::{NameQuery, prefix_end};
use eventstore::database::{in_list, padded};
use eventstore::{Dialect, Result, Session, Transaction};

use super::trust::Built;
use crate::patient_names::by_id;

/// Limits of the work for a page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchBounds {
    /// Maximum number of entries of a query word of which all are read.
    pub entries: usize,
    /// Maximum number of distinct words of a query word whose ids are merged.
    pub distinct: usize,
    /// Number of entries that are read to merge ids, or to look through the next patients.
    pub rows: usize,
}

impl Default for SearchBounds {
    fn default() -> Self {
        Self {
            entries: 1000,
            distinct: 16,
            rows: 1000,
        }
    }
}

/// Maximum number of patients that are looked up with one statement.
const TOGETHER: usize = 128;

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

/// Ids that may match, in order and without repetition.
struct Candidates {
    ids: Vec<String>,
    /// Id up to which the candidates are complete; `None` if there are no more candidates.
    through: Option<String>,
}

impl Search<'_> {
    /// Returns at most `most` matches.
    pub(super) async fn matches(&self, snapshot: &mut Transaction<'_>, most: usize) -> Result<Matches> {
        let Candidates { ids, through } = self.candidates(snapshot).await?;
        let mut patients: Vec<Match> = Vec::new();
        for ids in ids.chunks(TOGETHER) {
            for patient in self.patients(snapshot, ids).await? {
                if !self.query.matches_name(&patient.name) {
                    continue;
                }
                if patients.len() == most {
                    let through = patients.last().map(|last| last.id.clone());
                    return Ok(Matches { patients, through });
                }
                patients.push(patient);
            }
        }
        Ok(Matches { patients, through })
    }

    /// Returns the active patients with these ids, in order.
    async fn patients(&self, snapshot: &mut Transaction<'_>, ids: &[String]) -> Result<Vec<Match>> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sql = patients_statement(snapshot.dialect(), ids.len());
        let rows = snapshot
            .query(&sql)
            .bind(self.view.generation)
            .bind_all(padded(&ids))
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Match {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    email: row.get(2)?,
                })
            })
            .collect()
    }

    async fn candidates(&self, snapshot: &mut Transaction<'_>) -> Result<Candidates> {
        if let Some(ids) = self.of_rarest_word(snapshot).await? {
            return Ok(Candidates { ids, through: None });
        }
        match self.few_distinct_words(snapshot).await? {
            Some(words) => self.merged(snapshot, &words).await,
            None => self.next_patients(snapshot).await,
        }
    }

    /// Returns the ids of the query word with the fewest entries, unless all query words have too many.
    async fn of_rarest_word(&self, snapshot: &mut Transaction<'_>) -> Result<Option<Vec<String>>> {
        let sql = entries_statement(snapshot.dialect());
        let (mut rarest, mut most) = (None, self.bounds.entries);
        for word in self.query.words() {
            // One extra entry shows whether there are too many.
            let rows = snapshot
                .query(&sql)
                .bind(self.names.generation)
                .bind(word)
                .bind(prefix_end(word))
                .bind(count(most + 1))
                .fetch_all()
                .await?;
            if rows.len() > most {
                continue;
            }
            most = rows.len();
            rarest = Some(rows);
            if most == 0 {
                break;
            }
        }
        let Some(rows) = rarest else { return Ok(None) };
        let mut ids = BTreeSet::new();
        for row in &rows {
            ids.insert(row.get::<String, _>(0)?);
        }
        ids.retain(|id| id.as_str() > self.after);
        Ok(Some(ids.into_iter().collect()))
    }

    /// Returns the distinct words of the query word with the fewest, unless all query words have too many.
    /// Each round finds the next distinct word of each query word by a seek in the index.
    async fn few_distinct_words(&self, snapshot: &mut Transaction<'_>) -> Result<Option<Vec<String>>> {
        let words: Vec<&str> = self.query.words().collect();
        let ends: Vec<String> = words.iter().map(|word| prefix_end(word)).collect();
        let mut found = vec![Vec::new(); words.len()];
        for round in 0..=self.bounds.distinct {
            let sql = seek_statement(snapshot.dialect(), words.len(), round);
            let mut query = snapshot.query(&sql);
            for ((word, end), found) in words.iter().zip(&ends).zip(&found) {
                let after = found.last().map_or(*word, String::as_str);
                query = query.bind(self.names.generation).bind(after.to_owned()).bind(end);
            }
            let Some(row) = query.fetch_optional().await? else {
                return Ok(None);
            };
            for (column, found) in found.iter_mut().enumerate() {
                match row.get::<Option<String>, _>(column)? {
                    Some(word) => found.push(word),
                    None => return Ok(Some(std::mem::take(found))),
                }
            }
        }
        Ok(None)
    }

    /// Returns the next ids of some words.
    async fn merged(&self, snapshot: &mut Transaction<'_>, words: &[String]) -> Result<Candidates> {
        let most = (self.bounds.rows / words.len().max(1)).max(1);
        let sql = merge_statement(snapshot.dialect(), words.len());
        let query = words.iter().fold(snapshot.query(&sql), |query, word| {
            query
                .bind(self.names.generation)
                .bind(word)
                .bind(self.after)
                .bind(count(most))
        });
        let mut ids = vec![BTreeSet::new(); words.len()];
        for row in &query.fetch_all().await? {
            let list: i64 = row.get(1)?;
            if let Some(ids) = usize::try_from(list).ok().and_then(|list| ids.get_mut(list)) {
                ids.insert(row.get::<String, _>(0)?);
            }
        }
        // A full list may continue after its last id.
        let full = ids.iter().filter(|ids| ids.len() >= most);
        let through = full.filter_map(|ids| ids.last()).min().cloned();
        let mut ids: BTreeSet<String> = ids.into_iter().flatten().collect();
        ids.retain(|id| through.as_ref().is_none_or(|through| id <= through));
        Ok(Candidates {
            ids: ids.into_iter().collect(),
            through,
        })
    }

    /// Returns those of the next patients who match.
    async fn next_patients(&self, snapshot: &mut Transaction<'_>) -> Result<Candidates> {
        let sql = next_statement(snapshot.dialect());
        let rows = snapshot
            .query(&sql)
            .bind(self.names.generation)
            .bind(self.after)
            .bind(count(self.bounds.rows))
            .fetch_all()
            .await?;
        let mut patients: Vec<(String, BTreeSet<String>)> = Vec::new();
        for row in &rows {
            let (id, word): (String, String) = (row.get(0)?, row.get(1)?);
            match patients.last_mut() {
                Some((last, words)) if *last == id => {
                    words.insert(word);
                }
                _ => patients.push((id, BTreeSet::from([word]))),
            }
        }
        if rows.len() < self.bounds.rows {
            return Ok(self.matching(patients, None));
        }
        // The words of the last patient may continue.
        let last = patients.pop();
        match patients.last() {
            Some((through, _)) => {
                let through = through.clone();
                Ok(self.matching(patients, Some(through)))
            }
            None => Ok(Candidates {
                ids: last.iter().map(|(id, _)| id.clone()).collect(),
                through: last.map(|(id, _)| id),
            }),
        }
    }

    fn matching(&self, patients: Vec<(String, BTreeSet<String>)>, through: Option<String>) -> Candidates {
        let matching = patients
            .into_iter()
            .filter(|(_, words)| self.query.matches(words));
        Candidates {
            ids: matching.map(|(id, _)| id).collect(),
            through,
        }
    }
}

/// Returns the statement that reads the patients with some ids.
fn patients_statement(dialect: Dialect, ids: usize) -> String {
    format!(
        "SELECT id, name, email FROM patient_view{} WHERE generation = ? AND id IN ({}) ORDER BY id",
        dialect.by_primary_key(),
        in_list(ids)
    )
}

/// Returns the statement that reads the first entries of a range of words.
fn entries_statement(dialect: Dialect) -> String {
    format!(
        "SELECT id FROM patient_names{} WHERE generation = ? AND word >= ? AND word < ? LIMIT ?",
        dialect.by_primary_key()
    )
}

/// Returns the statement that finds the next distinct word in several ranges. The first round includes the
/// start of each range. sqlx decodes a column with a binary collation only as bytes, so it is converted.
fn seek_statement(dialect: Dialect, ranges: usize, round: usize) -> String {
    let from = if round == 0 { ">=" } else { ">" };
    let seek = format!(
        "(SELECT CAST(word AS CHAR) FROM patient_names{} \
         WHERE generation = ? AND word {from} ? AND word < ? ORDER BY word LIMIT 1)",
        dialect.by_primary_key()
    );
    format!("SELECT {}", vec![seek; ranges].join(", "))
}

/// Returns the statement that reads the next ids of several words.
fn merge_statement(dialect: Dialect, words: usize) -> String {
    let table = dialect.by_primary_key();
    // Order by id alone: MariaDB does not treat a `word` given as text in another collation as a constant, so
    // it would sort the rows if the order included `word`.
    let lists: Vec<String> = (0..words)
        .map(|list| {
            format!(
                "SELECT id, {list} FROM (SELECT id FROM patient_names{table} \
                 WHERE generation = ? AND word = ? AND id > ? ORDER BY id LIMIT ?) AS list{list}"
            )
        })
        .collect();
    lists.join(" UNION ALL ")
}

/// Returns the statement that reads the words of the next patients.
fn next_statement(dialect: Dialect) -> String {
    format!(
        "SELECT id, CAST(word AS CHAR) FROM patient_names{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
        by_id(dialect)
    )
}

/// Returns a number of rows as a value to bind.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
