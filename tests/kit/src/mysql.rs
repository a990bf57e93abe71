//! MySQL and MariaDB servers, and databases on them.

mod client;
mod database;
mod flavour;
mod galera;
mod group;
mod private;
mod replicas;

use std::panic::resume_unwind;
use std::sync::OnceLock;

use sqlx::{Connection, MySqlConnection};

use crate::wait::block_on;

pub use client::MysqlClient;
pub use database::TestDatabase;
pub use flavour::{Flavour, installed_flavours};
pub use galera::GaleraCluster;
pub use group::MysqlGroup;
pub use private::PrivateMysql;
pub use replicas::MysqlReplicas;

/// A running server.
#[derive(Clone, Debug)]
pub struct MysqlServer {
    /// The flavor of the server.
    pub flavour: Flavour,
    /// The server's URL, with the user and without a database: `mysql://root@127.0.0.1:PORT`.
    pub url: String,
}

impl MysqlServer {
    /// Connects to the server at a URL and determines its flavor.
    async fn at(url: &str) -> Self {
        let version: Result<String, sqlx::Error> = async {
            let mut connection = MySqlConnection::connect(url).await?;
            let version = sqlx::query_scalar("SELECT VERSION()")
                .fetch_one(&mut connection)
                .await?;
            connection.close().await?;
            Ok(version)
        }
        .await;
        let version = version.unwrap_or_else(|error| panic!("a server in TEST_MYSQL_URL: {error}"));
        Self {
            flavour: Flavour::of(&version),
            url: url.to_owned(),
        }
    }

    /// Creates an empty database with a random name and the server's default character set.
    pub async fn create_database(&self) -> TestDatabase {
        TestDatabase::create(self).await
    }
}

/// Returns the servers that the tests share, at least one: the servers in `TEST_MYSQL_URL`, or otherwise one
/// server of each installed flavor, started once per process.
///
/// # Panics
/// If there is no server. The message names the variable to set or the package to install.
pub fn mysql_servers() -> &'static [MysqlServer] {
    static SERVERS: OnceLock<Vec<MysqlServer>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let urls = std::env::var("TEST_MYSQL_URL").unwrap_or_default();
        let given: Vec<_> = urls
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .collect();
        if given.is_empty() {
            own_servers().iter().map(|own| own.server().clone()).collect()
        } else {
            given
                .into_iter()
                .map(|url| block_on(MysqlServer::at(url)))
                .collect()
        }
    })
}

/// Starts one server of each installed flavor concurrently.
fn own_servers() -> &'static [PrivateMysql] {
    static OWN: OnceLock<Vec<PrivateMysql>> = OnceLock::new();
    OWN.get_or_init(|| {
        let flavours = installed_flavours();
        std::thread::scope(|scope| {
            let start = |flavour| scope.spawn(move || block_on(PrivateMysql::start(flavour)));
            let starts: Vec<_> = flavours.into_iter().map(start).collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    })
}
