//! The databases on which each contract is tested.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    AppendQueue, Clock, Database, DatabaseOptions, EventLog, Handler, Position, Row, Session, Signal,
    Subscription, SystemClock, Transaction, schema,
};
use testkit::{MysqlServer, wait_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a test waits for an event that should occur almost immediately.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Tests a contract on SQLite.
pub(crate) async fn on_sqlite(contract: impl AsyncFnOnce(Arc<Backend>)) {
    testkit::with_sqlite(async |url| hold(url, contract).await).await;
}

/// Tests a contract on every available MySQL server.
pub(crate) async fn on_mysql(contract: impl AsyncFn(Arc<Backend>)) {
    testkit::with_mysql(async |url| hold(url, &contract).await).await;
}

/// Tests a contract on one MySQL server.
pub(crate) async fn on_server(server: &MysqlServer, contract: impl AsyncFnOnce(Arc<Backend>)) {
    testkit::with_server(server, async |url| hold(url, contract).await).await;
}

async fn hold(url: String, contract: impl AsyncFnOnce(Arc<Backend>)) {
    let backend = Arc::new(Backend::new(url).await);
    contract(Arc::clone(&backend)).await;
    backend.stop().await;
}

/// The empty database of one test, and the tasks that run on it.
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

    /// Creates the tables of the log.
    pub(crate) async fn migrate(&self) {
        schema::migrate(&self.database, SystemClock::shared(), "test", &[])
            .await
            .unwrap();
    }

    /// Opens the same database again with separate connections, like another process.
    pub(crate) async fn open(&self) -> Database {
        open(&self.url).await
    }

    /// Starts a queue on the test's own database, with the system clock and a signal without listeners.
    pub(crate) fn queue(&self) -> AppendQueue {
        self.queue_with(&Signal::in_process(), SystemClock::shared())
    }

    pub(crate) fn queue_with(&self, signal: &Signal, clock: Arc<dyn Clock>) -> AppendQueue {
        AppendQueue::start(self.database.clone(), signal.clone(), clock, 1024, 256)
    }

    /// Blocks the appends of all processes until the returned transaction ends.
    pub(crate) async fn hold_the_log(&self) -> Transaction<'static> {
        let mut transaction = self.database.begin().await.unwrap();
        let lock = format!(
            "SELECT position FROM log_head WHERE id = 1{}",
            transaction.dialect().for_update()
        );
        transaction.query(&lock).fetch_optional().await.unwrap().unwrap();
        transaction
    }

    /// Runs a subscription until the end of the test, or until the returned token is cancelled.
    pub(crate) fn run<H: Handler>(&self, subscription: Subscription<H>) -> CancellationToken {
        let stop = self.shutdown.child_token();
        self.tasks.spawn(subscription.run(stop.clone()));
        stop
    }

    /// Returns the tracker for the tasks of the test, and the token that stops them.
    pub(crate) fn tasks(&self) -> (&TaskTracker, &CancellationToken) {
        (&self.tasks, &self.shutdown)
    }

    /// Runs a statement and returns the number of changed rows.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let mut connection = self.database.writer().await.unwrap();
        connection.query(sql).execute().await.unwrap()
    }

    /// Runs a query and returns its rows.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        let mut connection = self.database.reader().await.unwrap();
        connection.query(sql).fetch_all().await.unwrap()
    }

    /// Returns the numbers in the first column of a query.
    pub(crate) async fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.rows(sql).await;
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// Returns the number in the first column of a query with exactly one row.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let numbers = self.numbers(sql).await;
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    /// Returns the position of the log's last event.
    pub(crate) async fn head(&self) -> Position {
        self.log.head().await.unwrap().position
    }

    /// Returns the checkpoint of a subscription, if it exists.
    pub(crate) async fn checkpoint(&self, name: &str) -> Option<Position> {
        let sql = format!("SELECT position FROM checkpoints WHERE name = '{name}'");
        self.rows(&sql).await.first().map(|row| row.get(0).unwrap())
    }

    /// Waits until a subscription has processed all events up to `position`.
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

/// Returns the position with the given number.
pub(crate) fn position(number: u64) -> Position {
    Position::new(number).unwrap()
}
