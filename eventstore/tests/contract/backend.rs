//! The databases that a contract is held against.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    AppendQueue, Clock, Database, DatabaseOptions, EventLog, Handler, Position, Row, Session, Signal,
    Subscription, SystemClock, Transaction,
};
use futures::FutureExt;
use testkit::{MysqlServer, mysql_servers, wait_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a test waits for what should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Makes each contract a test on each backend.
macro_rules! on_every_backend {
    ($($contract:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                $crate::backend::on_sqlite(super::$contract).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                $crate::backend::on_mysql(super::$contract).await;
            })+
        }
    };
}

/// Holds a contract against SQLite.
pub(crate) async fn on_sqlite(contract: impl AsyncFnOnce(Arc<Backend>)) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("log.db").display());
    hold("SQLite", url, contract).await;
}

/// Holds a contract against every MySQL server there is.
pub(crate) async fn on_mysql(contract: impl AsyncFn(Arc<Backend>)) {
    for server in mysql_servers() {
        on_server(server, &contract).await;
    }
}

/// Holds a contract against one MySQL server.
pub(crate) async fn on_server(server: &MysqlServer, contract: impl AsyncFnOnce(Arc<Backend>)) {
    let database = server.create_database().await;
    hold(&server.flavour.to_string(), database.url.clone(), contract).await;
}

async fn hold(name: &str, url: String, contract: impl AsyncFnOnce(Arc<Backend>)) {
    let test = async {
        let backend = Arc::new(Backend::new(url).await);
        contract(Arc::clone(&backend)).await;
        backend.stop().await;
    };
    if let Err(panic) = AssertUnwindSafe(test).catch_unwind().await {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        panic!("on {name}: {}", message.unwrap_or("it panicked"));
    }
}

/// An empty database of one test, and what runs on it.
pub(crate) struct Backend {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) log: EventLog,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Backend {
    async fn new(url: String) -> Self {
        let database = open(&url).await;
        Self {
            log: EventLog::new(database.clone()),
            url,
            database,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Makes the schema.
    pub(crate) async fn migrate(&self) {
        ::migrations::migrate(&self.database, SystemClock::shared(), "test")
            .await
            .unwrap();
    }

    /// The same database again, with connections of its own, as another process would open it.
    pub(crate) async fn open(&self) -> Database {
        open(&self.url).await
    }

    /// A queue on the test's own database, with the system's clock and a signal that nobody hears.
    pub(crate) fn queue(&self) -> AppendQueue {
        self.queue_with(&Signal::in_process(), SystemClock::shared())
    }

    pub(crate) fn queue_with(&self, signal: &Signal, clock: Arc<dyn Clock>) -> AppendQueue {
        AppendQueue::start(self.database.clone(), signal.clone(), clock, 1024, 256)
    }

    /// Keeps every append out, whichever process it comes from, until the transaction ends.
    pub(crate) async fn hold_the_log(&self) -> Transaction<'static> {
        let mut transaction = self.database.begin().await.unwrap();
        let lock = format!(
            "SELECT position FROM log_head WHERE id = 1{}",
            transaction.dialect().for_update()
        );
        transaction.query(&lock).fetch_optional().await.unwrap().unwrap();
        transaction
    }

    /// Runs a subscription until the end of the test, or until the token that is returned is cancelled.
    pub(crate) fn run<H: Handler>(&self, subscription: Subscription<H>) -> CancellationToken {
        let stop = self.shutdown.child_token();
        self.tasks.spawn(subscription.run(stop.clone()));
        stop
    }

    /// Where the tasks of a test run, and what stops them.
    pub(crate) fn tasks(&self) -> (&TaskTracker, &CancellationToken) {
        (&self.tasks, &self.shutdown)
    }

    /// Runs a statement; the number of rows that it changed.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let mut connection = self.database.writer().await.unwrap();
        connection.query(sql).execute().await.unwrap()
    }

    /// Runs a query.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        let mut connection = self.database.reader().await.unwrap();
        connection.query(sql).fetch_all().await.unwrap()
    }

    /// The numbers in the first column of a query.
    pub(crate) async fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.rows(sql).await;
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let numbers = self.numbers(sql).await;
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    /// The position of the log's last event.
    pub(crate) async fn head(&self) -> Position {
        self.log.head().await.unwrap().position
    }

    /// A subscription's checkpoint, if it has one.
    pub(crate) async fn checkpoint(&self, name: &str) -> Option<Position> {
        let sql = format!("SELECT position FROM checkpoints WHERE name = '{name}'");
        self.rows(&sql).await.first().map(|row| row.get(0).unwrap())
    }

    /// Waits until a subscription has finished everything up to `position`.
    pub(crate) async fn followed_up_to(&self, name: &str, position: Position) {
        let what = format!("{name} has followed up to {position}");
        wait_until(SOON, &what, async || {
            self.checkpoint(name).await >= Some(position)
        })
        .await;
    }

    async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.database.close().await;
    }
}

async fn open(url: &str) -> Database {
    Database::connect(url, DatabaseOptions::default()).await.unwrap()
}

/// The position with that number.
pub(crate) fn position(number: u64) -> Position {
    Position::new(number).unwrap()
}
