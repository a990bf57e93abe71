//! Text functions shared by all values: trimming, normalization, and detection of control characters.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The text contains a control character, a line break, or directional formatting (UAX #9) that can make it
/// look like another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not contain line breaks, tabs, other control characters or directional overrides")]
pub struct ControlCharacter;

/// Zero-width non-joiner and joiner, which are part of the spelling in Persian, Indic scripts and emoji.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Returns the text without surrounding white space and invisible characters.
///
/// The removed characters are Unicode's `White_Space` (spaces, tabs, line breaks), format characters (`Cf`:
/// byte order marks, directional formatting, soft hyphens), `Default_Ignorable` characters (Hangul fillers),
/// and the blank Braille cell. A variation selector belongs to the ideograph, letter or emoji before it and
/// is kept.
pub(super) fn trimmed(input: &str) -> &str {
    let start = input.trim_start_matches(is_blank);
    let end = start.trim_end_matches(is_blank);
    let selectors = start[end.len()..]
        .find(|c| !is_variation_selector(c))
        .unwrap_or(start.len() - end.len());
    if end.ends_with(|base: char| !base.is_ascii()) {
        &start[..end.len() + selectors]
    } else {
        end
    }
}

/// Returns the text in Normalization Form C, so that canonically equivalent texts are equal.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        ComposingNormalizerBorrowed::new_nfc().normalize(text)
    }
}

/// Rejects control characters and line breaks.
pub(super) fn check_controls(text: &str) -> Result<(), ControlCharacter> {
    // JavaScript and many programs that display text treat line and paragraph separators as line breaks.
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(ControlCharacter);
    }
    Ok(())
}

/// Whether the character changes the direction of text: the start or the end of an embedding, override or
/// isolate.
pub(super) const fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether the character is invisible and not part of the spelling.
pub(super) fn is_invisible(c: char) -> bool {
    is_ignorable(c) && !JOINERS.contains(&c) && !is_variation_selector(c)
}

/// Whether the character is a visible letter or digit, in any script.
pub(super) fn is_visible_alphanumeric(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let mark = matches!(
        category(c),
        GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark | GeneralCategory::EnclosingMark
    );
    c.is_alphanumeric() && !mark && !is_ignorable(c)
}

/// Whether the character is a digit, in any script.
pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && category(c) == GeneralCategory::DecimalNumber)
}

fn is_blank(c: char) -> bool {
    const BLANK_BRAILLE_CELL: char = '\u{2800}';
    c.is_whitespace() || is_ignorable(c) || c == BLANK_BRAILLE_CELL
}

/// Whether the character is invisible, such as a format character, joiner or variation selector.
pub(super) fn is_ignorable(c: char) -> bool {
    !c.is_ascii()
        && (CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
            || category(c) == GeneralCategory::Format)
}

const fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

pub(super) fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}
