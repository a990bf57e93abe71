//! A private MySQL or MariaDB server for one test.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, MySqlConnection};

use super::flavour::MISSING;
use super::{Flavour, MysqlServer};
use crate::guardian::{Folder, Process, guarded};
use crate::installed;
use crate::port::free_port;
use crate::service::{Probe, Service, tail};

/// The fifth byte of a server's greeting is the protocol version. In an error packet it is 255.
const GREETS: Probe = Probe::Answers(b"", |greeting| greeting.get(4) == Some(&10));

/// A private server with default durability. A test can kill it and restart it on the same port and data.
///
/// It starts in about 4 s (MySQL) or 1 s (MariaDB). Most of that time initializes the data folder.
pub struct PrivateMysql {
    server: MysqlServer,
    service: Service,
    folder: Folder,
    program: PathBuf,
    /// The options for every start of the program.
    common: Vec<OsString>,
}

impl PrivateMysql {
    /// Starts an empty server: user `root` without password, on loopback only.
    ///
    /// # Panics
    /// If the server is not installed (see [`installed_flavours`](crate::installed_flavours)) or does not
    /// start. The message then contains the end of its log.
    pub async fn start(flavour: Flavour) -> Self {
        Self::start_with(flavour, &[]).await
    }

    /// Like [`PrivateMysql::start`], with additional options, which override the others.
    ///
    /// # Panics
    /// Like [`PrivateMysql::start`].
    pub(super) async fn start_with(flavour: Flavour, options: &[String]) -> Self {
        let program = flavour
            .program()
            .unwrap_or_else(|| panic!("{flavour} is required, but {MISSING}"));
        let folder = Folder::new();
        let log = folder.path().join("log");
        let common = common_options(flavour, &program, folder.path());
        initialise(flavour, &program, &common, &log).await;

        let port = free_port();
        let service = Service::start(flavour.name(), &program, (port, GREETS), log, |command| {
            serve(command, flavour, &common, port, options);
        })
        .await;
        let url = format!("mysql://root@127.0.0.1:{port}");
        Self {
            server: MysqlServer { flavour, url },
            service,
            folder,
            program,
            common,
        }
    }

    /// Replaces the additional options, from the next start on.
    pub(super) fn reconfigure(&mut self, options: &[String]) {
        let (flavour, port) = (self.server.flavour, self.port());
        self.service.reconfigure(&self.program, |command| {
            serve(command, flavour, &self.common, port, options);
        });
    }

    /// Runs the program with these options, and returns its output. With these options, the program must exit
    /// by itself. The server must be stopped.
    pub(super) async fn ask_program(&self, options: &[String]) -> String {
        let output = self.folder.path().join("answer");
        // The file may have the output of an earlier run.
        let _ = std::fs::remove_file(&output);
        let mut command = guarded(&self.program, &output, &output);
        Process::start(command.args(&self.common).args(options))
            .exited()
            .await;
        std::fs::read_to_string(&output).unwrap_or_default()
    }

    /// Returns the flavor and the URL of the server.
    pub fn server(&self) -> &MysqlServer {
        &self.server
    }

    /// Returns the port of the server.
    pub(super) const fn port(&self) -> u16 {
        self.service.port()
    }

    /// Returns the data folder, with the certificates that MySQL generates.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the path of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("socket")
    }

    /// Runs statements as root.
    ///
    /// # Panics
    /// If the server rejects a statement.
    pub async fn run(&self, sql: &str) {
        let run = self.try_to_run(sql).await;
        run.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs statements as root.
    pub(super) async fn try_to_run(&self, sql: &str) -> sqlx::Result<()> {
        let mut connection = MySqlConnection::connect(&self.server.url).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        connection.close().await
    }

    /// Runs a query as root, and returns the first column of each row.
    pub(super) async fn texts(&self, sql: &str) -> sqlx::Result<Vec<String>> {
        let mut connection = MySqlConnection::connect(&self.server.url).await?;
        let texts = sqlx::query_scalar(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(texts)
    }

    /// Creates a user with every privilege on a database and none on the server. Returns the database's URL
    /// for that user.
    ///
    /// # Panics
    /// If the server rejects the statement.
    pub async fn ordinary_user(&self, database: &str) -> String {
        self.run(&format!(
            "CREATE USER 'ordinary'@'127.0.0.1' IDENTIFIED BY 'p@ss:/#?%'; GRANT ALL ON `{database}`.* TO 'ordinary'@'127.0.0.1'"
        ))
        .await;
        let place = self.server.url.rsplit_once('@').map_or("", |(_, place)| place);
        format!("mysql://ordinary:p%40ss%3A%2F%23%3F%25@{place}/{database}")
    }

    /// Kills the server with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self) {
        self.service.kill().await;
    }

    /// Stops the server with SIGTERM and waits until it has exited.
    pub async fn terminate(&mut self) {
        self.service.terminate().await;
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.service.signal(name);
    }

    /// Kills the server if it runs, starts it again on the same port and data, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.service.restart().await;
    }
}

/// Adds the options of a server that accepts connections.
fn serve(command: &mut Command, flavour: Flavour, common: &[OsString], port: u16, options: &[String]) {
    command.args(common).args(["--socket=socket", "--pid-file=pid"]);
    command.args([
        "--bind-address=127.0.0.1",
        &format!("--port={port}"),
        "--max-connections=500",
    ]);
    if flavour == Flavour::MySql {
        // The performance schema costs half of the startup time and memory. MariaDB disables it by default.
        command.args(["--mysqlx=OFF", "--performance-schema=OFF"]);
    }
    command.args(options);
}

/// Initializes the data folder, with user `root` without password.
async fn initialise(flavour: Flavour, server: &Path, common: &[OsString], log: &Path) {
    let names = ["mariadb-install-db", "mysql_install_db"];
    let (program, options): (PathBuf, &[&str]) = match flavour {
        Flavour::MySql => (server.to_owned(), &["--initialize-insecure"]),
        Flavour::MariaDb => (
            installed::find(&names, |_| true).expect("MariaDB comes with mariadb-install-db"),
            &["--auth-root-authentication-method=normal", "--skip-test-db"],
        ),
    };
    let status = Process::start(guarded(program, log, log).args(common).args(options))
        .exited()
        .await;
    assert!(
        status == 0,
        "{flavour} cannot initialize its data folder; the end of its log:\n{}",
        tail(log)
    );
}

/// The options for both initializing and serving.
fn common_options(flavour: Flavour, program: &Path, folder: &Path) -> Vec<OsString> {
    let mut options = Vec::new();
    if flavour == Flavour::MariaDb || accepts_no_defaults(program) {
        options.push("--no-defaults".into());
    }
    // The folder belongs to this user. A server that runs as root requires this option.
    if folder.metadata().is_ok_and(|metadata| metadata.uid() == 0) {
        options.push("--user=root".into());
    }
    let temporary = folder.join("tmp");
    std::fs::create_dir(&temporary).expect("the folder can be written to");
    // At start, MariaDB removes every temporary table in its tmpdir, including those of running servers.
    for (name, path) in [("--datadir=", folder.join("data")), ("--tmpdir=", temporary)] {
        let mut option = OsString::from(name);
        option.push(path);
        options.push(option);
    }
    options
}

/// Whether this `mysqld` accepts the option to ignore option files. A wrapper script may already pass that
/// option. The option must come first, and repeating it is an error.
fn accepts_no_defaults(program: &Path) -> bool {
    let answer = installed::output(program, &["--no-defaults", "--validate-config"]);
    !answer.contains("unknown option '--no-defaults'")
}
