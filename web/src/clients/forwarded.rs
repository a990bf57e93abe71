//! Parser of the header `Forwarded` (RFC 7239, section 4), from the right.
//!
//! Each proxy appends its element on the right, so everything left of that element is untrusted. If the
//! header were read from the left, a client could open a quotation mark, and the proxy's element would become
//! part of the quoted text. Reading from the right starts with the proxy's element. Text that the proxy
//! quotes stays within its quotation marks, even if the client chose that text.

use std::borrow::Cow;

/// Elements of a line, from the right. A malformed element is an error and ends the iteration, because the
/// end of the next element to the left is then unknown.
pub(super) struct Elements<'h> {
    rest: Option<&'h [u8]>,
}

/// Error for an element that does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'h> Elements<'h> {
    pub(super) const fn of(line: &'h [u8]) -> Self {
        Self { rest: Some(line) }
    }
}

impl<'h> Iterator for Elements<'h> {
    /// Value of `for`, if the element has one.
    type Item = Result<Option<Cow<'h, [u8]>>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        match element(rest) {
            Ok((found, rest)) => {
                self.rest = rest;
                Some(Ok(found))
            }
            Err(malformed) => Some(Err(malformed)),
        }
    }
}

type Element<'h> = (Option<Cow<'h, [u8]>>, Option<&'h [u8]>);

/// Returns the `for` of the rightmost element, and the part of the line before the comma that precedes it.
fn element(line: &[u8]) -> Result<Element<'_>, Malformed> {
    let (mut rest, mut found) = (line, None);
    loop {
        rest = rest.trim_ascii_end();
        // A pair may be missing, as in `;for=a`.
        if !matches!(rest, [] | [.., b',' | b';']) {
            let (pair, before) = pair(rest)?;
            let (name, value) = pair;
            if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
                // The parameter is ambiguous. RFC 7239 allows each parameter only once.
                return Err(Malformed);
            }
            rest = before.trim_ascii_end();
        }
        match rest {
            [] => return Ok((found, None)),
            [before @ .., b','] => return Ok((found, Some(before))),
            [before @ .., b';'] => rest = before,
            _ => return Err(Malformed),
        }
    }
}

type Pair<'h> = (&'h [u8], Cow<'h, [u8]>);

/// Splits off the `name=value` at the end of the line.
fn pair(line: &[u8]) -> Result<(Pair<'_>, &[u8]), Malformed> {
    let (value, rest) = if let [rest @ .., b'"'] = line {
        quoted(rest)?
    } else {
        let (value, rest) = last_while(line, is_value);
        (Cow::Borrowed(value), rest)
    };
    let rest = rest.strip_suffix(b"=").ok_or(Malformed)?;
    let (name, rest) = last_while(rest, is_token);
    if name.is_empty() || value.is_empty() {
        return Err(Malformed);
    }
    Ok(((name, value), rest))
}

/// Returns the content of the quoted string whose closing mark followed `line`, and the part before its
/// opening mark. The opening mark is the rightmost mark after an even number of backslashes. It has no
/// backslash before it, because it follows `=`.
fn quoted(line: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Malformed> {
    let mut end = line.len();
    // The closing mark must not be escaped.
    if backslashes(line) % 2 == 1 {
        return Err(Malformed);
    }
    loop {
        let mark = line[..end]
            .iter()
            .rposition(|byte| *byte == b'"')
            .ok_or(Malformed)?;
        if backslashes(&line[..mark]).is_multiple_of(2) {
            return Ok((unescaped(&line[mark + 1..]), &line[..mark]));
        }
        end = mark;
    }
}

fn backslashes(line: &[u8]) -> usize {
    line.iter().rev().take_while(|byte| **byte == b'\\').count()
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return text.into();
    }
    let mut bytes = text.iter();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    plain.into()
}

/// Splits off the longest suffix whose bytes all satisfy `is`. Returns the suffix and the rest.
fn last_while(line: &[u8], is: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let start = line.iter().rposition(|byte| !is(*byte)).map_or(0, |at| at + 1);
    (&line[start..], &line[..start])
}

/// Whether a token may contain this byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether an unquoted value may contain this byte. IPv6 addresses and ports require quotation marks, but not
/// every proxy writes them.
fn is_value(byte: u8) -> bool {
    is_token(byte) || b":[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `for`, from the right. `-` marks an element without `for`, and `!` a malformed element.
    fn read(line: &str) -> Vec<String> {
        Elements::of(line.as_bytes())
            .map(|element| match element {
                Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
                Ok(None) => "-".to_owned(),
                Err(Malformed) => "!".to_owned(),
            })
            .collect()
    }

    #[test]
    fn elements_are_read_from_the_right_and_what_is_quoted_stays_quoted() {
        for (line, expected) in [
            ("for=a", &["a"][..]),
            ("for=a,for=b , for=c", &["c", "b", "a"]),
            ("For=\"a,b;for=c\"", &["a,b;for=c"]),
            ("by=x;for=a;proto=https", &["a"]),
            ("for=a;host=\"x,for=b\"", &["a"]),
            ("for=a;host=\"x;for=b\"", &["a"]),
            (r#"for=a;host="x\",for=b""#, &["a"]),
            (r#"for=a;host="x\\\",for=b\\""#, &["a"]),
            (r#"for="\a\"\\""#, &["a\"\\"]),
            (r#"for="a\\""#, &["a\\"]),
            ("for=\"[2001:db8::1]:4711\"", &["[2001:db8::1]:4711"]),
            ("for=[2001:db8::1]:4711", &["[2001:db8::1]:4711"]),
            ("proto=https", &["-"]),
            ("", &["-"]),
            ("for=a,", &["-", "a"]),
            ("for=a;;", &["a"]),
            (";for=a", &["a"]),
            ("proto=https; for=a", &["a"]),
            // Malformed text to the left of the last element.
            ("for=\"evil, for=a", &["a", "!"]),
            ("for=\"evil, for=a;host=\"h\"", &["a", "!"]),
            ("\"\"\\\"=;,,for=a", &["a", "-", "!"]),
            ("x=\\, for=a", &["a", "!"]),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar_is_malformed() {
        for line in [
            "for",
            "for=",
            "=a",
            "for==a",
            "for =a",
            "for=\"a",
            "for=a\"",
            "for=\"\"",
            "for=\"a\"b",
            r#"for="a\""#,
            "for=a b",
            "for=a;for=b",
            "for=a;host=\"a\";for=b;x=\"b\"",
            "for=é",
            "\u{0}",
        ] {
            assert_eq!(read(line), ["!"], "{line}");
        }
    }
}
