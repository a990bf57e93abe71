//! A scripted server for the fuzz targets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::classify::classify;
use super::session::{Failed, Progress, Session};
use super::smtp::SmtpOptions;
use super::smtp_url::{Encryption, Server};
use crate::error::{AttemptError, SmtpFailure, Step};
use crate::message::Mail;

/// The server's end of a connection: it sends its replies, stores the client's data, and disconnects.
#[derive(Debug)]
struct Script {
    replies: Vec<u8>,
    at: usize,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
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

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncTokioStream for Script {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 25)))
    }
}

/// See [`crate::fuzzing::deliver`].
pub(crate) async fn deliver(
    url: &str,
    replies: &[u8],
    mail: &Mail,
    said: &mut Vec<u8>,
) -> Option<Result<(), (Step, SmtpFailure, AttemptError)>> {
    let server = Server::parse(url, &SmtpOptions::default()).ok()?;
    if !matches!(server.encryption, Encryption::None) {
        return None;
    }
    let heard = Arc::default();
    let stream = Script {
        replies: replies.to_vec(),
        at: 0,
        heard: Arc::clone(&heard),
    };
    let sent = hand_over(Box::new(stream), &server, mail).await;
    said.append(&mut heard.lock().unwrap_or_else(PoisonError::into_inner));
    Some(sent.map_err(|(step, failure)| (step, failure, classify(step, failure, mail.is_ascii()))))
}

async fn hand_over(stream: Box<dyn AsyncTokioStream>, server: &Server, mail: &Mail) -> Result<(), Failed> {
    let progress = &mut Progress::new();
    let mut session = Session::with(stream, server, progress).await?;
    session.announce(mail, progress).await?;
    session.content(mail, progress).await
}
