//! Progress of sending an email, up to the accepted message or the failed step.

use std::error::Error as _;

use lettre::transport::smtp::Error;

use super::lettre_error::smtp_failure;
use crate::error::{FailedStep, SmtpStep};

/// Progress of sending an email.
#[derive(Debug)]
pub(super) struct SendProgress {
    /// The current step, or the step that failed.
    pub(super) step: SmtpStep,
    /// Text of the server's negative reply, if it is kept. It may quote an address.
    pub(super) reply: Option<String>,
    /// Whether the session is unencrypted because encryption is not required and the server does not offer
    /// it.
    pub(super) unencrypted: bool,
    keeps_reply: bool,
}

impl SendProgress {
    /// Creates the initial progress.
    pub(super) const fn new() -> Self {
        Self {
            step: SmtpStep::Resolve,
            reply: None,
            unencrypted: false,
            keeps_reply: false,
        }
    }

    /// Creates the initial progress for a caller who may read the server's replies.
    pub(super) fn keeping_replies() -> Self {
        Self {
            keeps_reply: true,
            ..Self::new()
        }
    }

    /// Returns a failure at the current step.
    pub(super) fn failed(&mut self, error: &Error) -> FailedStep {
        if self.keeps_reply && error.status().is_some() {
            self.reply = error.source().map(ToString::to_string);
        }
        (self.step, smtp_failure(error))
    }
}
