//! A received email.

use std::time::Duration;

/// An email as the SMTP server stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Headers and body as sent, with `\n` between lines. The server appends its own `X-Peer`, `X-MailFrom`
    /// and `X-RcptTo` to the sender's headers.
    pub raw: String,
    /// The time at which the server stored the email, since 1970.
    pub arrived: Duration,
}

impl Mail {
    /// Returns the value of the first header with this name, regardless of the case of the name. The value is
    /// on one line, and still encoded if it is not ASCII (RFC 2047).
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self
            .raw
            .split_once("\n\n")
            .map_or(self.raw.as_str(), |(head, _)| head);
        let mut lines = head.lines().skip_while(|line| {
            !line
                .split_once(':')
                .is_some_and(|(field, _)| field.trim_end().eq_ignore_ascii_case(name))
        });
        let (_, start) = lines.next()?.split_once(':')?;
        // A line that begins with whitespace continues the previous line (RFC 5322 §2.2.3).
        let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
        Some(
            std::iter::once(start)
                .chain(folded)
                .collect::<String>()
                .trim()
                .to_owned(),
        )
    }

    /// Returns the `To` header.
    ///
    /// # Panics
    /// If the header is missing.
    pub fn to(&self) -> String {
        self.header("To").expect("a mail has a To header")
    }

    /// Returns the envelope recipient.
    ///
    /// # Panics
    /// If the header is missing.
    pub fn recipient(&self) -> String {
        self.header("X-RcptTo")
            .expect("the server adds an X-RcptTo header")
    }

    /// Returns the `Message-ID` header, with its angle brackets.
    ///
    /// # Panics
    /// If the header is missing.
    pub fn message_id(&self) -> String {
        self.header("Message-ID").expect("a mail has a Message-ID header")
    }

    /// Returns the `Subject` header, still encoded if it is not ASCII.
    ///
    /// # Panics
    /// If the header is missing.
    pub fn subject(&self) -> String {
        self.header("Subject").expect("a mail has a Subject header")
    }

    /// Returns everything after the headers, still in its transfer encoding.
    pub fn body(&self) -> &str {
        self.raw.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

#[cfg(test)]
mod tests {
    use super::Mail;

    #[test]
    fn a_header_is_unfolded_and_found_in_any_case_and_never_in_the_body() {
        let raw = "Subject: a\n b\nTO:  ana@example.com\n\nX-Body: no\n".to_owned();
        let mail = Mail {
            raw,
            arrived: std::time::Duration::ZERO,
        };
        assert_eq!(mail.subject(), "a b");
        assert_eq!(mail.to(), "ana@example.com");
        assert_eq!(mail.header("X-Body"), None);
        assert_eq!(mail.body(), "X-Body: no\n");
    }
}
