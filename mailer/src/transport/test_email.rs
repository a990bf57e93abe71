//! A test email that checks whether mail can be sent.

use std::io::ErrorKind;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::progress::SendProgress;
use crate::error::{CertificateFault, EnhancedCode, FailedStep, SmtpFailure, SmtpStep};

/// Result of sending a test email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// Destination of the email, without secrets.
    pub server: String,
    /// Whether the server accepted the email.
    pub sent: bool,
    /// The steps, in order. Empty if emails are written to files.
    pub steps: Vec<TestStep>,
    /// Text of the server's negative reply. It may quote the address, so show it only to the person who
    /// requested the test, and never log it.
    #[serde(rename = "said")]
    pub reply: Option<String>,
    /// How to fix the failure.
    pub advice: Option<&'static str>,
}

/// A step of sending a test email.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestStep {
    /// The step.
    pub step: SmtpStep,
    /// Its result.
    pub result: StepResult,
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepResult {
    /// The step succeeded.
    Passed,
    /// The step was skipped: the server does not offer encryption, and encryption is not required. The email
    /// was sent unencrypted.
    NotOffered,
    /// The step failed.
    Failed(SmtpFailure),
    /// An earlier step failed.
    NotReached,
}

impl Serialize for TestStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (result, error) = match self.result {
            StepResult::Passed => ("passed", None),
            StepResult::Failed(failure) => ("failed", Some(failure.to_string())),
            StepResult::NotOffered => ("not offered", None),
            StepResult::NotReached => ("not reached", None),
        };
        let mut step = serializer.serialize_struct("TestStep", 3)?;
        step.serialize_field("step", &self.step.to_string())?;
        step.serialize_field("result", result)?;
        step.serialize_field("error", &error)?;
        step.end()
    }
}

impl TestResult {
    pub(super) fn new(
        server: String,
        steps: Vec<SmtpStep>,
        failed: Option<FailedStep>,
        progress: SendProgress,
    ) -> Self {
        let at = failed.and_then(|(failed, _)| steps.iter().position(|step| *step == failed));
        let tested = |(number, step)| {
            let result = match (at, failed) {
                (Some(at), Some((_, failure))) if number == at => StepResult::Failed(failure),
                (Some(at), _) if number > at => StepResult::NotReached,
                _ if step == SmtpStep::Tls && progress.unencrypted => StepResult::NotOffered,
                _ => StepResult::Passed,
            };
            TestStep { step, result }
        };
        Self {
            server,
            sent: failed.is_none(),
            steps: steps.into_iter().enumerate().map(tested).collect(),
            reply: progress.reply,
            advice: failed.map(|(step, failure)| advice(step, failure)),
        }
    }
}

/// Returns advice on how to fix a failure.
const fn advice(step: SmtpStep, failure: SmtpFailure) -> &'static str {
    match failure {
        SmtpFailure::Reply { code, enhanced } if !matches!(step, SmtpStep::Auth) => {
            if let Some(advice) = advice_on_reply(code, enhanced) {
                return advice;
            }
        }
        SmtpFailure::Greylisted { .. } => {
            return "The server asks to try again later (greylisting); the mailer retries automatically.";
        }
        _ => {}
    }
    match (step, failure) {
        (SmtpStep::Resolve, _) => "Check the host in SMTP_URL, and that this machine can resolve host names.",
        (SmtpStep::Connect, SmtpFailure::Io(ErrorKind::ConnectionRefused)) => {
            "Nothing listens on that port. Check the host and port in SMTP_URL, and that the server is running."
        }
        (SmtpStep::Connect, _) => {
            "The server does not respond. Check the host and port in SMTP_URL, and firewalls. Many networks block port 25."
        }
        (SmtpStep::Tls, SmtpFailure::Certificate(CertificateFault::Untrusted)) => {
            "If the server uses a private certificate authority, set MAIL_CA_FILE to its certificate file."
        }
        (SmtpStep::Tls, SmtpFailure::Certificate(CertificateFault::OtherName)) => {
            "Use the host name from the certificate in SMTP_URL."
        }
        (SmtpStep::Tls, SmtpFailure::Certificate(_)) => {
            "The server needs another certificate. Also check this machine's clock."
        }
        (SmtpStep::Tls, SmtpFailure::NoStartTls) => {
            "Use smtps:// if the port expects TLS from the start, or ?tls=none if the network is your own."
        }
        (SmtpStep::Tls, SmtpFailure::UnexpectedData) => {
            "The server is faulty, or someone on the network is tampering with the connection. Use smtps://."
        }
        (SmtpStep::Tls, _) => {
            "Use smtp://…?tls=required if the port expects STARTTLS (587), or smtps:// if it expects TLS from the start (465)."
        }
        (SmtpStep::Hello, SmtpFailure::Protocol) => {
            "The server does not speak unencrypted SMTP. Use smtps:// if the port expects TLS from the start (465)."
        }
        (SmtpStep::Hello, SmtpFailure::Timeout) => {
            "The server did not respond in time. Some servers greet slowly on purpose: increase MAIL_CONNECT_TIMEOUT. If the \
             port expects TLS from the start (465), use smtps://."
        }
        (SmtpStep::Hello, _) => {
            "The server does not accept mail from this machine, or not at the moment. Ask its administrator."
        }
        (SmtpStep::Auth, SmtpFailure::NoAuth) => {
            "The server may authenticate only over TLS: use smtps:// or ?tls=required. Or omit the user and password."
        }
        (SmtpStep::Auth, SmtpFailure::Reply { code: 500..=599, .. }) => {
            "Check the user and password in SMTP_URL. Gmail and others require an app password, or &auth=xoauth2 with a token."
        }
        (SmtpStep::Auth, _) => "The server cannot authenticate at the moment.",
        (SmtpStep::Mail, SmtpFailure::Reply { code: 400..=499, .. }) => {
            "The server accepts no mail from this sender for now; the mailer retries automatically."
        }
        (SmtpStep::Mail, _) => {
            "The server does not accept the sender. Check MAIL_FROM, and that this user may send from it."
        }
        (SmtpStep::Rcpt, SmtpFailure::NoSmtpUtf8) => {
            "The address has non-ASCII characters before the @, which this server does not support."
        }
        (SmtpStep::Rcpt, SmtpFailure::Reply { code: 400..=499, .. }) => {
            "The server asks to try again later (greylisting, a full mailbox or a limit); the mailer retries automatically."
        }
        (SmtpStep::Rcpt, _) => {
            "There is no such mailbox, or the server does not relay to it without authentication."
        }
        (SmtpStep::Data | SmtpStep::Message, SmtpFailure::Reply { code: 500..=599, .. }) => {
            "The server rejects the content or the sender. Check SPF, DKIM and DMARC of MAIL_FROM's domain."
        }
        (SmtpStep::Data | SmtpStep::Message, _) => {
            "No answer came. After DATA, the email may have arrived; the mailer would send it again."
        }
    }
}

/// Returns advice for a reply at any step, if the reply is specific enough.
const fn advice_on_reply(code: u16, enhanced: Option<EnhancedCode>) -> Option<&'static str> {
    let (subject, detail) = match enhanced {
        Some(EnhancedCode { subject, detail, .. }) => (subject, detail),
        None => (0, 0),
    };
    Some(match (code, subject, detail) {
        (530, 7, 10 | 11) | (538, ..) => {
            "The server requires encryption first: use ?tls=required, or smtps:// on its TLS port."
        }
        (530, ..) => {
            "The server requires a user and a password first: add them to SMTP_URL, as in smtp://user:password@host. If they are \
             already there, it may also require encryption: ?tls=required."
        }
        (452, 3, 1) | (452, 0, 0) | (431, ..) => {
            "The server is short of disk space or memory. Ask its administrator; the mailer retries automatically."
        }
        (504 | 501, 5, 2) => {
            "The server does not accept the EHLO name: set MAIL_EHLO_NAME to a full host name."
        }
        (550, 4, 5) => {
            "The account has reached its sending limit for now. The mailer waits; MAIL_RATE keeps it below the limit."
        }
        (421 | 450..=454, 7, 0) => {
            "The server accepts no more connections or emails for now; reduce MAIL_CONCURRENCY or MAIL_RATE."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_the_reply() {
        for (step, reply, expected) in [
            (SmtpStep::Mail, "530 5.7.0", "user and a password"),
            (SmtpStep::Mail, "530 5.7.1", "user and a password"),
            (SmtpStep::Mail, "530 5.7.11", "encryption first"),
            (SmtpStep::Rcpt, "530", "user and a password"),
            (SmtpStep::Mail, "452 4.3.1", "disk space or memory"),
            (SmtpStep::Message, "452 4.3.1", "disk space or memory"),
            (SmtpStep::Rcpt, "452 4.2.2", "try again later"),
            (SmtpStep::Rcpt, "504 5.5.2", "MAIL_EHLO_NAME"),
            (SmtpStep::Message, "550 5.4.5", "sending limit"),
            (SmtpStep::Mail, "451 4.3.0", "for now"),
            (SmtpStep::Mail, "553 5.7.1", "MAIL_FROM"),
            (SmtpStep::Rcpt, "550 5.1.1", "no such mailbox"),
        ] {
            let (code, text) = reply.split_once(' ').unwrap_or((reply, ""));
            let code = code.parse().unwrap();
            let enhanced = EnhancedCode::leading(text);
            let advice = advice(step, SmtpFailure::Reply { code, enhanced });
            assert!(advice.contains(expected), "{step} {reply}: {advice}");
        }
        let slow = advice(SmtpStep::Hello, SmtpFailure::Timeout);
        assert!(
            slow.contains("MAIL_CONNECT_TIMEOUT") && slow.contains("smtps://"),
            "{slow}"
        );
    }

    fn server() -> String {
        "mx:25".to_owned()
    }

    #[test]
    fn steps_before_a_failure_passed_and_steps_after_it_were_not_reached() {
        let steps = vec![
            SmtpStep::Resolve,
            SmtpStep::Connect,
            SmtpStep::Hello,
            SmtpStep::Tls,
            SmtpStep::Mail,
        ];
        let result = TestResult::new(
            server(),
            steps,
            Some((SmtpStep::Tls, SmtpFailure::NoStartTls)),
            SendProgress::new(),
        );
        let results: Vec<_> = result.steps.iter().map(|step| step.result).collect();
        let failed = StepResult::Failed(SmtpFailure::NoStartTls);
        assert_eq!(
            results,
            [
                StepResult::Passed,
                StepResult::Passed,
                StepResult::Passed,
                failed,
                StepResult::NotReached
            ]
        );
        assert!(!result.sent && result.advice.unwrap().contains("smtps://"));
    }

    #[test]
    fn encryption_that_is_not_offered_has_its_own_result() {
        let mut progress = SendProgress::new();
        progress.unencrypted = true;
        let result = TestResult::new(
            server(),
            vec![SmtpStep::Hello, SmtpStep::Tls, SmtpStep::Message],
            None,
            progress,
        );
        let results: Vec<_> = result.steps.iter().map(|step| step.result).collect();
        assert_eq!(
            results,
            [StepResult::Passed, StepResult::NotOffered, StepResult::Passed]
        );
        assert!(result.sent);
    }

    #[test]
    fn an_accepted_email_passed_every_step() {
        let result = TestResult::new(
            server(),
            vec![SmtpStep::Resolve, SmtpStep::Message],
            None,
            SendProgress::new(),
        );
        assert!(result.sent && result.advice.is_none());
    }
}
