//! One SMTP session: opening it, and handing over mails (RFC 5321).

use std::error::Error as _;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity::{self, PositiveCompletion, PositiveIntermediate};
use tokio::net::lookup_host;

use super::smtp_url::{Encryption, Server};
use crate::error::{CertificateFault, EnhancedCode, SmtpFailure, Step};
use crate::message::Mail;

/// How long one address of the server may take to accept a connection, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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

impl Session {
    /// Connects, encrypts as the server's URL says, and authenticates. `step` is always the one that is under way, so that
    /// whoever gives up knows what did not come to an end. No timeout but for the connection.
    pub(super) async fn open(server: &Server, count: &Count, step: &mut Step) -> Result<Self, Failed> {
        *step = Step::Resolve;
        let addresses: Vec<_> = lookup_host((server.host.as_str(), server.port))
            .await
            .map_err(|_| (Step::Resolve, SmtpFailure::Unresolved))?
            .collect();
        *step = Step::Connect;
        let immediate = match &server.encryption {
            Encryption::Immediate(tls) => Some(tls.clone()),
            Encryption::None | Encryption::StartTls(_) | Encryption::StartTlsIfOffered(_) => None,
        };
        let is_immediate = immediate.is_some();
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            addresses.as_slice(),
            Some(CONNECT_TIMEOUT),
            &server.hello,
            immediate,
            None,
        )
        .await
        .map_err(|error| connecting(failure(&error), is_immediate))?;
        *step = Step::Tls;
        let in_tls = |error: &Error| (Step::Tls, failure(error));
        match &server.encryption {
            Encryption::StartTls(_) if !connection.can_starttls() => {
                return Err((Step::Tls, SmtpFailure::NoStartTls));
            }
            // Whoever is between could take the offer away and read the password.
            Encryption::StartTlsIfOffered(_)
                if !connection.can_starttls() && server.credentials.is_some() && !server.is_loopback() =>
            {
                return Err((Step::Tls, SmtpFailure::NoStartTls));
            }
            Encryption::StartTls(tls) | Encryption::StartTlsIfOffered(tls) if connection.can_starttls() => {
                connection
                    .starttls(tls.clone(), &server.hello)
                    .await
                    .map_err(|error| in_tls(&error))?;
            }
            _ => {}
        }
        *step = Step::Auth;
        if let Some(credentials) = &server.credentials {
            connection
                .auth(server.mechanisms, credentials)
                .await
                .map_err(|error| (Step::Auth, failure(&error)))?;
        }
        Ok(Self {
            connection,
            _counted: count.one_more(),
        })
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

    /// Hands over one mail; `step` as in [`Session::open`].
    pub(super) async fn hand_over(&mut self, mail: &Mail, step: &mut Step) -> Result<(), Failed> {
        *step = Step::Mail;
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
        self.command(from, PositiveCompletion, *step).await?;
        *step = Step::Rcpt;
        for to in mail.envelope.to() {
            self.command(Rcpt::new(to.clone(), Vec::new()), PositiveCompletion, *step)
                .await?;
        }
        *step = Step::Data;
        self.command(Data, PositiveIntermediate, *step).await?;
        *step = Step::Message;
        self.command(Content(mail), PositiveCompletion, *step).await
    }

    /// Says `command`; a reply that is positive, but not as it is expected to be, is not SMTP.
    async fn command(
        &mut self,
        command: impl fmt::Display,
        expected: Severity,
        step: Step,
    ) -> Result<(), Failed> {
        match self.connection.command(command).await {
            Ok(reply) if reply.code().severity == expected => Ok(()),
            Ok(_) => Err((step, SmtpFailure::Protocol)),
            Err(error) => Err((step, failure(&error))),
        }
    }
}

/// Which step a connection failed at that lettre makes in one go: TCP, TLS if it is immediate, the greetings.
fn connecting(failure: SmtpFailure, immediate: bool) -> Failed {
    let step = match failure {
        SmtpFailure::Timeout
        | SmtpFailure::Connection
        | SmtpFailure::Io(
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied,
        ) => Step::Connect,
        SmtpFailure::Tls | SmtpFailure::Certificate(_) => Step::Tls,
        SmtpFailure::Io(_) if immediate => Step::Tls,
        _ => Step::Hello,
    };
    (step, failure)
}

/// A mail as it follows `DATA`: with its leading dots doubled (RFC 5321 §4.5.2), and a line of one dot at its end.
///
/// Sent as if it were a command, so that it is one write. lettre's own way writes the end by itself, which then waits
/// for the acknowledgement of the rest (Nagle's algorithm) that the other side delays: 40 ms for each mail.
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
        SmtpFailure::Reply {
            code: code.into(),
            enhanced: EnhancedCode::leading(&text),
        }
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

fn of_io(error: &io::Error) -> SmtpFailure {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
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
