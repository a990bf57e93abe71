//! The file `.env`, read one entry at a time so that an error names its line.
//!
//! `docker compose` reads the same file by slightly different rules. A line that the two programs would read
//! differently, or that would silently lose characters, is an error here. Such lines contain a `$` outside
//! single quotes that is not `${NAME}` with a name that is set, a value that begins with `#`, or a backslash
//! at the end of a line.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Maximum size of the file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reason why the file cannot be used. No message repeats a value, because it may be a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DotenvError {
    /// The file cannot be read.
    #[error(".env cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is larger than [`LARGEST`].
    #[error(".env is larger than {LARGEST} bytes")]
    TooLarge,
    /// A line is invalid.
    #[error(".env, line {line}: {fault}")]
    Line {
        /// Number of the line, from 1; for a value of several lines, the number of the first line.
        line: usize,
        /// The fault in the line.
        fault: Fault,
    },
}

/// A fault in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The line is not an entry.
    #[error("expected NAME=value, in quotes if the value contains spaces")]
    Malformed,
    /// A `$` would be expanded.
    #[error("$ must be in single quotes ('pa$word'), or part of ${{NAME}} where NAME is set")]
    Dollar,
    /// A `#` would start a comment.
    #[error("a value that begins with # must be in quotes")]
    Hash,
    /// A backslash would be dropped.
    #[error("a backslash at the end of a line must be in single quotes, or doubled")]
    Backslash,
    /// A quote is not closed.
    #[error("the quote that begins here is not closed")]
    Unclosed,
    /// The line is not text.
    #[error("expected UTF-8 text without NUL characters")]
    NotText,
}

/// An entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotenvEntry {
    /// The line on which the entry begins.
    pub(crate) line: usize,
    /// The variable.
    pub(crate) name: String,
    /// Whether the entry sets the variable. Otherwise, the environment or an earlier entry sets it.
    pub(crate) is_effective: bool,
    /// The whole entry, as written in the file.
    text: String,
}

/// Adds the entries of the file to the environment and returns them. Variables that are already set take
/// precedence. A missing file has no entries.
///
/// Must be called while the process has one thread, before any other code reads the environment.
pub(crate) fn load(path: &Path) -> Result<Vec<DotenvEntry>, DotenvError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DotenvError::Unreadable(error)),
        Ok(_) if content.len() as u64 > LARGEST => return Err(DotenvError::TooLarge),
        Ok(_) => {}
    }
    let entries = entries(&content, |name| std::env::var_os(name).is_some())?;
    for DotenvEntry { line, text, .. } in &entries {
        dotenvy::from_read(text.as_bytes()).map_err(|_| DotenvError::Line {
            line: *line,
            fault: Fault::Malformed,
        })?;
    }
    Ok(entries)
}

/// Returns the entries in `content`. `is_set` returns whether the environment has a name.
fn entries(content: &[u8], is_set: impl Fn(&str) -> bool) -> Result<Vec<DotenvEntry>, DotenvError> {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let mut entries: Vec<DotenvEntry> = Vec::new();
    let mut quote = None;
    let (mut first, mut text) = (1, String::new());
    for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if quote.is_none() {
            first = index + 1;
            text.clear();
        }
        let wrong = |fault| DotenvError::Line { line: first, fault };
        let line = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0'));
        let line = line.ok_or_else(|| wrong(Fault::NotText))?;
        let is_known = |name: &str| is_set(name) || entries.iter().any(|entry| entry.name == name);
        quote = scan(line, quote, is_known).map_err(wrong)?;
        text.push_str(line);
        if quote.is_none()
            && let Some(name) = name(&text).map_err(wrong)?
        {
            let is_effective = !is_known(&name);
            entries.push(DotenvEntry {
                line: first,
                name,
                is_effective,
                text: text.clone(),
            });
        }
    }
    match quote {
        Some(_) => Err(DotenvError::Line {
            line: first,
            fault: Fault::Unclosed,
        }),
        None => Ok(entries),
    }
}

/// Checks a line that begins inside `quote`, if any, and returns the quote that is open at its end.
fn scan(line: &str, mut quote: Option<char>, is_known: impl Fn(&str) -> bool) -> Result<Option<char>, Fault> {
    if quote.is_none() && line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let mut before = ' ';
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') if matches!(rest.next(), None | Some('\n' | '\r')) => return Err(Fault::Backslash),
            (_, '$') => {
                let name = rest
                    .as_str()
                    .strip_prefix('{')
                    .and_then(|name| name.split_once('}'));
                if !name.is_some_and(|(name, _)| is_known(name)) {
                    return Err(Fault::Dollar);
                }
            }
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before == '=' => return Err(Fault::Hash),
            (None, '#') if before.is_whitespace() => break,
            _ => {}
        }
        before = c;
    }
    Ok(quote)
}

/// Returns the name that an entry sets, or `None` for a comment or an empty line.
fn name(text: &str) -> Result<Option<String>, Fault> {
    let mut items = dotenvy::from_read_iter(text.as_bytes());
    match (items.next(), items.next()) {
        (None, _) => Ok(None),
        (Some(Ok((name, _))), None) => Ok(Some(name)),
        _ => Err(Fault::Malformed),
    }
}

#[cfg(test)]
mod tests;
