//! Random values of requests.

use super::Clerk;
use crate::record::{Details, mark};

/// Number of email addresses for which all clients compete.
const SHARED_EMAILS: usize = 12;
/// Names in several scripts, which the API returns unchanged.
const NAMES: [&str; 5] = ["María", "علی\u{200c}رضا", "नेहा", "山田 太郎", "O’Hara"];
/// Phone numbers that the API returns unchanged, with extensions, letters, and non-ASCII digits and dashes.
const PHONES: [&str; 5] = [
    "(555)123-4567x890",
    "tel:+1-201-555-0123;ext=22",
    "০১৭১২৩৪৫৬৭৮",
    "03\u{2013}331\u{2013}6005 anexo 12",
    "1-800-FLOWERS",
];

impl Clerk {
    pub(super) fn details(&mut self, email: Option<String>) -> Details {
        let name = self.name();
        Details {
            email: email.unwrap_or_else(|| self.fresh_email()),
            phone: self.phone(),
            document_url: format!("https://example.com/photos/{}.jpg", self.mark()),
            name,
        }
    }

    /// Returns a name that no other request has.
    pub(super) fn name(&mut self) -> String {
        format!("{} {}", self.one_of(&NAMES), self.mark())
    }

    /// Returns a phone number. Half of the phone numbers are unique, and the others are frequent.
    pub(super) fn phone(&mut self) -> String {
        let phone = self.one_of(&PHONES);
        if self.rng.bool() {
            format!("{phone} {}", self.mark())
        } else {
            phone.to_owned()
        }
    }

    /// Returns an email address that no other request has.
    pub(super) fn fresh_email(&self) -> String {
        format!("p{}@example.com", self.mark())
    }

    /// Returns the mark of this clerk's next request.
    fn mark(&self) -> String {
        mark(self.number, self.requests)
    }

    /// Returns an email address for which all clients compete.
    pub(super) fn shared_email(&mut self) -> String {
        let shared = self.rng.usize(0..SHARED_EMAILS);
        if self.rng.bool() {
            format!("shared{shared}@example.com")
        } else {
            format!("Shared{shared}@Example.com")
        }
    }

    fn one_of(&mut self, values: &[&'static str]) -> &'static str {
        values[self.rng.usize(..values.len())]
    }
}
