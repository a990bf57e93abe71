//! Signed notes: text with signatures of one or more keys.
//!
//! Source: [c2sp.org/signed-note](https://c2sp.org/signed-note), version 1.0.0.
//!
//! A note is a text that ends with a newline, an empty line, and signature lines of the form
//! `— <key name> base64(<4-byte key ID> ‖ <signature>)`.

mod key;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::text;

pub use key::{Algorithm, KeyError, KeyId, MAX_KEY_LEN, SigningKey, VerifierKey};

/// Maximum length of a note in bytes. The specification requires room for 16 signatures, of which the longest
/// have about 7 kB in base64.
pub const MAX_NOTE_LEN: usize = 256 * 1024;

/// Maximum number of signature lines. Go's `note` package has the same limit.
pub const MAX_SIGNATURES: usize = 100;

/// Reason why bytes are not a signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More than [`MAX_NOTE_LEN`] bytes.
    #[error("the note is longer than {MAX_NOTE_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or with a control character below U+0020 other than newline.
    #[error("the note is not UTF-8, or contains control characters")]
    Characters,
    /// The text does not end with a newline, or is not followed by an empty line and signature lines.
    #[error("the note is not a text, an empty line and signature lines")]
    Structure,
    /// A signature line is malformed.
    #[error("a signature line is malformed")]
    SignatureLine,
    /// More than [`MAX_SIGNATURES`] signature lines.
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
}

/// Reason why a note is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No signature is from a known key.
    #[error("no signature is from a known key")]
    Unsigned,
    /// A signature line has the name and ID of a known key, but the signature is invalid.
    #[error("the signature of {name}+{id} is invalid")]
    Invalid {
        /// Name of the key.
        name: String,
        /// ID of the key.
        id: KeyId,
    },
    /// Two different known keys have the same name and ID.
    #[error("two known keys are {name}+{id}")]
    Ambiguous {
        /// Name of the keys.
        name: String,
        /// ID of the keys.
        id: KeyId,
    },
}

/// A signature line, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    pub(crate) fn new(key: &VerifierKey, bytes: Vec<u8>) -> Self {
        Self {
            name: key.name().to_owned(),
            id: key.id(),
            bytes,
        }
    }

    /// Name of the key that made the signature, according to the line.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// ID of the key that made the signature, according to the line.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature without the key ID. The key's algorithm determines its structure.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the line names this key.
    #[must_use]
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }

    /// Parses one or more signature lines, each with its newline.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is longer than [`MAX_NOTE_LEN`], if it has no line or more than
    /// [`MAX_SIGNATURES`] lines, or if a line is malformed.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        if lines.len() > MAX_NOTE_LEN {
            return Err(NoteError::TooLong);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Structure)?;
        if lines.split('\n').nth(MAX_SIGNATURES).is_some() {
            return Err(NoteError::TooManySignatures);
        }
        lines.split('\n').map(str::parse).collect()
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    /// Parses a signature line without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let parse = || {
            let (name, base64) = line.strip_prefix("— ")?.split_once(' ')?;
            let bytes = text::from_base64(base64)?;
            let (id, bytes) = bytes.split_first_chunk()?;
            (key::is_name(name) && !bytes.is_empty()).then(|| Self {
                name: name.to_owned(),
                id: KeyId(*id),
                bytes: bytes.to_vec(),
            })
        };
        parse().ok_or(NoteError::SignatureLine)
    }
}

impl fmt::Display for Signature {
    /// Formats the signature line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0, self.bytes.as_slice()].concat();
        write!(f, "— {} {}", self.name, text::base64(&bytes))
    }
}

/// A valid signature of a known key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'k> {
    /// The key that made the signature.
    pub key: &'k VerifierKey,
    /// Time of a cosignature in seconds since 1970-01-01 UTC. Plain signatures have no time.
    pub timestamp: Option<u64>,
}

/// A text and its signatures. The text must be ignored until [`Note::verify`] succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Makes a note that has no signatures yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the text does not end with a newline, is longer than [`MAX_NOTE_LEN`], or contains
    /// control characters other than newline.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Structure);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Parses a note with at least one signature. The text form of the result is equal to `bytes`.
    ///
    /// # Errors
    ///
    /// Returns an error if the note is malformed or exceeds a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        // The length is checked before the note is read.
        if bytes.len() > MAX_NOTE_LEN {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        check_characters(note)?;
        // The text can contain empty lines, so the last empty line is the separator.
        let end = note.rfind("\n\n").ok_or(NoteError::Structure)?;
        let (text, signatures) = note.split_at(end + 1);
        let signatures = Signature::parse_lines(signatures.get(1..).unwrap_or_default())?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, of known and unknown keys, in the order of their lines.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs the text. The new signature replaces earlier signatures of the same key.
    ///
    /// # Errors
    ///
    /// Returns an error if the note would exceed a limit.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), NoteError> {
        self.add(key.sign(&self.text))
    }

    /// Adds a signature at the end, without verifying it. The signature replaces earlier signatures of the
    /// same key.
    ///
    /// # Errors
    ///
    /// Returns an error if the note would exceed a limit. In this case, the note is unchanged.
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        let others = |other: &&Signature| other.id != signature.id || other.name != signature.name;
        let mut signatures: Vec<_> = self.signatures.iter().filter(others).cloned().collect();
        signatures.push(signature);
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let added = Self {
            text: self.text.clone(),
            signatures,
        };
        if added.to_string().len() > MAX_NOTE_LEN {
            return Err(NoteError::TooLong);
        }
        *self = added;
        Ok(())
    }

    /// Removes the signatures of all other keys, and repeated lines.
    pub fn retain(&mut self, keys: &[VerifierKey]) {
        let mut kept: Vec<Signature> = Vec::new();
        for signature in self.signatures.drain(..) {
            if keys.iter().any(|key| signature.is_of(key)) && !kept.contains(&signature) {
                kept.push(signature);
            }
        }
        self.signatures = kept;
    }

    /// Verifies the signatures of known keys, and ignores all other signatures. Each key is returned only
    /// once, with its latest cosignature.
    ///
    /// # Errors
    ///
    /// Returns an error if no signature is from a known key, or if any signature of a known key is invalid.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, VerifyError> {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut all: Vec<Verified<'k>> = Vec::new();
        for signature in &self.signatures {
            let Some(verified) = signature.verify(&self.text, &keys)? else {
                continue;
            };
            match all.iter_mut().find(|other| other.key == verified.key) {
                Some(earlier) => earlier.timestamp = earlier.timestamp.max(verified.timestamp),
                None => all.push(verified),
            }
        }
        if all.is_empty() {
            Err(VerifyError::Unsigned)
        } else {
            Ok(all)
        }
    }
}

impl Signature {
    /// Verifies the signature if its key is known. Returns `None` if the key is unknown.
    pub(crate) fn verify<'k>(
        &self,
        text: &str,
        keys: &[&'k VerifierKey],
    ) -> Result<Option<Verified<'k>>, VerifyError> {
        let mut known = keys.iter().filter(|key| self.is_of(key));
        let Some(key) = known.next() else {
            return Ok(None);
        };
        let (name, id) = (self.name.clone(), self.id);
        if known.any(|other| other != key) {
            return Err(VerifyError::Ambiguous { name, id });
        }
        let verified = key.verify(text, &self.bytes);
        verified.map(Some).ok_or(VerifyError::Invalid { name, id })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE_LEN {
        return Err(NoteError::TooLong);
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Characters);
    }
    Ok(())
}
