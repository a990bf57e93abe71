//! An SMTP session (RFC 5321).

use std::error::Error as _;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity::{self, PositiveCompletion, PositiveIntermediate};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::in_turn::{InTurn, OutOfTurn};
use super::smtp_url::{Encryption, Server};
use crate::error::{CertificateFault, EnhancedCode, SmtpFailure, Step};
use crate::message::Mail;

/// Timeout for connecting to one of the server's addresses, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An open session. Dropping it closes the connection without QUIT.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    _counted: Counted,
}

/// Number of open sessions.
#[derive(Debug, Default, Clone)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

struct Counted(Count);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A failed step and its failure.
pub(super) type Failed = (Step, SmtpFailure);

/// Progress of sending an email.
#[derive(Debug)]
pub(super) struct Progress {
    /// The current step, or the step that failed.
    pub(super) step: Step,
    /// Text of the server's negative reply, if kept. It may quote an address.
    pub(super) said: Option<String>,
    /// Whether the session is unencrypted because the server does not offer opportunistic encryption.
    pub(super) in_plain: bool,
    keep: bool,
}

impl Progress {
    /// Creates the initial progress.
    pub(super) const fn new() -> Self {
        Self {
            step: Step::Resolve,
            said: None,
            in_plain: false,
            keep: false,
        }
    }

    /// Creates the initial progress for a caller who may read the server's replies.
    pub(super) fn keeping() -> Self {
        Self {
            keep: true,
            ..Self::new()
        }
    }

    /// Returns a failure at the current step.
    fn failed(&mut self, error: &Error) -> Failed {
        if self.keep && error.status().is_some() {
            self.said = error.source().map(ToString::to_string);
        }
        (self.step, failure(error))
    }
}

impl Session {
    /// Connects, encrypts as specified in the server's URL, and authenticates. Only the connection has a
    /// timeout.
    pub(super) async fn open(
        server: &Server,
        count: &Count,
        progress: &mut Progress,
    ) -> Result<Self, Failed> {
        match greeted(Self::to(server, false, count, progress)).await {
            // This error occurs for a self-signed certificate that is marked as a certificate authority.
            // OpenSSL creates such certificates by default.
            Err((Step::Tls, SmtpFailure::Certificate(CertificateFault::Invalid))) if server.has_pins() => {
                greeted(Self::to(server, true, count, progress)).await
            }
            opened => opened,
        }
    }

    /// Opens a session. With `pinned`, the server's certificate must be one of the given certificates, and
    /// need not be signed by one of them.
    async fn to(
        server: &Server,
        pinned: bool,
        count: &Count,
        progress: &mut Progress,
    ) -> Result<Self, Failed> {
        progress.step = Step::Resolve;
        let addresses: Vec<_> = lookup_host((server.host.as_str(), server.port))
            .await
            .map_err(|_| (Step::Resolve, SmtpFailure::Unresolved))?
            .collect();
        let hello = server.hello.client_id(local_address(&addresses).await);
        progress.step = Step::Connect;
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
                (in_one_go(failure), failure)
            })?;
            tls.check(&connection, pinned)?;
            connection
        } else {
            let stream = connect(&addresses).await?;
            let stream: Box<dyn AsyncTokioStream> = if matches!(server.encryption, Encryption::None) {
                Box::new(stream)
            } else {
                Box::new(InTurn::new(stream))
            };
            progress.step = Step::Hello;
            AsyncSmtpConnection::connect_with_transport(stream, &hello)
                .await
                .map_err(|error| progress.failed(&error))?
        };
        Self::over(connection, server, &hello, pinned, count, progress).await
    }

    /// Encrypts a greeted connection if necessary, and authenticates.
    async fn over(
        mut connection: AsyncSmtpConnection,
        server: &Server,
        hello: &ClientId,
        pinned: bool,
        count: &Count,
        progress: &mut Progress,
    ) -> Result<Self, Failed> {
        progress.step = Step::Tls;
        match &server.encryption {
            Encryption::StartTls(tls) | Encryption::StartTlsIfOffered(tls) if connection.can_starttls() => {
                connection
                    .starttls(tls.parameters(pinned), hello)
                    .await
                    .map_err(|error| progress.failed(&error))?;
                tls.check(&connection, pinned)?;
            }
            Encryption::StartTls(_) => return Err((Step::Tls, SmtpFailure::NoStartTls)),
            // An attacker on the network could remove the STARTTLS offer and read the password.
            Encryption::StartTlsIfOffered(_) if server.credentials.is_some() && !server.is_loopback() => {
                return Err((Step::Tls, SmtpFailure::NoStartTls));
            }
            Encryption::StartTlsIfOffered(_) => progress.in_plain = true,
            Encryption::None | Encryption::Immediate(_) => {}
        }
        progress.step = Step::Auth;
        if let Some(credentials) = &server.credentials {
            connection
                .auth(server.mechanisms, credentials)
                .await
                .map_err(|error| progress.failed(&error))?;
        }
        Ok(Self {
            connection,
            _counted: count.one_more(),
        })
    }

    /// Opens a session with the peer at the other end of `stream`.
    #[cfg(feature = "fuzzing")]
    pub(super) async fn with(
        stream: Box<dyn AsyncTokioStream>,
        server: &Server,
        progress: &mut Progress,
    ) -> Result<Self, Failed> {
        progress.step = Step::Hello;
        let hello = server.hello.client_id(None);
        let connection = AsyncSmtpConnection::connect_with_transport(stream, &hello)
            .await
            .map_err(|error| progress.failed(&error))?;
        Self::over(connection, server, &hello, false, &Count::default(), progress).await
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
    pub(super) async fn announce(&mut self, mail: &Mail, progress: &mut Progress) -> Result<(), Failed> {
        progress.step = Step::Mail;
        let mut parameters = Vec::new();
        if !mail.is_ascii() {
            // A server that offers SMTPUTF8 also offers 8BITMIME (RFC 6531 §3.1).
            if !self
                .connection
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
            {
                return Err((Step::Rcpt, SmtpFailure::NoSmtpUtf8));
            }
            parameters.push(MailParameter::SmtpUtfEight);
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = MailFrom::new(mail.envelope.from().cloned(), parameters);
        self.command(from, PositiveCompletion, progress).await?;
        progress.step = Step::Rcpt;
        for to in mail.envelope.to() {
            self.command(Rcpt::new(to.clone(), Vec::new()), PositiveCompletion, progress)
                .await?;
        }
        progress.step = Step::Data;
        self.command(Data, PositiveIntermediate, progress).await
    }

    /// Sends the message. If this fails without a reply, the outcome is unknown.
    pub(super) async fn content(&mut self, mail: &Mail, progress: &mut Progress) -> Result<(), Failed> {
        progress.step = Step::Message;
        self.command(Content(mail), PositiveCompletion, progress).await
    }

    /// Sends `command`. An unexpected positive reply is a protocol error.
    async fn command(
        &mut self,
        command: impl fmt::Display,
        expected: Severity,
        progress: &mut Progress,
    ) -> Result<(), Failed> {
        match self.connection.command(command).await {
            Ok(reply) if reply.code().severity == expected => Ok(()),
            Ok(_) => Err((progress.step, SmtpFailure::Protocol)),
            Err(error) => Err(progress.failed(&error)),
        }
    }
}

/// Opens a session and converts a panic into a protocol error: lettre (0.11) panics if a line of the EHLO
/// reply contains only whitespace. No email causes this, so it must not count as an attempt.
async fn greeted(opening: impl Future<Output = Result<Session, Failed>>) -> Result<Session, Failed> {
    AssertUnwindSafe(opening)
        .catch_unwind()
        .await
        .unwrap_or(Err((Step::Hello, SmtpFailure::Protocol)))
}

/// Returns the local address of a connection to the first of `addresses`. Sends nothing.
async fn local_address(addresses: &[SocketAddr]) -> Option<IpAddr> {
    let to = addresses.first()?;
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(to).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Connects to the first of `addresses` that accepts the connection.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failed> {
    let mut failure = SmtpFailure::Unresolved;
    for address in addresses {
        failure = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => SmtpFailure::Io(error.kind()),
            Err(_) => SmtpFailure::Timeout,
        };
    }
    Err((Step::Connect, failure))
}

/// Infers the failed step when lettre connects, negotiates immediate TLS and exchanges the greetings in one
/// call.
const fn in_one_go(failure: SmtpFailure) -> Step {
    match failure {
        SmtpFailure::Timeout
        | SmtpFailure::Connection
        | SmtpFailure::Io(
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied,
        ) => Step::Connect,
        SmtpFailure::Tls | SmtpFailure::Certificate(_) | SmtpFailure::Io(_) => Step::Tls,
        _ => Step::Hello,
    }
}

/// An email in the format that follows `DATA`: leading dots are doubled (RFC 5321 §4.5.2), and a line with a
/// single dot ends it.
///
/// It is sent like a command, in a single write. lettre's own method writes the end separately. Nagle's
/// algorithm then holds back the end until the peer's delayed acknowledgment, which costs 40 ms per email.
struct Content<'a>(&'a Mail);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = &self.0.content;
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        for line in content.split("\r\n") {
            let dot = if line.starts_with('.') { "." } else { "" };
            write!(f, "{dot}{line}\r\n")?;
        }
        f.write_str(".\r\n")
    }
}

/// Converts lettre's error. Keeps only its codes and kinds, not its text.
fn failure(error: &Error) -> SmtpFailure {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let (code, enhanced) = (u16::from(code), EnhancedCode::leading(&text));
        if (400..500).contains(&code) && is_greylisted(&text) {
            return SmtpFailure::Greylisted { code, enhanced };
        }
        SmtpFailure::Reply { code, enhanced }
    } else if error.is_client() {
        // At this point, the only possible client error is a missing authentication mechanism.
        SmtpFailure::NoAuth
    } else if error.is_tls() {
        SmtpFailure::Tls
    } else if error.is_response() {
        SmtpFailure::Protocol
    } else if error.is_timeout() {
        SmtpFailure::Timeout
    } else {
        io_error(error).map_or(SmtpFailure::Connection, of_io)
    }
}

/// Whether the reply's text mentions greylisting, which has no reply code of its own.
fn is_greylisted(text: &str) -> bool {
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    let letters = letters.to_ascii_lowercase();
    letters.contains("greylist") || letters.contains("graylist")
}

fn of_io(error: &io::Error) -> SmtpFailure {
    let inner = error.get_ref();
    if inner
        .and_then(|inner| inner.downcast_ref::<OutOfTurn>())
        .is_some()
    {
        return SmtpFailure::OutOfTurn;
    }
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(invalid)) => SmtpFailure::Certificate(fault(invalid)),
        Some(_) => SmtpFailure::Tls,
        None => SmtpFailure::Io(error.kind()),
    }
}

const fn fault(error: &rustls::CertificateError) -> CertificateFault {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer => CertificateFault::Untrusted,
        E::Expired | E::ExpiredContext { .. } => CertificateFault::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateFault::OtherName,
        E::Revoked => CertificateFault::Revoked,
        _ => CertificateFault::Invalid,
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
