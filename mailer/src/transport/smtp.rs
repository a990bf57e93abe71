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
use super::ehlo::EhloName;
use super::session::{Count, Failed, Progress, Session};
use super::smtp_url::{Server, SmtpUrlError};
use super::test_email::TestResult;
use super::{Permit, Timeouts};
use crate::error::{AttemptError, Failure, Outage, SmtpFailure, Step};
use crate::message::Mail;

/// Timeout for checking idle sessions, and for closing a session.
const SHORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum idle time of a session. Servers close idle sessions after some minutes.
const IDLE: Duration = Duration::from_secs(30);

/// Time after the mailer begins to stop within which an attempt must begin to send its message.
const STOPPING: Duration = Duration::from_secs(5);

/// Options for an SMTP server, in addition to its URL.
#[derive(Debug, Clone, Default)]
pub struct SmtpOptions {
    /// Certificates in PEM format: certificate authorities to trust in addition to the system's, or the
    /// server's own certificate.
    pub extra_authorities: Option<Vec<u8>>,
    /// Name for EHLO, unless the URL contains a name.
    pub ehlo: EhloName,
}

/// An SMTP server and its sessions.
pub struct Smtp {
    server: Server,
    idle: Mutex<Vec<Idle>>,
    open: Count,
    /// Number of times that all sessions were discarded.
    generation: AtomicU64,
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
    pub(super) fn new(url: &str, options: &SmtpOptions) -> Result<Self, SmtpUrlError> {
        Ok(Self {
            server: Server::parse(url, options)?,
            idle: Mutex::default(),
            open: Count::default(),
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
        let sent = self.hand_over(mail, within, permit, &mut Progress::new()).await;
        sent.map_err(|(step, failure)| {
            if is_crowded(step, failure) && self.sessions() > 0 {
                return AttemptError::Outage(Outage::Crowded(Failure::Smtp(step, failure)));
            }
            classify(step, failure, mail.is_ascii())
        })
    }

    /// Sends as [`Smtp::send`] does, and returns the result of each step.
    pub(super) async fn test(&self, mail: &Mail, within: Timeouts) -> TestResult {
        let mut progress = Progress::keeping();
        let sent = self
            .hand_over(mail, within, &Permit::default(), &mut progress)
            .await;
        TestResult::new(self.describe(), self.server.steps(), sent.err(), progress)
    }

    async fn hand_over(
        &self,
        mail: &Mail,
        within: Timeouts,
        permit: &Permit,
        progress: &mut Progress,
    ) -> Result<(), Failed> {
        let until = Instant::now() + within.connect + within.send;
        let generation = self.generation.load(Ordering::SeqCst);
        let opening = async {
            let mut session = self.session(within.connect, progress).await?;
            let until = until.min(Instant::now() + within.send);
            let announced = timeout_at(until, session.announce(mail, progress)).await;
            Ok((session, announced))
        };
        let hurried = async {
            permit.stop.cancelled().await;
            tokio::time::sleep(STOPPING).await;
        };
        let opened = tokio::select! {
            opened = opening => opened?,
            () = hurried => return Err((Step::Connect, SmtpFailure::GivenUp)),
        };
        let (mut session, announced) = opened;
        let sent = match announced {
            // The time limits also apply to a process that was suspended for a while.
            Ok(Ok(())) if !permit.holds() => Err((Step::Data, SmtpFailure::GivenUp)),
            Ok(Ok(())) if Instant::now() < until => {
                let answered = timeout(within.answer, session.content(mail, progress)).await;
                answered.unwrap_or(Err((progress.step, SmtpFailure::Timeout)))
            }
            Ok(Ok(())) => Err((Step::Data, SmtpFailure::Timeout)),
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
            idle.push(Idle {
                session,
                since: Instant::now(),
            });
        }
        drop(idle);
        sent
    }

    /// Returns an idle session that works, or opens a new session.
    async fn session(&self, within: Duration, progress: &mut Progress) -> Result<Session, Failed> {
        self.drop_old();
        let until = Instant::now() + within;
        // All idle sessions share one deadline, because they usually fail together. Most of the time is left
        // for a new session.
        let checked_until = Instant::now() + SHORT_TIMEOUT.min(within / 4);
        while let Some(mut session) = self.pop() {
            if matches!(timeout_at(checked_until, session.reset()).await, Ok(true)) {
                return Ok(session);
            }
        }
        timeout_at(until, Session::open(&self.server, &self.open, progress))
            .await
            .unwrap_or(Err((progress.step, SmtpFailure::Timeout)))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the most recently used session, so that surplus sessions expire.
    fn pop(&self) -> Option<Session> {
        self.idle().pop().map(|idle| idle.session)
    }

    pub(super) fn renew(&self) {
        let mut idle = self.idle();
        self.generation.fetch_add(1, Ordering::SeqCst);
        idle.clear();
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

/// Whether a server may respond in this way to one connection too many.
const fn is_crowded(step: Step, failure: SmtpFailure) -> bool {
    step.opens()
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
