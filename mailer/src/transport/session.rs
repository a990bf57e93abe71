//! An SMTP session (RFC 5321).

use std::fmt;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity::{self, PositiveCompletion, PositiveIntermediate};
use tokio::net::lookup_host;

use super::dot_stuffing::DotStuffed;
use super::progress::SendProgress;
use super::smtp_url::{Encryption, Server};
use super::starttls_stream::StartTlsStream;
use super::tcp::{CONNECT_TIMEOUT, connect, local_address};
use crate::error::{CertificateFault, FailedStep, SmtpFailure, SmtpStep};
use crate::message::Mail;

/// An open session. Dropping it closes the connection without QUIT.
pub(super) struct SmtpSession {
    connection: AsyncSmtpConnection,
    _counted: CountedSession,
}

/// Number of open sessions.
#[derive(Debug, Default, Clone)]
pub(super) struct SessionCount(Arc<AtomicUsize>);

impl SessionCount {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) -> CountedSession {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedSession(self.clone())
    }
}

struct CountedSession(SessionCount);

impl Drop for CountedSession {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SmtpSession {
    /// Connects, encrypts as specified in the server's URL, and authenticates. Only establishing the TCP
    /// connection has a timeout.
    pub(super) async fn open(
        server: &Server,
        count: &SessionCount,
        progress: &mut SendProgress,
    ) -> Result<Self, FailedStep> {
        match without_panic(Self::connect(server, false, count, progress)).await {
            // This error occurs for a self-signed certificate that is marked as a certificate authority.
            // OpenSSL creates such certificates by default.
            Err((SmtpStep::Tls, SmtpFailure::Certificate(CertificateFault::Invalid)))
                if server.has_pins() =>
            {
                without_panic(Self::connect(server, true, count, progress)).await
            }
            opened => opened,
        }
    }

    /// Opens a session. With `pinned`, the server's certificate must be one of the given certificates, and
    /// need not be signed by one of them.
    async fn connect(
        server: &Server,
        pinned: bool,
        count: &SessionCount,
        progress: &mut SendProgress,
    ) -> Result<Self, FailedStep> {
        progress.step = SmtpStep::Resolve;
        let addresses: Vec<_> = lookup_host((server.host.as_str(), server.port))
            .await
            .map_err(|_| (SmtpStep::Resolve, SmtpFailure::Unresolved))?
            .collect();
        let hello = server.hello.client_id(local_address(&addresses).await);
        progress.step = SmtpStep::Connect;
        let connection = if let Encryption::Immediate(tls) = &server.encryption {
            let timeout = Some(CONNECT_TIMEOUT);
            let connection = AsyncSmtpConnection::connect_tokio1(
                addresses.as_slice(),
                timeout,
                &hello,
                Some(tls.parameters(pinned)),
                None,
            )
            .await
            .map_err(|error| {
                let (_, failure) = progress.failed(&error);
                (inferred_step(failure), failure)
            })?;
            tls.check(&connection, pinned)?;
            connection
        } else {
            let stream = connect(&addresses).await?;
            let stream: Box<dyn AsyncTokioStream> = if matches!(server.encryption, Encryption::None) {
                Box::new(stream)
            } else {
                Box::new(StartTlsStream::new(stream))
            };
            progress.step = SmtpStep::Hello;
            AsyncSmtpConnection::connect_with_transport(stream, &hello)
                .await
                .map_err(|error| progress.failed(&error))?
        };
        Self::authenticate(connection, server, &hello, pinned, count, progress).await
    }

    /// Encrypts a greeted connection if necessary, and authenticates.
    async fn authenticate(
        mut connection: AsyncSmtpConnection,
        server: &Server,
        hello: &ClientId,
        pinned: bool,
        count: &SessionCount,
        progress: &mut SendProgress,
    ) -> Result<Self, FailedStep> {
        progress.step = SmtpStep::Tls;
        match &server.encryption {
            Encryption::StartTls(tls) | Encryption::StartTlsIfOffered(tls) if connection.can_starttls() => {
                connection
                    .starttls(tls.parameters(pinned), hello)
                    .await
                    .map_err(|error| progress.failed(&error))?;
                tls.check(&connection, pinned)?;
            }
            Encryption::StartTls(_) => return Err((SmtpStep::Tls, SmtpFailure::NoStartTls)),
            // An attacker on the network could remove the STARTTLS offer and read the password.
            Encryption::StartTlsIfOffered(_) if server.credentials.is_some() && !server.is_loopback() => {
                return Err((SmtpStep::Tls, SmtpFailure::NoStartTls));
            }
            Encryption::StartTlsIfOffered(_) => progress.unencrypted = true,
            Encryption::None | Encryption::Immediate(_) => {}
        }
        progress.step = SmtpStep::Auth;
        if let Some(credentials) = &server.credentials {
            connection
                .auth(server.mechanisms, credentials)
                .await
                .map_err(|error| progress.failed(&error))?;
        }
        Ok(Self {
            connection,
            _counted: count.add(),
        })
    }

    /// Opens a session with the peer at the other end of `stream`.
    #[cfg(feature = "fuzzing")]
    pub(super) async fn over(
        stream: Box<dyn AsyncTokioStream>,
        server: &Server,
        progress: &mut SendProgress,
    ) -> Result<Self, FailedStep> {
        progress.step = SmtpStep::Hello;
        let hello = server.hello.client_id(None);
        let connection = AsyncSmtpConnection::connect_with_transport(stream, &hello)
            .await
            .map_err(|error| progress.failed(&error))?;
        Self::authenticate(
            connection,
            server,
            &hello,
            false,
            &SessionCount::default(),
            progress,
        )
        .await
    }

    /// Resets the mail transaction. Returns whether the server still responds correctly.
    pub(super) async fn reset(&mut self) -> bool {
        self.connection.command(Rset).await.is_ok()
    }

    /// Sends QUIT and closes the session.
    pub(super) async fn quit(mut self) {
        // The session ends regardless of the reply.
        drop(self.connection.quit().await);
    }

    /// Sends the sender and the recipients of the email. The server then expects the message.
    pub(super) async fn send_envelope(
        &mut self,
        mail: &Mail,
        progress: &mut SendProgress,
    ) -> Result<(), FailedStep> {
        progress.step = SmtpStep::Mail;
        let mut parameters = Vec::new();
        if !mail.is_ascii() {
            // A server that offers SMTPUTF8 also offers 8BITMIME (RFC 6531 §3.1).
            if !self
                .connection
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
            {
                return Err((SmtpStep::Rcpt, SmtpFailure::NoSmtpUtf8));
            }
            parameters.push(MailParameter::SmtpUtfEight);
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = MailFrom::new(mail.envelope.from().cloned(), parameters);
        self.command(from, PositiveCompletion, progress).await?;
        progress.step = SmtpStep::Rcpt;
        for to in mail.envelope.to() {
            self.command(Rcpt::new(to.clone(), Vec::new()), PositiveCompletion, progress)
                .await?;
        }
        progress.step = SmtpStep::Data;
        self.command(Data, PositiveIntermediate, progress).await
    }

    /// Sends the message. If this fails without a reply, the outcome is unknown.
    pub(super) async fn send_message(
        &mut self,
        mail: &Mail,
        progress: &mut SendProgress,
    ) -> Result<(), FailedStep> {
        progress.step = SmtpStep::Message;
        self.command(DotStuffed(mail), PositiveCompletion, progress).await
    }

    /// Sends `command`. An unexpected positive reply is a protocol error.
    async fn command(
        &mut self,
        command: impl fmt::Display,
        expected: Severity,
        progress: &mut SendProgress,
    ) -> Result<(), FailedStep> {
        match self.connection.command(command).await {
            Ok(reply) if reply.code().severity == expected => Ok(()),
            Ok(_) => Err((progress.step, SmtpFailure::Protocol)),
            Err(error) => Err(progress.failed(&error)),
        }
    }
}

/// Opens a session and converts a panic into a protocol error: lettre (0.11) panics if a line of the EHLO
/// reply contains only whitespace. No email causes this, so it must not count as an attempt.
async fn without_panic(
    opening: impl Future<Output = Result<SmtpSession, FailedStep>>,
) -> Result<SmtpSession, FailedStep> {
    AssertUnwindSafe(opening)
        .catch_unwind()
        .await
        .unwrap_or(Err((SmtpStep::Hello, SmtpFailure::Protocol)))
}

/// Infers the failed step when lettre connects, negotiates immediate TLS and exchanges the greetings in one
/// call.
const fn inferred_step(failure: SmtpFailure) -> SmtpStep {
    match failure {
        SmtpFailure::Timeout
        | SmtpFailure::Connection
        | SmtpFailure::Io(
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied,
        ) => SmtpStep::Connect,
        SmtpFailure::Tls | SmtpFailure::Certificate(_) | SmtpFailure::Io(_) => SmtpStep::Tls,
        _ => SmtpStep::Hello,
    }
}
