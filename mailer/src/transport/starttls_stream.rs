//! A connection that rejects unexpected plaintext until TLS begins.
//!
//! An attacker on the network can append plaintext to the server's reply to STARTTLS. That plaintext must not
//! be treated as if it had arrived encrypted (CVE-2011-0411, RFC 3207 §6). lettre reads ahead, and keeps its
//! buffer when TLS begins. This stream therefore gives lettre one line at a time, and fails a write if
//! earlier data is still unread.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that STARTTLS may encrypt.
#[derive(Debug)]
pub(super) struct StartTlsStream {
    stream: TcpStream,
    phase: Phase,
    /// Received data that has not been read yet.
    unread: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Plain,
    /// STARTTLS has been sent; the next write is TLS.
    Upgrading,
    Encrypted,
}

/// Data was received before it was requested, or after the expected reply.
#[derive(Debug, thiserror::Error)]
#[error("the server sent unexpected data")]
pub(super) struct UnexpectedData;

impl StartTlsStream {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            phase: Phase::Plain,
            unread: Vec::new(),
        }
    }
}

impl AsyncRead for StartTlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.phase == Phase::Encrypted {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        if self.unread.is_empty() {
            let mut bytes = [0; 1024];
            let mut received = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut received))?;
            self.unread.extend_from_slice(received.filled());
        }
        let line = self.unread.iter().position(|byte| *byte == b'\n');
        let line = line.map_or(self.unread.len(), |end| end + 1).min(buf.remaining());
        buf.put_slice(&self.unread[..line]);
        self.unread.drain(..line);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StartTlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, UnexpectedData)));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.phase = match self.phase {
            Phase::Plain if buf.starts_with(b"STARTTLS") => Phase::Upgrading,
            Phase::Plain => Phase::Plain,
            Phase::Upgrading | Phase::Encrypted => Phase::Encrypted,
        };
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for StartTlsStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
