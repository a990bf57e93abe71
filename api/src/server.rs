//! The listener.

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Api, router};

/// Serves `api` on `listener` until `shutdown`; then takes no more connections, and returns when every request that was
/// accepted has been answered.
///
/// # Errors
///
/// If the listener breaks.
pub async fn serve(listener: TcpListener, api: Api, shutdown: CancellationToken) -> std::io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // An answer is one small write; waiting to fill a packet would only delay it.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    axum::serve(listener, router(api))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}
