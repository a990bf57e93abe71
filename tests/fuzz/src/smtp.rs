//! Replies of an SMTP server.

use std::sync::LazyLock;

use mailer::fuzzing::deliver;
use mailer::{AttemptError, Mail, SmtpFailure, SmtpStep};
use tokio::runtime::Runtime;

const SERVERS: [&str; 3] = [
    "smtp://localhost",
    "smtp://user:geheim@localhost?tls=none",
    "smtp://user:geheim@localhost?tls=none&auth=login",
];

static MAIL: LazyLock<Mail> = LazyLock::new(|| crate::mail::registered("Ana", "ana@example.com").unwrap());
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// Sends an email to a server. The first byte selects the authentication, and the remaining bytes are the
/// server's replies. An email counts as sent only if the whole message was sent, and as failed only if the
/// server rejected it. The client sends only SMTP.
pub fn smtp(data: &[u8]) {
    let Some((choice, replies)) = data.split_first() else {
        return;
    };
    if is_known_to_panic(replies) {
        return;
    }
    let server = SERVERS[usize::from(*choice) % SERVERS.len()];
    let mut output = Vec::new();
    let sent = RUNTIME
        .block_on(deliver(server, replies, &MAIL, &mut output))
        .expect("the URL is one");
    let output = String::from_utf8(output).unwrap();
    let (commands, content) = output.split_once("DATA\r\n").unwrap_or((output.as_str(), ""));
    only_smtp(commands);
    let whole = content.ends_with("\r\n.\r\n") && content.starts_with("From: ");
    assert!(whole || content.is_empty(), "only a part of the message was sent");
    match sent {
        Ok(()) => assert!(whole),
        Err((step, failure, error)) => {
            assert_eq!(whole, step == SmtpStep::Message);
            means(step, failure, &error);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("geheim") && shown.len() < 200, "{shown}");
        }
    }
}

/// Whether a line of a reply contains only whitespace. lettre panics at this line in the reply to EHLO. The
/// mailer catches the panic, as another test checks, but libFuzzer aborts at any panic.
fn is_known_to_panic(replies: &[u8]) -> bool {
    let replies = String::from_utf8_lossy(replies);
    let is_blank = |line: &str| {
        let text = line.get(4..).unwrap_or_default();
        !text.is_empty() && text.trim().is_empty()
    };
    replies.split("\r\n").any(is_blank)
}

fn only_smtp(commands: &str) {
    for line in commands.split_terminator("\r\n") {
        let verb = line.split([' ', ':']).next().unwrap();
        let known = ["EHLO", "AUTH", "MAIL", "RCPT", "QUIT", "RSET", "NOOP"].contains(&verb);
        // The user and the password are sent in base64, as separate lines, when the server asks for them.
        let answer = ["dXNlcg==", "Z2VoZWlt", "AHVzZXIAZ2VoZWlt"].contains(&line);
        assert!(known || answer, "{line}");
    }
}

fn means(step: SmtpStep, failure: SmtpFailure, error: &AttemptError) {
    let refused = matches!(failure, SmtpFailure::Reply { code: 500..=599, .. });
    match error {
        AttemptError::Fail(_) | AttemptError::AmbiguousRejection(_) => {
            assert!(refused || failure == SmtpFailure::NoSmtpUtf8);
        }
        AttemptError::Unknown(_) => {
            assert_eq!(step, SmtpStep::Message);
            assert!(
                !matches!(failure, SmtpFailure::Reply { .. }),
                "the server has said"
            );
        }
        AttemptError::Retry(_) | AttemptError::AmbiguousDeferral(_) => {
            assert!(!step.opens_session() && !refused);
        }
        AttemptError::Outage(_) => {
            assert!(
                step.opens_session()
                    || step == SmtpStep::Mail
                    || matches!(failure, SmtpFailure::Reply { .. })
            );
        }
    }
}
