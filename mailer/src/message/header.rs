//! Text in header fields, as RFC 5322 and RFC 2047 want it.
//!
//! lettre leaves names such as `..dots` unquoted and lets lines with encoded words grow beyond 76 characters;
//! so its values are written here, and it puts them in as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};

/// The longest line that an encoded word may be on (RFC 2047 §2); and for all others a good length (RFC 5322
/// §2.1.1).
const LINE: usize = 76;
/// The longest encoded word, and what it has besides its text.
const WORD: usize = 75;
const FRAME: usize = "=?utf-8?b??=".len();

/// A field with free text, such as the subject.
pub(super) fn text(name: HeaderName, text: &str) -> HeaderValue {
    let length = name_length(&name);
    let plain = text.bytes().all(is_printable) && !text.contains("=?");
    let folded = if plain { fold(text, length) } else { None };
    let value = folded.unwrap_or_else(|| encoded(text, length));
    HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), value)
}

/// A field with one mailbox, such as `To`.
pub(super) fn mailbox(name: HeaderName, mailbox: &Mailbox) -> HeaderValue {
    let length = name_length(&name);
    let address = mailbox.email.to_string();
    let value = match mailbox
        .name
        .as_deref()
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        None => address.clone(),
        Some(name) => {
            let phrase = phrase(name, length);
            let address = format!("<{address}>");
            // Of the last line.
            let used = match phrase.rsplit_once("\r\n") {
                Some((_, last)) => last.len(),
                None => length + phrase.len(),
            };
            let between = if used + 1 + address.len() <= LINE {
                " "
            } else {
                "\r\n "
            };
            format!("{phrase}{between}{address}")
        }
    };
    // lettre reads the address back from the value as it is before encoding; every name is left out, since it
    // cannot read all.
    HeaderValue::dangerous_new_pre_encoded(name, address, value)
}

fn name_length(name: &HeaderName) -> usize {
    name.to_string().len() + ": ".len()
}

/// A display name: an atom, a quoted string, or encoded words.
fn phrase(name: &str, length: usize) -> String {
    if name.bytes().all(is_atom) && !name.contains("=?") && length + name.len() <= LINE {
        return name.to_owned();
    }
    // Within quotes, many programs decode what looks like an encoded word.
    if name.bytes().all(is_printable) && !name.contains("=?") {
        let quoted = format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        if let Some(folded) = fold(&quoted, length) {
            return folded;
        }
    }
    encoded(name, length)
}

/// Text whose lines end before a space, if that makes them short enough; the first has `length` characters
/// already.
fn fold(text: &str, length: usize) -> Option<String> {
    let mut folded = String::with_capacity(text.len() + 8);
    let mut used = length;
    let mut rest = text;
    while !rest.is_empty() {
        // With the spaces before it.
        let start = rest.find(|c| c != ' ').unwrap_or(rest.len());
        let end = rest[start..].find(' ').map_or(rest.len(), |end| start + end);
        let (word, after) = rest.split_at(end);
        if used + word.len() > LINE {
            // A line of nothing but white space is not allowed.
            if start == 0 || start == word.len() || word.len() > LINE {
                return None;
            }
            folded.push_str("\r\n");
            used = 0;
        }
        folded.push_str(word);
        used += word.len();
        rest = after;
    }
    Some(folded)
}

/// Encoded words, one a line, each of whole characters.
fn encoded(text: &str, length: usize) -> String {
    let mut words = String::new();
    let mut used = length;
    let mut rest = text;
    while !rest.is_empty() {
        let room = WORD.min(LINE.saturating_sub(used)).saturating_sub(FRAME) / 4 * 3;
        let mut end = room.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        if end == 0 {
            // No field's name is that long; a character has its line then.
            end = rest.chars().next().map_or(rest.len(), char::len_utf8);
        }
        let (word, after) = rest.split_at(end);
        if !words.is_empty() {
            words.push_str("\r\n ");
        }
        words.push_str("=?utf-8?b?");
        STANDARD.encode_string(word, &mut words);
        words.push_str("?=");
        used = 1;
        rest = after;
    }
    words
}

/// Printable ASCII or a space.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// RFC 5322 §3.2.3, atext.
const fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

#[cfg(test)]
mod tests;
