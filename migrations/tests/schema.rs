//! The schema of this service, on SQLite and on each available MySQL and MariaDB server.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failure in a test must end the test with a message"
)]

use eventstore::{
    Append, AppendQueue, Database, DatabaseOptions, Dialect, EventLog, NewEvent, Session, Signal, SystemClock,
};
use migrations::{Error, STEPS, check, migrate};
use serde_json::json;
use testkit::mysql_servers;

/// SHA-384 of the statements of each of the [`versions`], in order, as existing databases store it. A
/// database rejects a version with another checksum, so these values never change.
const MYSQL: [&str; 17] = [
    "dbefea4f2316fb9528557d3a976805646305c5bcc34e2f389df12f74de13d212305af01e85b6bd25838189faccfabf2b",
    "3e9ee6a77aaddc0398788484b377e564ced842ce095047678a68d65a7070680d3d6e9ad406f54392ab8fd38bf765e9c4",
    "7ffbb038f644a94d34b0101a75bcf6b377d715406f43f82f2757f6e3733610e6aa77b7f766c7e1b75a6396953570d93d",
    "b8731318b978222880a15be553fb232fc97f269bb01a8cecbc2dc561b62c21c14ef21a94512fe5600493ff69756b8940",
    "7dae8234df8ea3f8149fbdce0186ae9accaf0c5e5c87bbd74bd8009c82b60763948bf03a7575317bf499db2474a9fb41",
    "31aa8ec14b96f2ef78e94ee93b89c215a78ec30a55698090c4d1b24b5e8c2961c0572cc14e34f50d4b3ccd3bada43c9e",
    "c18146ea10312fd8d0ea2801e1c183b50c1bb057fe962c50929cb2a3eb9524f48974521b9720ba50dd4a00a8d4d5301d",
    "1af2b9d68741030b2c1ca042c11be5bbb229c3eae84ca014e5d919d6d527b57be15b73ed1bb18caedf8118519dbc81ba",
    "6eddaa0f386b765ecdf36e6913338d6c881e762080a140add96630df06a0f3a0f8219715449f38773f8d7e231c5b6849",
    "bd7a57f4ef33666d32a3e5553da3cff3c6337d85cfd723b665eece9c00c8a0bd1946c6147f228bf5179591b7fcfad5bd",
    "602f45d52a6920eacb5c1bc82db506a31a5ff9a7e996122083775a8a38788f9a096791a6afac84b1bd2010b514e1a322",
    "b83902cec2e9353eecf9ec19071e6ab2543f9743ae194d188c124cfc6a09ebc8e86666be187040257d85499c18a8f4c6",
    "43e60bd4388033077c48d744df2f25d721ff53aad47c2bf45958795b43f22d0e555556007adee9d946e95929f3d17920",
    "736f2a26e3198e2e6461e5cf198d861bec52e81f5233b784a39b760e8417a116ca4c85e2b2021ab2a56a8225adf82b4b",
    "457c79de4a351b17fa13391212fd35a2e63e9644b356c4653525ed77f01a22d45a43d65478dfe3640ad8b432972b60d2",
    "f00815b1c6a38c9bc6d7ae542a2472f05b966eb7318625e8cd6e5e1fd25d74c0329f05e9b62c2d17b91bbc866e343840",
    "47f24ba2efae7ef88b9d107ea512fbbd87817a88c72a6ad7bfe7c29546ab52f1b9c3cc58d22ae095fbc0d46d0e97fc56",
];
const SQLITE: [&str; 17] = [
    "d96f778f9fcae6a558aff5e931cba3bf615385c53961c8a33bab79360e8a90be74a47be55998e36ff50df7e3bd564c64",
    "25a1063c2e1f1ca0fb25e75bce991b4aba05a7aab7e2dc6e7e825596f95a2bf8b575258b256b624c0a93cc6af5a0805e",
    "5760968885fbf94094481f4225d9c28b07191e9ec0ae740576b4372d2b5958e5c6970503e759964f909e623886558a4a",
    "e9c554fc1585c63e6731bf38809a6196abd20f1c8c39550e0a0495700ae64d5530a5259dba9d64c16a028745e4cf88b8",
    "a09136984d32ff49b0c6c6bb1d6ad7be0b8b686f0ec472104ea1d24ce4c9547874d8a0427a79701cbc0c3b246a02f475",
    "d560b73dfa773b8b7e7b672293365b2a1ebe13d9cb3a786eebc7a7ba4b9358ebe967bd2fa97c0a68e18098742efca512",
    "85a2be46cfc89dc5efc906f8f9371a5b15574424af1c73063f7eff45387c8991ea9c979f7e70fab954fb8a2ea549ee8a",
    "04f0e7c882e944de857330033936914611ff369aa559f3142c2b541b39a6b81bbefcf358ed37ad07e60de1bb3ad78d81",
    "785709fe4ddd531d68781e789a665a35d69f24d31db4350ab44727b13a5c019d236bdc9768175803861f9a8939d1f368",
    "6f22fc71232eb68e0a6b41b14f301515e882b40ba420115ddc61f2b08b0233e8786ca4828a94a4deb6cd6e4d98bde12a",
    "b87ccd9fb8c1f1c700c9f8f217643caf6b8ecb0fafac3e2564d20518338d696fdeb63de4b8e8360862c18bacd5bb6651",
    "63eab82d15bbb51e47f441f46a688c22c003f07d53f92e23cb98a3f55d2873c0df42c62f856fe3ab4beb2b22056cf12f",
    "ba470feab745770dd9edd2497e5391562ac625d37f95f5f49d4b7f17b2daa0a45ce069b061b4c2795291fc60f4455e82",
    "5bf1c85f0b2d04e39a17343e6123d64e16ab4b8168739caa8e3bc73154092063b243a461605c14409c0fe461b11db927",
    "47ac62ccad855d0f8c55e6715c8a235d59840697578a06d7d9dc06ac60625c642275c0a4606fc2ddfb22772eb412d47f",
    "0f0f2779897d4671e34220d626a6679f206e60db477f948506dc90bd4ae1013c11a175fd9a6f74bf7532ac44bfdcf812",
    "b5145b0808b97c45be6bf5d325fdaef7ade1b88de1f01ad4bfac1f12af2f8d9ce119c1b2d61784c114596687862e0a89",
];

/// Description of each version, as existing databases store it.
const DESCRIPTIONS: [&str; 17] = [
    "log",
    "patient view",
    "mail deliveries",
    "rebuilds",
    "mail attempts",
    "mail attempts unknown",
    "audit reads",
    "name key",
    "longer values",
    "patient names",
    "drop name key index",
    "read chains",
    "mailbox hash",
    "published log",
    "witnesses",
    "read heads",
    "sealing",
];

/// All versions, in order.
fn versions() -> impl Iterator<Item = i64> {
    (1..=16).chain([1_000_000])
}

/// Runs a test on a new database of each kind.
async fn on_every_database(test: impl AsyncFn(&Database)) {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&format!("sqlite://{}", folder.path().join("log.db").display())).await;
    test(&database).await;
    database.close().await;
    for server in mysql_servers() {
        println!("on {}", server.flavour);
        let created = server.create_database().await;
        let database = open(&created.url).await;
        test(&database).await;
        database.close().await;
    }
}

async fn open(url: &str) -> Database {
    Database::connect(url, DatabaseOptions::default()).await.unwrap()
}

async fn migrated(database: &Database) {
    migrate(database, SystemClock::shared(), "test").await.unwrap();
    check(database).await.unwrap();
}

async fn execute(database: &Database, sql: &str) {
    let mut connection = database.writer().await.unwrap();
    connection.query(sql).execute().await.unwrap();
}

#[tokio::test]
async fn each_version_has_the_checksum_that_existing_databases_store() {
    on_every_database(async |database| {
        migrated(database).await;
        let sums = match database.dialect() {
            Dialect::MySql => MYSQL,
            Dialect::Sqlite => SQLITE,
        };
        let mut reader = database.reader().await.unwrap();
        let stored =
            "SELECT version, description, LOWER(HEX(checksum)) FROM _sqlx_migrations ORDER BY version";
        let rows = reader.query(stored).fetch_all().await.unwrap();
        assert_eq!(rows.len(), sums.len());
        for ((row, version), (description, sum)) in rows
            .iter()
            .zip(versions())
            .zip(DESCRIPTIONS.into_iter().zip(sums))
        {
            let (number, name, checksum): (i64, String, String) =
                (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
            assert_eq!(
                (number, name.as_str(), checksum.as_str()),
                (version, description, sum)
            );
        }
    })
    .await;
}

/// On MySQL, a killed migration stays marked as begun, and its statements run again. On SQLite, a migration
/// is one transaction, so a killed migration leaves no trace.
#[tokio::test]
async fn a_database_that_stopped_at_any_version_is_migrated_and_keeps_its_events() {
    on_every_database(async |database| {
        migrated(database).await;
        let queue = AppendQueue::start(
            database.clone(),
            Signal::in_process(),
            SystemClock::shared(),
            16,
            16,
        );
        let event = NewEvent {
            aggregate_type: "thing".into(),
            aggregate_id: "a".into(),
            sequence: 1,
            event_type: "ThingHappened".into(),
            event_version: "1.0".into(),
            payload: json!({}),
            metadata: json!({}),
        };
        queue
            .append(Append::new(vec![event], Vec::new()).unwrap())
            .await
            .unwrap();
        queue.shutdown().await;
        let mut before = 0;
        for version in versions() {
            let rerun = match database.dialect() {
                Dialect::MySql => {
                    let later = format!("DELETE FROM _sqlx_migrations WHERE version > {version}");
                    execute(database, &later).await;
                    format!("UPDATE _sqlx_migrations SET success = FALSE WHERE version = {version}")
                }
                Dialect::Sqlite => format!("DELETE FROM _sqlx_migrations WHERE version >= {version}"),
            };
            execute(database, &rerun).await;
            let behind = check(database).await;
            let Err(Error::Behind {
                found,
                needed: 1_000_000,
            }) = behind
            else {
                panic!("{behind:?}")
            };
            assert_eq!(found, std::mem::replace(&mut before, version));
            migrated(database).await;
            let head = EventLog::new(database.clone()).head().await.unwrap();
            assert_eq!(head.position.get(), 1, "version {version}");
        }
    })
    .await;
}

#[test]
fn each_file_is_a_step() {
    for dialect in ["mysql", "sqlite"] {
        let folder = format!("{}/{dialect}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort_unstable();
        let named = |step: &eventstore::schema::Step| {
            format!("{:04}_{}.sql", step.version, step.name.replace(' ', "_"))
        };
        assert_eq!(files, STEPS.iter().map(named).collect::<Vec<_>>());
    }
}

/// The check of a table's engine finds the name of the table only after these words.
#[test]
fn each_table_of_mysql_is_created_only_if_it_does_not_exist() {
    for step in STEPS {
        let text = step.mysql.to_uppercase();
        assert_eq!(
            text.matches("CREATE TABLE").count(),
            text.matches("CREATE TABLE IF NOT EXISTS ").count(),
            "step {}",
            step.version
        );
    }
}
