//! Directional formatting in a text (UAX #9): pairs of characters around a part of it that is written the
//! other way.

use std::borrow::Cow;

use super::text::{self, ControlCharacter};

/// The trimmed text, in which all directional formatting is in pairs, and none is an override.
///
/// A text of several parts, each in a pair of its own, begins and ends with halves of two pairs. Trimming
/// drops these, so their other halves are dropped as well.
///
/// # Errors
///
/// [`ControlCharacter`] if a character of the text inside has no other half, since it would reach into the
/// text that follows, or is an override, which can make a name read as another one.
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

/// Where each half of a pair is, and where its other half is.
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
            // The end of an embedding does not reach out of an isolate.
            '\u{202c}' => open.pop_if(|(_, isolate)| !*isolate),
            // The end of an isolate ends the embeddings in it.
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
