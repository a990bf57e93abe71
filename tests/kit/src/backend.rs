//! Tests on every backend: SQLite, and each available flavor of MySQL.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use crate::guardian::Folder;
use crate::mysql::{MysqlServer, mysql_servers};

/// Creates a test of each contract for each backend: `sqlite::…` and `mysql::…`. The module `backend` of the
/// calling crate must have the functions `on_sqlite` and `on_mysql`, which take a contract.
#[macro_export]
#[expect(
    clippy::crate_in_macro_def,
    reason = "the functions belong to the crate of the tests"
)]
macro_rules! on_every_backend {
    ($($contract:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                crate::backend::on_sqlite(super::$contract).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                crate::backend::on_mysql(super::$contract).await;
            })+
        }
    };
}

/// Runs a test with the URL of an SQLite file that does not exist yet.
///
/// # Panics
/// If the test does. The message begins with the name of the backend.
pub async fn with_sqlite(test: impl AsyncFnOnce(String)) {
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.path().join("log.db").display());
    labelled("SQLite", test(url)).await;
}

/// Runs a test with the URL of an empty database on each available MySQL and MariaDB server.
///
/// # Panics
/// Like [`with_sqlite`]; also if there is no server.
pub async fn with_mysql(test: impl AsyncFn(String)) {
    for server in mysql_servers() {
        with_server(server, &test).await;
    }
}

/// Runs a test with the URL of an empty database on one server.
///
/// # Panics
/// Like [`with_sqlite`].
pub async fn with_server(server: &MysqlServer, test: impl AsyncFnOnce(String)) {
    let database = server.create_database().await;
    labelled(server.flavour.name(), test(database.url.clone())).await;
}

async fn labelled(name: &str, test: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(test).catch_unwind().await {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        panic!("on {name}: {}", message.unwrap_or("no message"));
    }
}
