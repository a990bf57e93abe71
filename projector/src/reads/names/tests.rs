//! Tests of each strategy on SQLite, MySQL and MariaDB: the pages, the work for them, and the plans.

use std::sync::Arc;

use domain::PatientDetails;
use eventstore::{Connection, Database, DatabaseOptions, Dialect, Projection, SystemClock, Timestamp};
use tempfile::TempDir;
use testkit::mysql_servers;
use uuid::Uuid;

use super::*;
use crate::{NameRow, PatientNames, PatientRow, PatientView};

const GENERATION: i64 = 1;

/// Bounds so small that a few patients are enough for every strategy.
const SMALL: SearchBounds = SearchBounds {
    entries: 6,
    candidates: 5,
    matches: 5,
};

/// Runs `test` on a database with these patients, in order of id, on every backend.
async fn on_each(names: &[String], test: impl AsyncFn(&Database)) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("patients.db").display());
    let database = filled(&url, names).await;
    test(&database).await;
    database.close().await;
    for server in mysql_servers() {
        println!("on {}", server.flavour.name());
        let created = server.create_database().await;
        let database = filled(&created.url, names).await;
        test(&database).await;
        database.close().await;
    }
}

fn id(number: usize) -> String {
    Uuid::from_u128(number as u128 + 1).to_string()
}

async fn filled(url: &str, names: &[String]) -> Database {
    let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
    migrations::migrate(&database, SystemClock::shared(), "test")
        .await
        .unwrap();
    let names: Vec<_> = names.iter().enumerate().collect();
    let words: Vec<NameRow> = names
        .iter()
        .map(|(number, name)| NameRow {
            id: id(*number),
            words: domain::name_words(name),
        })
        .collect();
    let patients: Vec<PatientRow> = names
        .iter()
        .map(|(number, name)| PatientRow {
            id: id(*number),
            name_key: String::new(),
            details: PatientDetails {
                name: (*name).clone(),
                email: "a@example.com".to_owned(),
                phone: "123-4567".to_owned(),
                document_url: "https://example.com/a.jpg".to_owned(),
            },
            sequence: 1,
            registered_at: Timestamp::default(),
            mailbox_hash: None,
        })
        .collect();
    let mut transaction = database.begin().await.unwrap();
    PatientNames::insert(&mut transaction, GENERATION, &words)
        .await
        .unwrap();
    PatientView::insert(&mut transaction, GENERATION, &patients)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    if database.dialect() == Dialect::MySql {
        let mut connection = database.writer().await.unwrap();
        let analyze = "ANALYZE TABLE patient_names, patient_view";
        connection.query(analyze).fetch_all().await.unwrap();
    }
    database
}

fn trusts() -> Trusts {
    Trusts {
        view: Arc::new(Trust::of(crate::PATIENT_VIEW)),
        names: Arc::new(Trust::of(crate::PATIENT_NAMES)),
    }
}

async fn matches(
    connection: &mut Connection,
    query: &NameQuery,
    after: &str,
    limit: usize,
    bounds: SearchBounds,
) -> Matches {
    let search = Search {
        query,
        after,
        bounds,
        trusts: &trusts(),
    };
    search.matches(connection, limit).await.unwrap().unwrap()
}

/// Reads all pages, and checks that ids increase and that each page is within its limit. Returns the ids and
/// the number of pages.
async fn all_pages(
    connection: &mut Connection,
    query: &NameQuery,
    limit: usize,
    bounds: SearchBounds,
) -> (Vec<String>, usize) {
    let (mut ids, mut after) = (Vec::<String>::new(), String::new());
    let mut pages = 0;
    loop {
        pages += 1;
        let page = matches(connection, query, &after, limit, bounds).await;
        assert!(page.patients.len() <= limit);
        for patient in page.patients {
            assert!(ids.last().is_none_or(|last| *last < patient.id));
            assert!(patient.id > after);
            ids.push(patient.id);
        }
        let Some(through) = page.through else {
            return (ids, pages);
        };
        assert!(through > after, "a page must go on");
        assert!(ids.last().is_none_or(|last| *last <= through));
        after = through;
    }
}

/// Counts what a session has read from indexes, and the rows that it has sorted.
async fn work(connection: &mut Connection) -> (i64, i64) {
    let rows = connection.query("SHOW SESSION STATUS").fetch_all().await.unwrap();
    let value = |names: &[&str]| {
        rows.iter()
            .map(|row| (row.get::<String, _>(0).unwrap(), row.get::<String, _>(1).unwrap()))
            .filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(_, value)| value.parse::<i64>().unwrap())
            .sum()
    };
    let reads = ["first", "key", "last", "next", "prev"].map(|kind| format!("Handler_read_{kind}"));
    let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
    (value(&reads), value(&["Sort_rows", "Sort_scan", "Sort_range"]))
}

/// Names for which the queries of the tests take every strategy with [`SMALL`] bounds.
fn names() -> Vec<String> {
    let firsts = ["Ana", "Anabel", "José", "Maria", "Bea", "Aaron", "Abel", "Amir"];
    let seconds = ["Ruiz", "Ñandú", "Ana", "O'Hara", "Abad"];
    (0..101)
        .map(|number| match number % 29 {
            7 => format!("Rare{number} Ana"),
            8 => "Josef Abad".to_owned(),
            _ => format!("{} {}", firsts[number % 8], seconds[number / 8 % 5]),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_every_strategy_together_are_all_matches_in_order() {
    let names = names();
    on_each(&names, async |database| {
        let mut connection = database.reader().await.unwrap();
        for query in [
            "a",
            "an",
            "ana",
            "rare7",
            "rare",
            "jose",
            "maria ana",
            "ana maria",
            "a r",
            "a a ana",
            "hara",
            "o'h",
            "nobody",
            "a nobody",
            "b",
            "ñ a",
            "r a",
        ] {
            let query = NameQuery::parse(query).unwrap();
            let expected: Vec<String> = (0..names.len())
                .filter(|number| query.matches_name(&names[*number]))
                .map(id)
                .collect();
            for bounds in [
                SMALL,
                SearchBounds::default(),
                SearchBounds { entries: 0, ..SMALL },
                SearchBounds {
                    entries: 0,
                    candidates: 1,
                    matches: 1,
                },
            ] {
                for limit in [2, 1000] {
                    let (found, _) = all_pages(&mut connection, &query, limit, bounds).await;
                    assert_eq!(
                        found,
                        expected,
                        "{:?} {bounds:?} {limit}",
                        query.words().collect::<Vec<_>>()
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_for_a_moderately_rare_word_has_few_pages() {
    // Of 1,200 patients, 40 have a word that begins with "gar", and 600 have the word "jose".
    let names: Vec<String> = (0..1200)
        .map(|number| match number % 30 {
            7 => format!("Ana Garcia{number}"),
            8 => format!("Josefa{number} Ruiz"),
            _ if number % 2 == 0 => format!("Jose A{number}"),
            _ => format!("Maria A{number}"),
        })
        .collect();
    on_each(&names, async |database| {
        let mut connection = database.reader().await.unwrap();
        for (query, matches, most) in [("gar", 40, 5), ("ana gar", 40, 5), ("jose", 600, 61)] {
            let query = NameQuery::parse(query).unwrap();
            let (ids, pages) = all_pages(&mut connection, &query, 10, SearchBounds::default()).await;
            assert_eq!(ids.len(), matches);
            assert!(pages <= most, "{pages} pages");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queries_of_these_tests_take_every_strategy() {
    on_each(&names(), async |database| {
        let mut connection = database.reader().await.unwrap();
        for (query, expected) in [
            ("rare7", Strategy::Sorted("rare7")),
            ("a rare7", Strategy::Sorted("rare7")),
            ("nobody a", Strategy::NoMatch),
            ("jose", Strategy::Merged("jose")),
            ("a jose", Strategy::Merged("jose")),
            ("maria", Strategy::Word("maria")),
            ("ana", Strategy::All),
            ("a", Strategy::All),
            ("a r", Strategy::All),
        ] {
            let query = NameQuery::parse(query).unwrap();
            let search = Search {
                query: &query,
                after: "",
                bounds: SMALL,
                trusts: &trusts(),
            };
            let (_, ranges) = search.ranges(&mut connection).await.unwrap().unwrap();
            assert_eq!(search.strategy(&ranges), expected, "{ranges:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_for_a_page_is_bounded_whatever_the_query() {
    let names: Vec<String> = (0..6000)
        .map(|number| match number % 3 {
            0 => format!("Ana A{number}"),
            1 => format!("Abel B{number}"),
            _ => format!("Jose Ana{}", number % 10),
        })
        .collect();
    on_each(&names, async |database| {
        if database.dialect() != Dialect::MySql {
            return;
        }
        let mut connection = database.reader().await.unwrap();
        // A query word without a match, the last patients, and words of every strategy.
        let late = id(names.len() - 50);
        for query in [
            "a",
            "jose",
            "jose abel",
            "ana a b",
            "a b",
            "ana",
            "a5999",
            "a nobody",
            "j",
            "b a5",
        ] {
            let query = NameQuery::parse(query).unwrap();
            for after in ["", &*id(3000), &*late] {
                let (reads, sorts) = work(&mut connection).await;
                matches(&mut connection, &query, after, 100, SearchBounds::default()).await;
                let (reads_after, sorts_after) = work(&mut connection).await;
                let bounds = SearchBounds::default();
                let [entries, candidates] =
                    [bounds.entries, bounds.matches].map(|bound| i64::try_from(bound).unwrap());
                // Entries are counted twice, and then sorted or merged; temporary tables are also read.
                let ranges = i64::try_from(RANGES).unwrap();
                let most = 2 * ranges * (2 * entries + 4) + 3 * (entries + candidates);
                let read = reads_after - reads;
                let words = query.words().collect::<Vec<_>>();
                assert!(read <= most, "{words:?} {after}: {read}");
                let sorted = sorts_after - sorts;
                assert!(sorted <= entries + candidates, "{words:?} {after}: {sorted}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn on_sqlite_every_statement_seeks_in_an_index() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("patients.db").display());
    let database = filled(&url, &names()).await;
    let mut connection = database.reader().await.unwrap();
    for (sql, sorts) in [
        (ranges_statement(Dialect::Sqlite, 2), false),
        (sorted_statement(Dialect::Sqlite), true),
        (word_statement(Dialect::Sqlite), false),
        (merged_statement(Dialect::Sqlite), true),
        (all_statement(Dialect::Sqlite), false),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let rows = connection.query(&explain).fetch_all().await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(3).unwrap()).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("SEARCH patient_"), "{sql}: {plan}");
        assert!(!plan.contains("SCAN patient_"), "{sql}: {plan}");
        // Only a limited number of entries is sorted.
        assert!(sorts || !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_words_between_the_statements_of_a_search_is_seen() {
    on_each(&names(), async |database| {
        let mut connection = database.reader().await.unwrap();
        let query = NameQuery::parse("ana").unwrap();
        let trusts = trusts();
        let search = Search {
            query: &query,
            after: "",
            bounds: SMALL,
            trusts: &trusts,
        };
        let (tables, ranges) = search.ranges(&mut connection).await.unwrap().unwrap();
        let strategy = search.strategy(&ranges);
        let seen = async |connection: &mut Connection| {
            let candidates = search.candidates(connection, tables, &strategy, 3).await.unwrap();
            Tables::of(&candidates.rows[0], 3).unwrap()
        };
        assert_eq!(seen(&mut connection).await, tables);
        let change = "INSERT INTO checkpoints (name, position, updated_at) VALUES ('patient_names', 7, 0)";
        let mut writer = database.writer().await.unwrap();
        writer.query(change).execute().await.unwrap();
        assert_ne!(seen(&mut connection).await.names, tables.names);
    })
    .await;
}
