//! Mails to an SMTP server, over sessions that are kept and used again.
//!
//! lettre speaks the protocol; the sessions are pooled here. lettre's own async pool takes a connection back when a
//! send is given up half-way, with the server's answers still to come: the next mail would read them as its own, and
//! could count as accepted when it was not. Here a session is kept only when the server has answered all that it was
//! asked, and one that is given up is closed. (lettre's timeout, too, covers no more than the TCP connection when
//! async.)

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::session::Session;
use super::smtp_url::{Server, SmtpUrlError};
use crate::error::{AttemptError, Failure, SmtpFailure};
use crate::message::Mail;

/// How long a session may take to open: name, TCP, TLS, greeting, authentication.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a kept session may take to show that it still works, and one that ends to say goodbye.
const SHORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a session is kept unused. Servers end them after some minutes.
const IDLE: Duration = Duration::from_secs(30);

/// An SMTP server, and the sessions with it.
pub struct Smtp {
    server: Server,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.describe())
            .finish_non_exhaustive()
    }
}

impl Smtp {
    pub(super) fn new(url: &str) -> Result<Self, SmtpUrlError> {
        Ok(Self {
            server: Server::parse(url)?,
            idle: Mutex::default(),
        })
    }

    pub(super) fn describe(&self) -> String {
        self.server.describe()
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<(), AttemptError> {
        let mut session = self.session().await.map_err(opening)?;
        let sent = session.hand_over(mail).await;
        if matches!(
            sent,
            Ok(()) | Err(SmtpFailure::Reply { .. } | SmtpFailure::NoSmtpUtf8)
        ) {
            self.idle().push(Idle {
                session,
                since: Instant::now(),
            });
        }
        sent.map_err(sending)
    }

    /// A kept session that works, or else a new one.
    async fn session(&self) -> Result<Session, SmtpFailure> {
        self.drop_old();
        while let Some(mut session) = self.pop() {
            if matches!(timeout(SHORT_TIMEOUT, session.reset()).await, Ok(true)) {
                return Ok(session);
            }
        }
        timeout(OPEN_TIMEOUT, Session::open(&self.server))
            .await
            .unwrap_or(Err(SmtpFailure::Timeout))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one used last, so that those not needed grow old.
    fn pop(&self) -> Option<Session> {
        self.idle().pop().map(|idle| idle.session)
    }

    pub(super) fn drop_old(&self) {
        self.idle().retain(|idle| idle.since.elapsed() < IDLE);
    }

    pub(super) async fn close(&self) {
        let sessions = std::mem::take(&mut *self.idle());
        let goodbyes = sessions
            .into_iter()
            .map(|idle| timeout(SHORT_TIMEOUT, idle.session.quit()));
        futures::future::join_all(goodbyes).await;
    }
}

/// No session came about. That is the server's affair, or the operator's, and not this mail's: whatever it was, another
/// attempt may find it mended.
const fn opening(failure: SmtpFailure) -> AttemptError {
    AttemptError::Retry(Failure::Opening(failure))
}

/// The session failed on this mail: for good, if the server said so by a reply of 5xx (RFC 5321 §4.2.1).
const fn sending(failure: SmtpFailure) -> AttemptError {
    match failure {
        // 530 and 538 (RFC 4954 §6) ask for authentication or encryption, which is the same for every mail.
        SmtpFailure::Reply { code: 530 | 538, .. } => AttemptError::Retry(Failure::Sending(failure)),
        SmtpFailure::Reply { code: 500..=599, .. } | SmtpFailure::NoSmtpUtf8 => {
            AttemptError::Fail(Failure::Sending(failure))
        }
        _ => AttemptError::Retry(Failure::Sending(failure)),
    }
}
