//! The servers and processes of a test.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::{Connection, MySqlConnection};
use testkit::{
    MysqlServer, Program, RedisServer, SmtpMode, SmtpServer, TestDatabase, free_port, keyring_file,
    mysql_servers, wait_until,
};

use crate::client::Client;

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Returns a command that runs the program in a role, or without a role if `role` is empty, with no settings
/// except `RATE_LIMIT=off` and a keyring.
pub(crate) fn patients(role: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patients"));
    command.args((!role.is_empty()).then_some(role));
    // A test is a single client and may exceed the default limit.
    command.env("RATE_LIMIT", "off");
    command.env("KEYRING_FILE", keyring_file());
    command
}

/// Runs statements on an SQLite file, also while the program uses it.
pub(crate) fn sqlite(file: &Path, sql: &str) {
    let mut client = Command::new("sqlite3");
    client
        .args(["-bail", "-cmd", ".timeout 10000"])
        .arg(file)
        .arg(sql);
    let output = client.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the user that runs the tests, as the operating system reports it.
pub(crate) fn os_user() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    format!("{}@{}", said("id", &["-un"]), said("uname", &["-n"]))
}

/// MySQL or MariaDB, Redis and SMTP, with the settings for the roles.
pub(crate) struct Production {
    pub(crate) database: TestDatabase,
    pub(crate) redis: RedisServer,
    pub(crate) smtp: SmtpServer,
}

impl Production {
    pub(crate) async fn on(server: &MysqlServer) -> Self {
        let production = Self::without_schema_on(server).await;
        let migrated = production.command("migrate").output().unwrap();
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        production
    }

    /// Starts the servers with an empty database.
    pub(crate) async fn without_schema_on(server: &MysqlServer) -> Self {
        Self {
            database: server.create_database().await,
            redis: RedisServer::start().await,
            smtp: SmtpServer::start(SmtpMode::Plain).await,
        }
    }

    /// Runs `test` on each available MySQL and MariaDB server.
    pub(crate) async fn on_each(test: impl AsyncFn(Self)) {
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            test(Self::on(server).await).await;
        }
    }

    pub(crate) fn command(&self, role: &str) -> Command {
        let mut command = patients(role);
        command
            .env("DATABASE_URL", &self.database.url)
            .env("REDIS_URL", self.redis.url())
            .env("SMTP_URL", self.smtp.url());
        command
    }

    /// Starts the API on its own port, and waits until it is ready.
    pub(crate) async fn api(&self) -> (Program, Client) {
        let port = free_port();
        let program = Program::start(self.command("api").env("HTTP_ADDR", format!("127.0.0.1:{port}")));
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        (program, client)
    }

    pub(crate) fn start(&self, role: &str) -> Program {
        Program::start(&self.command(role))
    }

    /// Returns the result of `SELECT COUNT(*) FROM …`.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        let sql = format!("SELECT COUNT(*) FROM {from}");
        let count = sqlx::query_scalar(&sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    /// Changes the database by hand.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Runs `sql` in a transaction that stays open. Until the barrier is lifted, other writers of the locked
    /// rows wait.
    pub(crate) async fn barrier(&self, sql: &str) -> Barrier {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        sqlx::raw_sql("START TRANSACTION")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        Barrier(connection)
    }
}

/// A lock on rows.
pub(crate) struct Barrier(MySqlConnection);

impl Barrier {
    /// Releases the rows, unchanged.
    pub(crate) async fn lift(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}
