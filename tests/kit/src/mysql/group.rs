//! A private MySQL Group Replication with a single primary for one test.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Flavour, PrivateMysql};
use crate::port::free_port;

/// The name of the group, which must be a UUID.
const NAME: &str = "7b0ad1c8-58f3-4e9a-9a36-90b7b5e6f0a1";
/// Maximum time until a member is online, and until there is a primary.
const READY: Duration = Duration::from_mins(2);
/// Timeout of one question to a member, which may be suspended.
const QUESTION: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

/// Creates the user with which a member copies the log of another member.
const COPIER: &str = "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF; SET SQL_LOG_BIN = 0; \
     CREATE USER copier@'%' IDENTIFIED BY 'copier'; \
     GRANT REPLICATION SLAVE, BACKUP_ADMIN, GROUP_REPLICATION_STREAM, CONNECTION_ADMIN ON *.* TO copier@'%'; \
     SET SQL_LOG_BIN = 1; \
     CHANGE REPLICATION SOURCE TO SOURCE_USER = 'copier', SOURCE_PASSWORD = 'copier' FOR CHANNEL 'group_replication_recovery'";
const FIRST: &str = "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION; \
     SET GLOBAL group_replication_bootstrap_group = OFF";
const OTHER: &str = "RESET BINARY LOGS AND GTIDS; START GROUP_REPLICATION";

/// Three servers that elect a primary. The others accept no writes.
///
/// A member that does not answer is expelled after about 5 s.
pub struct MysqlGroup {
    members: Vec<PrivateMysql>,
}

impl MysqlGroup {
    /// Starts the group.
    ///
    /// # Panics
    /// If MySQL or its plugin for Group Replication is not installed, or if a member does not join.
    pub async fn start() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let seeds = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
        let start = |index: usize| {
            let options = [
                format!("--server-id={}", index + 1),
                "--performance-schema=ON".to_owned(),
                "--innodb-buffer-pool-size=64M".to_owned(),
                "--report-host=127.0.0.1".to_owned(),
                "--gtid-mode=ON".to_owned(),
                "--enforce-gtid-consistency=ON".to_owned(),
                "--plugin-load-add=group_replication.so".to_owned(),
                format!("--group-replication-group-name={NAME}"),
                "--group-replication-start-on-boot=OFF".to_owned(),
                // A member that starts again must not accept writes before it has joined.
                "--super-read-only=ON".to_owned(),
                format!("--group-replication-local-address=127.0.0.1:{}", ports[index]),
                format!("--group-replication-group-seeds={seeds}"),
                "--group-replication-ip-allowlist=127.0.0.1".to_owned(),
                "--group-replication-recovery-get-public-key=ON".to_owned(),
                "--group-replication-member-expel-timeout=0".to_owned(),
                "--group-replication-unreachable-majority-timeout=5".to_owned(),
            ];
            async move { PrivateMysql::start_with(Flavour::MySql, &options).await }
        };
        let (first, second, third) = tokio::join!(start(0), start(1), start(2));
        let group = Self {
            members: vec![first, second, third],
        };
        for (index, member) in group.members.iter().enumerate() {
            member.run(COPIER).await;
            // Returns when the member has joined the group.
            member.run(if index == 0 { FIRST } else { OTHER }).await;
        }
        for index in 0..group.members.len() {
            group.until_online(index).await;
        }
        group
    }

    /// Returns the ports of the members.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(PrivateMysql::port).collect()
    }

    /// Returns the URL of a member, with the user and without a database.
    pub fn url(&self, member: usize) -> &str {
        &self.members[member].server().url
    }

    /// Returns the index of the primary. Waits until there is one that accepts writes.
    ///
    /// # Panics
    /// If there is none for two minutes.
    pub async fn primary(&self) -> usize {
        let began = Instant::now();
        loop {
            for (index, member) in self.members.iter().enumerate() {
                let asked = timeout(QUESTION, member.texts("SELECT CAST(@@super_read_only AS CHAR)")).await;
                if matches!(asked, Ok(Ok(read_only)) if read_only == ["0"]) {
                    return index;
                }
            }
            assert!(began.elapsed() < READY, "the group has no primary");
            sleep(PAUSE).await;
        }
    }

    /// Makes a member the primary.
    ///
    /// # Errors
    /// The error of the server, for example if a transaction takes too long.
    pub async fn switch_to(&self, member: usize) -> Result<(), String> {
        let id = self.members[member].texts("SELECT @@server_uuid").await;
        let id = id.map_err(|error| error.to_string())?.concat();
        let switch = format!("SELECT group_replication_set_as_primary('{id}')");
        let switched = self.members[member].texts(&switch).await;
        switched.map(drop).map_err(|error| error.to_string())
    }

    /// Kills a member with SIGKILL.
    pub async fn kill(&mut self, member: usize) {
        self.members[member].kill().await;
    }

    /// Stops a member with SIGTERM.
    pub async fn terminate(&mut self, member: usize) {
        self.members[member].terminate().await;
    }

    /// Sends a signal by name, such as `STOP`, to a member.
    pub fn signal(&self, member: usize, name: &str) {
        self.members[member].signal(name);
    }

    /// Starts a member again, and waits until it has joined the group.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn restart(&mut self, member: usize) {
        self.members[member].restart().await;
        self.until_online(member).await;
    }

    /// Waits until a member belongs to the group. A member that the group has expelled joins again.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn until_online(&self, member: usize) {
        let (server, began) = (&self.members[member], Instant::now());
        let id = server
            .texts("SELECT @@server_uuid")
            .await
            .unwrap_or_default()
            .concat();
        // Without the conversion, the collation makes the driver read bytes.
        let ask = "SELECT CONVERT(member_state USING utf8mb4) COLLATE utf8mb4_general_ci \
                   FROM performance_schema.replication_group_members WHERE member_id IN (@@server_uuid, '')";
        loop {
            let state = server.texts(ask).await.map(|state| state.concat());
            match state.as_deref().unwrap_or_default() {
                // A member that was suspended may not know yet that it was expelled.
                "ONLINE" if self.is_known_to_others(member, &id).await => return,
                "ONLINE" | "RECOVERING" => {}
                // The group may still know the process that was killed, so starting can fail for a while.
                "ERROR" => drop(
                    server
                        .try_to_run("STOP GROUP_REPLICATION; START GROUP_REPLICATION")
                        .await,
                ),
                _ => drop(server.try_to_run("START GROUP_REPLICATION").await),
            }
            assert!(began.elapsed() < READY, "member {member} is {state:?}");
            sleep(PAUSE).await;
        }
    }

    /// Whether another member says that the member with this id is online.
    async fn is_known_to_others(&self, member: usize, id: &str) -> bool {
        let ask = format!(
            "SELECT CONVERT(member_id USING utf8mb4) COLLATE utf8mb4_general_ci \
             FROM performance_schema.replication_group_members \
             WHERE member_id = '{id}' AND member_state = 'ONLINE' \
             AND (SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE') > 1"
        );
        for (index, other) in self.members.iter().enumerate() {
            if index != member
                && matches!(timeout(QUESTION, other.texts(&ask)).await, Ok(Ok(ids)) if ids.len() == 1)
            {
                return true;
            }
        }
        false
    }
}
