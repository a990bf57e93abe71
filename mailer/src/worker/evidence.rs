//! Evidence about the mail server, from the attempts to send email.

use std::sync::Arc;

use crate::error::{AttemptError, DeliveryFailure, Outage, SmtpFailure, SmtpStep};
use crate::ledger::DeliveryKey;

/// How the server responded to an email that it did not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAccepted {
    /// Permanently, with a 5xx reply.
    Rejected,
    /// Temporarily, with a 4xx reply or without a reply.
    Deferred,
}

/// Evidence about the server from an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The server accepted an email.
    Accepted,
    /// The server replied at this step with a reply that applies to one email only.
    SingleEmailReply(SmtpStep),
    /// The attempt provides no evidence.
    None,
    /// No mail can be sent at present.
    Outage(Outage),
    /// The server rejected or deferred an email, possibly for a reason that applies to all mail.
    Ambiguous(NotAccepted, DeliveryFailure),
}

impl Evidence {
    /// Returns the evidence from the result of an attempt.
    pub(super) fn of(sent: &Result<(), AttemptError>) -> Self {
        match sent {
            Ok(()) => Self::Accepted,
            Err(AttemptError::Retry(failure) | AttemptError::Fail(failure)) => match failure {
                // 421 ends the session, and at MAIL the server does not know the recipient yet.
                DeliveryFailure::Smtp(
                    step,
                    SmtpFailure::Reply { code, .. } | SmtpFailure::Greylisted { code, .. },
                ) if *step > SmtpStep::Mail && *code != 421 => Self::SingleEmailReply(*step),
                // Includes failures on the client side that never reached the server.
                _ => Self::None,
            },
            Err(AttemptError::AmbiguousRejection(failure)) => {
                Self::Ambiguous(NotAccepted::Rejected, failure.clone())
            }
            Err(AttemptError::AmbiguousDeferral(failure)) => {
                Self::Ambiguous(NotAccepted::Deferred, failure.clone())
            }
            // Stops sending, so that no further emails end with an unknown outcome.
            Err(AttemptError::Unknown(failure)) => Self::Outage(Outage::Down(failure.clone())),
            Err(AttemptError::Outage(outage)) => match outage {
                Outage::Down(DeliveryFailure::Late | DeliveryFailure::Smtp(_, SmtpFailure::Stopped)) => {
                    Self::None
                }
                outage => Self::Outage(outage.clone()),
            },
        }
    }
}

/// The attempt that is the source of [`Evidence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EvidenceSource {
    pub(super) delivery: DeliveryKey,
    /// Domain of the recipient, from [`registered_domain`](super::registered_domain::registered_domain).
    pub(super) domain: Arc<str>,
    /// [Epoch of the breaker](super::breaker::Breaker::epoch) at the start of the attempt.
    pub(super) epoch: u64,
}
