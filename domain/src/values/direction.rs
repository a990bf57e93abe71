//! Directional formatting (UAX #9): pairs of characters that enclose text in another writing direction.

use std::borrow::Cow;

use super::text::{self, ControlCharacter};

/// Returns the trimmed text. All directional formatting in the result is paired, and the result contains no
/// override.
///
/// Trimming can drop one half of a pair, for example if the text consists of several parts that are each
/// enclosed in a pair. The other half is then dropped as well.
///
/// # Errors
///
/// [`ControlCharacter`] if a directional character that remains is an override or has no counterpart. An
/// unpaired character would affect the text that follows. An override can make a name look like another name.
pub(super) fn trimmed(input: &str) -> Result<Cow<'_, str>, ControlCharacter> {
    let text = text::trimmed(input);
    if !text.contains(text::is_directional) {
        return Ok(Cow::Borrowed(text));
    }
    let start = text.as_ptr().addr() - input.as_ptr().addr();
    let inside = start..start + text.len();
    let others = other_halves(input);
    let mut kept = String::with_capacity(text.len());
    for (at, c) in input.char_indices().filter(|(at, _)| inside.contains(at)) {
        if text::is_directional(c) {
            match others.iter().find(|(half, _)| *half == at) {
                Some((_, other)) if !inside.contains(other) => continue,
                Some(_) if !matches!(c, '\u{202d}' | '\u{202e}') => {}
                _ => return Err(ControlCharacter),
            }
        }
        kept.push(c);
    }
    Ok(Cow::Owned(kept))
}

/// Returns the offset of each paired character, with the offset of its other half.
fn other_halves(input: &str) -> Vec<(usize, usize)> {
    let (mut open, mut halves) = (Vec::new(), Vec::new());
    for (at, c) in input.char_indices() {
        let closed = match c {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => {
                open.push((at, false));
                None
            }
            '\u{2066}'..='\u{2068}' => {
                open.push((at, true));
                None
            }
            // The end of an embedding has no effect outside its isolate.
            '\u{202c}' => open.pop_if(|(_, isolate)| !*isolate),
            // The end of an isolate also ends the embeddings in it.
            '\u{2069}' => open
                .iter()
                .rposition(|(_, isolate)| *isolate)
                .and_then(|isolate| {
                    open.truncate(isolate + 1);
                    open.pop()
                }),
            _ => None,
        };
        if let Some((opened, _)) = closed {
            halves.extend([(opened, at), (at, opened)]);
        }
    }
    halves
}
