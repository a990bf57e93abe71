//! Emails without an event, for operators: previews and test emails.

use std::sync::Arc;

use eventstore::Timestamp;

use crate::error::DeliveryFailure;
use crate::language::Languages;
use crate::message::{Composer, Mail};
use crate::template::Template;
use crate::transport::{TestResult, Timeouts, Transport};

/// Composes previews and sends test emails, with the mail settings of a process.
#[derive(Debug)]
pub struct SampleMailer {
    composer: Arc<Composer>,
    transport: Transport,
    timeouts: Timeouts,
}

impl SampleMailer {
    /// Creates a mailer with its own transport. A test email is limited by `timeouts`.
    #[must_use]
    pub const fn new(composer: Arc<Composer>, transport: Transport, timeouts: Timeouts) -> Self {
        Self {
            composer,
            transport,
            timeouts,
        }
    }

    /// Composes an email for a fictitious patient, as [`Composer::preview`] does.
    ///
    /// # Errors
    ///
    /// The same as for [`Composer::preview`].
    pub fn preview(
        &self,
        template: Template,
        languages: Option<&Languages>,
        now: Timestamp,
    ) -> Result<Mail, DeliveryFailure> {
        self.composer.preview(template, languages, now)
    }

    /// Sends a test email to `to`, and closes the connection.
    ///
    /// # Errors
    ///
    /// [`DeliveryFailure::Address`] if mail cannot be sent to that address. Another [`DeliveryFailure`] if
    /// the email cannot be composed, or cannot be written to a file. If an SMTP server does not accept the
    /// email, the method succeeds, and the [`TestResult`] contains the failure.
    pub async fn test(&self, to: &str, now: Timestamp) -> Result<TestResult, DeliveryFailure> {
        let mail = self.composer.test(to, now)?;
        let result = self.transport.test(&mail, self.timeouts).await;
        self.transport.close().await;
        result
    }
}
