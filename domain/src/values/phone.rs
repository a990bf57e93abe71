//! A patient's phone number.

use super::text::{self, ControlCharacter};

/// A phone number as people write it, 3 to 64 characters, kept as written.
///
/// ```text
/// phone     = [ "+" / "(+" ] number [ extension ]
/// number    = digits 0-9 and the separators  space ( ) - . /   with at least 3 digits
/// extension = ( "x" / "ext" / "ext." / "#" ) digits     in either case, spaces allowed around the mark
/// ```
///
/// Such as `+34 600 123 456`, `(555)123-4567x890` or `001-555-123-4567 ext. 12`. No other letters, and no
/// digits of other scripts. Whether the number exists is not asked: numbering plans differ by country and
/// change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// Why a phone number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It has fewer than [`Phone::MIN_CHARS`] or more than [`Phone::MAX_CHARS`] characters.
    #[error("must be {} to {} characters long", Phone::MIN_CHARS, Phone::MAX_CHARS)]
    Length,
    /// It has a character that belongs to no phone number.
    #[error("must have only digits, spaces and ( ) - . / besides a leading + and an extension such as x123")]
    UnexpectedCharacter,
    /// It has a `+` that is not at the start.
    #[error("must have a + only at the start")]
    MisplacedPlus,
    /// It has fewer than [`Phone::MIN_DIGITS`] digits, those of the extension not counted.
    #[error("must have at least {} digits, not counting an extension", Phone::MIN_DIGITS)]
    TooFewDigits,
    /// What follows `x`, `ext` or `#` is not digits alone.
    #[error("must have digits, and nothing else, after the mark of an extension")]
    InvalidExtension,
}

impl Phone {
    /// The fewest characters in a phone number.
    pub const MIN_CHARS: usize = 3;
    /// The most characters in a phone number.
    pub const MAX_CHARS: usize = 64;
    /// The fewest digits in a phone number, those of the extension not counted: `112` is one.
    pub const MIN_DIGITS: usize = 3;

    /// Parses a phone number.
    ///
    /// # Errors
    ///
    /// [`PhoneError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, PhoneError> {
        let phone = text::trimmed(input)?;
        if !(Self::MIN_CHARS..=Self::MAX_CHARS).contains(&phone.chars().count()) {
            return Err(PhoneError::Length);
        }
        let lower = phone.to_ascii_lowercase();
        let (number, extension) = lower.split_at(lower.find(['x', 'e', '#']).unwrap_or(lower.len()));
        check_number(number)?;
        if !extension.is_empty() {
            check_extension(extension)?;
        }
        Ok(Self(phone.to_owned()))
    }
}

fn check_number(number: &str) -> Result<(), PhoneError> {
    let national = number
        .strip_prefix("(+")
        .or_else(|| number.strip_prefix('+'))
        .unwrap_or(number);
    if national.contains('+') {
        return Err(PhoneError::MisplacedPlus);
    }
    if !national
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '(' | ')' | '-' | '.' | '/'))
    {
        return Err(PhoneError::UnexpectedCharacter);
    }
    if national.chars().filter(char::is_ascii_digit).count() < Phone::MIN_DIGITS {
        return Err(PhoneError::TooFewDigits);
    }
    Ok(())
}

fn check_extension(extension: &str) -> Result<(), PhoneError> {
    let digits = ["ext.", "ext", "x", "#"]
        .iter()
        .find_map(|mark| extension.strip_prefix(mark))
        .ok_or(PhoneError::UnexpectedCharacter)?
        .trim_start_matches(' ');
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(PhoneError::InvalidExtension);
    }
    Ok(())
}

value!(Phone);
