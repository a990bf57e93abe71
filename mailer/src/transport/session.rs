//! One SMTP session: opening it, and handing over mails (RFC 5321).

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

/// How long one address of the server may take to accept a connection, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A session that is open. Closed without a word when it is dropped.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    _counted: Counted,
}

/// How many sessions are open.
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

/// A step that failed, and how.
pub(super) type Failed = (Step, SmtpFailure);

/// How far a mail is on its way.
#[derive(Debug)]
pub(super) struct Progress {
    /// The step that is under way, or at which it ended.
    pub(super) step: Step,
    /// What the server said when it refused, if that is to be kept. It may quote an address.
    pub(super) said: Option<String>,
    /// Whether encryption was wanted and not offered.
    pub(super) in_plain: bool,
    keep: bool,
}

impl Progress {
    /// At the beginning.
    pub(super) const fn new() -> Self {
        Self {
            step: Step::Resolve,
            said: None,
            in_plain: false,
            keep: false,
        }
    }

    /// At the beginning, for somebody who may read what the server says.
    pub(super) fn keeping() -> Self {
        Self {
            keep: true,
            ..Self::new()
        }
    }

    /// A failure at the step that is under way.
    fn failed(&mut self, error: &Error) -> Failed {
        if self.keep && error.status().is_some() {
            self.said = error.source().map(ToString::to_string);
        }
        (self.step, failure(error))
    }
}

impl Session {
    /// Connects, encrypts as the server's URL says, and authenticates. No timeout but for the connection.
    pub(super) async fn open(
        server: &Server,
        count: &Count,
        progress: &mut Progress,
    ) -> Result<Self, Failed> {
        match greeted(Self::to(server, false, count, progress)).await {
            // What is said of a certificate of the server's own that claims to be an authority's, as OpenSSL
            // makes it.
            Err((Step::Tls, SmtpFailure::Certificate(CertificateFault::Invalid))) if server.has_pins() => {
                greeted(Self::to(server, true, count, progress)).await
            }
            opened => opened,
        }
    }

    /// With `pinned`, the server's certificate has to be one of those that are given, and need not be signed
    /// by one.
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

    /// Encrypts a connection whose server has been greeted, if that is still to be done, and authenticates.
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
            // Whoever is between could take the offer away and read the password.
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

    /// Opens one to whoever is at the other end of `stream`.
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

    /// Forgets what was begun; whether the server still answers as it should.
    pub(super) async fn reset(&mut self) -> bool {
        self.connection.command(Rset).await.is_ok()
    }

    /// Says goodbye.
    pub(super) async fn quit(mut self) {
        // Whatever it answers, the session ends here.
        drop(self.connection.quit().await);
    }

    /// Says whom a mail is from and to; then the server waits for the message.
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

    /// Hands over the message. If that fails without a reply, nobody knows whether the server has it.
    pub(super) async fn content(&mut self, mail: &Mail, progress: &mut Progress) -> Result<(), Failed> {
        progress.step = Step::Message;
        self.command(Content(mail), PositiveCompletion, progress).await
    }

    /// Says `command`; a reply that is positive, but not as it is expected to be, is not SMTP.
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

/// Opens a session, whatever the server answers to EHLO: lettre (0.11) panics where a line of that answer is
/// nothing but white space. No mail is to blame for it, so it must not count as an attempt.
async fn greeted(opening: impl Future<Output = Result<Session, Failed>>) -> Result<Session, Failed> {
    AssertUnwindSafe(opening)
        .catch_unwind()
        .await
        .unwrap_or(Err((Step::Hello, SmtpFailure::Protocol)))
}

/// The address that a connection to the first of `addresses` comes from. Nothing is sent.
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

/// Connects to the first of `addresses` that takes the connection.
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

/// Which step failed of those that lettre takes in one go if TLS is immediate: TCP, TLS, the greetings.
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

/// A mail as it follows `DATA`: with its leading dots doubled (RFC 5321 §4.5.2), and a line of one dot at its
/// end.
///
/// Sent as if it were a command, so that it is one write. lettre's own way writes the end by itself, which
/// then waits for the acknowledgement of the rest (Nagle's algorithm) that the other side delays: 40 ms for
/// each mail.
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

/// What of lettre's error may be kept: codes and kinds, none of the texts.
fn failure(error: &Error) -> SmtpFailure {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let (code, enhanced) = (u16::from(code), EnhancedCode::leading(&text));
        if (400..500).contains(&code) && is_greylisted(&text) {
            return SmtpFailure::Greylisted { code, enhanced };
        }
        SmtpFailure::Reply { code, enhanced }
    } else if error.is_client() {
        // The one thing that is left to fail before anything is said.
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

/// Whether a server says that it puts a recipient off whom it does not know yet. There is no code for that.
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
