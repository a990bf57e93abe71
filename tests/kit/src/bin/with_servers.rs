//! `with-servers COMMAND…` runs a command with servers for tests: one server per installed MySQL flavor, and
//! Redis. The command finds them in `TEST_MYSQL_URL` and `TEST_REDIS_URL`. A variable that is already set is
//! passed on unchanged, and no server is started for it.
//!
//! The servers stop when this program returns, also after SIGINT or SIGTERM, which it forwards to the
//! command. If this program is killed, the servers stop soon after. The exit status of this program is that
//! of the command.
#![expect(clippy::print_stderr, reason = "a command-line tool")]

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use testkit::{PrivateMysql, RedisServer, installed_flavours};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// Maximum time for the command to exit after a signal.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let mut signals = Signals {
        int: signal(SignalKind::interrupt())?,
        term: signal(SignalKind::terminate())?,
    };
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-servers COMMAND…");
        return Ok(ExitCode::from(2));
    };

    let servers = tokio::select! {
        servers = Servers::start() => servers,
        number = signals.next() => return Ok(exit_code(128 + number)),
    };
    // The command has its own process group, so that Ctrl-C reaches it only once, through this program. It
    // therefore cannot read from the terminal.
    let child = Command::new(program)
        .args(arguments)
        .env("TEST_MYSQL_URL", &servers.mysql_url)
        .env("TEST_REDIS_URL", &servers.redis_url)
        .process_group(0)
        .stdin(Stdio::null())
        .spawn();
    let mut child = child?;
    tokio::select! {
        status = child.wait() => Ok(exit_code(shell_status(status?))),
        number = signals.next() => {
            end(&mut child, number).await?;
            Ok(exit_code(128 + number))
        }
    }
}

/// The signals that request a shutdown.
struct Signals {
    int: Signal,
    term: Signal,
}

impl Signals {
    /// Waits for a signal and returns its number.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.int.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.term.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

/// The URLs of the servers. Dropping this value stops the servers that this process started.
struct Servers {
    mysql_url: String,
    redis_url: String,
    _mysql: Vec<PrivateMysql>,
    _redis: Option<RedisServer>,
}

impl Servers {
    async fn start() -> Self {
        let mut mysql = Vec::new();
        let mysql_url = if let Some(url) = given("TEST_MYSQL_URL") {
            url
        } else {
            let starts: Vec<_> = installed_flavours()
                .into_iter()
                .map(|f| tokio::spawn(PrivateMysql::start(f)))
                .collect();
            for start in starts {
                mysql.push(
                    start
                        .await
                        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
                );
            }
            mysql
                .iter()
                .map(|server| server.server().url.as_str())
                .collect::<Vec<_>>()
                .join(",")
        };
        let (redis_url, redis) = if let Some(url) = given("TEST_REDIS_URL") {
            (url, None)
        } else {
            let server = RedisServer::start().await;
            (server.url().to_owned(), Some(server))
        };
        eprintln!("TEST_MYSQL_URL={mysql_url} TEST_REDIS_URL={redis_url}");
        Self {
            mysql_url,
            redis_url,
            _mysql: mysql,
            _redis: redis,
        }
    }
}

fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Forwards a signal to the command's process group, and kills what remains of the group after [`GRACE`].
async fn end(child: &mut Child, signal: i32) -> std::io::Result<()> {
    let Some(group) = child.id() else { return Ok(()) };
    let send = async |signal: i32| {
        let kill = format!("kill -{signal} -{group}");
        Command::new("/bin/sh")
            .args(["-c", &kill])
            .stderr(Stdio::null())
            .status()
            .await
    };
    send(signal).await?;
    if timeout(GRACE, child.wait()).await.is_err() {
        send(9).await?;
        child.wait().await?;
    }
    Ok(())
}

fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1)
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
