//! The statements of a search.

use eventstore::Dialect;

/// Columns of the state of both tables, their source, and the condition for them. Each statement with these
/// columns ends with the condition.
const TABLES: (&str, &str, &str) = (
    "n.active_generation, COALESCE(nc.position, 0), p.active_generation, COALESCE(pc.position, 0)",
    "projections n LEFT JOIN checkpoints nc ON nc.name = n.name \
     JOIN projections p LEFT JOIN checkpoints pc ON pc.name = p.name",
    "p.name = ? AND n.name = ?",
);

/// Returns the statement that reads the sizes of several ranges. After the state of the tables, it returns
/// for each range the number of entries, and the number of entries with a longer word than the query word,
/// each counted up to a limit.
pub(super) fn ranges_statement(dialect: Dialect, ranges: usize) -> String {
    let table = dialect.by_primary_key();
    let entries = |comparison| {
        format!(
            "(SELECT COUNT(*) FROM (SELECT 1 FROM patient_names{table} \
             WHERE generation = ? AND word {comparison} ? AND word < ? LIMIT ?) AS entries)"
        )
    };
    let (columns, source, condition) = TABLES;
    let ranges = vec![[entries(">="), entries(">")].join(", "); ranges].join(", ");
    format!("SELECT {columns}, {ranges} FROM {source} WHERE {condition}")
}

/// Returns the statement that sorts the ids of a range. At most [`super::SearchBounds::entries`] are sorted.
pub(super) fn sorted_statement(dialect: Dialect) -> String {
    with_names(&format!(
        "SELECT DISTINCT id FROM patient_names{} WHERE generation = ? AND word >= ? AND word < ? AND id > ? \
         ORDER BY id LIMIT ?",
        dialect.by_primary_key()
    ))
}

/// Returns the statement that reads the next ids of a word.
pub(super) fn word_statement(dialect: Dialect) -> String {
    with_names(&ids_of_word(dialect))
}

/// Returns the statement that merges the next ids of a word with the ids of the longer words in its range. At
/// most [`super::SearchBounds::entries`] and the limit of the statement are sorted.
pub(super) fn merged_statement(dialect: Dialect) -> String {
    with_names(&format!(
        "SELECT DISTINCT id FROM (SELECT id FROM ({}) AS same UNION ALL SELECT id FROM patient_names{} \
         WHERE generation = ? AND word > ? AND word < ? AND id > ?) AS ids ORDER BY id LIMIT ?",
        ids_of_word(dialect),
        dialect.by_primary_key()
    ))
}

/// Returns the query for the next ids of a word, which are distinct and in order.
fn ids_of_word(dialect: Dialect) -> String {
    // Order by id alone: MariaDB does not treat a `word` given as text in another collation as a constant, so
    // it would sort the rows if the order included `word`.
    format!(
        "SELECT id FROM patient_names{} WHERE generation = ? AND word = ? AND id > ? ORDER BY id LIMIT ?",
        dialect.by_primary_key()
    )
}

/// Returns the statement that reads the names of some patients, which another statement selects, and the
/// state of the tables.
fn with_names(ids: &str) -> String {
    let (columns, source, condition) = TABLES;
    format!(
        "SELECT c.id, v.name, v.email, {columns} FROM {source} LEFT JOIN ({ids}) AS c ON TRUE \
         LEFT JOIN patient_view v ON v.generation = ? AND v.id = c.id WHERE {condition}"
    )
}

/// Returns the statement that reads the next patients and the state of the tables.
pub(super) fn all_statement(dialect: Dialect) -> String {
    let (columns, source, condition) = TABLES;
    format!(
        "SELECT v.id, v.name, v.email, {columns} FROM {source} LEFT JOIN (SELECT id, name, email \
         FROM patient_view{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?) AS v ON TRUE WHERE {condition}",
        dialect.by_primary_key()
    )
}
