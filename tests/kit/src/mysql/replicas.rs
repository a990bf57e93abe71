//! A private MySQL primary with semi-synchronous replicas for one test.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Flavour, PrivateMysql};

const SERVERS: usize = 3;
/// Maximum time until a server has the transactions that it needs.
const READY: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Three servers, one of which accepts writes. A write is acknowledged when it is in the log of a replica.
///
/// This type does what the tool of an operator does: it promotes a replica, and rebuilds a server that has
/// transactions that were never acknowledged.
pub struct MysqlReplicas {
    servers: Vec<PrivateMysql>,
    primary: usize,
}

impl MysqlReplicas {
    /// Starts the servers.
    ///
    /// # Panics
    /// If MySQL or its plugins for semi-synchronous replication and for clones are not installed.
    pub async fn start() -> Self {
        let start = |index: usize| {
            let options = [
                format!("--server-id={}", index + 1),
                "--performance-schema=ON".to_owned(),
                "--innodb-buffer-pool-size=64M".to_owned(),
                "--gtid-mode=ON".to_owned(),
                "--enforce-gtid-consistency=ON".to_owned(),
                "--plugin-load-add=semisync_source.so".to_owned(),
                "--plugin-load-add=semisync_replica.so".to_owned(),
                "--plugin-load-add=mysql_clone.so".to_owned(),
                "--rpl-semi-sync-replica-enabled=ON".to_owned(),
                "--rpl-semi-sync-source-wait-point=AFTER_SYNC".to_owned(),
                // The primary never falls back to asynchronous replication.
                "--rpl-semi-sync-source-timeout=4294967295".to_owned(),
                "--replica-net-timeout=5".to_owned(),
                "--super-read-only=ON".to_owned(),
            ];
            async move { PrivateMysql::start_with(Flavour::MySql, &options).await }
        };
        let (first, second, third) = tokio::join!(start(0), start(1), start(2));
        let mut replicas = Self {
            servers: vec![first, second, third],
            primary: 0,
        };
        for server in &replicas.servers {
            server.run("RESET BINARY LOGS AND GTIDS").await;
        }
        replicas.promote(0).await;
        for replica in 1..SERVERS {
            replicas.until_online(replica).await;
        }
        replicas
    }

    /// Returns the ports of the servers.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(PrivateMysql::port).collect()
    }

    /// Returns the URL of a server, with the user and without a database.
    pub fn url(&self, server: usize) -> &str {
        &self.servers[server].server().url
    }

    /// Returns the index of the primary.
    pub const fn primary(&self) -> usize {
        self.primary
    }

    /// Makes a replica the primary, while all servers run.
    ///
    /// # Panics
    /// If a server rejects a statement.
    pub async fn switch_to(&mut self, server: usize) {
        let old = self.primary;
        self.servers[old].run("SET GLOBAL super_read_only = ON").await;
        let all = self.executed(old).await;
        self.until_executed(server, &all).await;
        self.promote(server).await;
    }

    /// Makes the replica with the most transactions the primary, after the primary was killed.
    ///
    /// # Panics
    /// If a server rejects a statement.
    pub async fn fail_over(&mut self) {
        let mut best: Option<(usize, String)> = None;
        for index in (0..SERVERS).filter(|index| *index != self.primary) {
            let received = self.received(index).await;
            if let Some((_, most)) = &best
                && self.contains(index, most, &received).await
            {
                continue;
            }
            best = Some((index, received));
        }
        let (index, received) = best.expect("there are replicas");
        self.until_executed(index, &received).await;
        self.promote(index).await;
    }

    /// Kills a server with SIGKILL.
    pub async fn kill(&mut self, server: usize) {
        self.servers[server].kill().await;
    }

    /// Stops a server with SIGTERM.
    pub async fn terminate(&mut self, server: usize) {
        self.servers[server].terminate().await;
    }

    /// Sends a signal by name, such as `STOP`, to a server.
    pub fn signal(&self, server: usize, name: &str) {
        self.servers[server].signal(name);
    }

    /// Starts a server again as a replica, and waits until it has what the primary has.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn restart(&mut self, server: usize) {
        self.servers[server].restart().await;
        let (own, all) = (self.executed(server).await, self.executed(self.primary).await);
        if !self.contains(self.primary, &all, &own).await {
            self.rebuild(server).await;
        }
        self.follow(server).await;
        self.until_online(server).await;
    }

    /// Waits until a replica has what the primary has now.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn until_online(&self, server: usize) {
        let all = self.executed(self.primary).await;
        self.until_executed(server, &all).await;
    }

    /// Makes a server the primary, and the other servers that run its replicas.
    async fn promote(&mut self, server: usize) {
        let promote =
            "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF";
        self.servers[server].run(promote).await;
        self.primary = server;
        for other in (0..SERVERS).filter(|other| *other != server) {
            if self.servers[other].try_to_run("SELECT 1").await.is_ok() {
                self.follow(other).await;
            }
        }
    }

    /// Makes a server a replica of the primary. A replica must not wait for replicas of its own.
    async fn follow(&self, server: usize) {
        let port = self.servers[self.primary].port();
        let follow = format!(
            "STOP REPLICA; SET GLOBAL rpl_semi_sync_source_enabled = OFF; CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
             SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, \
             SOURCE_RETRY_COUNT = 1000; START REPLICA"
        );
        self.servers[server].run(&follow).await;
    }

    /// Replaces the data of a server by a copy of the data of the primary.
    async fn rebuild(&mut self, server: usize) {
        let port = self.servers[self.primary].port();
        let clone = format!(
            "STOP REPLICA; SET GLOBAL super_read_only = OFF; SET GLOBAL clone_valid_donor_list = '127.0.0.1:{port}'; \
             CLONE INSTANCE FROM 'root'@'127.0.0.1':{port} IDENTIFIED BY ''"
        );
        // `read_only` stays on, so the service writes nothing to this server. After the copy, the server
        // exits instead of restarting, because it does not run under a supervisor.
        let copied = self.servers[server].try_to_run(&clone).await;
        self.servers[server].restart().await;
        let (own, all) = (self.executed(server).await, self.executed(self.primary).await);
        assert!(
            self.contains(self.primary, &all, &own).await,
            "server {server} was not rebuilt: {copied:?}"
        );
    }

    /// Returns the transactions that a server has committed.
    async fn executed(&self, server: usize) -> String {
        self.one(server, "SELECT @@GLOBAL.gtid_executed").await
    }

    /// Returns the transactions that a replica has committed or received.
    async fn received(&self, server: usize) -> String {
        let ask = "SELECT CONCAT(@@GLOBAL.gtid_executed, ',', \
                   COALESCE((SELECT MAX(received_transaction_set) FROM performance_schema.replication_connection_status), ''))";
        self.one(server, ask).await
    }

    async fn one(&self, server: usize, ask: &str) -> String {
        let answer = self.servers[server].texts(ask).await;
        answer.unwrap_or_else(|error| panic!("{ask}: {error}")).concat()
    }

    /// Whether the transactions in `all` contain the transactions in `part`, as computed by `server`, which
    /// must run.
    async fn contains(&self, server: usize, all: &str, part: &str) -> bool {
        let ask = format!("SELECT CAST(GTID_SUBSET('{part}', '{all}') AS CHAR)");
        self.one(server, &ask).await == "1"
    }

    async fn until_executed(&self, server: usize, wanted: &str) {
        let began = Instant::now();
        loop {
            let executed = self.executed(server).await;
            if self.contains(server, &executed, wanted).await {
                return;
            }
            if began.elapsed() > READY {
                let states = "SELECT CONCAT_WS(' ', service_state, last_error_message) \
                     FROM performance_schema.replication_connection_status \
                     UNION ALL SELECT CONCAT_WS(' ', service_state, last_error_message) \
                     FROM performance_schema.replication_applier_status_by_worker";
                let states = self.servers[server].texts(states).await;
                panic!("server {server} has {executed}, and lacks a part of {wanted}: {states:?}");
            }
            sleep(PAUSE).await;
        }
    }
}
