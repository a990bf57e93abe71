//! A patient's phone number.

use super::text::{self, ControlCharacter};

/// A phone number as people and their programs write it: printable text of at most 64 characters (Unicode
/// scalar values) with at least two digits of any script.
///
/// So extensions in any language, `tel:` URIs (RFC 3966), two numbers, vanity numbers and service codes are
/// taken, and what is around a number is kept as it was written. Whether the number exists is not checked:
/// numbering plans differ by country and change.
///
/// Invisible characters, which phones and office programs paste along with a number, are dropped; joiners are
/// spelling and stay. It is kept in Normalization Form C.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// Why a phone number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or has only characters that show nothing.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`Phone::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", Phone::MAX_CHARS)]
    TooLong,
    /// It has fewer than [`Phone::MIN_DIGITS`] digits.
    #[error("must contain at least {} digits", Phone::MIN_DIGITS)]
    TooFewDigits,
}

impl Phone {
    /// The maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 64;
    /// The minimum number of digits.
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
        // Once more: what was dropped may have kept a letter from its accent.
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
