//! Hashes of the Merkle tree.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text;

/// A SHA-256 hash. Its text form is standard base64 with padding, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Root of the tree without leaves: the SHA-256 hash of no bytes.
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Returns the leaf hash of an entry, `SHA-256(0x00 ‖ entry)`: RFC 6962, section 2.1.
    #[must_use]
    pub fn leaf(entry: &[u8]) -> Self {
        Self::digest(&[&[0], entry])
    }

    /// Returns the hash of an inner node, `SHA-256(0x01 ‖ left ‖ right)`: RFC 6962, section 2.1.
    #[must_use]
    pub fn node(left: &Self, right: &Self) -> Self {
        Self::digest(&[&[1], &left.0, &right.0])
    }

    /// Returns the SHA-256 hash of the concatenated parts.
    pub(crate) fn digest(parts: &[&[u8]]) -> Self {
        let mut sha = Sha256::new();
        for part in parts {
            sha.update(part);
        }
        Self(sha.finalize().into())
    }

    /// Returns the root of a perfect tree over `hashes`. Their number must be a power of two, or zero: then
    /// the root is [`Hash::EMPTY_ROOT`].
    pub(crate) fn perfect_root(hashes: &[Self]) -> Self {
        match hashes {
            [] => Self::EMPTY_ROOT,
            [hash] => *hash,
            hashes => {
                let (left, right) = hashes.split_at(hashes.len() / 2);
                Self::node(&Self::perfect_root(left), &Self::perfect_root(right))
            }
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the base64 form of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a hash: 32 bytes in base64")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(line: &str) -> Result<Self, HashError> {
        // 44 characters encode 31 to 33 bytes, so the length is checked twice.
        if line.len() != 44 {
            return Err(HashError);
        }
        let bytes = text::from_base64(line).ok_or(HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}
