//! One SMTP session: opening it, and handing over mails (RFC 5321).

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity::{self, PositiveCompletion, PositiveIntermediate};
use tokio::net::lookup_host;

use super::smtp_url::{Encryption, Server};
use crate::error::{EnhancedCode, SmtpFailure};
use crate::message::Mail;

/// How long one address of the server may take to accept a connection, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A session that is open. Closed without a word when it is dropped.
pub(super) struct Session(AsyncSmtpConnection);

impl Session {
    /// Connects, encrypts as the server's URL says, and authenticates. No timeout but for the connection.
    pub(super) async fn open(server: &Server) -> Result<Self, SmtpFailure> {
        let addresses: Vec<_> = lookup_host((server.host.as_str(), server.port))
            .await
            .map_err(|_| SmtpFailure::Unresolved)?
            .collect();
        let encrypted = async {
            let immediate = match &server.encryption {
                Encryption::Immediate(tls) => Some(tls.clone()),
                Encryption::None | Encryption::StartTls(_) | Encryption::StartTlsIfOffered(_) => None,
            };
            let mut connection = AsyncSmtpConnection::connect_tokio1(
                addresses.as_slice(),
                Some(CONNECT_TIMEOUT),
                &server.hello,
                immediate,
                None,
            )
            .await?;
            match &server.encryption {
                Encryption::StartTls(tls) => connection.starttls(tls.clone(), &server.hello).await?,
                Encryption::StartTlsIfOffered(tls) if connection.can_starttls() => {
                    connection.starttls(tls.clone(), &server.hello).await?;
                }
                Encryption::None | Encryption::Immediate(_) | Encryption::StartTlsIfOffered(_) => {}
            }
            Ok::<_, Error>(connection)
        };
        let mut connection = encrypted.await.map_err(|error| match failure(&error) {
            // rustls says so when it does not trust a certificate; lettre shows no more of it.
            SmtpFailure::Io(io::ErrorKind::InvalidData) => SmtpFailure::Tls,
            failure => failure,
        })?;
        if let Some(credentials) = &server.credentials {
            connection
                .auth(DEFAULT_MECHANISMS, credentials)
                .await
                .map_err(|error| failure(&error))?;
        }
        Ok(Self(connection))
    }

    /// Forgets what was begun; whether the server still answers as it should.
    pub(super) async fn reset(&mut self) -> bool {
        self.0.command(Rset).await.is_ok()
    }

    /// Says goodbye.
    pub(super) async fn quit(mut self) {
        // Whatever it answers, the session ends here.
        drop(self.0.quit().await);
    }

    /// Hands over one mail.
    pub(super) async fn hand_over(&mut self, mail: &Mail) -> Result<(), SmtpFailure> {
        let mut parameters = Vec::new();
        if !mail.is_ascii() {
            // A server that offers SMTPUTF8 also offers 8BITMIME (RFC 6531 §3.1).
            if !self.0.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(SmtpFailure::NoSmtpUtf8);
            }
            parameters.push(MailParameter::SmtpUtfEight);
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = MailFrom::new(mail.envelope.from().cloned(), parameters);
        self.command(from, PositiveCompletion).await?;
        for to in mail.envelope.to() {
            self.command(Rcpt::new(to.clone(), Vec::new()), PositiveCompletion)
                .await?;
        }
        self.command(Data, PositiveIntermediate).await?;
        self.command(Content(mail), PositiveCompletion).await
    }

    /// Says `command`; a reply that is positive, but not as it is expected to be, is not SMTP.
    async fn command(&mut self, command: impl fmt::Display, expected: Severity) -> Result<(), SmtpFailure> {
        let reply = self.0.command(command).await.map_err(|error| failure(&error))?;
        if reply.code().severity == expected {
            Ok(())
        } else {
            Err(SmtpFailure::Protocol)
        }
    }
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
        SmtpFailure::NotOffered
    } else if error.is_tls() {
        SmtpFailure::Tls
    } else if error.is_response() {
        SmtpFailure::Protocol
    } else if error.is_timeout() {
        SmtpFailure::Timeout
    } else {
        io_kind(error).map_or(SmtpFailure::Connection, SmtpFailure::Io)
    }
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
