//! Reads by id after a switch of the database server that leaves the connections open.

use projector::reads::{Found, PatientReads};
use testkit::{PrivateMysql, Proxy, installed_flavours};
use uuid::Uuid;

use crate::backend::Backend;

fn port(url: &str) -> u16 {
    let (_, place) = url.rsplit_once('@').unwrap();
    let (_, port) = place.split('/').next().unwrap().split_once(':').unwrap();
    port.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_by_id_never_comes_from_the_old_server() {
    for flavour in installed_flavours() {
        let (old, new) = tokio::join!(PrivateMysql::start(flavour), PrivateMysql::start(flavour));
        let mut urls = Vec::new();
        for server in [&old, &new] {
            server.run("CREATE DATABASE clinic CHARACTER SET utf8mb4").await;
            urls.push(server.ordinary_user("clinic").await);
        }
        let proxy = Proxy::start(port(&urls[0])).await;
        let through = urls[0].replace(&format!(":{}/", port(&urls[0])), &format!(":{}/", proxy.port()));
        let (ours, others) = (Backend::new(&through).await, Backend::new(&urls[1]).await);
        let reads = PatientReads::start(ours.log());
        let (early, late) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for backend in [&ours, &others] {
            backend.register(&early.to_string()).await;
        }
        // Every worker has a connection to the old server.
        for _ in 0..10 {
            assert!(
                matches!(reads.by_id(early).await, Ok(Found::Active(..))),
                "{flavour}"
            );
            assert_eq!(reads.by_id(late).await.unwrap(), Found::Nothing, "{flavour}");
        }

        old.run("SET GLOBAL read_only = 1").await;
        proxy.redirect(port(&urls[1]));
        others.register(&late.to_string()).await;
        for _ in 0..10 {
            let read = reads.by_id(late).await;
            assert!(matches!(read, Ok(Found::Active(..))), "{flavour}: {read:?}");
        }
        reads.shutdown().await;
        for backend in [ours, others] {
            backend.log().database().close().await;
        }
    }
}
