//! The strict JSON reader for everything in the log, and the conversion of JSON to its RFC 8785 form.
//!
//! Appends, verification, exports, proofs and the feed accept the same texts: I-JSON (RFC 7493) nested at
//! most [`DEPTH`] levels deep. No object has two members with the same name, no string has half a surrogate
//! pair, no integer is beyond [`LARGEST_INTEGER`], and no other number has more precision than a double
//! keeps.
//!
//! Verification computes the canonical form of every event. Converting through a tree of values costs several
//! times as much as SHA-256, so common texts are converted directly: strings without escapes, integers that
//! fit into a double, and members with ASCII names. All other texts are read into a tree ([`strict_json`]),
//! with the same result.

mod strict;

pub use strict::strict_json;
pub(crate) use strict::strict_value;

/// Maximum nesting depth of arrays and objects. MariaDB stores at most this many levels, MySQL 100, and
/// SQLite any number.
pub(crate) const DEPTH: usize = 31;
/// Largest accepted integer, 2⁵³ − 1, as in RFC 7493. RFC 8785 treats every number as a double, so two larger
/// integers could have the same canonical form.
pub(crate) const LARGEST_INTEGER: u64 = (1 << 53) - 1;
/// Number of decimal digits of an integer that a double always represents exactly.
const DIGITS: usize = 15;

/// Appends the RFC 8785 form of `text` to `out`. The contents of `out` are undefined after an error.
///
/// # Errors
///
/// If [`strict_json`] rejects the text.
pub(crate) fn canonicalize(text: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = out.len();
    if DirectConversion::new(text).whole(out).is_some() {
        return Ok(());
    }
    out.truncate(start);
    serde_json_canonicalizer::to_writer(&strict_json(text)?, out)
}

/// State of the direct conversion, which returns `None` for any text that it does not support.
struct DirectConversion<'a> {
    text: &'a [u8],
    at: usize,
    /// Members of the open objects.
    members: Vec<Member<'a>>,
    reordered: Vec<u8>,
}

struct Member<'a> {
    name: &'a [u8],
    /// Offset of the member in the output.
    start: usize,
    end: usize,
}

impl<'a> DirectConversion<'a> {
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

    /// Skips whitespace and then `byte`. Returns whether `byte` was next.
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

    /// Reads a string literal, including its quotes. Returns `None` if it has escapes. Without escapes, the
    /// literal is already canonical.
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
        // RFC 8785 sorts names by UTF-16, which equals byte order only for ASCII. The closing quote sorts
        // before every possible next character except space and '!', so the stored name excludes it.
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
