//! A head that was kept earlier.

use std::str::FromStr;

use crate::event::{Hash, Position};

/// A head that an auditor kept: a position, and either the link at that position or the root of the Merkle
/// tree up to that position. Either hash fixes every event up to that position. A link of one log is never a
/// root of another, so the format does not distinguish links from roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    /// The position.
    pub position: Position,
    /// Link at this position, or root of the Merkle tree up to this position.
    pub hash: Hash,
}

/// A malformed trusted head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected POSITION:HASH, where HASH is 64 hexadecimal digits")]
pub struct TrustedError;

impl FromStr for Trusted {
    type Err = TrustedError;

    fn from_str(text: &str) -> Result<Self, TrustedError> {
        let (position, hash) = text.trim().split_once(':').ok_or(TrustedError)?;
        Ok(Self {
            position: position.parse().map_err(|_| TrustedError)?,
            hash: hash.parse().map_err(|_| TrustedError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_and_a_hash_are_read_and_nothing_else_is() {
        let hash = "0f".repeat(32);
        let trusted: Trusted = format!("17:{hash}").parse().unwrap();
        assert_eq!(trusted.position.get(), 17);
        assert_eq!(trusted.hash, Hash([15; 32]));
        for wrong in [
            String::new(),
            hash.clone(),
            format!("-1:{hash}"),
            format!("+1:{hash}"),
            format!("9223372036854775808:{hash}"),
            format!("17:{}", &hash[1..]),
            format!("17:{hash}0"),
            format!("17:+{}", &hash[1..]),
            format!("17:é{}", &hash[2..]),
        ] {
            assert_eq!(wrong.parse::<Trusted>(), Err(TrustedError), "{wrong}");
        }
    }
}
