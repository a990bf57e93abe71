//! The listener: bounded in connections, and in the time that a client may take to say what it wants and to take what
//! it gets.

mod stall;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{Api, router};
use stall::Impatient;

/// How long a client may take to send the head of a request, from when it connects or from its last answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after the machine refused a connection, having no more descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Serves `api` on `listener` until `shutdown`, to at most `connections` connections at a time; then takes no more, ends
/// the streams of events, and returns when every request that was accepted has been answered.
///
/// # Errors
///
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    connections: usize,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let feed = api.feed.clone();
    listen(listener, router(api), connections, shutdown, move || feed.close()).await
}

/// Serves `router`, as [`serve`] does; `stopping` is called when no more connections are taken.
pub(crate) async fn listen(
    listener: TcpListener,
    router: Router,
    connections: usize,
    shutdown: CancellationToken,
    stopping: impl FnOnce(),
) -> std::io::Result<()> {
    let free = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    loop {
        let accepted = async {
            let place = Arc::clone(&free)
                .acquire_owned()
                .await
                .map_err(std::io::Error::other)?;
            Ok((place, accept(&listener).await?))
        };
        let (place, stream) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => {
                let accepted: std::io::Result<_> = accepted;
                accepted?
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let stream = TokioIo::new(Impatient::new(stream, shutdown.clone()));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    stopping();
    graceful.shutdown().await;
    Ok(())
}

/// The next connection; a client that went away before it was accepted is no fault of the listener.
async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is one small write; waiting to fill a packet would only delay it.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}
