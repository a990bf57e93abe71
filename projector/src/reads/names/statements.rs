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

/// Returns the statement that looks at several ranges. After the state of the tables, it returns for each
/// range whether there are more than a number of entries (`NULL` if not), the first word, and the first word
/// after the query word.
///
/// sqlx decodes a column with a binary collation only as bytes, so words are converted.
pub(super) fn ranges_statement(dialect: Dialect, ranges: usize) -> String {
    let table = dialect.by_primary_key();
    let range = format!(
        "(SELECT 1 FROM patient_names{table} WHERE generation = ? AND word >= ? AND word < ? LIMIT 1 OFFSET ?), \
         (SELECT CAST(word AS CHAR) FROM patient_names{table} \
         WHERE generation = ? AND word >= ? AND word < ? ORDER BY word LIMIT 1), {}",
        next_word(dialect)
    );
    let (columns, source, condition) = TABLES;
    let ranges = vec![range; ranges].join(", ");
    format!("SELECT {columns}, {ranges} FROM {source} WHERE {condition}")
}

/// Returns the statement that finds the next word of several ranges.
pub(super) fn seek_statement(dialect: Dialect, ranges: usize) -> String {
    format!("SELECT {}", vec![next_word(dialect); ranges].join(", "))
}

fn next_word(dialect: Dialect) -> String {
    format!(
        "(SELECT CAST(word AS CHAR) FROM patient_names{} \
         WHERE generation = ? AND word > ? AND word < ? ORDER BY word LIMIT 1)",
        dialect.by_primary_key()
    )
}

/// Returns the statement that sorts the ids of a range. At most [`super::SearchBounds::entries`] are sorted.
pub(super) fn sorted_statement(dialect: Dialect) -> String {
    with_names(&format!(
        "SELECT DISTINCT id FROM patient_names{} WHERE generation = ? AND word >= ? AND word < ? AND id > ? \
         ORDER BY id LIMIT ?",
        dialect.by_primary_key()
    ))
}

/// Returns the statement that merges the next ids of several words.
pub(super) fn merge_statement(dialect: Dialect, words: usize) -> String {
    let table = dialect.by_primary_key();
    // Order by id alone: MariaDB does not treat a `word` given as text in another collation as a constant, so
    // it would sort the rows if the order included `word`.
    if words == 1 {
        // The ids of one word are different and in order.
        return with_names(&format!(
            "SELECT id FROM patient_names{table} WHERE generation = ? AND word = ? AND id > ? ORDER BY id LIMIT ?"
        ));
    }
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
