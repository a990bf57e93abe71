//! A private Galera cluster for one test.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Flavour, PrivateMysql};
use crate::port::free_port;

/// Possible paths of the library of the package `galera-4`.
const PROVIDERS: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
];
const NODES: usize = 3;
/// Maximum time until a node belongs to the cluster.
const READY: Duration = Duration::from_mins(2);
/// Timeout of one question to a node, which may be suspended.
const QUESTION: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
/// How long a node that is drained accepts no writes.
const DRAINED: Duration = Duration::from_secs(3);

/// Three MariaDB servers that all accept writes.
///
/// A node that does not answer is expelled after about 5 s.
pub struct GaleraCluster {
    nodes: Vec<PrivateMysql>,
    /// The options of each node.
    options: Vec<Vec<String>>,
}

impl GaleraCluster {
    /// Starts the cluster.
    ///
    /// # Panics
    /// If MariaDB, Galera or `mariadb-backup` is not installed, or if a node does not join.
    pub async fn start() -> Self {
        let provider = PROVIDERS.iter().find(|path| Path::new(path).is_file());
        let provider = provider.expect(
            "Galera is not installed: `apt-get install mariadb-server galera-4 mariadb-backup socat`",
        );
        let ports: Vec<_> = (0..NODES).map(|_| free_port()).collect();
        let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let options: Vec<_> = addresses
            .iter()
            .map(|address| {
                vec![
                    "--wsrep-on=ON".to_owned(),
                    format!("--wsrep-provider={provider}"),
                    "--wsrep-cluster-name=test".to_owned(),
                    format!("--wsrep-cluster-address=gcomm://{}", addresses.join(",")),
                    format!("--wsrep-node-address={address}"),
                    format!(
                        "--wsrep-provider-options=gmcast.listen_addr=tcp://{address};ist.recv_addr=127.0.0.1:{}",
                        free_port()
                    ),
                    "--wsrep-sst-method=mariabackup".to_owned(),
                    "--wsrep-sst-auth=root:".to_owned(),
                    format!("--wsrep-sst-receive-address=127.0.0.1:{}", free_port()),
                    "--binlog-format=ROW".to_owned(),
                    "--innodb-autoinc-lock-mode=2".to_owned(),
                ]
            })
            .collect();
        let mut cluster = Self {
            nodes: Vec::new(),
            options,
        };
        for index in 0..NODES {
            let mut options = cluster.options[index].clone();
            if index == 0 {
                options.push("--wsrep-new-cluster".to_owned());
            }
            // One after the other, because a node that joins copies the data of another node.
            cluster
                .nodes
                .push(PrivateMysql::start_with(Flavour::MariaDb, &options).await);
        }
        for index in 0..NODES {
            cluster.until_online(index).await;
        }
        cluster
    }

    /// Returns the ports of the nodes.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(PrivateMysql::port).collect()
    }

    /// Returns the URL of a node, with the user and without a database.
    pub fn url(&self, node: usize) -> &str {
        &self.nodes[node].server().url
    }

    /// Waits until all nodes answer, and returns the index of the node that has committed the most
    /// transactions.
    ///
    /// # Panics
    /// If not all nodes answer within two minutes.
    pub async fn complete_node(&self) -> usize {
        let began = Instant::now();
        loop {
            let mut committed = Vec::new();
            for (index, node) in self.nodes.iter().enumerate() {
                if let Some(status) = Status::of(node).await {
                    committed.push((status.committed, index));
                }
            }
            if let (Some(best), true) = (committed.iter().max(), committed.len() == NODES) {
                return best.1;
            }
            assert!(began.elapsed() < READY, "not all nodes answer");
            sleep(PAUSE).await;
        }
    }

    /// Makes a node read-only for some seconds, as an operator does before maintenance.
    ///
    /// # Errors
    /// The error of the server.
    pub async fn drain(&self, node: usize) -> Result<(), String> {
        let node = &self.nodes[node];
        let drained = node.try_to_run("SET GLOBAL read_only = ON").await;
        sleep(DRAINED).await;
        let restored = node.try_to_run("SET GLOBAL read_only = OFF").await;
        drained.and(restored).map_err(|error| error.to_string())
    }

    /// Kills a node with SIGKILL.
    pub async fn kill(&mut self, node: usize) {
        self.nodes[node].kill().await;
    }

    /// Stops a node with SIGTERM.
    pub async fn terminate(&mut self, node: usize) {
        self.nodes[node].terminate().await;
    }

    /// Sends a signal by name, such as `STOP`, to a node.
    pub fn signal(&self, node: usize, name: &str) {
        self.nodes[node].signal(name);
    }

    /// Starts a node again, and waits until it belongs to the cluster.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn restart(&mut self, node: usize) {
        let mut options = self.options[node].clone();
        // With its position, the node needs only the transactions that it missed. Debian's service does the
        // same.
        options.push("--wsrep-recover".to_owned());
        let answer = self.nodes[node].ask_program(&options).await;
        options.pop();
        if let Some((_, position)) = answer.rsplit_once("Recovered position: ") {
            let position = position.lines().next().unwrap_or_default().trim();
            options.push(format!("--wsrep-start-position={position}"));
        }
        self.nodes[node].reconfigure(&options);
        self.nodes[node].restart().await;
        self.until_online(node).await;
    }

    /// Waits until this node is synchronized, and all nodes belong to the same cluster.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn until_online(&self, node: usize) {
        let began = Instant::now();
        loop {
            let status = Status::of(&self.nodes[node]).await;
            let mut agree = status.as_ref().is_some_and(Status::is_complete);
            for other in &self.nodes {
                let other = Status::of(other).await;
                agree &= other.map(|other| other.configuration)
                    == status.as_ref().map(|own| own.configuration.clone());
            }
            if agree {
                return;
            }
            assert!(began.elapsed() < READY, "node {node}: {status:?}");
            sleep(PAUSE).await;
        }
    }
}

/// The state of a node.
#[derive(Debug)]
struct Status {
    /// Position of the last committed transaction.
    committed: u64,
    /// The number of the current view of the cluster.
    configuration: String,
    size: String,
    state: String,
    component: String,
}

impl Status {
    async fn of(node: &PrivateMysql) -> Option<Self> {
        let ask = "SELECT variable_value FROM information_schema.global_status WHERE variable_name IN \
                   ('wsrep_last_committed', 'wsrep_cluster_conf_id', 'wsrep_cluster_size', \
                   'wsrep_local_state_comment', 'wsrep_cluster_status') ORDER BY variable_name";
        let values = timeout(QUESTION, node.texts(ask)).await.ok()?.ok()?;
        let [configuration, size, status, committed, state] = <[String; 5]>::try_from(values).ok()?;
        Some(Self {
            committed: committed.parse().ok()?,
            configuration,
            size,
            state,
            component: status,
        })
    }

    fn is_complete(&self) -> bool {
        self.size == NODES.to_string() && self.component == "Primary" && self.state == "Synced"
    }
}
