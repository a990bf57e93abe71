//! A patient's phone number.

use super::text::{self, ControlCharacter};

/// A phone number as people and programs write it: printable text of at most 64 characters (Unicode scalar
/// values), with at least two digits in any script.
///
/// Extensions in any language, `tel:` URIs (RFC 3966), two numbers, vanity numbers and service codes are
/// accepted. Text around the digits is stored as written. Whether the number exists is not checked, because
/// numbering plans differ by country and change over time.
///
/// Invisible characters, which phones and office programs often paste along with a number, are dropped.
/// Joiners are part of the spelling and are kept. The text is stored in Normalization Form C.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// Reason why a phone number was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// The text contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The text is empty or contains only invisible characters.
    #[error("must not be empty")]
    Empty,
    /// The text has more than [`Phone::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", Phone::MAX_CHARS)]
    TooLong,
    /// The text has fewer than [`Phone::MIN_DIGITS`] digits.
    #[error("must contain at least {} digits", Phone::MIN_DIGITS)]
    TooFewDigits,
}

impl Phone {
    /// Maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 64;
    /// Minimum number of digits.
    pub const MIN_DIGITS: usize = 2;

    /// Parses a phone number.
    ///
    /// # Errors
    ///
    /// [`PhoneError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, PhoneError> {
        let input = text::composed(input);
        let phone = text::trimmed(&input);
        text::check_controls(phone)?;
        let visible: String = phone.chars().filter(|c| !text::is_invisible(*c)).collect();
        // Compose again: a dropped character may have separated a letter from its accent.
        let phone = text::composed(&visible).into_owned();
        if phone.is_empty() {
            return Err(PhoneError::Empty);
        }
        if phone.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(PhoneError::TooLong);
        }
        if phone.chars().filter(|c| text::is_digit(*c)).count() < Self::MIN_DIGITS {
            return Err(PhoneError::TooFewDigits);
        }
        Ok(Self(phone))
    }
}

value!(Phone);
