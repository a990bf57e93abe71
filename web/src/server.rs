//! The listener. It limits the number of connections, the size of a request's head, and the time that a
//! client takes to send a request's head and to read the response.

mod stall;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use futures::future::{Either, ready};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::pipeline::Pipeline;
use crate::tls::Tls;
use stall::Impatient;

/// Maximum size of a request's head, and maximum read-ahead of a body, in bytes. hyper answers a larger head
/// with status 431. It also rejects more than 100 headers with 431. That default is kept, because any other
/// number would cost an allocation per request.
const LARGEST_HEAD: usize = 32 * 1024;
/// Pause after a connection could not be accepted, for example because no file descriptor is free.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Options of a listener.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Maximum number of connections at a time. Further connections wait to be accepted.
    pub connections: usize,
    /// Maximum time for a client to send the head of a request, measured from the start of the connection,
    /// from the end of the TLS handshake or from the last response. The same limit applies to the handshake.
    /// While fewer than a quarter of the connections are free, the limit for new connections is a quarter of
    /// this time. Idle clients then block connections for a shorter time.
    pub head_timeout: Duration,
    /// TLS settings. `None` to serve plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_timeout: Duration::from_secs(20),
            tls: None,
        }
    }
}

impl Listening {
    /// Time limit for a head while `free` connections are free.
    fn head_timeout(&self, free: usize) -> Duration {
        if free < self.connections / 4 {
            self.head_timeout / 4
        } else {
            self.head_timeout
        }
    }
}

/// Entry point of requests: a router, behind a pipeline that rejects some requests before routing.
#[derive(Debug, Clone)]
pub struct Front {
    router: Router,
    pipeline: Option<Pipeline>,
}

impl Front {
    /// Creates the entry point of a router that is wrapped in `pipeline`.
    #[must_use]
    pub const fn new(router: Router, pipeline: Pipeline) -> Self {
        Self {
            router,
            pipeline: Some(pipeline),
        }
    }

    /// Returns the router, without the rejections before routing.
    pub fn into_router(self) -> Router {
        self.router
    }

    /// Creates the entry point of a router without a pipeline.
    pub(crate) const fn without_pipeline(router: Router) -> Self {
        Self {
            router,
            pipeline: None,
        }
    }

    fn answer(
        &mut self,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        request.extensions_mut().insert(ConnectInfo(peer));
        let pipeline = self.pipeline.as_ref();
        match pipeline.and_then(|pipeline| pipeline.reject_early(&request)) {
            Some(response) => Either::Left(ready(Ok(response))),
            None => Either::Right(self.router.call(request)),
        }
    }
}

/// Serves a router without the pipeline on `listener` until `shutdown`: the limits of the listener apply, but
/// not access control, rate limits and checks of hosts.
///
/// # Errors
///
/// If the listener fails.
pub async fn listen_plainly(
    listener: TcpListener,
    router: Router,
    listening: Listening,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    listen(
        listener,
        Front::without_pipeline(router),
        listening,
        shutdown,
        || {},
    )
    .await
}

/// Serves `front` on `listener` until `shutdown`. Then accepts no more connections, calls `stopping`, and
/// returns when every accepted request has been answered.
///
/// # Errors
///
/// If the listener fails.
pub async fn listen(
    listener: TcpListener,
    front: Front,
    listening: Listening,
    shutdown: CancellationToken,
    stopping: impl FnOnce(),
) -> std::io::Result<()> {
    let free = Arc::new(Semaphore::new(listening.connections));
    let graceful = GracefulShutdown::new();
    let acceptor = listening.tls.as_ref().map(Tls::acceptor);
    loop {
        let accepted = async {
            let place = Arc::clone(&free)
                .acquire_owned()
                .await
                .map_err(std::io::Error::other)?;
            Ok((place, accept(&listener).await?))
        };
        let (place, (stream, peer)) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => {
                let accepted: std::io::Result<_> = accepted;
                accepted?
            }
        };
        let connection = Connection {
            peer,
            front: front.clone(),
            head_timeout: listening.head_timeout(free.available_permits()),
            acceptor: acceptor.clone(),
            shutdown: shutdown.clone(),
            watcher: graceful.watcher(),
        };
        tokio::spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }
    drop(listener);
    stopping();
    graceful.shutdown().await;
    Ok(())
}

/// Accepts the next connection. A client that disconnects before it is accepted does not cause an error.
async fn accept(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A response is one small write. Waiting to fill a packet would only delay it.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return Ok((stream, peer));
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Accepted connection.
struct Connection {
    peer: SocketAddr,
    front: Front,
    head_timeout: Duration,
    acceptor: Option<TlsAcceptor>,
    shutdown: CancellationToken,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let stream = Impatient::new(stream, self.shutdown.clone());
        let Some(acceptor) = self.acceptor.clone() else {
            return self.answer(stream).await;
        };
        let agreeing = tokio::time::timeout(self.head_timeout, acceptor.accept(stream));
        match self.shutdown.run_until_cancelled(agreeing).await {
            Some(Ok(Ok(stream))) => self.answer(stream).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
            Some(Err(_)) => tracing::debug!("a TLS handshake timed out"),
            None => {}
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let Self {
            peer, watcher, front, ..
        } = self;
        let service = service_fn(move |request| front.clone().answer(peer, request));
        let connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
