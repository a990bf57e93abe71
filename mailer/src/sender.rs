//! The sender of the emails.

use std::fmt;
use std::str::FromStr;

use lettre::Address;
use lettre::message::Mailbox;

use crate::address::deliverable;

/// The sender's address, with an optional name, such as `Mi clínica <noreply@miapp.com>`. The default is
/// `noreply@miapp.com`. The address itself is ASCII, so that every server accepts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(Mailbox);

/// An invalid sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as `noreply@miapp.com` or `Mi clínica <noreply@miapp.com>`")]
pub struct SenderError;

impl Sender {
    pub(crate) const fn mailbox(&self) -> &Mailbox {
        &self.0
    }

    /// Part after the `@`, which is also used in message ids.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

impl Default for Sender {
    fn default() -> Self {
        // "Dangerous" because lettre does not validate the address.
        Self(Mailbox::new(None, Address::new_dangerous("noreply", "miapp.com")))
    }
}

impl FromStr for Sender {
    type Err = SenderError;

    fn from_str(sender: &str) -> Result<Self, SenderError> {
        let mailbox: Mailbox = sender.trim().parse().map_err(|_| SenderError)?;
        let email = deliverable(mailbox.email.as_ref()).map_err(|_| SenderError)?;
        let control = |name: &String| name.contains(char::is_control);
        if !email.user().is_ascii() || mailbox.name.as_ref().is_some_and(control) {
            return Err(SenderError);
        }
        Ok(Self(Mailbox::new(mailbox.name, email)))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Sender;

    #[test]
    fn an_address_is_accepted_with_and_without_a_name() {
        for sender in [
            "noreply@miapp.com",
            "Clinica <noreply@miapp.com>",
            "Mi clínica <a@b.example>",
        ] {
            let parsed: Sender = sender.parse().unwrap();
            assert_eq!(parsed.to_string().replace('"', ""), sender);
        }
        assert_eq!(Sender::default(), "noreply@miapp.com".parse().unwrap());
        assert_eq!(Sender::default().domain(), "miapp.com");
    }

    #[test]
    fn an_invalid_or_non_ascii_sender_is_rejected() {
        for sender in [
            "",
            "miapp.com",
            "Clínica",
            "a@b.example, c@d.example",
            "peña@miapp.com",
            "x\r\ny <a@b.example>",
        ] {
            assert!(sender.parse::<Sender>().is_err(), "{sender:?}");
        }
    }
}
