//! Encoding of text in header fields (RFC 5322, RFC 2047).
//!
//! lettre leaves names such as `..dots` unquoted, and allows lines with encoded words to exceed 76
//! characters. The values are therefore encoded here, and lettre inserts them unchanged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};

/// Maximum length of a line with an encoded word (RFC 2047 §2). Other lines are limited to the same length,
/// which is below the recommended maximum of 78 (RFC 5322 §2.1.1).
const LINE: usize = 76;
/// Maximum length of an encoded word, with its delimiters.
const WORD: usize = 75;
/// Length of the delimiters of an encoded word.
const FRAME: usize = "=?utf-8?b??=".len();

/// Encodes a free-text field, such as the subject.
pub(super) fn text(name: HeaderName, text: &str) -> HeaderValue {
    let length = name_length(&name);
    let plain = text.bytes().all(is_printable) && !text.contains("=?");
    let folded = if plain { fold(text, length) } else { None };
    let value = folded.unwrap_or_else(|| encoded(text, length));
    HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), value)
}

/// Encodes a field with one mailbox, such as `To`.
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
            // Length of the last line.
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
    // lettre parses the address from the unencoded value. It contains no name, because lettre cannot parse
    // every name.
    HeaderValue::dangerous_new_pre_encoded(name, address, value)
}

fn name_length(name: &HeaderName) -> usize {
    name.to_string().len() + ": ".len()
}

/// Encodes a display name as an atom, a quoted string or encoded words.
fn phrase(name: &str, length: usize) -> String {
    if name.bytes().all(is_atom) && !name.contains("=?") && length + name.len() <= LINE {
        return name.to_owned();
    }
    // Many programs decode text that looks like an encoded word, even within quotes.
    if name.bytes().all(is_printable) && !name.contains("=?") {
        let quoted = format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        if let Some(folded) = fold(&quoted, length) {
            return folded;
        }
    }
    encoded(name, length)
}

/// Breaks lines before spaces. Returns `None` if that does not make all lines short enough. The first line
/// already has `length` characters.
fn fold(text: &str, length: usize) -> Option<String> {
    let mut folded = String::with_capacity(text.len() + 8);
    let mut used = length;
    let mut rest = text;
    while !rest.is_empty() {
        // The word includes the spaces before it.
        let start = rest.find(|c| c != ' ').unwrap_or(rest.len());
        let end = rest[start..].find(' ').map_or(rest.len(), |end| start + end);
        let (word, after) = rest.split_at(end);
        if used + word.len() > LINE {
            // A line of whitespace alone is not allowed.
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

/// Encodes text as encoded words, one per line, without splitting characters.
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
            // No field name is long enough to reach this code. If a name were, the next character would get
            // its own line.
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

/// Whether the byte is printable ASCII or a space.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether the byte is `atext` (RFC 5322 §3.2.3).
const fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

#[cfg(test)]
mod tests;
