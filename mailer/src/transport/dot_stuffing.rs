//! The message as SMTP transfers it.

use std::fmt;

use crate::message::Mail;

/// An email in the format that follows `DATA`: leading dots are doubled (RFC 5321 §4.5.2), and a line with a
/// single dot ends it.
///
/// It is sent like a command, in a single write. lettre's own method writes the end separately. Nagle's
/// algorithm then holds back the end until the peer's delayed acknowledgment, which costs 40 ms per email.
pub(super) struct DotStuffed<'a>(pub(super) &'a Mail);

impl fmt::Display for DotStuffed<'_> {
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

#[cfg(test)]
mod tests;
