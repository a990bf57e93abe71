//! Redis servers.

mod sentinel;

use std::sync::OnceLock;

use crate::certificates::Certificates;
use crate::guardian::Folder;
use crate::port::free_port;
use crate::service::{Probe, Service};
use crate::{installed, wait};

pub use sentinel::{RedisGroup, RedisSentinel};

/// A private Redis server without persistence. It starts in about 20 ms.
pub struct RedisServer {
    url: String,
    service: Service,
    _folder: Folder,
}

impl RedisServer {
    /// Starts `redis-server`.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts a server that requires this password.
    pub async fn start_with_password(password: &str) -> Self {
        Self::start_with(Some(password)).await
    }

    /// Starts a replica of another server.
    pub async fn start_replica_of(master: &Self) -> Self {
        let port = master.service.port().to_string();
        Self::start_with_settings(None, &format!("replicaof 127.0.0.1 {port}\n")).await
    }

    /// Starts a server with a certificate. Its URL is `rediss://127.0.0.1:PORT`.
    pub async fn start_with_tls(certificates: &Certificates) -> Self {
        let port = free_port();
        let settings = format!(
            "tls-port {port}\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n",
            certificates.certificate().display(),
            certificates.key().display(),
            certificates.authority().display()
        );
        Self {
            url: format!("rediss://127.0.0.1:{port}"),
            ..Self::start_with_settings(None, &settings).await
        }
    }

    async fn start_with(password: Option<&str>) -> Self {
        Self::start_with_settings(password, "").await
    }

    async fn start_with_settings(password: Option<&str>, text: &str) -> Self {
        let program = installed::find(&["redis-server"], |_| true)
            .expect("redis-server is not installed: `apt-get install redis-server`");
        let folder = Folder::new();
        let port = free_port();
        let probe = Probe::Answers(b"PING\r\n", |answer| {
            answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH")
        });
        // When Sentinel changes the role of the server, the server writes the new role into this file.
        let settings = folder.path().join("redis.conf");
        std::fs::write(&settings, text).expect("the folder can be written to");
        let log = folder.path().join("log");
        let service = Service::start("redis-server", &program, (port, probe), log, |command| {
            command.arg(&settings);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            command
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path());
            if let Some(password) = password {
                command.args(["--requirepass", password]);
            }
        });
        let user = password
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        Self {
            url: format!("redis://{user}127.0.0.1:{port}"),
            service: service.await,
            _folder: folder,
        }
    }

    /// Returns the URL, `redis://127.0.0.1:PORT`, with the password if the server requires a password, or
    /// `rediss://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
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

    /// Kills the server if it runs, starts it again on the same port, empty, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.service.restart().await;
    }
}

/// Returns the URL of the Redis server that the tests share: the server in `TEST_REDIS_URL`, or otherwise one
/// server per process.
///
/// Other tests publish on this server too, and pub/sub ignores numbered databases. A test that counts
/// messages needs its own [`RedisServer`].
pub fn redis_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    URL.get_or_init(|| match std::env::var("TEST_REDIS_URL") {
        Ok(url) if !url.is_empty() => url,
        _ => SERVER
            .get_or_init(|| wait::block_on(RedisServer::start()))
            .url()
            .to_owned(),
    })
}
