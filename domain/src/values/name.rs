//! A patient's name.

use unicode_segmentation::UnicodeSegmentation;

use super::direction;
use super::text::{self, ControlCharacter};

/// A patient's name: 1 to 200 characters as people count them, at least one of them a letter or a digit in
/// any script.
///
/// White space and invisible characters around it are dropped; it is kept in Normalization Form C. Joiners
/// and directional marks inside are part of the spelling and stay, and so do directional embeddings and
/// isolates that are closed again. Overrides and unclosed ones are refused: they can make the name, or the
/// text after it, read as another one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or has only characters that show nothing.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`Name::MAX_CHARS`] characters, or more than [`Name::MAX_CODE_POINTS`] code points.
    #[error(
        "must be at most {} characters long, with at most {} code points",
        Name::MAX_CHARS,
        Name::MAX_CODE_POINTS
    )]
    TooLong,
    /// It has neither a letter nor a digit.
    #[error("must contain at least one letter or digit")]
    NoLetter,
}

impl Name {
    /// The maximum number of characters as people count them (extended grapheme clusters, UAX #29).
    pub const MAX_CHARS: usize = 200;
    /// The maximum number of code points (Unicode scalar values). A character as people count them can have
    /// any number of marks; four code points for each are enough for every script.
    pub const MAX_CODE_POINTS: usize = 800;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`NameError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, NameError> {
        let input = text::composed(input);
        let name = direction::trimmed(&input)?;
        // Once more: directional formatting may have kept a letter from its accent.
        let name = text::composed(&name);
        text::check_controls(&name)?;
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if is_too_long(&name) {
            return Err(NameError::TooLong);
        }
        if !name.contains(text::is_visible_alphanumeric) {
            return Err(NameError::NoLetter);
        }
        Ok(Self(name.into_owned()))
    }
}

fn is_too_long(name: &str) -> bool {
    // No text has more characters than bytes.
    name.len() > Name::MAX_CHARS
        && (name.chars().nth(Name::MAX_CODE_POINTS).is_some()
            || name.graphemes(true).nth(Name::MAX_CHARS).is_some())
}

value!(Name);
