//! A mail that is sent to see whether mail can be sent.

use std::io::ErrorKind;

use super::session::{Failed, Progress};
use crate::error::{CertificateFault, EnhancedCode, SmtpFailure, Step};

/// What came of each step of a mail's way to its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The steps, in order, with what came of them.
    pub steps: Vec<(Step, Tried)>,
    /// What the server said when it refused. It may quote the address; it is for whoever asked, and for no
    /// log.
    pub said: Option<String>,
    /// What to do about it.
    pub advice: Option<&'static str>,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It was taken.
    Passed,
    /// It was left out: the server does not offer encryption, and it is not required. The mail went in plain.
    NotOffered,
    /// It failed.
    Failed(SmtpFailure),
    /// One before it failed.
    NotReached,
}

impl Trial {
    pub(super) fn new(steps: Vec<Step>, failed: Option<Failed>, progress: Progress) -> Self {
        let at = failed.and_then(|(failed, _)| steps.iter().position(|step| *step == failed));
        let tried = |(number, step)| {
            let tried = match (at, failed) {
                (Some(at), Some((_, failure))) if number == at => Tried::Failed(failure),
                (Some(at), _) if number > at => Tried::NotReached,
                _ if step == Step::Tls && progress.in_plain => Tried::NotOffered,
                _ => Tried::Passed,
            };
            (step, tried)
        };
        Self {
            steps: steps.into_iter().enumerate().map(tried).collect(),
            said: progress.said,
            advice: failed.map(|(step, failure)| advice(step, failure)),
        }
    }

    /// Whether the server has taken the mail.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps
            .iter()
            .all(|(_, tried)| matches!(tried, Tried::Passed | Tried::NotOffered))
    }
}

/// What to do about a failure.
const fn advice(step: Step, failure: SmtpFailure) -> &'static str {
    match failure {
        SmtpFailure::Reply { code, enhanced } if !matches!(step, Step::Auth) => {
            if let Some(advice) = of_reply(code, enhanced) {
                return advice;
            }
        }
        SmtpFailure::Greylisted { .. } => {
            return "The server asks to try later (greylisting); the mailer does so by itself.";
        }
        _ => {}
    }
    match (step, failure) {
        (Step::Resolve, _) => "Check the host in SMTP_URL, and that this machine can look names up.",
        (Step::Connect, SmtpFailure::Io(ErrorKind::ConnectionRefused)) => {
            "Nothing listens there. Check host and port in SMTP_URL, and that the server runs."
        }
        (Step::Connect, _) => {
            "The server does not answer. Check host and port in SMTP_URL, and firewalls; many networks block port 25."
        }
        (Step::Tls, SmtpFailure::Certificate(CertificateFault::Untrusted)) => {
            "If the server has an authority of its own, give its certificate in MAIL_CA_FILE."
        }
        (Step::Tls, SmtpFailure::Certificate(CertificateFault::OtherName)) => {
            "Write the host in SMTP_URL as the certificate names it."
        }
        (Step::Tls, SmtpFailure::Certificate(_)) => {
            "The server needs another certificate; and check this machine's clock."
        }
        (Step::Tls, SmtpFailure::NoStartTls) => {
            "Use smtps:// if the port is for TLS from the start; or ?tls=none if the network is your own."
        }
        (Step::Tls, SmtpFailure::OutOfTurn) => {
            "The server is broken, or somebody between it and this machine tampers with the connection. Use smtps://."
        }
        (Step::Tls, _) => {
            "Use smtp://…?tls=required if the port is for STARTTLS (587), smtps:// if it is for TLS from the start (465)."
        }
        (Step::Hello, SmtpFailure::Protocol) => {
            "What answers there is no SMTP server in plain: use smtps:// if the port is for TLS from the start (465)."
        }
        (Step::Hello, SmtpFailure::Timeout) => {
            "The server says nothing for so long. Some greet slowly on purpose: give MAIL_CONNECT_TIMEOUT more time. If the port is \
             for TLS from the start (465), use smtps://."
        }
        (Step::Hello, _) => "The server takes no mail from this machine, or not now. Ask whoever runs it.",
        (Step::Auth, SmtpFailure::NoAuth) => {
            "The server may authenticate only over TLS: use smtps:// or ?tls=required; or leave user and password out."
        }
        (Step::Auth, SmtpFailure::Reply { code: 500..=599, .. }) => {
            "Check user and password in SMTP_URL. Gmail and others want an app password, or &auth=xoauth2 with a token."
        }
        (Step::Auth, _) => "The server cannot authenticate at the moment.",
        (Step::Mail, SmtpFailure::Reply { code: 400..=499, .. }) => {
            "The server accepts no mail from this sender for now; the mailer tries again by itself."
        }
        (Step::Mail, _) => {
            "The server does not take the sender. Check MAIL_FROM, and that this user may send for it."
        }
        (Step::Rcpt, SmtpFailure::NoSmtpUtf8) => {
            "The address has characters beyond ASCII before the @, which this server cannot deliver to."
        }
        (Step::Rcpt, SmtpFailure::Reply { code: 400..=499, .. }) => {
            "The server asks to try later (greylisting, a full mailbox, a limit); the mailer does so by itself."
        }
        (Step::Rcpt, _) => {
            "There is no such mailbox, or the server does not relay to it without authentication."
        }
        (Step::Data | Step::Message, SmtpFailure::Reply { code: 500..=599, .. }) => {
            "The server refuses what the mail says or who sends it: look at SPF, DKIM and DMARC of MAIL_FROM's domain."
        }
        (Step::Data | Step::Message, _) => {
            "No answer came. After DATA the mail may have arrived; the mailer would send it once more."
        }
    }
}

/// What to do about a reply, whatever it is said to, if it says enough.
const fn of_reply(code: u16, enhanced: Option<EnhancedCode>) -> Option<&'static str> {
    let (subject, detail) = match enhanced {
        Some(EnhancedCode { subject, detail, .. }) => (subject, detail),
        None => (0, 0),
    };
    Some(match (code, subject, detail) {
        (530, 7, 10 | 11) | (538, ..) => {
            "The server wants encryption first: use ?tls=required, or smtps:// on its port for TLS."
        }
        (530, ..) => {
            "The server wants a user and a password first: write them into SMTP_URL, as in smtp://user:password@host. If they are \
             there, it may want encryption too: ?tls=required."
        }
        (452, 3, 1) | (452, 0, 0) | (431, ..) => {
            "The server is short of disk or memory. Ask whoever runs it; the mailer tries again by itself."
        }
        (504 | 501, 5, 2) => {
            "The server does not accept the name for EHLO: give a full host name in MAIL_EHLO_NAME."
        }
        (550, 4, 5) => {
            "The account has sent as many mails as it may for now. The mailer waits; MAIL_RATE keeps it below the limit."
        }
        (421 | 450..=454, 7, 0) => {
            "The server accepts no more connections or mails for now; MAIL_CONCURRENCY and MAIL_RATE set fewer."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_is_answered_with_what_can_be_done_about_it() {
        for (step, reply, expected) in [
            (Step::Mail, "530 5.7.0", "user and a password"),
            (Step::Mail, "530 5.7.1", "user and a password"),
            (Step::Mail, "530 5.7.11", "encryption first"),
            (Step::Rcpt, "530", "user and a password"),
            (Step::Mail, "452 4.3.1", "disk or memory"),
            (Step::Message, "452 4.3.1", "disk or memory"),
            (Step::Rcpt, "452 4.2.2", "try later"),
            (Step::Rcpt, "504 5.5.2", "MAIL_EHLO_NAME"),
            (Step::Message, "550 5.4.5", "as many mails as it may"),
            (Step::Mail, "451 4.3.0", "for now"),
            (Step::Mail, "553 5.7.1", "MAIL_FROM"),
            (Step::Rcpt, "550 5.1.1", "no such mailbox"),
        ] {
            let (code, text) = reply.split_once(' ').unwrap_or((reply, ""));
            let code = code.parse().unwrap();
            let enhanced = EnhancedCode::leading(text);
            let advice = advice(step, SmtpFailure::Reply { code, enhanced });
            assert!(advice.contains(expected), "{step} {reply}: {advice}");
        }
        let slow = advice(Step::Hello, SmtpFailure::Timeout);
        assert!(
            slow.contains("MAIL_CONNECT_TIMEOUT") && slow.contains("smtps://"),
            "{slow}"
        );
    }

    #[test]
    fn what_comes_before_a_failure_passed_and_what_comes_after_was_not_reached() {
        let steps = vec![Step::Resolve, Step::Connect, Step::Hello, Step::Tls, Step::Mail];
        let trial = Trial::new(steps, Some((Step::Tls, SmtpFailure::NoStartTls)), Progress::new());
        let tried: Vec<_> = trial.steps.iter().map(|(_, tried)| *tried).collect();
        let failed = Tried::Failed(SmtpFailure::NoStartTls);
        assert_eq!(
            tried,
            [
                Tried::Passed,
                Tried::Passed,
                Tried::Passed,
                failed,
                Tried::NotReached
            ]
        );
        assert!(!trial.passed() && trial.advice.unwrap().contains("smtps://"));
    }

    #[test]
    fn encryption_that_was_not_offered_did_not_pass() {
        let mut progress = Progress::new();
        progress.in_plain = true;
        let trial = Trial::new(vec![Step::Hello, Step::Tls, Step::Message], None, progress);
        let tried: Vec<_> = trial.steps.iter().map(|(_, tried)| *tried).collect();
        assert_eq!(tried, [Tried::Passed, Tried::NotOffered, Tried::Passed]);
        assert!(trial.passed());
    }

    #[test]
    fn a_mail_that_was_taken_passed_every_step() {
        let trial = Trial::new(vec![Step::Resolve, Step::Message], None, Progress::new());
        assert!(trial.passed() && trial.advice.is_none());
    }
}
