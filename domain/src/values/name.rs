//! A patient's name.

use unicode_segmentation::UnicodeSegmentation;

use super::direction;
use super::text::{self, ControlCharacter};

/// A patient's name: 1 to 200 characters as people count them, with at most 800 code points, including at
/// least one letter or digit in any script.
///
/// Surrounding white space and invisible characters are dropped. The name is stored in Normalization Form C.
/// Joiners and directional marks inside the name are part of the spelling and are kept, as are paired
/// directional embeddings and isolates. Overrides and unpaired directional characters are rejected, because
/// they can make the name or the text after it look like another text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Reason why a name was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The name is empty or contains only invisible characters.
    #[error("must not be empty")]
    Empty,
    /// The name has more than [`Name::MAX_CHARS`] characters, or more than [`Name::MAX_CODE_POINTS`] code
    /// points.
    #[error(
        "must be at most {} characters long, with at most {} code points",
        Name::MAX_CHARS,
        Name::MAX_CODE_POINTS
    )]
    TooLong,
    /// The name contains neither a letter nor a digit.
    #[error("must contain at least one letter or digit")]
    NoLetter,
}

impl Name {
    /// Maximum number of characters as people count them (extended grapheme clusters, UAX #29).
    pub const MAX_CHARS: usize = 200;
    /// Maximum number of code points (Unicode scalar values). A character as people count it can have any
    /// number of marks. An average of four code points per character suffices for every script.
    pub const MAX_CODE_POINTS: usize = 800;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`NameError`], one variant for each rule.
    pub fn parse(input: &str) -> Result<Self, NameError> {
        let input = text::composed(input);
        let name = direction::trimmed(&input)?;
        // Compose again: a directional character may have separated a letter from its accent.
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
    // A text never has more characters than bytes.
    name.len() > Name::MAX_CHARS
        && (name.chars().nth(Name::MAX_CODE_POINTS).is_some()
            || name.graphemes(true).nth(Name::MAX_CHARS).is_some())
}

value!(Name);
