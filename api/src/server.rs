//! Serves the API on a listener.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use web::Listening;
use web::server::listen;

use crate::routes::front;
use crate::state::Api;

/// Serves `api` on `listener` until `shutdown`. Then accepts no more connections, ends the event streams and
/// verifications, and returns when every accepted request has been answered.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    listening: Listening,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let streams = api.clone();
    let close = move || {
        streams.feed.close();
        streams.verifications.close();
    };
    listen(listener, front(api), listening, shutdown, close).await
}
