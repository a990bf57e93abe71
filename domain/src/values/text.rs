//! What every value has in common: the text without what is around it, in one spelling, and without control
//! characters.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// A control character or a line break inside the text, or directional formatting (UAX #9) that makes a text
/// read as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not contain line breaks, tabs, other control characters or directional overrides")]
pub struct ControlCharacter;

/// Zero-width non-joiner and joiner: spelling in Persian, Indic scripts and emoji.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// The text without the white space and the invisible characters around it.
///
/// Both are of every kind: Unicode's `White_Space` (spaces, tabs, line breaks), format characters (`Cf`: byte
/// order marks, directional formatting, soft hyphens), what is `Default_Ignorable` (Hangul fillers), and the
/// blank Braille cell. A variation selector belongs to the ideograph, letter or emoji before it and stays.
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

/// The text in Normalization Form C: canonically equivalent texts become the same one.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        ComposingNormalizerBorrowed::new_nfc().normalize(text)
    }
}

/// Refuses control characters and line breaks.
pub(super) fn check_controls(text: &str) -> Result<(), ControlCharacter> {
    // Line and paragraph separator are line breaks to JavaScript and to many programs that show text.
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(ControlCharacter);
    }
    Ok(())
}

/// Whether it changes the direction of a part of the text: an embedding, override or isolate, or the end of
/// one.
pub(super) const fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether it shows nothing and is not part of the spelling either.
pub(super) fn is_invisible(c: char) -> bool {
    is_ignorable(c) && !JOINERS.contains(&c) && !is_variation_selector(c)
}

/// Whether it is a letter or a digit, in any script, that shows something.
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

/// Whether it is a digit, in any script.
pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && category(c) == GeneralCategory::DecimalNumber)
}

fn is_blank(c: char) -> bool {
    const BLANK_BRAILLE_CELL: char = '\u{2800}';
    c.is_whitespace() || is_ignorable(c) || c == BLANK_BRAILLE_CELL
}

fn is_ignorable(c: char) -> bool {
    !c.is_ascii()
        && (CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
            || category(c) == GeneralCategory::Format)
}

const fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}
