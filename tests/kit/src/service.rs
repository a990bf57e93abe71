//! A guarded server on a loopback port that can be killed and restarted.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::guardian::{Process, guarded};

/// Maximum time until a server is ready.
const READY: Duration = Duration::from_mins(1);

/// A check of whether the server on a port is ready.
#[derive(Clone, Copy)]
pub(crate) enum Probe {
    /// The server accepts a connection.
    Connects,
    /// The server accepts a connection and these bytes, and its first response passes a check.
    Answers(&'static [u8], fn(&[u8]) -> bool),
}

impl Probe {
    async fn succeeds(self, port: u16) -> bool {
        let attempt = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
            let Self::Answers(question, accept) = self else {
                return Some(true);
            };
            stream.write_all(question).await.ok()?;
            let mut answer = [0; 256];
            let length = stream.read(&mut answer).await.ok()?;
            Some(accept(&answer[..length]))
        };
        timeout(Duration::from_secs(1), attempt)
            .await
            .ok()
            .flatten()
            .unwrap_or(false)
    }
}

/// A server that can be killed and restarted on the same port and data.
pub(crate) struct Service {
    name: &'static str,
    command: Command,
    log: PathBuf,
    port: u16,
    probe: Probe,
    process: Option<Process>,
}

impl Service {
    /// Starts `program`, configured by `configure`, and waits until it is ready.
    pub(crate) async fn start(
        name: &'static str,
        program: &Path,
        (port, probe): (u16, Probe),
        log: PathBuf,
        configure: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = guarded(program, &log, &log);
        configure(&mut command);
        let mut service = Self {
            name,
            command,
            log,
            port,
            probe,
            process: None,
        };
        service.restart().await;
        service
    }

    /// Replaces the program and its configuration, from the next start on.
    pub(crate) fn reconfigure(&mut self, program: &Path, configure: impl FnOnce(&mut Command)) {
        self.command = guarded(program, &self.log, &self.log);
        configure(&mut self.command);
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Stops the server with SIGTERM and waits until it has exited. Kills it after a minute.
    pub(crate) async fn terminate(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal("TERM");
            if timeout(READY, process.exited()).await.is_err() {
                process.kill().await;
            }
        }
    }

    /// Sends a signal by name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            process.signal(name);
        }
    }

    /// Kills the server if it runs, starts it again and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        let process = self.process.insert(Process::start(&mut self.command));
        let deadline = Instant::now() + READY;
        while !self.probe.succeeds(self.port).await {
            let what = match process.status() {
                Some(status) => format!("ended with status {status} before it was ready"),
                None if Instant::now() > deadline => format!("was not ready after {READY:?}"),
                None => {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            panic!("{} {what}; the end of its log:\n{}", self.name, tail(&self.log));
        }
    }
}

/// Returns the last lines of a log file.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
