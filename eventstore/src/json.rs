//! JSON text as the databases give it back, into its RFC 8785 form.
//!
//! Whoever checks a whole log makes this form of every event. By way of a tree of values it costs several times what
//! SHA-256 does, so the common case goes from text to text: strings without escapes, integers that a double holds,
//! members with ASCII names. Everything else takes the way of the tree, with the same result.

mod strict;

use serde_json::Value;

pub use strict::strict_json;
pub(crate) use strict::strict_value;

/// The arrays and objects within each other that the short way takes on.
const DEPTH: usize = 64;
/// The largest integer up to which a double holds each one and no other for it. RFC 8785 takes every number for a double,
/// so that beyond, two integers could have one form.
pub(crate) const LARGEST_INTEGER: u64 = (1 << 53) - 1;
/// The digits of an integer that every double holds exactly.
const DIGITS: usize = 15;

/// Writes the RFC 8785 form of `text` behind what `out` holds. `out` is of no use after an error.
///
/// # Errors
///
/// If `text` is not JSON; if it has an object with two members of one name, of which readers disagree about which one
/// counts, or an integer beyond [`LARGEST_INTEGER`]: what RFC 8785 rests on, I-JSON (RFC 7493), has neither.
pub(crate) fn canonicalize(text: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = out.len();
    if ShortWay::new(text).whole(out).is_some() {
        return Ok(());
    }
    out.truncate(start);
    serde_json_canonicalizer::to_writer(&strict_json(text)?, out)
}

/// Whether an integer in it is beyond [`LARGEST_INTEGER`]. One beyond 64 bits, `serde_json` has made a double of; as such it
/// is written, with a point or an exponent, and kept.
pub(crate) fn has_inexact_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let size = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            size.is_some_and(|size| size > LARGEST_INTEGER)
        }
        Value::Array(items) => items.iter().any(has_inexact_integer),
        Value::Object(members) => members.values().any(has_inexact_integer),
        _ => false,
    }
}

/// A pass over the text that gives up (`None`) at whatever it does not know.
struct ShortWay<'a> {
    text: &'a [u8],
    at: usize,
    /// The members of the objects that are open.
    members: Vec<Member<'a>>,
    reordered: Vec<u8>,
}

struct Member<'a> {
    name: &'a [u8],
    /// Where it was written.
    start: usize,
    end: usize,
}

impl<'a> ShortWay<'a> {
    const fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            members: Vec::new(),
            reordered: Vec::new(),
        }
    }

    fn whole(mut self, out: &mut Vec<u8>) -> Option<()> {
        self.value(out, DEPTH)?;
        self.space();
        (self.at == self.text.len()).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over `byte` and the space before it, if it comes next.
    fn next_is(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.space();
        match self.peek()? {
            b'"' => out.extend_from_slice(self.string()?),
            b'{' => self.object(out, depth.checked_sub(1)?)?,
            b'[' => self.array(out, depth.checked_sub(1)?)?,
            b't' => self.word(b"true", out)?,
            b'f' => self.word(b"false", out)?,
            b'n' => self.word(b"null", out)?,
            _ => out.extend_from_slice(self.integer()?),
        }
        Some(())
    }

    /// A string with its quotes. Without escapes it is its own canonical form.
    fn string(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let inner = rest.strip_prefix(b"\"")?;
        let length = inner
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        if inner[length] != b'"' {
            return None;
        }
        self.at += length + 2;
        Some(&rest[..length + 2])
    }

    fn word(&mut self, word: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.text.get(self.at..)?.strip_prefix(word)?;
        self.at += word.len();
        out.extend_from_slice(word);
        Some(())
    }

    fn integer(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let leading_zero = rest.get(sign) == Some(&b'0') && (digits > 1 || sign == 1);
        let end = sign + digits;
        if digits == 0 || digits > DIGITS || leading_zero || matches!(rest.get(end), Some(b'.' | b'e' | b'E'))
        {
            return None;
        }
        self.at += end;
        Some(&rest[..end])
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        out.push(b'[');
        if !self.next_is(b']') {
            loop {
                self.value(out, depth)?;
                if self.next_is(b']') {
                    break;
                }
                if !self.next_is(b',') {
                    return None;
                }
                out.push(b',');
            }
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        out.push(b'{');
        let (body, first) = (out.len(), self.members.len());
        if !self.next_is(b'}') {
            loop {
                self.member(out, depth)?;
                if self.next_is(b'}') {
                    break;
                }
                if !self.next_is(b',') {
                    return None;
                }
                out.push(b',');
            }
        }
        let mut members = self.members.split_off(first);
        if !members.is_sorted_by(|one, other| one.name < other.name) {
            members.sort_unstable_by_key(|member| member.name);
            if members.windows(2).any(|pair| pair[0].name == pair[1].name) {
                return None;
            }
            self.reordered.clear();
            for member in &members {
                self.reordered.extend_from_slice(&out[member.start..member.end]);
                self.reordered.push(b',');
            }
            self.reordered.pop();
            out.truncate(body);
            out.extend_from_slice(&self.reordered);
        }
        out.push(b'}');
        Some(())
    }

    fn member(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.space();
        let start = out.len();
        let name = self.string()?;
        // RFC 8785 sorts by UTF-16; that is the order of the bytes for ASCII alone. The quote after a name sorts before
        // every character that may follow but space and '!', so it is left out.
        if !name.is_ascii() || !self.next_is(b':') {
            return None;
        }
        out.extend_from_slice(name);
        out.push(b':');
        self.value(out, depth)?;
        self.members.push(Member {
            name: &name[1..name.len() - 1],
            start,
            end: out.len(),
        });
        Some(())
    }
}

#[cfg(test)]
mod tests;
