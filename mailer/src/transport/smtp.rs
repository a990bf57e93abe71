//! An SMTP transport with a pool of sessions.
//!
//! lettre implements the protocol, and this module pools the sessions. lettre's own async pool reuses a
//! connection whose send was abandoned, even if replies are still pending. The next email would read those
//! replies as its own, and could count as accepted when it was not. This pool keeps a session only if the
//! server has replied to every command, and closes abandoned sessions. (In async mode, lettre's timeout also
//! covers only the TCP connection.)

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::classify::classify;
use super::permit::Permit;
use super::progress::SendProgress;
use super::session::{SessionCount, SmtpSession};
use super::smtp_url::{Server, SmtpOptions, SmtpUrlError};
use super::test_email::TestResult;
use super::timeouts::Timeouts;
use crate::error::{AttemptError, DeliveryFailure, FailedStep, Outage, SmtpFailure, SmtpStep};
use crate::message::Mail;

/// Timeout for checking idle sessions, and for closing a session.
const SHORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum idle time of a session. Servers close idle sessions after some minutes.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Time after the mailer begins to stop within which an attempt must begin to send its message.
const MAX_TIME_TO_MESSAGE_WHEN_STOPPING: Duration = Duration::from_secs(5);

/// An SMTP server and its sessions.
pub struct Smtp {
    server: Server,
    idle: Mutex<Vec<IdleSession>>,
    open: SessionCount,
    /// Number of times that all sessions were discarded.
    generation: AtomicU64,
}

struct IdleSession {
    session: SmtpSession,
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
    pub(super) fn new(url: &str, options: &SmtpOptions) -> Result<Self, SmtpUrlError> {
        Ok(Self {
            server: Server::parse(url, options)?,
            idle: Mutex::default(),
            open: SessionCount::default(),
            generation: AtomicU64::default(),
        })
    }

    pub(super) fn describe(&self) -> String {
        self.server.describe()
    }

    /// Number of open sessions.
    pub(super) fn sessions(&self) -> usize {
        self.open.get()
    }

    pub(super) async fn send(
        &self,
        mail: &Mail,
        within: Timeouts,
        permit: &Permit,
    ) -> Result<(), AttemptError> {
        let sent = self
            .transmit(mail, within, permit, &mut SendProgress::new())
            .await;
        sent.map_err(|(step, failure)| {
            if may_be_connection_limit(step, failure) && self.sessions() > 0 {
                return AttemptError::Outage(Outage::ConnectionLimit(DeliveryFailure::Smtp(step, failure)));
            }
            classify(step, failure, mail.is_ascii())
        })
    }

    /// Sends as [`Smtp::send`] does, and returns the result of each step.
    pub(super) async fn test(&self, mail: &Mail, within: Timeouts) -> TestResult {
        let mut progress = SendProgress::keeping_replies();
        let sent = self
            .transmit(mail, within, &Permit::default(), &mut progress)
            .await;
        TestResult::new(self.describe(), self.server.steps(), sent.err(), progress)
    }

    /// Opens a session and ends it.
    pub(super) async fn check(&self, within: Timeouts) -> Result<(), DeliveryFailure> {
        let mut progress = SendProgress::new();
        let opened = self.session(within.connect, &mut progress).await;
        let session = opened.map_err(|(step, failure)| DeliveryFailure::Smtp(step, failure))?;
        let _ = timeout(within.send, session.quit()).await;
        Ok(())
    }

    async fn transmit(
        &self,
        mail: &Mail,
        within: Timeouts,
        permit: &Permit,
        progress: &mut SendProgress,
    ) -> Result<(), FailedStep> {
        let until = Instant::now() + within.connect + within.send;
        let generation = self.generation.load(Ordering::SeqCst);
        let opening = async {
            let mut session = self.session(within.connect, progress).await?;
            let until = until.min(Instant::now() + within.send);
            let announced = timeout_at(until, session.send_envelope(mail, progress)).await;
            Ok((session, announced))
        };
        let hurried = async {
            permit.stop.cancelled().await;
            tokio::time::sleep(MAX_TIME_TO_MESSAGE_WHEN_STOPPING).await;
        };
        let opened = tokio::select! {
            opened = opening => opened?,
            () = hurried => return Err((SmtpStep::Connect, SmtpFailure::Stopped)),
        };
        let (mut session, announced) = opened;
        let sent = match announced {
            // The time limits also apply to a process that was suspended for a while.
            Ok(Ok(())) if !permit.holds() => Err((SmtpStep::Data, SmtpFailure::Stopped)),
            Ok(Ok(())) if Instant::now() < until => {
                let answered = timeout(within.answer, session.send_message(mail, progress)).await;
                answered.unwrap_or(Err((progress.step, SmtpFailure::Timeout)))
            }
            Ok(Ok(())) => Err((SmtpStep::Data, SmtpFailure::Timeout)),
            Ok(Err(failed)) => Err(failed),
            Err(_) => Err((progress.step, SmtpFailure::Timeout)),
        };
        let usable = match sent {
            // 421 ends the session (RFC 5321 §3.8).
            Err((_, SmtpFailure::Reply { code, .. } | SmtpFailure::Greylisted { code, .. })) => code != 421,
            Ok(()) | Err((_, SmtpFailure::NoSmtpUtf8)) => true,
            Err(_) => false,
        };
        let mut idle = self.idle();
        if usable && self.generation.load(Ordering::SeqCst) == generation {
            idle.push(IdleSession {
                session,
                since: Instant::now(),
            });
        }
        drop(idle);
        sent
    }

    /// Returns an idle session that works, or opens a new session.
    async fn session(
        &self,
        within: Duration,
        progress: &mut SendProgress,
    ) -> Result<SmtpSession, FailedStep> {
        self.close_expired_sessions();
        let until = Instant::now() + within;
        // All idle sessions share one deadline, because they usually fail together. Most of the time is left
        // for a new session.
        let checked_until = Instant::now() + SHORT_TIMEOUT.min(within / 4);
        while let Some(mut session) = self.pop() {
            if matches!(timeout_at(checked_until, session.reset()).await, Ok(true)) {
                return Ok(session);
            }
        }
        timeout_at(until, SmtpSession::open(&self.server, &self.open, progress))
            .await
            .unwrap_or(Err((progress.step, SmtpFailure::Timeout)))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleSession>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the most recently used session, so that surplus sessions expire.
    fn pop(&self) -> Option<SmtpSession> {
        self.idle().pop().map(|idle| idle.session)
    }

    pub(super) fn discard_sessions(&self) {
        let mut idle = self.idle();
        self.generation.fetch_add(1, Ordering::SeqCst);
        idle.clear();
    }

    pub(super) fn close_expired_sessions(&self) {
        self.idle().retain(|idle| idle.since.elapsed() < MAX_IDLE);
    }

    pub(super) async fn close(&self) {
        let sessions = std::mem::take(&mut *self.idle());
        let quits = sessions
            .into_iter()
            .map(|idle| timeout(SHORT_TIMEOUT, idle.session.quit()));
        futures::future::join_all(quits).await;
    }
}

/// Whether a server may respond in this way if it accepts no further connection.
const fn may_be_connection_limit(step: SmtpStep, failure: SmtpFailure) -> bool {
    step.opens_session()
        && matches!(
            failure,
            SmtpFailure::Reply { code: 400..=499, .. }
                | SmtpFailure::Timeout
                | SmtpFailure::Io(_)
                | SmtpFailure::Connection
                // A connection that is closed without a reply.
                | SmtpFailure::Protocol
        )
}
