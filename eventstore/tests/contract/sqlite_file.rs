//! The file of an SQLite database: its creation, its loss while it is open, and its state after closing.

use std::path::{Path, PathBuf};

use eventstore::{
    AppendError, AppendQueue, Database, DatabaseOptions, Error, EventLog, Session, Signal, SystemClock,
    schema,
};
use tempfile::TempDir;

use crate::sample::append;

struct Files {
    folder: TempDir,
    database: Database,
    queue: AppendQueue,
    log: EventLog,
}

impl Files {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = open(&folder.path().join("p.db")).await;
        schema::migrate(&database, SystemClock::shared(), "test", &[])
            .await
            .unwrap();
        let signal = Signal::in_process();
        Self {
            folder,
            queue: AppendQueue::start(database.clone(), signal, SystemClock::shared(), 1024, 256),
            log: EventLog::new(database.clone()),
            database,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Checks that appends and reads fail because the file is lost.
    async fn is_lost(&self, id: &str) {
        match self.queue.append(append(id, 1)).await {
            Err(AppendError::Unavailable(error) | AppendError::InDoubt(error)) => {
                assert!(matches!(*error, Error::FileLost { .. }), "{error:?}");
                assert!(error.to_string().contains("p.db"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let read = self.log.head().await;
        assert!(matches!(read, Err(Error::FileLost { .. })), "{read:?}");
    }
}

async fn open(path: &Path) -> Database {
    let url = format!("sqlite://{}", path.display());
    Database::connect(&url, DatabaseOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_deleted_while_it_is_open_is_noticed_before_an_answer_and_not_made_anew() {
    for files in [&["p.db", "p.db-wal", "p.db-shm"][..], &["p.db"], &["p.db-wal"]] {
        let test = Files::new().await;
        test.queue.append(append("before", 1)).await.unwrap();
        for file in files {
            std::fs::remove_file(test.path(file)).unwrap();
        }
        test.is_lost("during").await;
        test.is_lost("later").await;
        for file in files {
            assert!(!test.path(file).exists(), "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_replaced_while_it_is_open_is_noticed_and_one_that_comes_back_is_used_again() {
    let test = Files::new().await;
    test.queue.append(append("before", 1)).await.unwrap();
    std::fs::rename(test.path("p.db"), test.path("kept.db")).unwrap();
    std::fs::copy(test.path("kept.db"), test.path("p.db")).unwrap();
    test.is_lost("during").await;
    std::fs::rename(test.path("kept.db"), test.path("p.db")).unwrap();
    test.queue.append(append("after", 1)).await.unwrap();
    test.log.head().await.unwrap();
}

#[tokio::test]
async fn only_who_is_to_create_a_file_creates_it() {
    let folder = TempDir::new().unwrap();
    let options = DatabaseOptions {
        create: false,
        ..DatabaseOptions::default()
    };
    let url = format!("sqlite://{}", folder.path().join("new/p.db").display());
    let refused = Database::connect(&url, options).await.unwrap_err();
    assert!(matches!(refused, Error::NoFile { .. }), "{refused:?}");
    assert!(refused.is_unknown_database() && !refused.is_connection());
    assert!(!folder.path().join("new").exists());
    Database::connect(&url, DatabaseOptions::default())
        .await
        .unwrap()
        .close()
        .await;
    Database::connect(&url, options).await.unwrap().close().await;
}

#[tokio::test]
async fn a_file_that_is_opened_to_be_read_is_called_read_only() {
    let test = Files::new().await;
    test.queue.append(append("before", 1)).await.unwrap();
    let url = format!("sqlite://{}?mode=ro", test.path("p.db").display());
    let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
    let signal = Signal::in_process();
    let queue = AppendQueue::start(database.clone(), signal, SystemClock::shared(), 10, 10);
    let refused = queue.append(append("refused", 1)).await;
    let Err(AppendError::Unavailable(error)) = refused else {
        panic!("{refused:?}")
    };
    assert!(matches!(*error, Error::ReadOnly(_)), "{error:?}");
    assert_eq!(EventLog::new(database).head().await.unwrap().position.get(), 1);
}

/// A connection may still be on its way back to its pool when the database is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_one_file_with_everything_in_it() {
    let test = Files::new().await;
    test.database.close().await;
    assert!(!test.path("p.db-wal").exists(), "after the migration");
    for round in 0..150 {
        let database = open(&test.path("p.db")).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(database.reader().await.unwrap());
        }
        let mut writer = database.writer().await.unwrap();
        writer
            .query("INSERT INTO leases (name, owner, expires_at) VALUES (?, 'x', 0)")
            .bind(format!("lease {round}"))
            .execute()
            .await
            .unwrap();
        drop((readers, writer));
        database.close().await;
        assert!(!test.path("p.db-wal").exists(), "round {round}");
    }
}
