//! Redis Sentinels, and a group of servers that they watch.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::RedisServer;
use crate::guardian::Folder;
use crate::port::free_port;
use crate::service::{Probe, Service};
use crate::{installed, wait_until};

/// Maximum time until a group is complete: a server that was the master becomes a replica only after some
/// seconds.
const READY: Duration = Duration::from_mins(2);
/// Timeout of one question to a process, which may be suspended.
const QUESTION: Duration = Duration::from_secs(2);
/// Number of Sentinels in a group.
const SENTINELS: usize = 3;

/// A Sentinel that watches a master under the name `main`, and replaces it when it has not answered for 500
/// ms.
pub struct RedisSentinel {
    port: u16,
    service: Service,
    _folder: Folder,
}

impl RedisSentinel {
    /// Starts a Sentinel that decides alone.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    pub async fn start(master: &RedisServer) -> Self {
        Self::start_with(master, 1, "").await
    }

    /// Starts a Sentinel that decides alone and requires a password.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or does not start.
    pub async fn start_with_password(master: &RedisServer, password: &str) -> Self {
        Self::start_with(master, 1, &format!("requirepass {password}\n")).await
    }

    /// Starts a Sentinel that agrees with `quorum - 1` others before it replaces the master. `more` are
    /// further lines of its configuration.
    async fn start_with(master: &RedisServer, quorum: usize, more: &str) -> Self {
        let program = installed::find(&["redis-server"], |_| true)
            .expect("redis-server is not installed: `apt-get install redis-server`");
        let folder = Folder::new();
        let port = free_port();
        let settings = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\n\
             sentinel monitor main 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n{more}",
            master.service.port()
        );
        // Sentinel writes its state into the file.
        std::fs::write(&settings, text).expect("the folder can be written to");
        let probe = Probe::Answers(b"PING\r\n", |answer| {
            // A Sentinel with a password rejects the question.
            answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH")
        });
        let log = folder.path().join("log");
        let service = Service::start("redis-sentinel", &program, (port, probe), log, |command| {
            command.arg(&settings).arg("--sentinel");
        });
        Self {
            port,
            service: service.await,
            _folder: folder,
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the process with SIGSTOP, so that it accepts connections but does not answer.
    pub fn suspend(&self) {
        self.service.signal("STOP");
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self) {
        self.service.kill().await;
    }

    /// Stops the process with SIGTERM and waits until it has exited.
    pub async fn terminate(&mut self) {
        self.service.terminate().await;
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.service.signal(name);
    }

    /// Kills the process if it runs, starts it again with its last state, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.service.restart().await;
    }

    async fn ask(&self, question: &str) -> String {
        ask(self.port, question).await
    }
}

/// A master with a replica, and three Sentinels, two of which must agree to replace the master.
pub struct RedisGroup {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisSentinel>,
}

impl RedisGroup {
    /// Starts the group.
    ///
    /// # Panics
    /// If `redis-server` is not installed, or if the group is not complete in time.
    pub async fn start() -> Self {
        let master = RedisServer::start().await;
        let replica = RedisServer::start_replica_of(&master).await;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(RedisSentinel::start_with(&master, SENTINELS / 2 + 1, "").await);
        }
        let group = Self {
            servers: vec![master, replica],
            sentinels,
        };
        group.until_complete().await;
        group
    }

    /// Returns the ports of the Sentinels.
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(RedisSentinel::port).collect()
    }

    /// Returns a Redis server.
    pub fn server(&mut self, index: usize) -> &mut RedisServer {
        &mut self.servers[index]
    }

    /// Returns a Sentinel.
    pub fn sentinel(&mut self, index: usize) -> &mut RedisSentinel {
        &mut self.sentinels[index]
    }

    /// Waits until all Sentinels and the servers agree which server is the master, and until the other server
    /// is its replica. Returns the index of the master.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn until_complete(&self) -> usize {
        let mut master = None;
        wait_until(READY, "the Redis servers and the Sentinels agree", async || {
            master = self.agreed_master().await;
            master.is_some()
        })
        .await;
        master.unwrap_or_default()
    }

    /// Replaces the master, as an operator would.
    ///
    /// # Errors
    /// The answer of the Sentinel.
    pub async fn switch(&self) -> Result<(), String> {
        let answer = self.sentinels[0].ask("SENTINEL FAILOVER main").await;
        if answer.starts_with("+OK") {
            Ok(())
        } else {
            Err(answer)
        }
    }

    async fn agreed_master(&self) -> Option<usize> {
        let mut masters = Vec::new();
        for sentinel in &self.sentinels {
            let named = sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME main").await;
            let ports = self
                .servers
                .iter()
                .map(|server| server.service.port().to_string());
            masters.push(
                ports
                    .into_iter()
                    .position(|port| named.lines().any(|line| line == port))?,
            );
            let usable = sentinel.ask("SENTINEL CKQUORUM main").await;
            let replicas = sentinel.ask("SENTINEL REPLICAS main").await;
            let all = usable.starts_with(&format!("+OK {SENTINELS} usable"));
            if !all || !replicas.lines().any(|line| line == "slave") {
                return None;
            }
        }
        let first = *masters.first()?;
        let state = ask(self.servers[first].service.port(), "INFO replication").await;
        let is_complete = state.contains("role:master") && state.contains(",state=online,");
        (is_complete && masters.iter().all(|master| *master == first)).then_some(first)
    }
}

/// Asks the process at a port, and returns its answer. The answer is empty if the process does not answer.
async fn ask(port: u16, question: &str) -> String {
    let mut answer = Vec::new();
    let asking = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(format!("{question}\r\n").as_bytes()).await?;
        // After the end of the input, the process answers and closes the connection. Sentinels have no
        // command that closes it.
        stream.shutdown().await?;
        stream.read_to_end(&mut answer).await
    };
    if !matches!(timeout(QUESTION, asking).await, Ok(Ok(_))) {
        answer.clear();
    }
    String::from_utf8_lossy(&answer).into_owned()
}
