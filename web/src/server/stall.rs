//! Timeout for clients that stop reading their response.
//!
//! A streamed response is produced only as fast as its client reads. Without a timeout, a client that reads
//! nothing would keep its connection and the data read for it forever. Neither hyper nor tokio limits the
//! time of a write.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Maximum time that a client may read nothing while data is waiting for it.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same maximum during a shutdown.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Connection that fails when its client has read nothing for too long.
pub(super) struct Impatient<C> {
    connection: C,
    stopping: CancellationToken,
    /// Timer that completes when a write has been pending for too long. `None` unless a write is pending.
    patience: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<C> Impatient<C> {
    pub(super) const fn new(connection: C, stopping: CancellationToken) -> Self {
        Self {
            connection,
            stopping,
            patience: None,
        }
    }

    /// Returns the result of a write. If the write is pending, runs the timer, and fails once it completes.
    fn wait_with<T>(&mut self, context: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self.patience.get_or_insert_with(|| {
            let stopping = self.stopping.clone();
            Box::pin(async move {
                let stopped = stopping.run_until_cancelled(tokio::time::sleep(PATIENCE)).await;
                if stopped.is_none() {
                    tokio::time::sleep(LAST_PATIENCE).await;
                }
            })
        });
        patience
            .as_mut()
            .poll(context)
            .map(|()| Err(Error::new(ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Impatient<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.wait_with(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(context, parts);
        self.wait_with(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Impatient<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (connection, _client) = duplex(16);
        let mut connection = Impatient::new(connection, CancellationToken::new());
        let started = Instant::now();
        let error = connection.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_waited_for() {
        let (connection, mut client) = duplex(16);
        let mut connection = Impatient::new(connection, CancellationToken::new());
        let writing = tokio::spawn(async move { connection.write_all(&[0; 160]).await });
        for _ in 0..10 {
            sleep(PATIENCE / 2).await;
            client.read_exact(&mut [0; 16]).await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_stop_it_is_given_up_soon() {
        let (connection, _client) = duplex(16);
        let stopping = CancellationToken::new();
        let mut connection = Impatient::new(connection, stopping.clone());
        let started = Instant::now();
        let writing = tokio::spawn(async move { connection.write_all(&[0; 17]).await });
        sleep(Duration::from_secs(10)).await;
        stopping.cancel();
        writing.await.unwrap().unwrap_err();
        assert_eq!(started.elapsed().as_secs(), 10 + LAST_PATIENCE.as_secs());
    }
}
