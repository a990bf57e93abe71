//! A patient's name.

use super::text::{self, ControlCharacter};

/// A patient's name: 1 to 200 characters (Unicode scalar values) after trimming, at least one of them a
/// letter or a digit in any script.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or spaces only.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`Name::MAX_CHARS`] characters.
    #[error("must be at most {} characters long", Name::MAX_CHARS)]
    TooLong,
    /// It has neither a letter nor a digit: only punctuation, or characters that show nothing.
    #[error("must contain at least one letter")]
    NoLetter,
}

impl Name {
    /// The most characters (Unicode scalar values) in a name.
    pub const MAX_CHARS: usize = 200;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`NameError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, NameError> {
        let name = text::trimmed(input)?;
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.chars().count() > Self::MAX_CHARS {
            return Err(NameError::TooLong);
        }
        if !name.contains(char::is_alphanumeric) {
            return Err(NameError::NoLetter);
        }
        Ok(Self(name.to_owned()))
    }
}

value!(Name);
