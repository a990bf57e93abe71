//! The measured programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use testkit::{MysqlServer, Program, TestDatabase, free_port, wait_until};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::{get, once};

const START: Duration = Duration::from_mins(1);

/// The program on its own database.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) program: Program,
    /// `None` on SQLite, and for a second program on the same database.
    pub(crate) database: Option<TestDatabase>,
    _mail: MailSink,
}

/// The settings that differ between measurements.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

impl Server {
    /// Starts `patients serve` on MySQL: the API, the projector and the mailer's ledger, with a mail server
    /// that accepts connections but never responds.
    pub(crate) async fn on(server: &MysqlServer, settings: Settings<'_>) -> anyhow::Result<Self> {
        let database = server.create_database().await;
        Self::over(database.url.clone(), Some(database), settings).await
    }

    /// Starts `patients serve` on SQLite, in its own folder.
    pub(crate) async fn on_sqlite() -> anyhow::Result<Self> {
        Self::over("sqlite://data/patients.db".to_owned(), None, &[]).await
    }

    /// Starts `patients serve` on the database at `url`, which may already have events.
    pub(crate) async fn over(
        url: String,
        database: Option<TestDatabase>,
        settings: Settings<'_>,
    ) -> anyhow::Result<Self> {
        let mail = MailSink::start().await?;
        let mut command = patients()?;
        command
            .arg("serve")
            .env("DATABASE_URL", url)
            .env("SMTP_URL", format!("smtp://{}", mail.address))
            .env("LOG", "warn")
            // All load comes from one address, so the rate limit must be off.
            .env("RATE_LIMIT", "off")
            .envs(settings.iter().copied());
        let (address, program) = listen(command).await;
        Ok(Self {
            address,
            program,
            database,
            _mail: mail,
        })
    }

    /// Starts yardstick (a).
    pub(crate) async fn baseline(
        server: &MysqlServer,
    ) -> anyhow::Result<(SocketAddr, Program, TestDatabase)> {
        let database = server.create_database().await;
        let port = free_port();
        let mut command = Command::new(own_folder()?.join("bench"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        command.args([
            "baseline",
            "--address",
            &address.to_string(),
            "--database-url",
            &database.url,
        ]);
        let program = Program::start(&command);
        ready(address).await;
        Ok((address, program, database))
    }

    /// Returns the peak and the current memory of the process, in MiB.
    pub(crate) fn memory(&self) -> (f64, f64) {
        memory(self.program.pid())
    }
}

pub(crate) fn memory(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kib| kib.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    (field("VmHWM:"), field("VmRSS:"))
}

async fn listen(mut command: Command) -> (SocketAddr, Program) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    command.env("HTTP_ADDR", address.to_string());
    let program = Program::start(&command);
    ready(address).await;
    (address, program)
}

async fn ready(address: SocketAddr) {
    wait_until(START, "the server is ready", async || {
        once(address, get("/health/ready"))
            .await
            .is_ok_and(|status| status == 200)
    })
    .await;
}

/// Returns a command for the program, which is built together with this program, with a keyring.
pub(crate) fn patients() -> anyhow::Result<Command> {
    let mut command = Command::new(own_folder()?.join("patients"));
    command.env("KEYRING_FILE", testkit::keyring_file());
    Ok(command)
}

fn own_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().map(PathBuf::from).unwrap_or_default())
}

/// A mail server that accepts connections but never responds. The ledger is written, and no time is spent on
/// sending mail.
struct MailSink {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl MailSink {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.push(connection);
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
