//! A scripted server for the fuzz targets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::classify::classify;
use super::progress::SendProgress;
use super::session::SmtpSession;
use super::smtp_url::{Encryption, Server, SmtpOptions};
use crate::error::{AttemptError, FailedStep, SmtpFailure, SmtpStep};
use crate::message::Mail;

/// The server's end of a connection: it sends its replies, stores the client's data, and disconnects.
#[derive(Debug)]
struct ScriptedServer {
    replies: Vec<u8>,
    at: usize,
    received: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for ScriptedServer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.replies[self.at..];
        let line = rest.iter().position(|byte| *byte == b'\n');
        let length = line.map_or(rest.len(), |end| end + 1).min(buf.remaining());
        buf.put_slice(&rest[..length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptedServer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncTokioStream for ScriptedServer {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 25)))
    }
}

/// See [`crate::fuzzing::deliver`].
pub(crate) async fn deliver(
    url: &str,
    replies: &[u8],
    mail: &Mail,
    output: &mut Vec<u8>,
) -> Option<Result<(), (SmtpStep, SmtpFailure, AttemptError)>> {
    let server = Server::parse(url, &SmtpOptions::default()).ok()?;
    if !matches!(server.encryption, Encryption::None) {
        return None;
    }
    let received = Arc::default();
    let stream = ScriptedServer {
        replies: replies.to_vec(),
        at: 0,
        received: Arc::clone(&received),
    };
    let sent = send(Box::new(stream), &server, mail).await;
    output.append(&mut received.lock().unwrap_or_else(PoisonError::into_inner));
    Some(sent.map_err(|(step, failure)| (step, failure, classify(step, failure, mail.is_ascii()))))
}

async fn send(stream: Box<dyn AsyncTokioStream>, server: &Server, mail: &Mail) -> Result<(), FailedStep> {
    let progress = &mut SendProgress::new();
    let mut session = SmtpSession::over(stream, server, progress).await?;
    session.send_envelope(mail, progress).await?;
    session.send_message(mail, progress).await
}
