//! A database of one test.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection};
use tokio::time::timeout;
use url::Url;

use super::MysqlServer;
use crate::wait::block_on;

/// How long dropping one may take, which is only a courtesy to a server that lives on.
const DROP: Duration = Duration::from_secs(10);

/// An empty database of one test, dropped when this value is.
#[derive(Debug)]
pub struct TestDatabase {
    /// The server's URL with the database's name: `mysql://root@127.0.0.1:PORT/NAME`.
    pub url: String,
    /// The database's name, of letters, digits and `_`.
    pub name: String,
    /// The server it is on.
    pub server: MysqlServer,
}

impl TestDatabase {
    pub(super) async fn create(server: &MysqlServer) -> Self {
        let name = format!("test_{:016x}", fastrand::u64(..));
        let mut connection = MySqlConnection::connect(&server.url)
            .await
            .expect("the server answers");
        let create = format!("CREATE DATABASE {name}");
        connection
            .execute(create.as_str())
            .await
            .expect("a database can be created");
        connection.close().await.expect("the connection closes");
        let mut url = Url::parse(&server.url).expect("the server's URL is one");
        url.set_path(&name);
        Self {
            url: url.into(),
            name,
            server: server.clone(),
        }
    }
}

impl Drop for TestDatabase {
    /// Drops the database, if the server answers and nobody holds a lock on it.
    fn drop(&mut self) {
        let drop_it = async {
            let mut connection = MySqlConnection::connect(&self.server.url).await?;
            // A test's pool may still have a transaction open, and may wait for this very thread.
            connection.execute("SET SESSION lock_wait_timeout = 1").await?;
            connection
                .execute(format!("DROP DATABASE {}", self.name).as_str())
                .await?;
            connection.close().await
        };
        let _ = block_on(async { timeout(DROP, drop_it).await });
    }
}
