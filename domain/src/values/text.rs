//! What every value has in common: no control characters, no spaces around.

/// A character that is not seen but changes what is: a control character, a line or paragraph separator, or
/// one that reverses the direction of the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not contain line breaks, tabs or other control characters")]
pub struct ControlCharacter;

/// The text without the spaces around it.
///
/// Only U+0020 is trimmed: a trailing line break is refused, not hidden.
pub(super) fn trimmed(input: &str) -> Result<&str, ControlCharacter> {
    if input.chars().any(is_control) {
        return Err(ControlCharacter);
    }
    Ok(input.trim_matches(' '))
}

fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separator: line breaks to JavaScript and to many programs that show text.
            '\u{2028}' | '\u{2029}'
            // Bidirectional embeddings, overrides and isolates: they make a text read as another one (UAX
            // #9).
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
