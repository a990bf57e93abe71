//! A database for one test.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection};
use tokio::time::timeout;
use url::Url;

use super::MysqlServer;
use crate::wait::block_on;

/// Maximum time for dropping a database. After this time, the database stays on the server, which harms no
/// test.
const DROP: Duration = Duration::from_secs(10);

/// An empty database for one test, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    /// The server's URL with the name of the database: `mysql://root@127.0.0.1:PORT/NAME`.
    pub url: String,
    /// The name of the database, made of letters, digits and `_`.
    pub name: String,
    /// The database's server.
    pub server: MysqlServer,
}

impl TestDatabase {
    pub(super) async fn create(server: &MysqlServer) -> Self {
        let name = format!("test_{:016x}", fastrand::u64(..));
        let mut connection = MySqlConnection::connect(&server.url)
            .await
            .expect("the server responds");
        let create = format!("CREATE DATABASE {name}");
        connection
            .execute(create.as_str())
            .await
            .expect("a database can be created");
        connection.close().await.expect("the connection closes");
        let mut url = Url::parse(&server.url).expect("the server's URL is valid");
        url.set_path(&name);
        Self {
            url: url.into(),
            name,
            server: server.clone(),
        }
    }
}

impl Drop for TestDatabase {
    /// Drops the database if the server responds and no lock blocks it.
    fn drop(&mut self) {
        let drop_it = async {
            let mut connection = MySqlConnection::connect(&self.server.url).await?;
            // A test's pool may still have an open transaction, and may be waiting for this thread.
            connection.execute("SET SESSION lock_wait_timeout = 1").await?;
            connection
                .execute(format!("DROP DATABASE {}", self.name).as_str())
                .await?;
            connection.close().await
        };
        let _ = block_on(async { timeout(DROP, drop_it).await });
    }
}
